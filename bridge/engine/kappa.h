// Water uptake by kappa-Koehler theory: section 8.4 of the physics contract, as in
// pyemu/blocks/kappa.py.
#pragma once

#include "cells.h"
#include "math.h"

namespace m7emu {
namespace M7EMU_SET {

// 2 sigma M_w/(R rho_w): the Kelvin radius is this over temperature [cm K]
constexpr double kelvin = 2.0 * 0.072 * 0.018 / (8.314 * 1.0e3) * 1.0e2;
// Dry radius below which particles stay dry [cm]
constexpr double least_moist_radius = 1.0e-8;
// From the start, these Newton steps reach float's rounding. The water after the step takes one
// more in double.
constexpr int newton_steps = 2;
// Volume of water over that of the dry particle that no particle below a millimetre reaches; it
// keeps float from overflowing [1].
constexpr double most_growth = 1.0e9;

// How the air wets particles.
template <class T> struct Moist {
  pack<T> kelvin;            // radius [cm]
  pack<T> humidity, missing; // relative humidity, and what is missing to 1

  M7EMU_INLINE explicit Moist(const Air &air)
      : kelvin(to<T>(pack<double>(m7emu::M7EMU_SET::kelvin) / air.temperature)),
        humidity(to<T>(air.relative_humidity)),
        missing(to<T>(pack<double>(1.0) - air.relative_humidity)) {}
  Moist() = default;
};

// Activity of water in a droplet, RH exp(-h), and what is missing to 1: that does not cancel near
// saturation.
template <class T>
M7EMU_INLINE void activity(const Moist<T> &air, pack<T> h, pack<T> &e, pack<T> &lost) {
  pack<T> left, gone;
  decay<T>(h, left, gone);
  e = air.humidity * left;
  lost = air.missing + air.humidity * gone;
}

// The volume of water over that of the dry particle, V = G**3 - 1, solves RH exp(-A/(r G)) =
// V/(V + kappa) (Petters and Kreidenweis 2007, equation 6). It has one root for RH to 1 and kappa
// to 10. Newton's step is on the logarithm of v = V/kappa, of which the equation is nearly linear:
// v = e/(1 - e) with e = RH exp(-A/(r G)). `reach` is A/r.
template <class T>
M7EMU_INLINE pack<T> newton(const Moist<T> &air, pack<T> reach, pack<T> kappa, pack<T> v) {
  using R = pack<T>;
  const R volume = kappa * v, size = inverse_cube_root(R(T(1)) + volume);
  R e, lost;
  activity(air, reach * size, e, lost);
  const R square = size * size;
  const R bend = reach * volume * (square * square) * R(T(1.0 / 3.0));
  // (1 - c z)/(1 + c z) for (v/v of this size)**(-c), with c = bend/(lost - bend)
  const R now = v * lost;
  const R wide = (lost - bend) * (now + e + R(T(1.0e-30))), narrow = bend * (now - e);
  return e * (wide - narrow) / (lost * (wide + narrow));
}

// V/kappa from a start within a factor of two: the least of two droplets that are too large, at RH
// 1 and without curvature.
template <class T>
M7EMU_INLINE pack<T> solve_growth(const Moist<T> &air, pack<T> reach, pack<T> kappa) {
  using R = pack<T>;
  const R one = R(T(1));
  const R flat = one + kappa * air.humidity / max(air.missing, R(T(1.0e-12)));
  const R curved = one + kappa / (reach * (one + reach * (R(T(0.5)) + reach * R(T(1.0 / 6.0)))));
  R e, v;
  const R size = max(one / sqrt(curved), inverse_cube_root(flat));
  activity(air, reach * size, e, v);
  v = e / v;
  for (int i = 0; i < newton_steps; ++i)
    v = newton(air, reach, kappa, v);
  return v;
}

} // namespace M7EMU_SET
} // namespace m7emu
