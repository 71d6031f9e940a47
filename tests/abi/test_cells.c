/* Bad and extreme cells, with the floating-point traps of a strict host: nothing traps, bad cells
 * are flagged and left unchanged, all others stay finite and non-negative. */
#include "cells.h"

#include <fenv.h>
#include <math.h>

enum { COUNT = 64 };

/* Bits without a conversion: assigning a signalling NaN could trap. */
static void put(double *to, double value) {
  memcpy(to, &value, sizeof value);
}

/* A host's floating-point traps are on in the library alone. */
static void step(const m7emu_model *model, const cells *c) {
  feenableexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW);
  const int32_t status = m7emu_step(model, &c->block);
  fedisableexcept(FE_ALL_EXCEPT);
  that(status == M7EMU_OK, "a step is OK");
}
static void step_float(const m7emu_model *model, const cells_float *c) {
  feenableexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW);
  const int32_t status = m7emu_step_float(model, &c->block);
  fedisableexcept(FE_ALL_EXCEPT);
  that(status == M7EMU_OK, "a step in single precision is OK");
}

static void bad_cells(const m7emu_model *model) {
  static const double wrong[][2] = {/* field, value */
                                    {0, 0.0},    {0, -1.0}, {0, 1e9},    {1, 0.0},
                                    {1, 5000.0}, {2, 1.1},  {2, -0.1},   {4, 1e300},
                                    {8, 1e25},   {9, 1e25}, {30, -1e30}, {27, 1e20}};
  const double extremes[] = {(double)NAN, (double)INFINITY, (double)-INFINITY};
  const size_t n_wrong = sizeof wrong / sizeof *wrong;
  for (size_t w = 0; w < n_wrong + 3 * 34; ++w) {
    const size_t field = w < n_wrong ? (size_t)wrong[w][0] : (w - n_wrong) / 3;
    cells c = cells_new(COUNT, COUNT, 1), good = cells_new(COUNT, COUNT, 1);
    for (int i = 0; i < COUNT; ++i) {
      cells_set(&c, (size_t)i, (uint64_t)i);
      cells_set(&good, (size_t)i, (uint64_t)i);
    }
    put(&c.memory[field * COUNT + 5], w < n_wrong ? wrong[w][1] : extremes[(w - n_wrong) % 3]);
    double before[N_FIELDS];
    for (size_t f = 0; f < N_FIELDS; ++f)
      memcpy(&before[f], &c.memory[f * COUNT + 5], sizeof(double));
    step(model, &c);
    step(model, &good);
    int same = 1, unchanged = 1;
    for (size_t f = 0; f < N_FIELDS; ++f) {
      for (size_t i = 0; i < COUNT; ++i)
        same &= i == 5 || !memcmp(&c.memory[f * COUNT + i], &good.memory[f * COUNT + i], 8);
      unchanged &= f == N_FIELDS - 1 || !memcmp(&before[f], &c.memory[f * COUNT + 5], 8);
    }
    that(c.flag[5] == M7EMU_FLAG_INVALID && c.flag[4] == M7EMU_FLAG_FINE, "bad cells are flagged");
    that(unchanged, "bad cells are left unchanged");
    that(same, "their neighbours are as without them");
    cells_free(&c);
    cells_free(&good);
  }
}

static void negatives(const m7emu_model *model) {
  cells c = cells_new(2, 2, 1);
  cells_set(&c, 0, 1);
  cells_set(&c, 1, 1);
  c.memory[8 * 2] = -1.0;
  c.memory[12 * 2] = -1e-3;
  c.memory[30 * 2] = -5.0;
  c.memory[8 * 2 + 1] = c.memory[12 * 2 + 1] = c.memory[30 * 2 + 1] = 0.0;
  step(model, &c);
  that(c.negatives[0] == 3 && c.negatives[1] == 0, "negative inputs are counted");
  int same = 1;
  for (size_t f = 8; f < N_FIELDS; ++f)
    same &= c.memory[f * 2] == c.memory[f * 2 + 1];
  that(same, "negative inputs are taken as 0");
  cells_free(&c);
}

/* What transport leaves: here and there less than nothing, or -0, in the midst of good cells; also
 * beside a cell that is not stepped, and where fields are so far apart that a copy is stepped. */
