// Bursts of nucleation within a stage: where M7 begins to nucleate, and how short strides have to
// be.
//
// Above some gas a critical cluster is of fewer molecules than M7 lets nucleate. As soon as
// condensation has brought the gas down to there, particles form at a stroke: strides meet that
// time. pyemu/blocks/bursts.py says the same in torch.
#pragma once

#include "cells.h"
#include "math.h"
#include "nucleation.h"

namespace m7emu {
namespace M7EMU_SET {

// Where nucleation takes this share of the gas, a stride ends: down to the `finest` part of a usual
// one, and twice the last one at most. Such cells take at most `most_strides` of the usual number
// [1].
constexpr double burst_share = 0.1, finest = 1.0 / 32.0;
constexpr float rounding = 1.0e-5f; // of ln of the gas, with room [1]

// Rate and cluster of `vehkamaki` at the temperature and humidity of a cell: ln of both is
// c(a) + d(a)/x(a) with c, d polynomials and x linear in a = ln(gas) - nucleation_centre.
constexpr double nucleation_centre = 18.0;
struct Burst {
  pack<float> rate[4], rate_per_x[4], cluster[4], cluster_per_x[4], x[2];
};

M7EMU_FUNCTION void collect(const double (&term)[n_term][5], pack<double> t, pack<double> s,
                            pack<float> (&direct)[4], pack<float> (&per_x)[4]) {
  using R = pack<double>;
  R c[4], d[4];
  const R factor[4] = {R(1.0), s, s * s, s * s * s};
  // Rows of the terms by power of ln(gas).
  constexpr int first[] = {0, 4, 7, 9}, count[] = {4, 3, 2, 1};
  for (int power = 0; power < 4; ++power) {
    c[power] = d[power] = R(0.0);
    for (int j = 0; j < count[power]; ++j) {
      const double (&k)[5] = term[first[power] + j];
      c[power] = c[power] + factor[j] * (R(k[0]) + t * (R(k[1]) + t * (R(k[2]) + t * R(k[3]))));
      d[power] = d[power] + factor[j] * R(k[4]);
    }
  }
  // Around the centre by Horner's scheme, so that float can hold the coefficients.
  for (int low = 0; low < 3; ++low)
    for (int power = 2; power >= low; --power) {
      c[power] = c[power] + R(nucleation_centre) * c[power + 1];
      d[power] = d[power] + R(nucleation_centre) * d[power + 1];
    }
  convert(c, direct);
  convert(d, per_x);
}

M7EMU_FUNCTION void burst_of(const Air &air, Burst &burst) {
  using R = pack<double>;
  const R t = min(max(air.temperature, R(temperature_min)), R(temperature_max));
  const R s = log_of<double>(min(max(air.relative_humidity, R(saturation_min)), R(1.0)));
  collect(rate_term, t, s, burst.rate, burst.rate_per_x);
  collect(cluster_term, t, s, burst.cluster, burst.cluster_per_x);
  R x[2];
  critical_fraction(t, s, x[0], x[1]);
  x[0] = x[0] + R(nucleation_centre) * x[1];
  convert(x, burst.x);
}

// Formation rate [cm-3 s-1], molecules in a cluster, and of H2SO4 in it, at a gas of exp(a) cm-3.
M7EMU_FUNCTION void form_freely(const Burst &burst, pack<float> a, pack<float> &rate,
                                pack<float> &cluster, pack<float> &molecules) {
  using R = pack<float>;
  a = a - R(float(nucleation_centre));
  const R x = burst.x[0] + a * burst.x[1];
  const R per_x = R(1.0f) / x;
  const auto cubic = [&](const R(&c)[4]) { return c[0] + a * (c[1] + a * (c[2] + a * c[3])); };
  rate = exp_of<float>(min(cubic(burst.rate) + per_x * cubic(burst.rate_per_x), R(25.0f)));
  rate = min(rate, R(float(rate_max)));
  // So large a cluster is of air that is far outside the fit; its product with x is a number.
  const R ln_cluster = cubic(burst.cluster) + per_x * cubic(burst.cluster_per_x);
  cluster = exp_of<float>(min(ln_cluster, R(60.0f)));
  molecules = x * cluster;
}

// Ln of the gas at which clusters are of `cluster_min` molecules, by secants: between exp(above),
// where they are of `few`, and exp(below), of `many`.
M7EMU_FUNCTION pack<float> ceiling(const Burst &burst, pack<float> above, pack<float> few,
                                   pack<float> below, pack<float> many) {
  using R = pack<float>;
  const R least = R(float(cluster_min));
  const R end = below;
  R rate, cluster, molecules, at = below;
  for (int i = 0; i < 3; ++i) {
    const R change = many - few;
    const auto apart = change > R(1.0e-6f);
    const R share = quotient(apart, many - least, change);
    at = below + (above - below) * share;
    form_freely(burst, at, rate, cluster, molecules);
    const auto inside = cluster >= least;
    below = select(inside, at, below);
    many = select(inside, cluster, many);
    above = select(inside, above, at);
    few = select(inside, few, cluster);
  }
  return max(at - R(rounding), end); // so that rounding does not leave it above
}

// The part of a usual stride, at most `fraction`, in which the gas falls to where M7 begins to
// nucleate, or nucleation takes `burst_share` of it. `left` is the gas after that fraction, `both`
// its loss rate by condensation [s-1], 1/`per_both`.
template <class T>
M7EMU_FUNCTION pack<T> until_burst(const Burst &burst, T usual, pack<T> production, pack<T> clear,
                                   pack<T> per_clear, pack<T> gas, pack<T> left, pack<T> both,
                                   pack<T> per_both, pack<T> fraction) {
  using R = pack<T>;
  const R zero = R(T(0)), one = R(T(1)), least = R(T(cluster_min));
  const R start = ln_gas(gas * per_clear), end = ln_gas(left * per_clear);
  R rate, few, many, molecules;
  form_freely(burst, start, rate, few, molecules);
  const auto fast = rate >= R(T(rate_min));
  const R supply = gas + max(production, zero) * R(usual);
  const R loss = rate * molecules * clear * R(usual);
  const R share = R(T(burst_share)) * supply;
  const auto bursts = fast & (few >= least) & (loss > share);
  const R part = max(share / select(bursts, loss, one), R(T(finest)));
  fraction = select(bursts, min(fraction, part), fraction);
  auto falls = fast & (few < least) & (left < gas) & (both > zero);
  if (!any(falls))
    return fraction;
  form_freely(burst, end, rate, many, molecules);
  falls = falls & (many >= least);
  if (any(falls)) {
    const R limit = exp_of<T>(ceiling(burst, start, few, end, many)) * clear;
    const R steady = production * per_both, far = gas - steady, near = limit - steady;
    falls = falls & (near > zero) & (far > near) & (near > far * R(T(1.0e-30)));
    const R time = log_of<T>(select(falls, far / select(falls, near, one), one)) * per_both;
    const R then = max(time * R(T(1) / usual), R(T(1.0e-3)));
    fraction = select(falls, min(fraction, then), fraction);
  }
  return fraction;
}

} // namespace M7EMU_SET
} // namespace m7emu
