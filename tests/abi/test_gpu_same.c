/* The GPU engine on a simulated GPU: the CPU's step within single precision; the same bits from the
 * host's memory, pageable or pinned, and the device's, whatever the block; the host's own settings
 * stay as they are. */
#include "cells.h"
#include "simulated.h"

#include <math.h>
#include <pthread.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

enum { COUNT = 500, N_OUT = N_FIELDS + 2 }; /* fields, flag, negatives */

/* Engines, and how near the CPU's values theirs are: a bound of their errors, the share of values
 * that may be beyond it, and of the worst of them. Those in tf32 and bf16 have few digits. */
static const struct engine {
  const char *name;
  double near, off, worst;
} engines[] = {{"native", 1e-5, 0.005, 1e-3},
#if !defined(__SANITIZE_THREAD__) /* which knows no fibers */
               {"native-3xtf32", 1e-5, 0.005, 1e-2},
               {"native-tf32", 1e-3, 0.05, HUGE_VAL},
               {"native-bf16", 1e-2, 0.05, HUGE_VAL}
#endif
};
static const struct engine *engine = engines;

static m7emu_model *opened_on(const char *path, int32_t device) {
  const m7emu_options options = {sizeof options, device, engine->name};
  m7emu_model *model = NULL;
  if (m7emu_open(path, &options, &model) != M7EMU_OK) {
    fprintf(stderr, "%s\n", told());
    exit(1);
  }
  return model;
}

enum { PAGEABLE, PINNED, ON_DEVICE, ON_STREAM, WAYS };

