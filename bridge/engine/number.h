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
// Of a loss to others faster than this nothing is left in any case; its square fits into float
// [s-1]
constexpr double fastest_loss = 1.0e15;

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
  const R one = R(T(1)), least = R(T(loss_min));
  R left, lost;
  decay<T>(b * R(timestep), left, lost);
  const auto others = b >= least;
  const auto acts = start > R(p.equation_number_min);
  const R u = select(others, lost * per_b, R(timestep));
  const R self = only(acts & (others | (a >= least)), a * start * u);
  const R part = one / (one + self);
  const auto both = acts & others;
  return {select(both, left, one) * part, only(both, lost) * part, self * part};
}

// x - 2 tanh(x/2) over x**3, in powers of x**2
M7EMU_TABLE double tanh_series[] = {1.0 / 12.0, -1.0 / 120.0, 17.0 / 20160.0, -31.0 / 362880.0,
                                    691.0 / 79833600.0};

// The same for NS, with `fresh` particles that appear at a steady rate c (section 12 iii); shares
// of `total`, start and fresh. With q**2 = b**2 + 4 a c and t = tanh(q dt/2) what vanishes and what
// is left are quotients of sums without a difference, but for q dt - 2 t, which is small with q dt.
// Where nothing but new particles is there to collide, real M7 lets them be; the correction does
// not.
template <class T>
M7EMU_FUNCTION Shares<T> coagulate_new_number(const Parameters<T> &p, const Switches &switches,
                                              T timestep, pack<T> start, pack<T> fresh,
                                              pack<T> total, pack<T> a, pack<T> b, pack<T> per_b) {
  using R = pack<T>;
  Shares<T> shares = coagulate_number(p, timestep, total, a, b, per_b);
  const R one = R(T(1)), two = R(T(2)), least = R(T(loss_min)), dt = R(timestep);
  const R c = fresh * R(T(1) / timestep);
  const auto steady = c >= R(T(source_min));
  if (!any(steady))
    return shares;
  const auto together = b >= least;
  const auto fed = steady & (total > R(p.equation_number_min)) & (together | (a >= least));
  const R per_total = quotient(fed, one, total);
  const R old = start * per_total, fresh_share = fresh * per_total;
  const R by_others = min(b, R(T(fastest_loss))), within = a * start;
  const R q = select(fed, sqrt(by_others * by_others + R(T(4)) * a * c), one);
  const R x = q * dt;
  R left, lost;
  decay<T>(x, left, lost);
  const R per_one = one / (one + left), t = lost * per_one;
  const R few = min(x, R(T(0.5))), square = few * few;
  const R late = select(x < R(T(0.5)), few * square * polynomial(square, tanh_series), x - two * t);
  const R speed = two * within + by_others, per_speed = one / (q + speed * t);
  R gone = two * t * old * (within + by_others) + fresh_share * (speed * t + late / dt);
  gone = min(gone * per_speed, one);
  // q - b t = 4 a c/(q + b) + b (1 - t)
  const R slow = R(T(4)) * a * c / (q + by_others) + two * by_others * left * per_one;
  R after = min((slow * old + two * t * c * per_total) * per_speed, one);
  if (!switches.source_coagulation) {
    const auto acts = together | (within * old >= c * per_total);
    gone = only(acts, gone);
    after = select(acts, after, one);
  }
  const R inter = gone * quotient(fed & together, b, a * total + b);
  shares.after = select(fed, after, shares.after);
  shares.inter = select(fed, inter, shares.inter);
  shares.intra = select(fed, gone - inter, shares.intra);
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
  return only(acts, min(mixed * coating, R(T(0.95)) * intra));
}

} // namespace M7EMU_SET
} // namespace m7emu
