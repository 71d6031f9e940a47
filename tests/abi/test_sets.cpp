// Every set of instructions that this processor has gives the same step, and so does the scalar
// form: the same bits with fused multiply-adds, whatever the width of the vectors; nearly the same
// without.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "../../bridge/engine/model.h"
extern "C" {
#include "cells.h"
}

namespace m7emu {
namespace scalar {
extern const Engine engine;
}
} // namespace m7emu

namespace {

enum { count = 512 };

struct Results {
  std::vector<double> supply; // of gas [cm-3]
  std::vector<double> in_double;
  std::vector<float> in_float;
};

Results run(const m7emu::Engine &engine, const m7emu::Model &model) {
  cells c = cells_new(count, count, 1);
  cells_float f = cells_float_new(count, count, 1);
  for (std::size_t i = 0; i < count; ++i) {
    cells_set(&c, i, i);
    cells_float_set(&f, i, i);
  }
  std::vector<double> supply(count);
  for (std::size_t i = 0; i < count; ++i)
    supply[i] = c.block.h2so4[i] + c.block.timestep * c.block.h2so4_production[i];
  engine.step(model.program, c.block);
  engine.step_float(model.program, f.block);
  Results results{supply, {c.memory, c.memory + c.size}, {f.memory, f.memory + f.size}};
  cells_free(&c);
  cells_float_free(&f);
  return results;
}

template <class T>
double furthest(const std::vector<double> &supply, const std::vector<T> &a,
                const std::vector<T> &b) {
  double worst = 0.0;
  for (std::size_t i = 8 * count; i < a.size(); ++i) {
    // a residue of what was emptied has no digits
    double size = std::fmax(std::fabs(double(a[i])), 1e-300);
    if (i < 9 * count) // what is left of the gas is a difference
      size = std::fmax(size, supply[i - 8 * count]);
    if (i < 34 * count && size < 1e-3)
      continue;
    worst = std::fmax(worst, std::fabs(double(a[i]) - double(b[i])) / size);
  }
  return worst;
}

} // namespace

int main(int argc, char **argv) {
  for (int i = 1; i < argc; ++i) {
    m7emu::Model model{};
    m7emu::read_model(argv[i], model);
    std::vector<const m7emu::Engine *> engines;
    for (const m7emu::Engine *const *engine = m7emu::engines(); *engine; ++engine)
      engines.push_back(*engine);
    engines.push_back(&m7emu::scalar::engine);
    const Results best = run(*engines[0], model);
    for (const m7emu::Engine *engine : engines) {
      const Results other = run(*engine, model);
      const double in_double = furthest(best.supply, best.in_double, other.in_double);
      const double in_float = furthest(best.supply, best.in_float, other.in_float);
      std::fprintf(stderr, "%s, %d lanes: %.1e, %.1e\n", engine->name, engine->lanes, in_double,
                   in_float);
      if (std::strcmp(engine->name, "avx2") == 0) {
        that(best.in_double == other.in_double, "the same bits in double");
        that(best.in_float == other.in_float, "the same bits in single precision");
      }
      that(in_double < 1e-3 && in_float < 1e-3, "nearly the same");
    }
  }
  return finish();
}