#define DEFINE_STEP(NAME, REAL, STEP)                                                              \
  /* Fields of the block moved by `distance` bytes: the allocation is one piece. */                \
  static void NAME##_turn(NAME *c, char *to, char *flag, char *negatives) {                        \
    const REAL **const first = &c->block.pressure;                                                 \
    for (int i = 0; i < 15; ++i)                                                                   \
      if (first[i])                                                                                \
        first[i] = (const REAL *)(to + ((const char *)first[i] - (const char *)c->memory));        \
    c->block.uncertainty =                                                                         \
        (REAL *)(to + ((const char *)c->block.uncertainty - (const char *)c->memory));             \
    c->block.flag = (int32_t *)flag;                                                               \
    c->block.negatives = (int32_t *)negatives;                                                     \
  }                                                                                                \
                                                                                                   \
  static int32_t NAME##_step(const m7emu_model *model, NAME *c, int way) {                         \
    const size_t plane = (size_t)c->block.kbdim * (size_t)c->block.klev;                           \
    const size_t size = c->size * sizeof(REAL), flags = plane * sizeof(int32_t);                   \
    int32_t status;                                                                                \
    if (way == PAGEABLE)                                                                           \
      return STEP(model, &c->block);                                                               \
    if (way == PINNED) {                                                                           \
      that(m7emu_pin(model, c->memory, size) == M7EMU_OK, "pins");                                 \
      that(m7emu_pin(model, c->flag, flags) == M7EMU_OK, "pins flags");                            \
      that(m7emu_pin(model, c->negatives, flags) == M7EMU_OK, "pins negatives");                   \
      status = STEP(model, &c->block);                                                             \
      that(m7emu_unpin(model, c->memory) == M7EMU_OK, "unpins");                                   \
      that(m7emu_unpin(model, c->flag) == M7EMU_OK, "unpins flags");                               \
      that(m7emu_unpin(model, c->negatives) == M7EMU_OK, "unpins negatives");                      \
      return status;                                                                               \
    }                                                                                              \
    char *const there = simulated_malloc(1, size + 2 * flags);                                     \
    NAME moved = *c;                                                                               \
    NAME##_turn(&moved, there, there + size, there + size + flags);                                \
    simulated_to_device(there, c->memory, size);                                                   \
    simulated_to_device(there + size, c->flag, flags);                                             \
    simulated_to_device(there + size + flags, c->negatives, flags);                                \
    moved.block.space = M7EMU_DEVICE;                                                              \
    if (way == ON_STREAM)                                                                          \
      moved.block.stream = simulated_stream(1);                                                    \
    status = STEP(model, &moved.block);                                                            \
    if (way == ON_STREAM)                                                                          \
      simulated_wait(moved.block.stream);                                                          \
    simulated_from_device(c->memory, there, size);                                                 \
    simulated_from_device(c->flag, there + size, flags);                                           \
    simulated_from_device(c->negatives, there + size + flags, flags);                              \
    simulated_free(there);                                                                         \
    return status;                                                                                 \
  }                                                                                                \
                                                                                                   \
  /* All fields of COUNT cells; every 50th is refused if `bad`. */                                 \
  static void NAME##_all(const m7emu_model *model, int kproma, int kbdim, int klev, int way,       \
                         int bad, REAL *out) {                                                     \
    const size_t plane = (size_t)kbdim * (size_t)klev;                                             \
    for (int first = 0; first < COUNT; first += kproma * klev) {                                   \
      NAME c = NAME##_new(kproma, kbdim, klev);                                                    \
      for (int l = 0; l < klev; ++l)                                                               \
        for (int i = 0; i < kproma; ++i) {                                                         \
          const int number = (first + l * kproma + i) % COUNT;                                     \
          NAME##_set(&c, (size_t)(l * kbdim + i), (uint64_t)number);                               \
          if (bad && number % 50 == 7)                                                             \
            c.memory[l * kbdim + i] = -1;                                                          \
        }                                                                                          \
      if (NAME##_step(model, &c, way) != M7EMU_OK)                                                 \
        that(0, told());                                                                           \
      for (int l = 0; l < klev; ++l)                                                               \
        for (int i = 0; i < kbdim; ++i) {                                                          \
          const size_t place = (size_t)(l * kbdim + i);                                            \
          const int number = (first + l * kproma + i) % COUNT;                                     \
          const int refused = bad && number % 50 == 7;                                             \
          REAL *const cell = out + (size_t)number * N_OUT;                                         \
          for (size_t f = 0; f < N_FIELDS; ++f)                                                    \
            if (i < kproma)                                                                        \
              cell[f] = c.memory[f * plane + place];                                               \
            else if (c.memory[f * plane + place] != -77)                                           \
              that(0, "padding is untouched");                                                     \
          if (i < kproma) {                                                                        \
            cell[N_FIELDS] = (REAL)c.flag[place];                                                  \
            cell[N_FIELDS + 1] = (REAL)c.negatives[place];                                         \
          }                                                                                        \
          if (i < kproma ? refused != (c.flag[place] == M7EMU_FLAG_INVALID)                        \
                         : c.flag[place] != -77 || c.negatives[place] != -77)                      \
            that(0, "flags");                                                                      \
        }                                                                                          \
      NAME##_free(&c);                                                                             \
    }                                                                                              \
  }                                                                                                \
                                                                                                   \
  /* The CPU's step, within single precision; a residue of what was emptied has no digits. The */  \
  /* gas that nucleation leaves is compared beside the sulfate of NS. */                           \
  static void NAME##_near(const REAL *found, const REAL *cpu) {                                    \
    double worst = 0.0;                                                                            \
    int off = 0, flags = 0;                                                                        \
    for (size_t i = 0; i < (size_t)COUNT * N_OUT; ++i) {                                           \
      const double x = (double)found[i], y = (double)cpu[i];                                       \
      if (i % N_OUT < 8 || (i % N_OUT < 34 && fabs(y) < 1e-3))                                     \
        continue;                                                                                  \
      const double with = i % N_OUT == 8 ? (double)cpu[i + 1] : 0.0;                               \
      const double error = x == y ? 0.0 : fabs(x - y) / fmax(fabs(y) + with, 1e-300);              \
      worst = fmax(worst, error);                                                                  \
      flags += i % N_OUT >= N_FIELDS && x != y;                                                    \
      off += error > engine->near;                                                                 \
    }                                                                                              \
    fprintf(stderr, "  %s: worst %.1e, %d of %d above %.0e\n", #REAL, worst, off, COUNT * N_OUT,   \
            engine->near);                                                                         \
    that(flags == 0, "the CPU's flags");                                                           \
    that(worst <= engine->worst && off < COUNT * N_OUT * engine->off, "the CPU's step");           \
  }                                                                                                \
                                                                                                   \
  static void NAME##_same(const m7emu_model *cpu, const m7emu_model *gpu) {                        \
    static const int shapes[][3] = {{1, 1, 1},   {7, 9, 1},     {64, 64, 3},                       \
                                    {31, 40, 5}, {500, 500, 1}, {500, 512, 1}};                    \
    static REAL expected[COUNT * N_OUT], found[COUNT * N_OUT];                                     \
    for (int bad = 0; bad < 2; ++bad) {                                                            \
      NAME##_all(cpu, 100, 100, 1, PAGEABLE, bad, expected);                                       \
      NAME##_all(gpu, 100, 100, 1, PAGEABLE, bad, found);                                          \
      NAME##_near(found, expected);                                                                \
      memcpy(expected, found, sizeof found);                                                       \
      for (int way = 0; way < WAYS; ++way)                                                         \
        for (size_t s = way == PAGEABLE ? 0 : 1; s < sizeof shapes / sizeof *shapes; ++s) {        \
          if (engine != engines && (s == 0 || s % 3 != (size_t)way % 3)) /* fibers take time */    \
            continue;                                                                              \
          NAME##_all(gpu, shapes[s][0], shapes[s][1], shapes[s][2], way, bad, found);              \
          that(memcmp(expected, found, sizeof found) == 0, "bits are the same in any block");      \
        }                                                                                          \
    }                                                                                              \
  }
