// Brownian coagulation kernels: section 11 of the physics contract (Fuchs 1964, par. 49).
#pragma once

#include "cells.h"
#include "math.h"
#include "parameters.h"

namespace m7emu {
namespace M7EMU_SET {

constexpr double density_min = 1.0e-10; // [g cm-3]
// Bounds that nothing in an atmosphere reaches; they keep float from overflowing [cm2 s-2, cm3
// s-1].
constexpr double speed2_min = 1.0e-20, kernel_max = 1.0e6;

// 1 where a mode collides, 0 where it counts as empty.
template <class T>
M7EMU_INLINE pack<T> colliding(const Parameters<T> &p, pack<T> radius, pack<T> density,
                               pack<T> number) {
  using R = pack<T>;
  return only((number > R(p.kernel_number_min)) & (radius > R(p.kernel_radius_min)) &
                  (density > R(T(density_min))),
              R(T(1)));
}

// Kernels of all pairs [cm3 s-1] at the count median radii [cm]; 0 where either mode is empty.
template <class T>
M7EMU_FUNCTION void coagulation_kernels(const Parameters<T> &p, const Air &air,
                                        const pack<T> (&radius)[n_mode],
                                        const pack<T> (&density)[n_mode],
                                        const pack<T> (&valid)[n_mode], pack<T> (&kernel)[n_pair]) {
  using R = pack<T>;
  const R zero = R(T(0)), one = R(T(1)), two = R(T(2));
  const R temperature = to<T>(air.temperature), pressure = to<T>(air.pressure);
  const R path = R(p.path_per_kelvin) * temperature / pressure;
  const R per_path = one / path;
  // k_B T/(6 pi eta)
  const R scale = R(p.stokes) * temperature *
                  exp_of<T>(R(T(-0.74)) * log_of<T>(temperature * R(T(1.0 / 291.15))));
  const R energy = R(p.energy) * temperature; // 8 k_B T/pi
  const R per_energy = one / energy, half_path = R(T(0.5)) * path,
          decay = R(T(-0.86 * 1.4426950408889634)) * per_path;
  // Of each mode, and times what sums of two of them need: radius (a half, and the grain),
  // diffusivity (2), squares of speed and of stopping distance.
  R reach[n_mode], diffusivity[n_mode], speed[n_mode], speed2[n_mode], stop[n_mode], stop2[n_mode];
  for (int k = 0; k < n_mode; ++k) {
    const auto here = valid[k] > zero;
    const R r = select(here, radius[k], R(T(1.0e-5)));
    const R mass = R(T(4.0 / 3.0) * p.pi) * (r * r * r) * select(here, density[k], one);
    speed2[k] = max(energy / mass, R(T(speed2_min)));
    const R per_speed2 = min(per_energy * mass, R(T(1.0 / speed2_min)));
    const R per_r = one / r;
    diffusivity[k] =
        scale * per_r *
        (one +
         half_path * per_r * (R(T(2.492)) + R(T(0.84)) * power_of_two(max(decay * r, R(T(-126))))));
    // (2r+l)**3 - (4r**2+l**2)**1.5 factorises, as for condensation.
    speed[k] = sqrt(speed2[k]);
    const R free_path = R(T(8) / p.pi) * diffusivity[k] * (speed[k] * per_speed2);
    const R both = two * r + free_path;
    const R root2 = R(T(4)) * r * r + free_path * free_path;
    const R gap = R(T(2.0 / 3.0)) * (both + root2 / (both + sqrt(root2))) - two * r;
    const R shrunk = R(p.shrink) * gap;
    stop2[k] = R(T(2)) * (shrunk * shrunk);
    stop[k] = max(shrunk, zero - shrunk);
    diffusivity[k] = two * diffusivity[k];
    reach[k] = R(T(0.5)) * radius[k] + R(T(0.5) * p.grain);
  }
  M7EMU_UNROLL(16)
  for (int pair = 0; pair < n_pair; ++pair) {
    const int j = pair_first[pair], k = pair_second[pair];
    const R r = reach[j] + reach[k], d = diffusivity[j] + diffusivity[k];
    // Of a mode with itself the roots are known.
    const R fast = j == k ? R(T(1.41421356237309505)) * speed[k] : sqrt(speed2[j] + speed2[k]);
    const R stops = j == k ? R(T(2)) * stop[k] : sqrt(stop2[j] + stop2[k]);
    const R impact = fast * (r * r);
    const R spread = r + stops;
    const R shape = spread / (d * spread + impact);
    kernel[pair] =
        min(d * impact * shape, R(T(kernel_max / 16.0))) * (R(T(4) * p.pi) * valid[j] * valid[k]);
  }
}

} // namespace M7EMU_SET
} // namespace m7emu
