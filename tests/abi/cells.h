/* Cells for the C tests: blocks of plausible air and aerosol, and what counts checks. */
#ifndef CELLS_H
#define CELLS_H

#include <m7emu.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_MASS = 18, N_MODE = 7, N_SOLUBLE = 4, MAX_CELLS = 4096 };

static int checks = 0, failures = 0;
static inline void that(int holds, const char *name) {
  __atomic_add_fetch(&checks, 1, __ATOMIC_RELAXED);
  if (!holds) {
    __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
    fprintf(stderr, "FAILED %s\n", name);
  }
}
static inline int finish(void) {
  fprintf(stderr, "%d checks, %d failed\n", checks, failures);
  return checks == 0 || failures > 0;
}

static inline const char *told(void) {
  static __thread char text[1024];
  m7emu_message(text, sizeof text);
  return text;
}

/* The same numbers on every machine, in [0, 1). */
static inline double draw(uint64_t *seed) {
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return (double)(*seed >> 11) / 9007199254740992.0;
}

#define DEFINE_CELLS(NAME, REAL, BLOCK)                                                            \
  typedef struct NAME {                                                                            \
    BLOCK block;                                                                                   \
    size_t size; /* reals in all fields together */                                                \
    REAL *memory;                                                                                  \
    int32_t *flag, *negatives;                                                                     \
  } NAME;                                                                                          \
                                                                                                   \
  /* Fields (kbdim, klev, ...), all set to a mark. */                                              \
  static inline NAME NAME##_new(int kproma, int kbdim, int klev) {                                 \
    NAME c;                                                                                        \
    const size_t plane = (size_t)kbdim * (size_t)klev;                                             \
    memset(&c, 0, sizeof c);                                                                       \
    c.size = plane * (8 + 1 + N_MASS + N_MODE + 2 * N_MODE + 2 * N_SOLUBLE + 1);                   \
    c.memory = (REAL *)malloc(c.size * sizeof(REAL));                                              \
    c.flag = (int32_t *)malloc(plane * sizeof(int32_t));                                           \
    c.negatives = (int32_t *)malloc(plane * sizeof(int32_t));                                      \
    for (size_t i = 0; i < c.size; ++i)                                                            \
      c.memory[i] = (REAL) - 77.0;                                                                 \
    for (size_t i = 0; i < plane; ++i)                                                             \
      c.flag[i] = c.negatives[i] = -77;                                                            \
    c.block.struct_size = sizeof c.block;                                                          \
    c.block.kproma = kproma;                                                                       \
    c.block.kbdim = kbdim;                                                                         \
    c.block.klev = klev;                                                                           \
    c.block.timestep = 1800.0;                                                                     \
    REAL *at = c.memory;                                                                           \
    c.block.pressure = at, at += plane;                                                            \
    c.block.temperature = at, at += plane;                                                         \
    c.block.relative_humidity = at, at += plane;                                                   \
    c.block.cloud_fraction = at, at += plane;                                                      \
    c.block.h2so4_production = at, at += plane;                                                    \
    c.block.ion_pair_production = at, at += plane;                                                 \
    c.block.forest_fraction = at, at += plane;                                                     \
    c.block.boundary_layer = at, at += plane;                                                      \
    c.block.h2so4 = at, at += plane;                                                               \
    c.block.mass = at, at += N_MASS * plane;                                                       \
    c.block.number = at, at += N_MODE * plane;                                                     \
    c.block.wet_radius = at, at += N_MODE * plane;                                                 \
    c.block.dry_radius = at, at += N_SOLUBLE * plane;                                              \
    c.block.density = at, at += N_MODE * plane;                                                    \
    c.block.water = at, at += N_SOLUBLE * plane;                                                   \
    c.block.uncertainty = at;                                                                      \
    c.block.flag = c.flag;                                                                         \
    c.block.negatives = c.negatives;                                                               \
    return c;                                                                                      \
  }                                                                                                \
                                                                                                   \
  static inline void NAME##_free(NAME *c) {                                                        \
    free(c->memory);                                                                               \
    free(c->flag);                                                                                 \
    free(c->negatives);                                                                            \
  }                                                                                                \
                                                                                                   \
  /* Put cell `number` of an endless sample at `place` of a plane. */                              \
  static inline void NAME##_set(NAME *c, size_t place, uint64_t number) {                          \
    static const double amount[N_MASS] = {1e5, 1e8,  1e9,  1e9, 1e-2, 1e-1, 1e-2, 1e-2, 1e-2,      \
                                          1,   1e-1, 1e-2, 1,   5,    1,    5,    1,    5};        \
    static const double count[N_MODE] = {1e3, 1e3, 3e2, 0.5, 5e2, 1e-1, 1e-1};                     \
    const size_t plane = (size_t)c->block.kbdim * (size_t)c->block.klev;                           \
    uint64_t seed = number * 2654435761u + 12345u;                                                 \
    draw(&seed);                                                                                   \
    REAL *m = c->memory + place;                                                                   \
    m[0 * plane] = (REAL)(1e4 + 9e4 * draw(&seed));                                                \
    m[1 * plane] = (REAL)(210.0 + 90.0 * draw(&seed));                                             \
    m[2 * plane] = (REAL)draw(&seed);                                                              \
    m[3 * plane] = (REAL)(draw(&seed) < 0.5 ? 0.0 : draw(&seed));                                  \
    m[4 * plane] = (REAL)(1e4 * draw(&seed));                                                      \
    for (int i = 5; i < 8; ++i)                                                                    \
      m[(size_t)i * plane] = 0;                                                                    \
    m[8 * plane] = (REAL)(1e7 * draw(&seed));                                                      \
    for (int i = 0; i < N_MASS; ++i)                                                               \
      m[(size_t)(9 + i) * plane] = (REAL)(amount[i] * 2.0 * draw(&seed));                          \
    for (int k = 0; k < N_MODE; ++k)                                                               \
      m[(size_t)(9 + N_MASS + k) * plane] =                                                        \
          (REAL)(draw(&seed) < 0.2 ? 0.0 : count[k] * 2.0 * draw(&seed));                          \
  }
DEFINE_CELLS(cells, double, m7emu_block)
DEFINE_CELLS(cells_float, float, m7emu_block_float)
#define N_FIELDS (8 + 1 + N_MASS + N_MODE + 2 * N_MODE + 2 * N_SOLUBLE + 1)

static inline m7emu_model *opened(const char *path) {
  m7emu_model *model = NULL;
  if (m7emu_open(path, NULL, &model) != M7EMU_OK) {
    fprintf(stderr, "%s\n", told());
    exit(1);
  }
  return model;
}

#endif