DEFINE_STEP(cells, double, m7emu_step)
DEFINE_STEP(cells_float, float, m7emu_step_float)

/* So many cells that they go in several chunks, the last one short; a few of them refused. */
static void many(const m7emu_model *gpu) {
  enum { MANY = 70000, TILE = 1000 };
  static const int shapes[][2] = {{MANY, MANY}, {MANY / 7, MANY / 7 + 3}};
  for (int way = PAGEABLE; way <= PINNED; ++way)
    for (int shape = 0; shape < 2; ++shape) {
      const int kproma = shapes[shape][0], kbdim = shapes[shape][1], klev = MANY / kproma;
      cells c = cells_new(kproma, kbdim, klev);
      const size_t plane = (size_t)kbdim * (size_t)klev;
      for (int i = 0; i < MANY; ++i)
        cells_set(&c, (size_t)(i / kproma * kbdim + i % kproma), (uint64_t)(i % TILE));
      for (int i = 0; i < 3; ++i) {
        const int bad[] = {5, MANY / 2, MANY - 1};
        c.memory[plane + (size_t)(bad[i] / kproma * kbdim + bad[i] % kproma)] = NAN;
      }
      that(cells_step(gpu, &c, way) == M7EMU_OK, "many cells");
      cells few = cells_new(TILE, TILE, 1);
      for (int i = 0; i < TILE; ++i)
        cells_set(&few, (size_t)i, (uint64_t)i);
      that(cells_step(gpu, &few, PAGEABLE) == M7EMU_OK, "few cells");
      int same = 1, flags = 1;
      for (int i = 0; i < MANY; ++i) {
        const size_t place = (size_t)(i / kproma * kbdim + i % kproma);
        const int bad = i == 5 || i == MANY / 2 || i == MANY - 1;
        flags &= bad ? c.flag[place] == M7EMU_FLAG_INVALID : c.flag[place] == few.flag[i % TILE];
        for (size_t f = 8; f < N_FIELDS; ++f) {
          const double x = c.memory[f * plane + place], y = few.memory[f * TILE + (size_t)i % TILE];
          same &= bad ? f < 34 || f == N_FIELDS - 1 || x == -77.0 : x == y;
        }
      }
      that(same, "many cells are as few of them");
      that(flags, "flags of many cells");
      cells_free(&c);
      cells_free(&few);
    }
}

/* Nothing but what is needed; a stream is not waited for. */
static void corners(const m7emu_model *gpu) {
  cells c = cells_new(100, 100, 1), bare = cells_new(100, 100, 1);
  for (size_t i = 0; i < 100; ++i) {
    cells_set(&c, i, i);
    cells_set(&bare, i, i);
    for (size_t f = 3; f < 8; ++f)
      c.memory[f * 100 + i] = 0.0;
  }
  m7emu_block *const b = &bare.block;
  b->cloud_fraction = b->h2so4_production = b->ion_pair_production = NULL;
  b->forest_fraction = b->boundary_layer = NULL;
  b->wet_radius = b->dry_radius = b->density = b->water = b->uncertainty = NULL;
  b->flag = b->negatives = NULL;
  that(m7emu_step(gpu, &c.block) == M7EMU_OK && m7emu_step(gpu, b) == M7EMU_OK, "may be null");
  that(!memcmp(c.memory + 800, bare.memory + 800, 26 * 100 * sizeof(double)), "null counts as 0");
  that(bare.flag[0] == -77 && bare.memory[34 * 100] == -77.0, "null is not written");

  const size_t size = c.size * sizeof(double);
  char *const there = simulated_malloc(1, size);
  double *const after = malloc(size);
  cells moved = bare;
  simulated_to_device(there, bare.memory, size);
  moved.block = bare.block;
  moved.block.pressure = (double *)there;
  moved.block.temperature = (double *)there + 100;
  moved.block.relative_humidity = (double *)there + 200;
  moved.block.h2so4 = (double *)there + 800;
  moved.block.mass = (double *)there + 900;
  moved.block.number = (double *)there + 2700;
  moved.block.space = M7EMU_DEVICE;
  moved.block.stream = simulated_stream(1);
  simulated_choose(0);
  that(m7emu_step(gpu, &moved.block) == M7EMU_OK, "a step on a stream");
  that(simulated_device() == 0, "the host's device stays");
  simulated_from_device(after, there, size);
  that(memcmp(after, bare.memory, size) == 0, "a stream is not waited for");
  simulated_wait(moved.block.stream);
  simulated_from_device(after, there, size);
  that(memcmp(after, bare.memory, size) != 0, "and steps");
  simulated_free(there);
  free(after);
  cells_free(&c);
  cells_free(&bare);
}

