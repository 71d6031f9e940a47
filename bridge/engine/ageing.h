// Ageing of insoluble modes by a coating of sulfate: section 14 of the physics contract.
#pragma once

#include "cells.h"
#include "parameters.h"

namespace m7emu {
namespace M7EMU_SET {

constexpr double coating_min = 2.2e-16; // molecules per particle below which nothing is coated [1]

// Shares of the number and of the mass of insoluble mode k that join the soluble mode of its size:
// those particles whose coating is complete. `coat`: molecules that coat the mean particle;
// `sulfate`: condensed on and collected by the mode during the step; `number` of particles now,
// `start` before coagulation, of which the share `stay` has kept its mass.
template <class T>
M7EMU_FUNCTION void ageing_shares(const Parameters<T> &p, const Switches &switches, pack<T> coat,
                                  pack<T> sulfate, pack<T> number, pack<T> start, pack<T> stay,
                                  pack<T> &number_share, pack<T> &mass_share) {
  using R = pack<T>;
  const R zero = R(T(0)), one = R(T(1));
  const auto ages = (number >= R(p.ageing_number_min)) & (coat > R(T(coating_min)));
  R coated = select(ages, sulfate / select(ages, coat, one), zero);
  number_share = quotient(min(coated, number), number);
  // The limited 2004 generation moves the mass of all that could be coated, as far as there is any.
  if (!(switches.limited_ageing && switches.older))
    coated = min(coated, number);
  const R kept = start * stay;
  mass_share = quotient(min(coated, kept), kept);
}

} // namespace M7EMU_SET
} // namespace m7emu
