/* What goes wrong on a GPU, here a simulated one: each a status and a message, nothing is lost. */
#include "cells.h"
#include "simulated.h"

enum { COUNT = 8200 }; /* two chunks */

static int32_t open_on(const char *path, int32_t device, m7emu_model **model) {
  const m7emu_options options = {sizeof options, device, NULL};
  return m7emu_open(path, &options, model);
}

/* Every call to the GPU fails once. */
static void every_call(const char *path) {
  m7emu_model *model = (m7emu_model *)1;
  long n;
  for (n = 0; n < 100; ++n) {
    simulated_fail(n);
    const int32_t status = open_on(path, 0, &model);
    if (status == M7EMU_OK)
      break;
    that(status == M7EMU_ERROR_DEVICE || status == M7EMU_ERROR_MEMORY, "status of opening");
    that(!model && strstr(told(), "GPU"), "message of opening");
    that(simulated_error() == 0, "no last error is left of opening");
    that(simulated_live() == 0, "all is given back when opening fails");
  }
  that(n > 3 && n < 100, "opening calls the GPU");
  simulated_fail(-1);
  const long idle = simulated_live();
  double *const before = malloc(sizeof(double) * N_FIELDS * COUNT);
  for (int pinned = 0; pinned < 2; ++pinned) {
    int failed = 0;
    for (n = 0; n < 1000; ++n) {
      cells c = cells_new(COUNT, COUNT, 1);
      for (size_t i = 0; i < COUNT; ++i)
        cells_set(&c, i, i % 100);
      c.memory[COUNT - 3] = -1; /* invalid */
      memcpy(before, c.memory, c.size * sizeof(double));
      if (pinned) {
        m7emu_pin(model, c.memory, c.size * sizeof(double));
        m7emu_pin(model, c.flag, COUNT * sizeof(int32_t));
        m7emu_pin(model, c.negatives, COUNT * sizeof(int32_t));
      }
      simulated_fail(n);
      const int32_t status = m7emu_step(model, &c.block);
      const long left = simulated_fail(-1);
      if (status != M7EMU_OK) {
        ++failed;
        that(status == M7EMU_ERROR_DEVICE || status == M7EMU_ERROR_MEMORY, "status of a step");
        that(strstr(told(), "GPU") != NULL, "message of a step");
        that(status != M7EMU_ERROR_MEMORY || !memcmp(before, c.memory, c.size * sizeof(double)),
             "nothing is written where memory runs out");
      }
      that(simulated_error() == 0, "no last error is left of a step");
      if (pinned) {
        m7emu_unpin(model, c.memory);
        m7emu_unpin(model, c.flag);
        m7emu_unpin(model, c.negatives);
      }
      cells_free(&c);
      if (left >= 0)
        break;
    }
    that(failed > 10 && n < 1000, "steps call the GPU");
  }
  free(before);
  that(simulated_live() >= idle, "memory is kept for the next step");
  m7emu_close(model);
  that(simulated_live() == 0, "all is given back");
}

enum { FEW = 100 };

/* Steps of FEW cells on GPU 1, in its memory and from the host's, by a thread on GPU 0: the same
 * results in both. `error`: the last one of the host's own calls. */
static void step_both(const m7emu_model *model, int error) {
  cells c = cells_new(FEW, FEW, 1);
  for (size_t i = 0; i < FEW; ++i)
    cells_set(&c, i, i);
  cells moved = c;
  const size_t size = c.size * sizeof(double);
  char *const there = simulated_malloc(1, size);
  double *const after = malloc(size);
  const double **const field = &moved.block.pressure;
  simulated_to_device(there, c.memory, size);
  for (int i = 0; i < 15; ++i)
    field[i] = (const double *)there + (field[i] - c.memory);
  moved.block.uncertainty = NULL;
  moved.block.flag = moved.block.negatives = NULL;
  moved.block.space = M7EMU_DEVICE;
  c.block.uncertainty = NULL;
  simulated_choose(0);
  simulated_leave(error);
  that(m7emu_step(model, &moved.block) == M7EMU_OK, told());
  that(simulated_error() == error, "the last error after a step in place is the host's own");
  simulated_choose(0);
  simulated_leave(error);
  that(m7emu_step(model, &c.block) == M7EMU_OK, told());
  that(simulated_error() == error, "the last error after a step is the host's own");
  simulated_choose(0);
  simulated_from_device(after, there, size);
  that(memcmp(after, c.memory, size) == 0, "both are stepped once");
  simulated_free(there);
  free(after);
  cells_free(&c);
}

/* Well; where the thread's own GPU, 0, can have no context; where the host has left an error:
 * neither is a step's, nor does a step leave one. */
static void others_errors(const char *path) {
  m7emu_model *model = NULL;
  for (int wrong = 0; wrong < 3; ++wrong) {
    const int error = wrong == 2;
    simulated_choose(0);
    simulated_full(0, wrong == 1);
    simulated_leave(error);
    that(open_on(path, 1, &model) == M7EMU_OK, told());
    that(simulated_error() == error, "the last error after opening is the host's own");
    step_both(model, error);
    char memory[100];
    simulated_choose(0);
    that(m7emu_pin(model, memory, sizeof memory) == M7EMU_OK, told());
    simulated_choose(0);
    that(m7emu_unpin(model, memory) == M7EMU_OK, told());
    simulated_choose(0);
    simulated_leave(error);
    m7emu_close(model);
    that(simulated_error() == error, "the last error after closing is the host's own");
    that(simulated_live() == 0, "all is given back, whatever the thread's GPU");
  }
  simulated_full(0, 0);
  simulated_choose(0);
}

