/* Golden vectors: one step of real M7 generations (tests/golden), through the C ABI. The engine
 * moves by fractions that are right to single precision; what is emptied may leave a residue. */
#include "cells.h"
#include "golden.h"

#include <math.h>

static double worst = 0.0;

/* Of what there is and was in the column of the same species, or among all modes. */
static void close_to(double found, double real, double scale, const char *what, const char *name) {
  const double error = fabs(found - real) / (fabs(real) + 1e-2 * scale + 1e-300);
  ++checks;
  if (error > worst)
    worst = error;
  if (!(error < 1e-5)) {
    ++failures;
    fprintf(stderr, "FAILED %s of %s: %.17g, real M7 %.17g\n", what, name, found, real);
  }
}

int main(int argc, char **argv) {
  if (argc < 3)
    return 1;
  for (int profile = 0; profile < 2; ++profile) {
    m7emu_model *model = opened(argv[1 + profile]);
    for (size_t i = 0; i < sizeof golden / sizeof *golden; ++i) {
      const struct golden *g = &golden[i];
      const struct after *real = &g->after[profile];
      cells c = cells_new(1, 1, 1);
      const double air[8] = {g->pressure, g->temperature, g->relative_humidity, 0.0, g->production};
      memcpy(c.memory, air, sizeof air);
      c.memory[8] = g->h2so4;
      memcpy(c.memory + 9, g->mass, sizeof g->mass);
      memcpy(c.memory + 9 + N_MASS, g->number, sizeof g->number);
      c.block.timestep = g->timestep;
      that(m7emu_step(model, &c.block) == M7EMU_OK, g->name);
      const double *m = c.memory + 8;
      double gas = g->h2so4 + g->production * g->timestep;
      close_to(*m++, real->h2so4, gas, "gas", g->name);
      for (int k = 0; k < N_MASS; ++k)
        close_to(*m++, real->mass[k], g->mass[k] + (k < 4 ? gas : 0.0), "mass", g->name);
      for (int k = 0; k < N_MODE; ++k)
        close_to(*m++, real->number[k], g->number[k], "number", g->name);
      for (int k = 0; k < N_MODE; ++k)
        close_to(*m++, real->wet_radius[k], 0.0, "wet radius", g->name);
      for (int k = 0; k < N_SOLUBLE; ++k)
        close_to(*m++, real->dry_radius[k], 0.0, "dry radius", g->name);
      for (int k = 0; k < N_MODE; ++k)
        close_to(*m++, real->density[k], 0.0, "density", g->name);
      for (int k = 0; k < N_SOLUBLE; ++k)
        close_to(*m++, real->water[k], 0.0, "water", g->name);
      cells_free(&c);
    }
    m7emu_close(model);
  }
  fprintf(stderr, "largest relative difference from real M7: %.1e\n", worst);
  return finish();
}