static void fewer_than_none(const m7emu_model *model, int kbdim) {
  const size_t plane = (size_t)kbdim;
  for (int beside = 0; beside < 2; ++beside)
    for (size_t field = 8; field < 34; ++field) {
      cells c = cells_new(COUNT, kbdim, 1), none = cells_new(COUNT, kbdim, 1);
      cells_float f = cells_float_new(COUNT, kbdim, 1), none_f = cells_float_new(COUNT, kbdim, 1);
      for (size_t i = 0; i < COUNT; ++i) {
        cells_set(&c, i, i);
        cells_set(&none, i, i);
        cells_float_set(&f, i, i);
        cells_float_set(&none_f, i, i);
      }
      double *const x = c.memory + field * plane;
      float *const y = f.memory + field * plane;
      x[3] = -1e-30, x[4] = -0.0, x[40] = -1e9;
      y[3] = -1e-30f, y[4] = -0.0f, y[40] = -1e9f;
      for (size_t i = 3; i < 41; i = i == 4 ? 40 : i + 1)
        none.memory[field * plane + i] = 0.0, none_f.memory[field * plane + i] = 0.0f;
      if (beside)
        c.memory[20] = none.memory[20] = 0.0, f.memory[20] = none_f.memory[20] = 0.0f;
      step(model, &c);
      step(model, &none);
      step_float(model, &f);
      step_float(model, &none_f);
      int counted = 1, same = 1;
      for (size_t i = 0; i < COUNT; ++i) {
        const int negative = i == 3 || i == 40;
        counted &= c.negatives[i] == negative && f.negatives[i] == negative;
        counted &= c.flag[i] == none.flag[i] && f.flag[i] == none_f.flag[i];
        for (size_t k = 8; k < N_FIELDS; ++k) {
          const size_t at = k * plane + i;
          same &= !memcmp(&c.memory[at], &none.memory[at], sizeof c.memory[at]);
          same &= !memcmp(&f.memory[at], &none_f.memory[at], sizeof f.memory[at]);
        }
      }
      that(counted, "what is negative is counted, -0 is not, and no flag changes");
      that(same, "what is negative, or -0, is as 0, and neighbours are as beside 0");
      cells_free(&c);
      cells_free(&none);
      cells_float_free(&f);
      cells_float_free(&none_f);
    }
}

static double log_uniform(uint64_t *seed, double low, double high) {
  return exp(log(low) + (log(high) - log(low)) * draw(seed));
}

/* Amounts from nothing to the largest that are let in, air from the mesosphere to a furnace. */
static void extreme_cells(const m7emu_model *model) {
  uint64_t seed = 1;
  int finite = 1, positive = 1, valid = 1, changed = 0;
  for (int round = 0; round < 200; ++round) {
    cells c = cells_new(COUNT, COUNT, 1);
    cells_float f = cells_float_new(COUNT, COUNT, 1);
    for (size_t i = 0; i < COUNT; ++i) {
      double *const m = c.memory + i;
      m[0 * COUNT] = log_uniform(&seed, 1.1e-3, 0.9e6);
      m[1 * COUNT] = log_uniform(&seed, 51.0, 990.0);
      for (int k = 2; k < 4; ++k)
        m[k * COUNT] = draw(&seed) < 0.3 ? 0.0 : draw(&seed) < 0.3 ? 1.0 : draw(&seed);
      m[4 * COUNT] = (draw(&seed) < 0.5 ? -1.0 : 1.0) * log_uniform(&seed, 1e-30, 1e19);
      for (int k = 5; k < 8; ++k)
        m[k * COUNT] = draw(&seed) < 0.2 ? log_uniform(&seed, 1e-30, 1e19) : draw(&seed);
      for (int k = 8; k < 34; ++k)
        m[k * COUNT] = draw(&seed) < 0.3   ? 0.0
                       : draw(&seed) < 0.5 ? log_uniform(&seed, 1e-300, 1e19)
                                           : log_uniform(&seed, 1e-12, 1e12);
      for (int k = 0; k < 34; ++k) {
        const double size = fabs(m[k * COUNT]);
        f.memory[k * COUNT + i] = size < 1e-37 ? 0.0f : (float)m[k * COUNT];
      }
    }
    c.block.timestep = f.block.timestep = round % 4 == 0 ? 1e6 : log_uniform(&seed, 1e-3, 1e5);
    step(model, &c);
    step_float(model, &f);
    for (size_t i = 0; i < COUNT; ++i) {
      valid &= c.flag[i] != M7EMU_FLAG_INVALID && f.flag[i] != M7EMU_FLAG_INVALID;
      for (size_t k = 8; k < N_FIELDS; ++k) {
        const double x = c.memory[k * COUNT + i], y = (double)f.memory[k * COUNT + i];
        finite &= isfinite(x) && isfinite(y);
        positive &= x >= 0.0 && y >= 0.0;
      }
      changed |= c.memory[40 * COUNT + i] != -77.0;
    }
    cells_free(&c);
    cells_float_free(&f);
  }
  that(valid, "extreme cells are let in");
  that(finite, "extreme cells stay finite");
  that(positive, "extreme cells stay non-negative");
  that(changed, "extreme cells are stepped");
}

static void empty_cells(const m7emu_model *model) {
  cells c = cells_new(1, 1, 1);
  for (int i = 0; i < 34; ++i)
    c.memory[i] = 0.0;
  c.memory[0] = 1e5;
  c.memory[1] = 280.0;
  step(model, &c);
  int empty = 1;
  for (int i = 8; i < 34; ++i)
    empty &= c.memory[i] == 0.0;
  that(empty, "zero in gives zero out");
  cells_free(&c);
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; ++i) {
    m7emu_model *model = opened(argv[i]);
    bad_cells(model);
    negatives(model);
    fewer_than_none(model, COUNT);
    fewer_than_none(model, 4 * COUNT);
    extreme_cells(model);
    empty_cells(model);
    m7emu_close(model);
  }
  return finish();
}
