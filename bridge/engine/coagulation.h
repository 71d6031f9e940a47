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
M7EMU_FUNCTION void colliding(const Parameters<T> &p, const pack<T> (&radius)[n_mode],
                              const pack<T> (&density)[n_mode], const pack<T> (&number)[n_mode],
                              pack<T> (&valid)[n_mode]) {
  using R = pack<T>;
  for (int k = 0; k < n_mode; ++k)
    valid[k] = select((number[k] > R(p.kernel_number_min)) & (radius[k] > R(p.kernel_radius_min)) &
                          (density[k] > R(T(density_min))),
                      R(T(1)), R(T(0)));
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
  R diffusivity[n_mode], speed2[n_mode], stop2[n_mode];
  for (int k = 0; k < n_mode; ++k) {
    const auto here = valid[k] > zero;
    const R r = select(here, radius[k], R(T(1.0e-5)));
    const R mass = R(T(4.0 / 3.0)) * R(p.pi) * (r * r * r) * select(here, density[k], one);
    const R per_mass = one / mass;
    speed2[k] = max(energy * per_mass, R(T(speed2_min)));
    const R per_r = one / r;
    const R knudsen = path * R(T(0.5)) * per_r;
    diffusivity[k] =
        scale * per_r *
        (one + knudsen * (R(T(2.492)) + R(T(0.84)) * exp_of<T>(R(T(-0.86)) * r * per_path)));
    // (2r+l)**3 - (4r**2+l**2)**1.5 factorises, as for condensation.
    const R free_path = R(T(8)) * diffusivity[k] * sqrt(speed2[k]) / (R(p.pi) * speed2[k]);
    const R root2 = R(T(4)) * r * r + free_path * free_path;
    const R span = two * r + free_path + sqrt(root2);
    const R gap = R(p.sqrt2) * (R(T(2.0 / 3.0)) * ((two * r + free_path) + root2 / span) - two * r);
    stop2[k] = gap * gap;
  }
  for (int pair = 0; pair < n_pair; ++pair) {
    const int j = pair_first[pair], k = pair_second[pair];
    const R r = R(T(0.5)) * (radius[j] + radius[k]) + R(p.grain);
    const R mean = R(T(0.5)) * (diffusivity[j] + diffusivity[k]);
    const R impact = sqrt(speed2[j] + speed2[k]) * r * r;
    const R spread = r + R(p.shrink) * sqrt(stop2[j] + stop2[k]);
    const R shape = spread / (R(T(4)) * mean * spread + impact + R(real_traits<T>::least));
    kernel[pair] =
        min(R(T(16)) * R(p.pi) * mean * impact * shape, R(T(kernel_max))) * (valid[j] * valid[k]);
  }
}

} // namespace M7EMU_SET
} // namespace m7emu
