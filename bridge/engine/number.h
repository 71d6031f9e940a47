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
// with them. With q**2 = b**2 + 4 a c and E = exp(-q dt) every term below is positive. Where
// nothing but new particles is there to collide, real M7 lets them be; the correction does not. In
// double, as what is lost is a difference.
template <class T>
M7EMU_FUNCTION Shares<T> coagulate_new_number(const Parameters<T> &p, const Switches &switches,
                                              T timestep, pack<double> start, pack<double> fresh,
                                              pack<T> total, pack<T> rate_a, pack<T> rate_b,
                                              pack<T> per_b) {
  using R = pack<double>;
  Shares<T> shares = coagulate_number(p, timestep, total, rate_a, rate_b, per_b);
  const R zero = R(0.0), one = R(1.0), two = R(2.0), least = R(loss_min), dt = R(timestep);
  const R c = fresh / dt;
  const auto steady = c >= R(source_min);
  if (!any(steady))
    return shares;
  const R a = to<double>(rate_a), b = to<double>(rate_b), all_of = start + fresh;
  const R root = sqrt(b * b + R(4.0) * a * c);
  R e, all;
  decay<double>(root * dt, e, all);
  const auto together = b >= least;
  const auto fed = steady & (all_of > R(double(p.equation_number_min))) & (together | (a >= least));
  const R q = select(fed, root, one);
  // n = (N (q - b t) + 2 c t)/(q + (2 a N + b) t) with t = tanh(q dt/2) = (1 - E)/(1 + E)
  R rest = R(4.0) * a * c / (q + b) * (one + e) + two * b * e;
  rest = (rest * start + two * c * all) / (q * (one + e) + (two * a * start + b) * all);
  rest = min(rest, all_of);
  if (!switches.source_coagulation)
    rest = select(together | (a * start * start >= c), rest, all_of);
  const R per_total = one / select(fed, all_of, one);
  const R after = rest * per_total, lost = (all_of - rest) * per_total;
  const R share = select(together, b / select(fed, a * all_of + b, one), zero);
  const R here = select(fed, one, zero);
  const auto replace = to<T>(here) > pack<T>(T(0));
  shares.after = select(replace, to<T>(after), shares.after);
  shares.inter = select(replace, to<T>(lost * share), shares.inter);
  shares.intra = select(replace, to<T>(lost * (one - share)), shares.intra);
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
