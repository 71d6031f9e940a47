// Number equations, dn/dt = c - a n**2 - b n, solved over a timestep: section 12 of the contract.
#pragma once

#include "cells.h"
#include "math.h"
#include "parameters.h"

namespace m7emu {
namespace M7EMU_SET {

// a [cm3 s-1] and b [s-1] below this are none; new particles below this are taken to be there from
// the start [cm-3 s-1]
constexpr double loss_min = 1.0e-15, source_min = 1.0;

// What becomes of a mode's particles, as shares of those at the start: left, lost to other modes,
// lost within the mode. The three add up to 1.
template <class T> struct Shares {
  pack<T> after, inter, intra;
};

// Coagulation within the mode (a) and with others (b), no source (section 12 i, ii). With
// u = (1 - exp(-b dt))/b the three amounts share a denominator.
template <class T>
M7EMU_FUNCTION Shares<T> coagulate_number(const Parameters<T> &p, T timestep, pack<T> start,
                                          pack<T> a, pack<T> b, pack<T> per_b) {
  using R = pack<T>;
  const R zero = R(T(0)), one = R(T(1)), least = R(T(loss_min));
  R left, lost;
  decay<T>(b * R(timestep), left, lost);
  const auto others = b >= least;
  const auto acts = start > R(p.equation_number_min);
  const R u = select(others, lost * per_b, R(timestep));
  const R self = select(acts & (others | (a >= least)), a * start * u, zero);
  const R part = one / (one + self);
  const auto both = acts & others;
  return {select(both, left, one) * part, select(both, lost, zero) * part, self * part};
}

// The same for NS, with `fresh` particles that appear at a steady rate (section 12 iii); `total` is
// with them. With q**2 = b**2 + 4 a c, E = exp(-q dt) and t = (1 - E)/(1 + E) what is left is
// (N (q - b t) + 2 c t)/(q + (2 a N + b) t), and what is lost the rest: each written so that all its
// terms are positive, and scaled so that none overflows. Where nothing but new particles is there to
// collide, real M7 lets them be; the correction does not.
template <class T>
M7EMU_FUNCTION Shares<T> coagulate_new_number(const Parameters<T> &p, const Switches &switches,
                                              T timestep, pack<T> start, pack<T> fresh,
                                              pack<T> total, pack<T> a, pack<T> b, pack<T> per_b) {
  using R = pack<T>;
  Shares<T> shares = coagulate_number(p, timestep, total, a, b, per_b);
  const R zero = R(T(0)), one = R(T(1)), two = R(T(2)), least = R(T(loss_min)), dt = R(timestep);
  const R c = fresh * R(T(1) / timestep);
  const auto steady = c >= R(T(source_min));
  if (!any(steady))
    return shares;
  const auto together = b >= least;
  const auto fed = steady & (total > R(p.equation_number_min)) & (together | (a >= least));
  // Rates beyond all that leave anything.
  const R others = min(b, R(T(1.0e15))), own = min(a * start, R(T(1.0e15)));
  const R four_ac = R(T(4)) * a * c;
  const R q = select(fed, max(sqrt(others * others + four_ac), R(T(1.0e-12))), one);
  R e, all;
  decay<T>(q * dt, e, all);
  const R t = all / (one + e), speed = two * own + others;
  const R scale = one / (q + speed * t), x = q * dt;
  // q - b t, as (4 a c (1 + E)/(q + b) + 2 b E)/(1 + E)
  const R keeps = four_ac / (q + others) + two * others * e / (one + e);
  R rest = start * (keeps * scale) + two * c * (t * scale);
  // q dt - 2 t where it cancels
  const R x2 = x * x;
  const R gap = select(x < R(T(0.25)), x * x2 * (R(T(1.0 / 12.0)) - x2 * (R(T(1.0 / 120.0)) - x2 * R(T(17.0 / 20160.0)))),
                       x - two * t);
  R gone = two * start * (t * (own + others) * scale) + fresh * (speed * t * scale) +
           c * (max(gap, zero) * scale);
  if (!switches.source_coagulation) {
    const auto acts = together | (own * start >= c);
    rest = select(acts, rest, total);
    gone = select(acts, gone, zero);
  }
  const R per_total = one / select(fed, total, one);
  const R after = min(rest * per_total, one), lost = min(gone * per_total, one);
  const R share = select(together, b / select(fed, a * total + b, one), zero);
  shares.after = select(fed, after, shares.after);
  shares.inter = select(fed, lost * share, shares.inter);
  shares.intra = select(fed, lost * (one - share), shares.intra);
  return shares;
}

// Collisions among NS particles that should have been collisions with insoluble ones, known by the
// sulfate these need for a coating (section 12.1) [cm-3]. `soluble`: NS before coagulation plus KS;
// `insoluble`: KI + AI + CI; `coating`: NS particles that coat one mean insoluble particle; `inter`
// and `intra`: numbers lost.
template <class T>
M7EMU_FUNCTION pack<T> hidden_collisions(const Parameters<T> &p, T timestep, pack<T> a,
                                         pack<T> soluble, pack<T> insoluble, pack<T> coating,
                                         pack<T> inter, pack<T> intra) {
  using R = pack<T>;
  const R zero = R(T(0)), one = R(T(1)), two = R(T(2));
  const R reach = a * R(timestep);
  // z_t - z_i - z_s of the contract, without cancellation; z_i counts from one particle on.
  R mixed = reach * soluble / (two + reach * insoluble) +
            select(insoluble > one, reach * soluble / (two + reach * soluble), one);
  mixed = min(two * insoluble * mixed / (two + reach * (soluble + insoluble)), insoluble);
  const auto acts = (inter > zero) & (soluble > insoluble) & (insoluble > R(p.few_insoluble));
  return select(acts, min(mixed * coating, R(T(0.95)) * intra), zero);
}

} // namespace M7EMU_SET
} // namespace m7emu
