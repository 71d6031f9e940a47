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

// Kernels of all pairs [cm3 s-1] at the count median radii [cm]; 0 where either mode is empty.
template <class T>
M7EMU_FUNCTION void coagulation_kernels(const Parameters<T> &p, const Air &air,
                                        const pack<T> (&radius)[n_mode],
                                        const pack<T> (&density)[n_mode],
                                        const mask<T> (&there)[n_mode], pack<T> (&kernel)[n_pair]) {
  using R = pack<T>;
  const R one = R(T(1));
  const R temperature = to<T>(air.temperature), pressure = to<T>(air.pressure);
  const R path = R(p.path_per_kelvin) * temperature / pressure;
  const R half_path = R(T(0.5)) * path, decay = R(T(-0.86 * 1.4426950408889634)) / path;
  // With diffusivities and speeds times 4 pi the kernel has its factor; each mode has half of what
  // a pair has of radius and diffusivity. Products are what takes time here, so that constants are
  // multiplied beforehand.
  const T four_pi = T(4) * p.pi;
  // 4 pi 2 k_B T/(6 pi eta)
  const R scale = R(T(2) * four_pi * p.stokes) * temperature *
                  exp_of<T>(R(T(-0.74)) * log_of<T>(temperature * R(T(1.0 / 291.15))));
  // The square of 4 pi times the speed is this over radius**3 density: 8 k_B T/(pi 4/3 pi).
  const R energy = R(four_pi * four_pi * p.energy / (T(4.0 / 3.0) * p.pi)) * temperature;
  constexpr T least = T(speed2_min), root_of_2 = T(1.41421356237309505);
  const R per_energy = one / energy;
  R reach[n_mode], diffusivity[n_mode], speed[n_mode], speed2[n_mode], stop[n_mode], stop2[n_mode];
  for (int k = 0; k < n_mode; ++k) {
    const R r = select(there[k], radius[k], R(T(1.0e-5)));
    const R heavy = r * r * r * select(there[k], density[k], one), per_r = one / r;
    speed2[k] = max(energy / heavy, R(four_pi * four_pi * least));
    const R per_speed2 = min(per_energy * heavy, R(T(1) / (four_pi * four_pi * least)));
    const R slip = R(T(2.492)) + R(T(0.84)) * power_of_two(max(decay * r, R(T(-126))));
    diffusivity[k] = min(scale * per_r * (one + half_path * per_r * slip),
                         R(T(2) * four_pi * T(diffusivity_max)));
    // (2r+l)**3 - (4r**2+l**2)**1.5 factorises, as for condensation.
    speed[k] = sqrt(speed2[k]);
    const R free_path = R(T(4) / p.pi) * diffusivity[k] * (speed[k] * per_speed2);
    const R width = r + r, both = width + free_path;
    const R root2 = width * width + free_path * free_path;
    const R gap = R(T(2.0 / 3.0)) * (both + root2 / (both + sqrt(root2))) - width;
    stop[k] = R(root_of_2 * p.shrink) * gap;
    stop2[k] = stop[k] * stop[k];
    reach[k] = R(T(0.5)) * radius[k] + R(T(0.5) * p.grain);
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
      const R fast = j == k ? R(root_of_2) * speed[k] : sqrt(speed2[j] + speed2[k]);
      const R stops = j == k ? R(root_of_2) * absolute(stop[k]) : sqrt(stop2[j] + stop2[k]);
      const R impact = fast * (r * r), spread = r + stops;
      above[i] = d * impact * spread;
      below[i] = d * spread + impact;
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
