// The engine's own elementary functions against the library's in higher precision, and the cheap
// test for nucleation against the fit. Built for vectors and for plain scalars.
#include <cmath>
#include <cstdio>

#include "../../bridge/engine/nucleation.h"
extern "C" {
#include "cells.h"
}

namespace {

using namespace m7emu::M7EMU_SET;

template <class T, class Ours, class Real>
void accurate(const char *name, Ours ours, Real real, double low, double high, double tolerance) {
  double worst = 0.0, at = 0.0;
  std::uint64_t seed = 3;
  for (int i = 0; i < 40000; ++i) {
    T x[lanes], y[lanes];
    for (T &value : x)
      value = T(low > 0.0 ? std::exp(std::log(low) + (std::log(high) - std::log(low)) * draw(&seed))
                          : low + (high - low) * draw(&seed));
    store(y, ours(load(x)));
    for (int k = 0; k < lanes; ++k) {
      const long double expected = real(static_cast<long double>(x[k]));
      const double error = static_cast<double>(std::fabs((y[k] - expected) / expected));
      if (!(error <= worst))
        worst = error, at = double(x[k]);
    }
  }
  std::fprintf(stderr, "%s of %zu bytes: %.1e\n", name, sizeof(T), worst);
  if (!(worst <= tolerance))
    std::fprintf(stderr, "  at %.17g\n", at);
  that(worst <= tolerance, name);
}

template <class T> void functions(double tolerance, double low, double high) {
  using R = pack<T>;
  const auto exp_real = [](long double x) { return std::exp(x); };
  const auto log_real = [](long double x) { return std::log(x); };
  accurate<T>(
      "exp", [](R x) { return exp_of<T>(x); }, exp_real, -std::log(high), std::log(high),
      tolerance);
  accurate<T>("log", [](R x) { return log_of<T>(x); }, log_real, low, high, tolerance);
  accurate<T>("log near 1", [](R x) { return log_of<T>(x); }, log_real, 0.5, 2.0, tolerance);
  accurate<T>(
      "cube root", [](R x) { return cube_root(x); }, [](long double x) { return std::cbrt(x); },
      1e3 * low, high, 2.0 * tolerance);
  accurate<T>(
      "erfc", [](R x) { return erfc_of<T>(x); }, [](long double x) { return std::erfc(x); }, 0.0,
      6.0, 30.0 * tolerance);
  const auto left = [](R x) {
    R kept, lost;
    decay<T>(x, kept, lost);
    return kept;
  };
  const auto lost = [](R x) {
    R kept, gone;
    decay<T>(x, kept, gone);
    return gone;
  };
  accurate<T>(
      "decay, left", left, [](long double x) { return std::exp(-x); }, 1e-12, 80.0, tolerance);
  accurate<T>(
      "decay, lost", lost, [](long double x) { return -std::expm1(-x); }, 1e-12, 80.0, tolerance);
  const R far[] = {exp_of<T>(R(T(-1e4))), cube_root(R(T(0))), log_of<T>(R(T(0)))};
  T value[lanes];
  store(value, far[0]);
  that(!(value[0] > T(0)) && !(value[0] < T(0)), "exp of very little");
  store(value, far[1]);
  that(!(value[0] > T(0)), "cube root of 0");
  store(value, far[2]);
  that(std::isfinite(value[0]), "log of 0 is finite");
}

void nucleation() {
  using R = pack<float>;
  std::uint64_t seed = 5;
  long forms = 0, tested = 0, blocks = 0;
  for (int older = 0; older < 2; ++older)
    for (int i = 0; i < 200000 / lanes; ++i) {
      float t[lanes], s[lanes], n[lanes], rate[lanes];
      // one kind of air in all lanes, or the test would nearly always say yes
      const double about = 170.0 + 150.0 * draw(&seed), gas = 30.0 * draw(&seed);
      for (int k = 0; k < lanes; ++k) {
        t[k] = float(about + 2.0 * draw(&seed));
        s[k] = float(draw(&seed) < 0.2 ? std::exp(-12.0 * draw(&seed)) : draw(&seed));
        n[k] = float(std::exp(gas + draw(&seed)));
      }
      Air air;
      air.seen_temperature = load(t);
      air.temperature = to<double>(air.seen_temperature);
      air.seen_humidity = load(s);
      m7emu::Switches switches = {};
      switches.older = older;
      R found, molecules;
      const R wet = ln_saturation(air), gas_above = ln_gas_from_middle(load(n));
      vehkamaki(switches, air, wet, gas_above, load(n), found, molecules);
      store(rate, found);
      bool any_forms = false;
      for (int k = 0; k < lanes; ++k)
        any_forms |= rate[k] > 0.0f;
      const bool says = any(may_nucleate(air, wet, gas_above));
      ++blocks;
      forms += any_forms;
      tested += says;
      if (any_forms && !says)
        that(0, "the cheap test lets nucleation pass");
    }
  std::fprintf(stderr, "nucleation in %ld of %ld blocks, evaluated in %ld\n", forms, blocks,
               tested);
  that(forms > 0 && tested >= forms && tested < blocks, "the cheap test is of use");
}

} // namespace

int main() {
  functions<double>(3e-16, 1e-140, 1e140);
  functions<float>(1.5e-7, 1e-35, 1e35);
  nucleation();
  return finish();
}
