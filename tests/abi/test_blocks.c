/* A cell's bits do not depend on its neighbours, its place, the block or the thread; what lies
 * beyond kproma is neither read nor written. Threads may open, step and close at once. */
#include "cells.h"

#include <pthread.h>

enum { COUNT = 1000 };

/* All fields of one cell after a step, with what is beyond kproma poisoned. */
static void step_all(const m7emu_model *model, int kproma, int kbdim, int klev, int backward,
                     double *out) {
  const size_t plane = (size_t)kbdim * (size_t)klev;
  for (int first = 0; first < COUNT; first += kproma * klev) {
    cells c = cells_new(kproma, kbdim, klev);
    double *const before = malloc(c.size * sizeof(double));
    for (int l = 0; l < klev; ++l)
      for (int i = 0; i < kproma; ++i) {
        const int number = (first + l * kproma + i) % COUNT;
        cells_set(&c, (size_t)(l * kbdim + i), (uint64_t)(backward ? COUNT - 1 - number : number));
      }
    memcpy(before, c.memory, c.size * sizeof(double));
    that(m7emu_step(model, &c.block) == M7EMU_OK, "a step is OK");
    for (int l = 0; l < klev; ++l)
      for (int i = 0; i < kbdim; ++i) {
        const size_t place = (size_t)(l * kbdim + i);
        int number = (first + l * kproma + i) % COUNT;
        number = backward ? COUNT - 1 - number : number;
        for (size_t f = 0; f < N_FIELDS; ++f) {
          if (i < kproma)
            out[(size_t)number * N_FIELDS + f] = c.memory[f * plane + place];
          else if (c.memory[f * plane + place] != -77.0)
            that(0, "padding is untouched");
        }
        if (i >= kproma)
          that(c.flag[place] == -77 && c.negatives[place] == -77, "padding of the flags");
        else if (c.flag[place] != M7EMU_FLAG_FINE)
          that(0, "cells are fine");
      }
    for (size_t i = 0; i < 8 * plane; ++i)
      if (c.memory[i] != before[i])
        that(0, "the environment is unchanged");
    free(before);
    cells_free(&c);
  }
}

struct work {
  const m7emu_model *model;
  double *out;
};
static void *in_thread(void *argument) {
  struct work *work = argument;
  for (int i = 0; i < 5; ++i)
    step_all(work->model, 16, 16, 1, 0, work->out);
  return NULL;
}

/* Its own model besides the shared one, and its own message. */
struct opener {
  const char *path;
  const m7emu_model *shared;
  int32_t kproma; /* refused in a block of 4 */
  int fine;
};
static void *opening(void *argument) {
  struct opener *const work = argument;
  char expected[40];
  snprintf(expected, sizeof expected, "kproma is %d", (int)work->kproma);
  work->fine = 1;
  for (int i = 0; i < 5; ++i) {
    m7emu_model *model = NULL, *none = NULL;
    cells c = cells_new(4, 4, 1), d = cells_new(4, 4, 1);
    for (size_t k = 0; k < 4; ++k) {
      cells_set(&c, k, k);
      cells_set(&d, k, k);
    }
    work->fine &= m7emu_open("/no/such/file", NULL, &none) != M7EMU_OK && !none;
    work->fine &= m7emu_open(work->path, NULL, &model) == M7EMU_OK;
    work->fine &= m7emu_step(model, &c.block) == M7EMU_OK;
    work->fine &= m7emu_step(work->shared, &d.block) == M7EMU_OK;
    work->fine &= memcmp(c.memory, d.memory, c.size * sizeof(double)) == 0;
    c.block.kproma = work->kproma;
    work->fine &= m7emu_step(model, &c.block) != M7EMU_OK && strstr(told(), expected) != NULL;
    m7emu_close(model);
    cells_free(&c);
    cells_free(&d);
  }
  return NULL;
}
static void at_once(const char *path, const m7emu_model *shared) {
  struct opener work[4];
  pthread_t threads[4];
  for (int i = 0; i < 4; ++i) {
    work[i] = (struct opener){path, shared, 5 + i, 0};
    pthread_create(&threads[i], NULL, opening, &work[i]);
  }
  for (int i = 0; i < 4; ++i) {
    pthread_join(threads[i], NULL);
    that(work[i].fine, "models are opened, stepped, misused and closed at once");
  }
}

int main(int argc, char **argv) {
  static const int shapes[][3] = {{1, 1, 1},   {7, 9, 1},       {16, 16, 2},    {64, 64, 3},
                                  {31, 40, 1}, {1000, 1000, 1}, {1000, 1024, 1}};
  const size_t size = (size_t)COUNT * N_FIELDS * sizeof(double);
  for (int file = 1; file < argc; ++file) {
    m7emu_model *model = opened(argv[file]);
    double *expected = malloc(size), *found = malloc(size), *other = malloc(size);
    step_all(model, 100, 100, 1, 0, expected);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; ++s)
      for (int backward = 0; backward < 2; ++backward) {
        step_all(model, shapes[s][0], shapes[s][1], shapes[s][2], backward, found);
        that(memcmp(expected, found, size) == 0, "bits are the same in any block");
      }
    struct work one = {model, found}, two = {model, other};
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, in_thread, &one);
    pthread_create(&threads[1], NULL, in_thread, &two);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    that(memcmp(expected, found, size) == 0 && memcmp(expected, other, size) == 0,
         "bits are the same in threads");
    at_once(argv[file], model);
    m7emu_close(model);
    free(expected);
    free(found);
    free(other);
  }
  return finish();
}
