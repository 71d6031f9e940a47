// Ageing of insoluble modes by a coating of sulfate: section 14 of the physics contract.
#pragma once

#include "cells.h"
#include "parameters.h"

namespace m7emu {
namespace M7EMU_SET {

// Molecules of a coating, and NS particles to make it: bounds beyond all that can be, for float
// [1].
constexpr double coat_max = 1.0e17;
constexpr double coating_min = 2.2e-16; // molecules per particle below which nothing is coated [1]

// Molecules that coat the mean particle of each insoluble mode, of ambient radius [cm].
template <class T>
M7EMU_INLINE void coatings(const Parameters<T> &p, const pack<T> (&radius)[n_mode],
                           pack<T> (&coat)[n_insoluble]) {
  for (int k = 0; k < n_insoluble; ++k)
    coat[k] =
        min(pack<T>(p.coat_factor[k]) * radius[ki + k] * radius[ki + k], pack<T>(T(coat_max)));
}

// Where particles age at all.
template <class T> M7EMU_INLINE mask<T> ages(const Parameters<T> &p, pack<T> coat, pack<T> number) {
  using R = pack<T>;
  return (number >= R(p.ageing_number_min)) & (coat > R(T(coating_min)));
}

// Share of the number of an insoluble mode that joins the soluble mode of its size, and of its mass
// if the mode has lost no particles before: of those particles whose coating is complete. `coat`:
// molecules that coat the mean particle; `sulfate`: condensed on and collected by the mode during
// the step.
template <class T>
M7EMU_FUNCTION pack<T> aged_share(const Parameters<T> &p, pack<T> coat, pack<T> sulfate,
                                  pack<T> number) {
  using R = pack<T>;
  return min(quotient(ages(p, coat, number), sulfate, coat * number), R(T(1)));
}

// Share of the mass where particles of so much mass as `kept` have remained; the limited 2004
// generation moves the mass of all that could be coated, as far as there is any.
template <class T>
M7EMU_FUNCTION pack<T> aged_mass_share(const Parameters<T> &p, const Switches &switches,
                                       pack<T> coat, pack<T> sulfate, pack<T> number, pack<T> kept,
                                       pack<T> number_share) {
  using R = pack<T>;
  R coated = number_share * number;
  if (switches.limited_ageing && switches.older)
    coated = quotient(ages(p, coat, number), sulfate, coat);
  return quotient(min(coated, kept), kept);
}

} // namespace M7EMU_SET
} // namespace m7emu