/* A GPU without room for a kernel's stacks: opening says so, and a step needs no more of it. */
static void little_memory(const char *path) {
  const size_t much = (size_t)1 << 40, stacks = (size_t)1 << 20;
  m7emu_model *model = NULL;
  simulated_memory(1, stacks - 1);
  that(open_on(path, 1, &model) == M7EMU_ERROR_MEMORY && !model, "no memory for stacks");
  that(strstr(told(), "stacks: out of memory") != NULL, "message of no memory");
  that(simulated_live() == 0 && simulated_error() == 0, "nothing is left of it");
  simulated_memory(1, much);
  that(open_on(path, 1, &model) == M7EMU_OK, told());
  step_both(model, 0);
  m7emu_close(model);
  that(simulated_live() == 0, "all is given back");
}

/* Pinned arrays: planes further apart than a GPU copies at once, and what the library pins itself.
 */
static void pinned(const char *path) {
  static const size_t pitches[] = {0x7fffffff, COUNT * sizeof(double) - 1};
  for (int far = 0; far < 2; ++far)
    for (int bad = 0; bad < 2; ++bad) {
      m7emu_model *model = NULL;
      cells c[2];
      simulated_pitch(pitches[far]);
      that(open_on(path, 0, &model) == M7EMU_OK, told());
      for (int direct = 1; direct >= 0; --direct) {
        cells *const of = &c[direct];
        *of = cells_new(COUNT, COUNT, 1);
        for (size_t i = 0; i < COUNT; ++i)
          cells_set(of, i, i % 100);
        if (bad)
          of->memory[COUNT - 3] = -1;
        if (direct) {
          m7emu_pin(model, of->memory, of->size * sizeof(double));
          m7emu_pin(model, of->flag, COUNT * sizeof(int32_t));
          m7emu_pin(model, of->negatives, COUNT * sizeof(int32_t));
        }
        that(m7emu_step(model, &of->block) == M7EMU_OK, told());
        if (direct) {
          that(simulated_pinned() <= COUNT * 16, "of pinned blocks a plane and flags are staged");
          m7emu_unpin(model, of->memory);
          m7emu_unpin(model, of->flag);
          m7emu_unpin(model, of->negatives);
        }
      }
      that(simulated_pinned() > COUNT * 16, "of others all is");
      that(!memcmp(c[0].memory, c[1].memory, c[0].size * sizeof(double)) &&
               !memcmp(c[0].flag, c[1].flag, COUNT * sizeof(int32_t)),
           "bits are the same");
      that(c[1].flag[COUNT - 3] == (bad ? M7EMU_FLAG_INVALID : c[1].flag[COUNT - 103]), "flag");
      cells_free(&c[0]);
      cells_free(&c[1]);
      m7emu_close(model);
      that(simulated_live() == 0 && simulated_pinned() == 0, "all is given back");
    }
  simulated_pitch(0x7fffffff);
}

static void misplaced(const m7emu_model *model, cells *c, const char *word) {
  that(m7emu_step(model, &c->block) == M7EMU_ERROR_ARGUMENT, word);
  if (!strstr(told(), word)) {
    fprintf(stderr, "  message: %s\n", told());
    that(0, word);
  }
}

int main(int argc, char **argv) {
  m7emu_model *model = (m7emu_model *)1;
  that(open_on(argv[1], 2, &model) == M7EMU_ERROR_DEVICE && !model, "no such GPU");
  that(strstr(told(), "GPU 2 is not there: 2 found") != NULL, "how many there are");
  that(open_on("/no/such/file", 0, &model) == M7EMU_ERROR_FILE && !model, "no file");
  for (int i = 1; i < argc; ++i)
    every_call(argv[i]);
  others_errors(argv[1]);
  little_memory(argv[1]);
  pinned(argv[1]);

  that(open_on(argv[1], 1, &model) == M7EMU_OK, "opens");
  cells c = cells_new(10, 10, 1);
  for (size_t i = 0; i < 10; ++i)
    cells_set(&c, i, i);
  const m7emu_block good = c.block;
  void *const here = simulated_malloc(1, 2000), *const other = simulated_malloc(0, 2000);
  c.block.space = M7EMU_DEVICE;
  misplaced(model, &c, "pressure is not in memory of GPU 1");
  c.block = good;
  c.block.mass = here;
  misplaced(model, &c, "mass is not in the host's memory");
  c.block.mass = other;
  misplaced(model, &c, "mass is not in the host's memory");
  c.block = good;
  c.block.space = 2;
  misplaced(model, &c, "space is 2");
  that(m7emu_pin(model, here, 100) != M7EMU_OK, "a device's memory cannot be pinned");
  that(strstr(told(), "pinning memory") != NULL, "message of pinning");
  that(m7emu_unpin(model, c.memory) != M7EMU_OK, "what is not pinned cannot be unpinned");
  simulated_free(here);
  simulated_free(other);
  cells_free(&c);
  m7emu_close(model);
  that(simulated_live() == 0, "all is given back");
  return finish();
}
