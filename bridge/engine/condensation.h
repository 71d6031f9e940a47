// Condensation of H2SO4: section 9 of the physics contract (Fuchs 1959; Vignati 1999).
#pragma once

#include "cells.h"
#include "math.h"
#include "parameters.h"

namespace m7emu {
namespace M7EMU_SET {

// Of H2SO4 on soluble and insoluble particles [1]
M7EMU_TABLE double accommodation[n_mode] = {1.0, 1.0, 1.0, 1.0, 0.3, 0.3, 0.3};
// Share of the gas that the 2004 generation condenses at most in a step [1]
constexpr double euler_limit = 0.95;
// Bound of a learned sink per particle that nothing in an atmosphere reaches; it keeps float from
// overflowing [cm3 s-1].
constexpr double sink_max = 1.0e9;
// Cloud droplets form on the largest soluble mode there is.
M7EMU_TABLE int cloud_order[n_mode] = {cs, as, ks, ns, ci, ai, ki};

// Loss rate of H2SO4 to a particle of count median radius r [cm]: Fuchs' flux matching.
template <class T> struct Diffusion {
  pack<T> path, path2, speed;    // [cm], [cm2], [cm s-1]
  pack<T> diffusive, whole_rate; // 8/3 times the diffusivity, and pi times that [cm2 s-1]

  M7EMU_FUNCTION Diffusion(const Parameters<T> &p, const Air &air) {
    using R = pack<T>;
    const R temperature = to<T>(air.seen_temperature), pressure = to<T>(air.pressure);
    const R warm = temperature * R(T(1.0 / 298.15));
    const R diffusivity = R(T(0.073 * 1.0e5)) / pressure * warm * sqrt(warm);
    const R speed2 = R(p.speed2_per_kelvin) * temperature;
    speed = sqrt(speed2);
    path = R(T(8)) * diffusivity * speed / (R(p.pi) * speed2);
    path2 = path * path;
    diffusive = R(T(8.0 / 3.0)) * diffusivity;
    whole_rate = R(p.pi) * diffusive;
  }

  // [cm3 s-1]
  M7EMU_INLINE pack<T> sink(int k, pack<T> r) const {
    using R = pack<T>;
    // r + Delta of the contract is 2/3 reach/span: (r+l)**3 - (r**2+l**2)**1.5 factorises.
    const R r2 = r * r, root2 = r2 + path2, both = r + path;
    const R span = both + sqrt(root2), reach = both * span + root2;
    const R uptake = R(T(accommodation[k])) * speed * r2;
    return whole_rate * uptake * (reach / (diffusive * reach + uptake * span));
  }
};

// Loss rate to each mode [s-1].
template <class T>
M7EMU_FUNCTION void condensation_sink(const Parameters<T> &p, const Air &air,
                                      const pack<T> (&radius)[n_mode],
                                      const pack<T> (&number)[n_mode], pack<T> (&sink)[n_mode]) {
  const Diffusion<T> diffusion(p, air);
  for (int k = 0; k < n_mode; ++k)
    sink[k] = number[k] * diffusion.sink(k, radius[k]);
}

// Move H2SO4 from the gas to the modes. The older generation takes an Euler step; the later one
// solves production and condensation together and gives the cloudy part to cloud droplets. `total`
// is the sum of the sinks [s-1], `coating` what KI, AI and CI take [molecules cm-3].
template <class S>
M7EMU_FUNCTION void condense(const Switches &switches, double timestep, const Air &air,
                             const pack<double> (&sink)[n_mode], pack<double> total,
                             pack<double> &gas, State<S> &cells, pack<S> (&coating)[n_insoluble]) {
  using R = pack<double>;
  const R zero = R(0.0), one = R(1.0), dt = R(timestep);
  R clear, cloudy = zero;
  const R per_total = quotient(one, total);
  if (switches.older) {
    const auto acts = (total > zero) & (gas > R(1.0e-10));
    clear = only(acts, min(total * gas * dt, R(euler_limit) * gas));
    gas = gas - clear;
  } else {
    const auto acts = total > R(1.0e-10);
    R kept, lost;
    decay<double>(total * dt, kept, lost);
    const R supply = max(gas + air.production * dt, zero);
    R left = gas * kept + air.production * lost * per_total;
    left = min(max(left, zero), supply);
    const R open = one - air.cloud_fraction;
    clear = only(acts, open * (supply - left));
    cloudy = only(acts, air.cloud_fraction * supply);
    gas = select(acts, open * left, supply);
  }
  const R amount = clear * per_total;
  M7EMU_UNROLL(8)
  for (int j = 0; j < n_mode; ++j) {
    const int k = cloud_order[j];
    const R take = only(sink[k] > zero, cloudy);
    cloudy = cloudy - take;
    const pack<S> condensed = to<S>(sink[k] * amount + take);
    if (k < n_soluble)
      cells.mass[mass_index[k][so4]] = cells.mass[mass_index[k][so4]] + condensed;
    else
      coating[k - ki] = condensed;
  }
}

} // namespace M7EMU_SET
} // namespace m7emu