/* As a GPU does, which takes numbers below the normal ones as 0. */
static void extreme_cells(const m7emu_model *gpu) {
#if defined(__SSE__)
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);
#endif
  uint64_t seed = 3;
  int sane = 1;
  for (int round = 0; round < (engine == engines ? 40 : 5); ++round) {
    cells c = cells_new(64, 64, 1);
    cells_float f = cells_float_new(64, 64, 1);
    for (size_t i = 0; i < 64; ++i) {
      double *const m = c.memory + i;
      m[0 * 64] = exp(log(1.1e-3) + log(0.9e6 / 1.1e-3) * draw(&seed));
      m[1 * 64] = exp(log(51.0) + log(990.0 / 51.0) * draw(&seed));
      for (int k = 2; k < 8; ++k)
        m[k * 64] = draw(&seed) < 0.3 ? 0.0 : draw(&seed) < 0.3 ? 1.0 : draw(&seed);
      m[4 * 64] = (draw(&seed) < 0.5 ? -1.0 : 1.0) * exp(log(1e19) * (2.0 * draw(&seed) - 1.0));
      for (int k = 8; k < 34; ++k)
        m[k * 64] = draw(&seed) < 0.3   ? 0.0
                    : draw(&seed) < 0.5 ? exp(-690.0 + 733.0 * draw(&seed))
                                        : exp(27.0 * (2.0 * draw(&seed) - 1.0));
      for (int k = 0; k < 34; ++k)
        f.memory[(size_t)k * 64 + i] = fabs(m[k * 64]) < 1e-37 ? 0.0f : (float)m[k * 64];
    }
    c.block.timestep = f.block.timestep = exp(-7.0 + 18.0 * draw(&seed));
    that(m7emu_step(gpu, &c.block) == M7EMU_OK, "extreme cells");
    that(m7emu_step_float(gpu, &f.block) == M7EMU_OK, "extreme cells in single precision");
    for (size_t i = 8 * 64; i < N_FIELDS * 64; ++i)
      sane &= isfinite(c.memory[i]) && isfinite(f.memory[i]) && c.memory[i] >= 0.0 &&
              f.memory[i] >= 0.0f;
    cells_free(&c);
    cells_float_free(&f);
  }
#if defined(__SSE__)
  _mm_setcsr(before);
#endif
  that(sane, "extreme cells stay finite and non-negative");
}

struct work {
  const m7emu_model *model;
  double out[COUNT * N_OUT];
};
static void *in_thread(void *argument) {
  struct work *const work = argument;
  for (int i = 0; i < 3; ++i)
    cells_all(work->model, 16, 16, 2, PAGEABLE, 1, work->out);
  return NULL;
}
static void threads(const m7emu_model *gpu) {
  static struct work work[3], alone;
  pthread_t thread[3];
  alone.model = gpu;
  in_thread(&alone);
  for (int i = 0; i < 3; ++i) {
    work[i].model = gpu;
    pthread_create(&thread[i], NULL, in_thread, &work[i]);
  }
  for (int i = 0; i < 3; ++i) {
    pthread_join(thread[i], NULL);
    that(memcmp(work[i].out, alone.out, sizeof alone.out) == 0, "bits are the same in threads");
  }
}

/* A cell beside others: bits are the same alone in its warp, in another place of it, and beside
 * cells that are refused, have particles of other modes or nothing at all. */
