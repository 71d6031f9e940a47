// Merging of NS, KS and AS upward where their particles have outgrown the mode: section 15.
#pragma once

#include "cells.h"
#include "math.h"
#include "parameters.h"
#include "properties.h"

namespace m7emu {
namespace M7EMU_SET {

// Merging of a mode: shares of its mass and number that stay, and that leave.
template <class T> struct Merging {
  mask<T> grown;        // where the mode merges
  bool any;             // lane of the block
  pack<T> volume;       // dry [um3 cm-3]
  pack<T> size;         // of the mean particle by M7's thresholds, over that of the upper edge [1]
  pack<T> below, above; // parts of a log-normal on either side of the upper edge [1]
  pack<T> mass[2], number[2];
};

// Where the mean particle of mode k exceeds that of the mode's middle radius by more than the share
// `slack`.
template <int k, class T>
M7EMU_INLINE void outgrow(const Parameters<T> &p, const Amounts<T> &x, T slack, Merging<T> &mode) {
  using R = pack<T>;
  mode.volume = x.mass[mass_index[k][so4]] * R(p.molecule_volume);
  M7EMU_UNROLL(8)
  for (int species = bc; species < n_species; ++species)
    if (mass_index[k][species] >= 0)
      mode.volume = mode.volume + x.mass[mass_index[k][species]] * R(p.per_density[species]);
  const R most = R(p.middle[k]) * R(T(1) + slack) * x.number[k];
  mode.grown = (x.number[k] > R(p.merging_number_min)) & (mode.volume > most);
  mode.any = any(mode.grown);
}

// The dry particle by M7's thresholds.
template <int k, class T>
M7EMU_INLINE void measure(const Parameters<T> &p, const Switches &switches, const Amounts<T> &x,
                          pack<T> &virtual_molecules, Merging<T> &mode) {
  using R = pack<T>;
  Dry<T> dry;
  dry_particle<k>(p, switches, x, virtual_molecules, dry);
  mode.size = dry.volume * R(p.per_upper_volume[k]);
  mode.grown = mode.grown & (mode.size > R(p.least_size[k]));
  mode.any = any(mode.grown);
}

// Parts of the log-normal on either side of the upper edge.
template <int k, class T>
M7EMU_INLINE void cut(const Parameters<T> &p, const Switches &switches, Merging<T> &mode) {
  using R = pack<T>;
  const R zero = R(T(0)), one = R(T(1));
  const R third = R(T(1.0 / 3.0) * p.per_ln_sigma[k]);
  const R t = zero - log_of<T>(select(mode.grown, mode.size, one)) * third;
  const R tail = R(T(0.5)) * erfc_of<T>(absolute(t) * R(T(0.70710678118654752)));
  const auto mostly_below = t > zero;
  const R below = select(mostly_below, one - tail, tail);
  const R above = select(mostly_below, tail, one - tail);
  // "None" is the same for all precisions.
  auto none = below < R(T(real_traits<double>::epsilon));
  if (!switches.older)
    none = none | (mode.size > R(T(1000)));
  mode.below = select(none, zero, below);
  mode.above = select(none, one, above);
}

// None leave until the mean particle outgrows that of the middle radius; then what stays is the
// part below the upper edge, at the middle radius. Where what leaves would be smaller than the
// upper edge, fewer particles take the mass (ham2), or fewer and less of it (2004).
template <int k, class T>
M7EMU_INLINE void share_out(const Parameters<T> &p, const Switches &switches, pack<T> count,
                            Merging<T> &mode) {
  using R = pack<T>;
  const R zero = R(T(0)), one = R(T(1)), middle = R(p.middle[k]), edge = R(p.edge[k]);
  const R below = mode.below, above = mode.above;
  auto grown = mode.grown;
  const R mean = select(grown, quotient(grown, mode.volume, count), R(T(2)) * middle);
  const R stays = below * middle; // volume that stays, per particle of the mode
  const R leaves = (mean - middle) + above * middle;
  const auto small = leaves < edge * above;
  const R per_mean = one / mean;
  R mass[2] = {stays * per_mean, leaves * per_mean}, number[2];
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
    mode.mass[i] = select(grown, mass[i], unmoved);
    mode.number[i] = select(grown, number[i], unmoved);
  }
}

// What merging does to some modes, side by side, as its steps wait for each other.
template <int... k, class T>
M7EMU_FUNCTION void merging_shares(const Parameters<T> &p, const Switches &switches,
                                   const Amounts<T> &x, pack<T> &virtual_molecules,
                                   Merging<T> (&mode)[as + 1]) {
  (measure<k>(p, switches, x, virtual_molecules, mode[k]), ...);
  if (!(mode[k].any || ...))
    return;
  (cut<k>(p, switches, mode[k]), ...);
  (share_out<k>(p, switches, x.number[k], mode[k]), ...);
}

// Move the shares of mode k to the next larger mode, from AS down: what leaves a mode is found from
// the state before any of them has merged.
template <int k, class S, class T>
M7EMU_INLINE void merge_mode(const Merging<T> &mode, State<S> &cells) {
  if (!mode.any)
    return;
  pack<S> mass[2], number[2];
  convert(mode.mass, mass);
  convert(mode.number, number);
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

// `x` is what NS, KS and AS of `cells` hold; means that exceed the middle by no more than the share
// `slack` stay. Returns whether any lane merges.
template <class S, class T>
M7EMU_FUNCTION bool merge_modes(const Parameters<T> &p, const Switches &switches, T slack,
                                const Amounts<T> &x, pack<T> &virtual_molecules, State<S> &cells) {
  Merging<T> mode[as + 1];
  outgrow<ns>(p, x, slack, mode[ns]);
  outgrow<ks>(p, x, slack, mode[ks]);
  outgrow<as>(p, x, slack, mode[as]);
  const auto looks = [&](int k) { return switches.older || mode[k].any; };
  if (looks(ns) && looks(ks))
    merging_shares<ns, ks>(p, switches, x, virtual_molecules, mode);
  else if (looks(ns))
    merging_shares<ns>(p, switches, x, virtual_molecules, mode);
  else if (looks(ks))
    merging_shares<ks>(p, switches, x, virtual_molecules, mode);
  if (looks(as))
    merging_shares<as>(p, switches, x, virtual_molecules, mode);
  merge_mode<as>(mode[as], cells);
  merge_mode<ks>(mode[ks], cells);
  merge_mode<ns>(mode[ns], cells);
  return mode[ns].any || mode[ks].any || mode[as].any;
}

} // namespace M7EMU_SET
} // namespace m7emu
