// Merging of NS, KS and AS upward where their particles have outgrown the mode: section 15.
#pragma once

#include "cells.h"
#include "math.h"
#include "parameters.h"
#include "properties.h"

namespace m7emu {
namespace M7EMU_SET {

// Shares of mass and number that leave mode k, and that stay: none leave until its mean particle
// outgrows that of the mode's middle radius; then what stays is the part below the upper edge, at
// the middle radius. Where what leaves would be smaller than the upper edge, fewer particles take
// the mass (ham2), or fewer and less of it (2004). Means that exceed the middle by no more than the
// share `slack` stay. Returns whether any lane merges.
template <int k, class T>
M7EMU_FUNCTION bool merging_shares(const Parameters<T> &p, const Switches &switches,
                                   const Amounts<T> &x, T slack, pack<T> &virtual_molecules,
                                   pack<T> (&mass)[2], pack<T> (&number)[2]) {
  using R = pack<T>;
  const R zero = R(T(0)), one = R(T(1)), two = R(T(2));
  R volume = x.mass[mass_index[k][so4]] * R(p.molecule_volume);
  for (int species = bc; species < n_species; ++species)
    if (mass_index[k][species] >= 0)
      volume = volume + x.mass[mass_index[k][species]] * R(p.per_density[species]);
  const R count = x.number[k], middle = R(p.middle[k]), edge = R(p.edge[k]);
  auto grown = (count > R(p.merging_number_min)) & (volume > middle * R(T(1) + slack) * count);
  if (!any(grown) && !switches.older)
    return false;
  // The dry particle by M7's thresholds, in sizes of that of the upper edge.
  Dry<T> dry;
  dry_particle<k>(p, switches, x, virtual_molecules, dry);
  const R size = dry.volume * R(p.per_upper_volume[k]);
  grown = grown & (size > R(p.least_size[k]));
  if (!any(grown))
    return false;
  R mean = quotient(grown, volume, count);
  const R third = R(T(1.0 / 3.0) * p.per_ln_sigma[k]);
  const R t = zero - log_of<T>(select(grown, size, one)) * third;
  // Parts of a log-normal below and above the upper edge.
  const R tail = R(T(0.5)) * erfc_of<T>(max(t, zero - t) * R(T(0.70710678118654752)));
  const auto mostly_below = t > zero;
  R below = select(mostly_below, one - tail, tail), above = select(mostly_below, tail, one - tail);
  // "None" is the same for all precisions.
  auto none = below < R(T(real_traits<double>::epsilon));
  if (!switches.older)
    none = none | (size > R(T(1000)));
  below = select(none, zero, below);
  above = select(none, one, above);
  mean = select(grown, mean, two * middle);
  const R stays = below * middle; // volume that stays, per particle of the mode
  const R leaves = (mean - middle) + above * middle;
  const auto small = leaves < edge * above;
  const R per_mean = one / mean;
  mass[0] = stays * per_mean;
  mass[1] = leaves * per_mean;
  if (switches.older) {
    const R part = (mean - middle) / (edge - middle);
    number[1] = select(small, part, above);
    mass[1] = select(small, part * edge * per_mean, mass[1]);
    mass[0] = select(small, max(one - mass[1], zero), mass[0]);
    // The 2004 generation takes a share as small as this for none.
    grown = grown & (above * count > R(p.least_merged));
  } else {
    number[1] = select(small, leaves * R(p.per_edge[k]), above);
    grown = grown & (above * count > zero);
  }
  number[0] = select(small, max(one - number[1], zero), below);
  for (int i = 0; i < 2; ++i) {
    const R unmoved = i == 0 ? one : zero;
    mass[i] = select(grown, mass[i], unmoved);
    number[i] = select(grown, number[i], unmoved);
  }
  return true;
}

// Move the shares of mode k to the next larger mode, from AS down: what leaves a mode is found from
// the state before any of them has merged.
template <int k, class S, class T>
M7EMU_INLINE void merge_mode(const pack<T> (&mass_shares)[2], const pack<T> (&number_shares)[2],
                             State<S> &cells) {
  pack<S> mass[2], number[2];
  convert(mass_shares, mass);
  convert(number_shares, number);
  normalise<S>(mass);
  normalise<S>(number);
  M7EMU_UNROLL(8)
  for (int species = so4; species < n_species; ++species) {
    const int from = mass_index[k][species], into = mass_index[k + 1][species];
    if (from < 0)
      continue;
    const pack<S> old = cells.mass[from];
    cells.mass[from] = old * mass[0];
    cells.mass[into] = cells.mass[into] + old * mass[1];
  }
  const pack<S> old = cells.number[k];
  cells.number[k] = old * number[0];
  cells.number[k + 1] = cells.number[k + 1] + old * number[1];
}

// `x` is what NS, KS and AS of `cells` hold. Returns whether any lane merges.
template <class S, class T>
M7EMU_FUNCTION bool merge_modes(const Parameters<T> &p, const Switches &switches, T slack,
                                const Amounts<T> &x, pack<T> &virtual_molecules, State<S> &cells) {
  pack<T> mass[as + 1][2], number[as + 1][2];
  const bool from_ns =
      merging_shares<ns>(p, switches, x, slack, virtual_molecules, mass[ns], number[ns]);
  const bool from_ks =
      merging_shares<ks>(p, switches, x, slack, virtual_molecules, mass[ks], number[ks]);
  const bool from_as =
      merging_shares<as>(p, switches, x, slack, virtual_molecules, mass[as], number[as]);
  if (from_as)
    merge_mode<as>(mass[as], number[as], cells);
  if (from_ks)
    merge_mode<ks>(mass[ks], number[ks], cells);
  if (from_ns)
    merge_mode<ns>(mass[ns], number[ns], cells);
  return from_ns || from_ks || from_as;
}

} // namespace M7EMU_SET
} // namespace m7emu