static void beside(const m7emu_model *gpu) {
  enum { WIDE = 70 };
  for (int first = 0; first < 3; ++first) {
    cells alone = cells_new(1, 1, 1), among = cells_new(WIDE, WIDE, 1);
    cells_set(&alone, 0, 11);
    that(m7emu_step(gpu, &alone.block) == M7EMU_OK, "one cell");
    for (size_t i = 0; i < WIDE; ++i) {
      const int same = i % 7 == 3;
      cells_set(&among, i, same ? 11 : i);
      for (size_t f = 8; f < 34 && !same; ++f)
        if (first == 1 || i % 5 == f % 5)
          among.memory[f * WIDE + i] = 0.0;
      if (first == 2 && !same)
        among.memory[(i % 34) * WIDE + i] = i % 2 ? NAN : 1e30;
    }
    that(m7emu_step(gpu, &among.block) == M7EMU_OK, "one cell among others");
    int same = 1;
    for (size_t i = 3; i < WIDE; i += 7)
      for (size_t f = 0; f < N_FIELDS; ++f)
        same &= !memcmp(&among.memory[f * WIDE + i], &alone.memory[f], sizeof(double));
    that(same, "a cell's bits do not depend on those beside it");
    cells_free(&alone);
    cells_free(&among);
  }
}

static int has_networks(const m7emu_model *model) {
  const char *json = NULL;
  that(m7emu_metadata(model, &json) == M7EMU_OK, "metadata");
  const char *const list = strstr(json, "\"networks\"");
  return list && strspn(strchr(list, '{') + 1, " \n") != strcspn(strchr(list, '{') + 1, "}");
}

/* Whether the engine at hand gives the bits of the first one. */
static int as_native(const char *path) {
  const struct engine *const kept = engine;
  m7emu_model *const one = opened_on(path, 0);
  engine = engines;
  m7emu_model *const other = opened_on(path, 0);
  engine = kept;
  static double found[COUNT * N_OUT], expected[COUNT * N_OUT];
  cells_all(one, 100, 100, 1, PAGEABLE, 1, found);
  cells_all(other, 100, 100, 1, PAGEABLE, 1, expected);
  m7emu_close(one);
  m7emu_close(other);
  return memcmp(found, expected, sizeof found) == 0;
}

/* Models that share kernels leave each other what they need. */
static void one_after_another(const char *large, const char *small) {
  m7emu_model *const first = opened_on(large, 1), *const second = opened_on(small, 1);
  cells c = cells_new(10, 10, 1);
  for (size_t i = 0; i < 10; ++i)
    cells_set(&c, i, i);
  that(m7emu_step(first, &c.block) == M7EMU_OK, told());
  that(m7emu_step(second, &c.block) == M7EMU_OK, told());
  cells_free(&c);
  m7emu_close(first);
  m7emu_close(second);
}

static void refused(const char *path, int32_t device, const char *what) {
  const m7emu_options options = {sizeof options, device, engine->name};
  m7emu_model *model = (m7emu_model *)1;
  that(m7emu_open(path, &options, &model) == M7EMU_ERROR_UNSUPPORTED && !model, what);
  that(strstr(told(), "tensor cores need a GPU") != NULL, "why there are no tensor cores");
}

int main(int argc, char **argv) {
  for (int one = 1; one < argc; ++one)
    for (int other = 1; other < argc; ++other)
      one_after_another(argv[one], argv[other]);
  for (int file = 1; file < argc; ++file) {
    m7emu_model *const cpu = opened(argv[file]);
    const int networks = has_networks(cpu);
    for (size_t e = 0; e < sizeof engines / sizeof *engines; ++e) {
      engine = &engines[e];
      fprintf(stderr, "%s, %s\n", argv[file], engine->name);
      if (e > 0)
        that(as_native(argv[file]) == !networks, "networks alone are on tensor cores");
      if (e > 0 && !networks)
        continue;
      m7emu_model *const gpu = opened_on(argv[file], 1);
      cells_same(cpu, gpu);
      cells_float_same(cpu, gpu);
      beside(gpu);
      corners(gpu);
      extreme_cells(gpu);
      if (file == 1) {
        many(gpu);
        threads(gpu);
      }
      m7emu_close(gpu);
      if (e > 0) {
        refused(argv[file], M7EMU_DEVICE_CPU, "tensor cores of a CPU");
        simulated_capability(7);
        refused(argv[file], 1, "tensor cores of an old GPU");
        simulated_capability(9);
      }
    }
    m7emu_close(cpu);
  }
  that(simulated_live() == 0, "all is given back");
  return finish();
}
