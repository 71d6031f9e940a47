// Brownian coagulation kernels: section 11 of the physics contract (Fuchs 1964, par. 49).
#pragma once

#include "cells.h"
#include "math.h"
#include "parameters.h"

namespace m7emu {
namespace M7EMU_SET {

constexpr double density_min = 1.0e-10; // [g cm-3]
// Bounds that nothing in an atmosphere reaches; they keep float from overflowing [cm2 s-2, cm2 s-1,
// cm3 s-1].
constexpr double speed2_min = 1.0e-20, diffusivity_max = 1.0e10, kernel_max = 1.0e6;

// Where a mode collides; else it counts as empty.
template <class T>
M7EMU_INLINE mask<T> collides(const Parameters<T> &p, pack<T> radius, pack<T> density,
                              pack<T> number) {
  using R = pack<T>;
  return (number > R(p.kernel_number_min)) & (radius > R(p.kernel_radius_min)) &
         (density > R(T(density_min)));
}

// 0.84 times those of 2**x
M7EMU_TABLE float slip_series[] = {0.84f * power_series[0], 0.84f * power_series[1],
                                   0.84f * power_series[2], 0.84f * power_series[3],
                                   0.84f * power_series[4], 0.84f * power_series[5]};

// Kernels of all pairs [cm3 s-1] at the count median radii [cm]; 0 where either mode is empty.
// Products are what takes time here, so that constants are multiplied beforehand: lengths are
// twice, speeds pi times and diffusivities 4 pi times those of the contract. So a pair's reach and
// diffusivity are the sums of its modes', a mode's mean free path is its diffusivity times its
// slowness, and the kernel is x y/(x + y) of what diffuses and of what flies into each other.
template <class T>
M7EMU_FUNCTION void coagulation_kernels(const Parameters<T> &p, const Air &air,
                                        const pack<T> (&radius)[n_mode],
                                        const pack<T> (&density)[n_mode],
                                        const mask<T> (&there)[n_mode], pack<T> (&kernel)[n_pair]) {
  using R = pack<T>;
  const R one = R(T(1));
  const T pi = p.pi;
  constexpr T root_of_2 = T(1.41421356237309505);
  const R temperature = to<T>(air.seen_temperature), pressure = to<T>(air.pressure);
  const R path = R(p.path_per_kelvin) * temperature / pressure;
  const R half_path = R(T(0.5)) * path, decay = R(T(-0.86 * 1.4426950408889634)) / path;
  // 4 pi k_B T/(6 pi eta)
  const R scale = R(T(4) * pi * p.stokes) * temperature *
                  exp_of<T>(R(T(-0.74)) * log_of<T>(temperature * R(T(1.0 / 291.15))));
  // `slowness` is 2/(pi**2 v) of a speed v whose square is 8 k_B T/(pi 4/3 pi radius**3 density).
  const R per_energy = R(T(16.0 / 3.0) / (pi * pi * pi * p.energy)) / temperature;
  const T speed2_times = T(4) / (pi * pi);
  const R slowest = R(speed2_times / (pi * pi * T(speed2_min)));
  R reach[n_mode], diffusivity[n_mode], slowness[n_mode], speed2[n_mode], stop[n_mode],
      stop2[n_mode];
  for (int k = 0; k < n_mode; ++k) {
    const R r = select(there[k], radius[k], R(T(1.0e-5)));
    const R dense = select(there[k], density[k], one), per_r = one / r;
    const R slowness2 = min(r * r * (r * (dense * per_energy)), slowest);
    slowness[k] = sqrt(slowness2);
    speed2[k] = R(speed2_times) / slowness2;
    const R slip = R(T(2.492)) + power_of_two(max(decay * r, R(T(-126))), slip_series);
    diffusivity[k] =
        min(scale * per_r * (one + half_path * per_r * slip), R(T(4) * pi * T(diffusivity_max)));
    // (2r+l)**3 - (4r**2+l**2)**1.5 factorises, as for condensation.
    const R free_path = diffusivity[k] * slowness[k], width = r + r, both = width + free_path;
    const R root2 = width * width + free_path * free_path;
    const R gap = R(T(2.0 / 3.0)) * (both + root2 / (both + sqrt(root2))) - width;
    stop[k] = R(T(2) * root_of_2 * p.shrink) * gap;
    stop2[k] = stop[k] * stop[k];
    reach[k] = radius[k] + R(p.grain);
  }
  // Two pairs share a division, which takes as long as three products.
  static_assert(n_pair % 2 == 0);
  M7EMU_UNROLL(8)
  for (int pair = 0; pair < n_pair; pair += 2) {
    R above[2], below[2];
    M7EMU_UNROLL(2)
    for (int i = 0; i < 2; ++i) {
      const int j = pair_first[pair + i], k = pair_second[pair + i];
      const R r = reach[j] + reach[k], d = diffusivity[j] + diffusivity[k];
      // Of a mode with itself the roots are known.
      const R fast = j == k ? R(root_of_2 / T(2) * pi) * (speed2[k] * slowness[k])
                            : sqrt(speed2[j] + speed2[k]);
      const R stops = j == k ? R(root_of_2) * absolute(stop[k]) : sqrt(stop2[j] + stop2[k]);
      const R flies = fast * (r * r), diffuses = d * (r + stops);
      above[i] = diffuses * flies;
      below[i] = diffuses + flies;
    }
    const R per_both = one / (below[0] * below[1]);
    M7EMU_UNROLL(2)
    for (int i = 0; i < 2; ++i)
      kernel[pair + i] = only(there[pair_first[pair + i]] & there[pair_second[pair + i]],
                              min(above[i] * (below[1 - i] * per_both), R(T(kernel_max))));
  }
}

} // namespace M7EMU_SET
} // namespace m7emu
