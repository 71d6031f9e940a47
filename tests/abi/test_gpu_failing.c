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
    that(simulated_live() == 0, "all is given back when opening fails");
  }
  that(n > 3 && n < 100, "opening calls the GPU");
  simulated_fail(-1);
  const long idle = simulated_live();
  for (int pinned = 0; pinned < 2; ++pinned) {
    int failed = 0;
    for (n = 0; n < 1000; ++n) {
      cells c = cells_new(COUNT, COUNT, 1);
      for (size_t i = 0; i < COUNT; ++i)
        cells_set(&c, i, i % 100);
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
      }
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
  that(simulated_live() >= idle, "memory is kept for the next step");
  m7emu_close(model);
  that(simulated_live() == 0, "all is given back");
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
