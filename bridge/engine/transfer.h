// Coagulation of a cell over a timestep: the number equations in M7's order, the mass that goes
// with the particles, and the ageing that follows: sections 12 to 14 of the physics contract.
#pragma once

#include "ageing.h"
#include "cells.h"
#include "number.h"
#include "parameters.h"

namespace m7emu {
namespace M7EMU_SET {

// Coefficients of the number equation of mode k: `a` within it, `b` with its n partners, and the
// share of each partner in b, 0 where there is no loss.
template <class T, int n> struct Losses {
  pack<T> a, b, per_b, share[n];
};
// The partners are constants, so that no place of a pair is looked for while it runs.
template <int k, int... partner, class T>
M7EMU_FUNCTION Losses<T, sizeof...(partner)> loss_rates(const pack<T> (&kernel)[n_pair],
                                                        const pack<T> (&start)[n_mode]) {
  using R = pack<T>;
  constexpr int n = sizeof...(partner), with[] = {partner...};
  constexpr int own = pair_index(k, k), pair[] = {pair_index(k, partner)...};
  const R zero = R(T(0)), one = R(T(1));
  Losses<T, n> losses;
  losses.a = R(T(0.5)) * kernel[own];
  losses.b = zero;
  for (int j = 0; j < n; ++j) {
    losses.share[j] = kernel[pair[j]] * start[with[j]];
    losses.b = losses.b + losses.share[j];
  }
  losses.per_b = quotient(losses.b > zero, one, losses.b);
  for (int j = 0; j < n; ++j)
    losses.share[j] = losses.share[j] * losses.per_b;
  return losses;
}

// Rates use the numbers of the start; NS meets what KI has left. `fresh_gas` and `fresh`
// have nucleated, `coating` has condensed on the insoluble modes; `coat`: molecules that coat the
// mean insoluble particle. Each amount is read and written once, as what has just been written
// takes long to read where a host's arrays are not aligned.
template <class S, class T>
M7EMU_FUNCTION void
coagulate_and_age(const Parameters<T> &p, const Switches &switches, T timestep,
                  const pack<T> (&kernel)[n_pair], const pack<T> (&coat)[n_insoluble],
                  const pack<S> (&coating)[n_insoluble], const pack<T> (&number_before)[n_mode],
                  pack<S> fresh_gas, pack<S> fresh, State<S> &cells) {
  using R = pack<T>;
  using H = pack<S>;
  const R zero = R(T(0));
  auto &mass = cells.mass;
  const H so4_of_ns = mass[so4_ns] + fresh_gas, so4_of_ks = mass[so4_ks];
  H number[n_mode];
  R start[n_mode];
  M7EMU_UNROLL(8)
  for (int k = 0; k < n_mode; ++k) {
    number[k] = cells.number[k];
    start[k] = number_before[k];
  }
  number[ns] = number[ns] + fresh;
  start[ns] = to<T>(number[ns]);

  // NS loses particles to all modes and to itself, and it gains what nucleates; KI to KS, to AS and
  // to itself; KS to AS, CS, AI, CI and to itself; AS only to itself. None waits for another so
  // far: they come side by side, that which takes longest first.
  const Losses<T, 6> ns_loss = loss_rates<ns, ks, as, cs, ki, ai, ci>(kernel, start);
  const Shares<T> ns_share =
      coagulate_new_number(p, switches, timestep, number_before[ns], to<T>(fresh), start[ns],
                           ns_loss.a, ns_loss.b, ns_loss.per_b);
  const Losses<T, 2> ki_loss = loss_rates<ki, ks, as>(kernel, start);
  const Losses<T, 4> ks_loss = loss_rates<ks, as, cs, ai, ci>(kernel, start);
  constexpr int as_as = pair_index(as, as);
  const Shares<T> ki_share =
      coagulate_number(p, timestep, start[ki], ki_loss.a, ki_loss.b, ki_loss.per_b);
  const Shares<T> ks_share =
      coagulate_number(p, timestep, start[ks], ks_loss.a, ks_loss.b, ks_loss.per_b);
  const Shares<T> as_share =
      coagulate_number(p, timestep, start[as], R(T(0.5)) * kernel[as_as], zero, zero);
  number[ki] = number[ki] * to<S>(ki_share.after);
  number[ks] = number[ks] * to<S>(ks_share.after);
  number[as] = number[as] * to<S>(as_share.after);
  const R ki_number = start[ki] * ki_share.after;
  R ks_to[4];
  for (int j = 0; j < 4; ++j)
    ks_to[j] = ks_share.inter * ks_loss.share[j];

  // Collisions of NS with what is left of the insoluble modes.
  const R insoluble = ki_number + start[ai] + start[ci];
  const R per_insoluble = quotient(R(T(1)), insoluble);
  const R needed =
      (coat[0] * ki_number + coat[1] * start[ai] + coat[2] * start[ci]) * per_insoluble * start[ns];
  const R has = to<T>(so4_of_ns);
  const R coats = only(has > zero, quotient(needed, max(has, needed * R(T(1.0 / coat_max)))));
  const R extra =
      quotient(hidden_collisions(p, timestep, ns_loss.a, start[ns] + start[ks], insoluble, coats,
                                 start[ns] * ns_share.inter, start[ns] * ns_share.intra),
               start[ns]);
  R ns_to[6];
  for (int j = 0; j < 6; ++j)
    ns_to[j] = ns_share.inter * ns_loss.share[j];
  ns_to[3] = ns_to[3] + extra * (ki_number * per_insoluble);
  ns_to[4] = ns_to[4] + extra * (start[ai] * per_insoluble);
  ns_to[5] = ns_to[5] + extra * (start[ci] * per_insoluble);
  number[ns] = number[ns] * to<S>(ns_share.after);

  // Particles lost to others take their mass along; the rest of the mode's mass stays. What
  // collides with insoluble particles makes soluble ones of their size.
  H of[4] = {to<S>(ns_share.after + max(ns_share.intra - extra, zero)), to<S>(ns_to[0] + ns_to[3]),
             to<S>(ns_to[1] + ns_to[4]), to<S>(ns_to[2] + ns_to[5])};
  normalise<S>(of);
  // Sulfate that the insoluble modes have got.
  const R ks_has = to<T>(so4_of_ks);
  const R on_ki = to<T>(coating[0]) + has * ns_to[3];
  const R on_ai = to<T>(coating[1]) + has * ns_to[4] + ks_has * ks_to[2];
  const R on_ci = to<T>(coating[2]) + has * ns_to[5] + ks_has * ks_to[3];
  mass[so4_ns] = so4_of_ns * of[0];
  H gained[3] = {so4_of_ns * of[1] + coating[0], so4_of_ns * of[2] + coating[1],
                 so4_of_ns * of[3] + coating[2]}; // sulfate of KS, AS, CS

  H ks_of[3] = {to<S>(ks_share.after + ks_share.intra), to<S>(ks_to[0] + ks_to[2]),
                to<S>(ks_to[1] + ks_to[3])};
  normalise<S>(ks_of);
  mass[so4_ks] = so4_of_ks * ks_of[0] + gained[0];
  mass[so4_as] = mass[so4_as] + so4_of_ks * ks_of[1] + gained[1];
  mass[so4_cs] = mass[so4_cs] + so4_of_ks * ks_of[2] + gained[2];

  const R ki_stay = ki_share.after + ki_share.intra;
  H ki_of[3] = {to<S>(ki_stay), to<S>(ki_share.inter * ki_loss.share[0]),
                to<S>(ki_share.inter * ki_loss.share[1])};
  normalise<S>(ki_of);

  const R ki_aged = aged_share(p, coat[0], on_ki, ki_number);
  const H number_share[n_insoluble] = {to<S>(ki_aged),
                                       to<S>(aged_share(p, coat[1], on_ai, start[ai])),
                                       to<S>(aged_share(p, coat[2], on_ci, start[ci]))};
  constexpr int partner[n_insoluble] = {ks, as, cs};
  M7EMU_UNROLL(4)
  for (int k = 0; k < n_insoluble; ++k) {
    const H aged = number[ki + k] * number_share[k];
    number[ki + k] = number[ki + k] - aged;
    number[partner[k]] = number[partner[k]] + aged;
  }
  M7EMU_UNROLL(8)
  for (int k = 0; k < n_mode; ++k)
    cells.number[k] = number[k];

  constexpr int from_ks[] = {bc_ks, oc_ks}, from_ki[] = {bc_ki, oc_ki};
  constexpr int in_as[] = {bc_as, oc_as}, in_cs[] = {bc_cs, oc_cs};
  const H ki_mass_aged =
      to<S>(aged_mass_share(p, switches, coat[0], on_ki, ki_number, start[ki] * ki_stay, ki_aged));
  for (int j = 0; j < 2; ++j) {
    const H old_ks = mass[from_ks[j]], old_ki = mass[from_ki[j]];
    const H staying = old_ki * ki_of[0], aged = staying * ki_mass_aged;
    mass[from_ki[j]] = staying - aged;
    mass[from_ks[j]] = old_ks * ks_of[0] + old_ki * ki_of[1] + aged;
    mass[in_as[j]] = mass[in_as[j]] + old_ks * ks_of[1] + old_ki * ki_of[2];
    mass[in_cs[j]] = mass[in_cs[j]] + old_ks * ks_of[2];
  }
  constexpr int dust[] = {du_ai, du_ci}, dusty[] = {du_as, du_cs};
  for (int j = 0; j < 2; ++j) {
    const H aged = mass[dust[j]] * number_share[1 + j];
    mass[dust[j]] = mass[dust[j]] - aged;
    mass[dusty[j]] = mass[dusty[j]] + aged;
  }
}

} // namespace M7EMU_SET
} // namespace m7emu
