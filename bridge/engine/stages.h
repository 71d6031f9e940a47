// The step in a few stages of many strides: a converged M7 at the cost of a few of its steps.
//
// What is costly (sizes, sinks, kernels) is found once a stage; in each of its strides all
// processes act, and the sizes of NS alone are followed. Strides know modes, not species: whole
// particles move, so that one share of a mode serves all that it carries. What they find, shares of
// a stage, is applied to the host's masses and numbers once. Everything tends to what ever shorter
// steps of M7 tend to; pyemu/blocks/stages.py says the same in torch.
#pragma once

#include "bursts.h"
#include "cells.h"
#include "coagulation.h"
#include "condensation.h"
#include "number.h"
#include "properties.h"
#include "transfer.h"

namespace m7emu {
namespace M7EMU_SET {

// As many steps stand for the converged M7. What it does in each step, whatever its length, has no
// limit for shorter ones: the cloudy part of a cell's gas goes to cloud droplets, a mode that has
// outgrown its middle falls back [1].
constexpr double short_steps = 240.0;
// M7's own merging may leave the mean particle at the middle, but for rounding: not to merge again
// before it has grown [1].
constexpr double merging_slack = 1.0e-5;
constexpr double least_sink = 1.0e-10; // below which nothing condenses [s-1]
// How far the sinks of KS and AS follow volume, and how far number, is that between a particle and
// one of a radius larger by this (NS is followed closer) [1].
constexpr double grown_radius = 1.03;
constexpr double grown_volume = grown_radius * grown_radius * grown_radius;
// Strides that a cell takes at most, over the usual number [1].
constexpr int most_strides = 3;

// What does not change within a stage.
template <class T> struct Rates {
  pack<T> sink[n_mode];       // per particle [cm3 s-1]
  pack<T> grown_sink[as + 1]; // and what of it goes with the mode's volume [cm3 um-3 s-1]
  pack<T> kernel[n_pair];     // as if there were NS [cm3 s-1]
  pack<T> coat[n_insoluble], per_coat[n_insoluble]; // molecules that coat a particle [1]
  pack<T> ns_molecules, per_ns_molecules;           // of the NS particle they hold for [1]
  pack<T> sulfate_min[as + 1];                      // that a mode must gain to have a size
                                                    // and to merge; below 0 where it has
                                                    // one [molecules cm-3]
  pack<T> settled[as + 1], excess[as + 1];          // mean volume after merging [um3], and
                                                    // 1/(1 - that over the edge's) [1]
  pack<T> so4_ns, so4_ks;                           // at the start [molecules cm-3]
  pack<T> insoluble_volume[n_insoluble];            // at the start [um3 cm-3]
  pack<T> production, cloud_rate;                   // [cm-3 s-1], [s-1]
  pack<T> clear, per_clear;                         // of the sky [1]
  bool any_cloud;

  template <int j, int k> M7EMU_INLINE pack<T> between() const {
    constexpr int pair = pair_index(j, k);
    return kernel[pair];
  }
};

// Where something has got to that was in the gas or in one mode: its share, or amount, in NS to CS.
template <class T> struct Whereabouts {
  pack<T> in[n_soluble];
};

// The state of the strides. Numbers: the share of those at the start that is lost, and those
// gained [cm-3].
template <class T> struct Course {
  pack<T> gas;            // [molecules cm-3]
  Whereabouts<T> sulfate; // from the gas [molecules cm-3]
  Whereabouts<T> volume;  // dry [um3 cm-3]
  Whereabouts<T> of_ns, of_ks, of_as, of_ki, of_ai, of_ci;
  pack<T> stays[n_insoluble]; // shares of KI, AI and CI that are there still
  pack<T> start[n_mode], lost[n_mode], gained[n_mode];
  pack<T> last_molecules; // per NS particle, a stride ago [1]
  pack<T> done, fraction; // usual strides made, and that of the last one [1]
  pack<T> bursts;         // 1 if nucleation begins or took much of the gas in the last one [1]

  M7EMU_INLINE pack<T> number(int k) const {
    return start[k] * (pack<T>(T(1)) - lost[k]) + gained[k];
  }
  M7EMU_INLINE void lose(int k, pack<T> share) {
    lost[k] = lost[k] + (pack<T>(T(1)) - lost[k]) * share;
    gained[k] = gained[k] - gained[k] * share;
  }
};

// Undo what was done to cells that had not to `go`.
template <class T>
M7EMU_FUNCTION void keep(mask<T> go, const Course<T> &before, Course<T> &course) {
  const auto back = [go](auto &now, const auto &then) {
    for (int i = 0; i < int(sizeof now / sizeof now[0]); ++i)
      now[i] = select(go, now[i], then[i]);
  };
  back(course.sulfate.in, before.sulfate.in);
  back(course.volume.in, before.volume.in);
  back(course.of_ns.in, before.of_ns.in);
  back(course.of_ks.in, before.of_ks.in);
  back(course.of_as.in, before.of_as.in);
  back(course.of_ki.in, before.of_ki.in);
  back(course.of_ai.in, before.of_ai.in);
  back(course.of_ci.in, before.of_ci.in);
  back(course.stays, before.stays);
  back(course.lost, before.lost);
  back(course.gained, before.gained);
  course.gas = select(go, course.gas, before.gas);
  course.last_molecules = select(go, course.last_molecules, before.last_molecules);
  course.done = select(go, course.done, before.done);
  course.fraction = select(go, course.fraction, before.fraction);
  course.bursts = select(go, course.bursts, before.bursts);
}

// What becomes of a mode that loses few of its particles in a stride: shares lost, and lost within
// it, and the share lost to a partner per rate of that loss. exp(-x) is 1/(1 + x + x**2/2).
template <class T> struct Slow {
  pack<T> lost, intra, per_rate;
};
template <class T>
M7EMU_INLINE Slow<T> few(const Parameters<T> &p, pack<T> h, pack<T> number, pack<T> a, pack<T> b) {
  using R = pack<T>;
  const R own = a * number, x = (own + b) * h;
  const R share = R(T(1)) / (x + R(T(1)) / (R(T(1)) + R(T(0.5)) * x));
  const R acts = only(number > R(p.equation_number_min), share * h);
  return {min((own + b) * acts, R(T(1))), own * acts, acts};
}

// Move what is at hand by coagulation: shares that stay in NS and KS, and that go where.
template <class T> struct Collisions {
  pack<T> ns_stays, ns_ks, ns_as, ns_cs, ks_stays, ks_as, ks_cs;

  template <int first> M7EMU_INLINE void move(Whereabouts<T> &x) const {
    pack<T>(&in)[n_soluble] = x.in;
    if constexpr (first <= ns) {
      in[cs] = in[cs] + in[ns] * ns_cs;
      in[as] = in[as] + in[ns] * ns_as;
    }
    if constexpr (first <= ks) {
      in[cs] = in[cs] + in[ks] * ks_cs;
      in[as] = in[as] + in[ks] * ks_as;
      in[ks] = in[ks] * ks_stays;
    }
    if constexpr (first <= ns) {
      in[ks] = in[ks] + in[ns] * ns_ks;
      in[ns] = in[ns] * ns_stays;
    }
  }
};

// And by merging, from AS down.
template <class T> struct Merges {
  pack<T> leaves[as + 1];

  template <int first> M7EMU_INLINE void move(Whereabouts<T> &x) const {
    for (int k = as; k >= first; --k) {
      const pack<T> out = x.in[k] * leaves[k];
      x.in[k + 1] = x.in[k + 1] + out;
      x.in[k] = x.in[k] - out;
    }
  }
};

// The end of merging is a slide: as soon as the mean particle of a mode outgrows that of its middle
// radius, particles of the upper edge's volume leave, until the mean is `settled`.
template <class T>
M7EMU_FUNCTION void settle(const Parameters<T> &p, const Switches &switches, const Sizes<T> &sizes,
                           const Course<T> &course, Rates<T> &rates) {
  using R = pack<T>;
  const R zero = R(T(0)), one = R(T(1));
  for (int k = ns; k <= as; ++k) {
    const R middle = R(p.middle[k]), edge = R(p.edge[k]);
    const R number = course.start[k], volume = course.volume.in[k];
    const auto some = number > R(p.number_min);
    const auto sized =
        some & (sizes.dry_radius[k] > R(p.merging_radius_min)) & (volume > number * R(T(1.0e-30)));
    rates.sulfate_min[k] = select(sized, R(T(-1)), select(some, R(p.mass_min), R(T(-1))));
    rates.settled[k] = middle;
    rates.excess[k] = one / (one - middle / edge);
    if (switches.older)
      continue;
    // The dry radius when the mean is at the middle; the part of the mode above the upper edge.
    const R grown = cube_root(middle * quotient(sized, number, volume));
    const R radius =
        select(sized, sizes.dry_radius[k] * grown, R(p.radius_factor[k]) * cube_root(middle));
    const R t = log_of<T>(R(p.upper_radius[k]) / max(radius, R(T(1.0e-12)))) * R(p.per_ln_sigma[k]);
    const R above = R(T(0.5)) * erfc_of<T>(max(t, zero) * R(T(0.70710678118654752)));
    rates.settled[k] = middle * (one - above) / (one - above * middle / edge);
    rates.excess[k] = one / (one - rates.settled[k] / edge);
  }
}

// What the length of strides is counted in.
template <class T> struct Clock {
  T usual, often; // length of a usual stride [s], and how many steps M7 in short steps makes in it
  int strides;
};

// The next stride: a usual one, or a part of it before and in a burst of nucleation, so that
// no more than `budget` are needed to the end of the stage.
template <class T>
M7EMU_FUNCTION void stride(const Parameters<T> &p, const Switches &switches, const Clock<T> &clock,
                           int budget, const Rates<T> &rates, const Air &air,
                           pack<T> nucleation_bound, bool &has_burst, Burst &burst,
                           Course<T> &course) {
  using R = pack<T>;
  const R zero = R(T(0)), one = R(T(1));
  R number[n_mode];
  for (int k = 0; k < n_mode; ++k)
    number[k] = course.number(k);

  // NS has grown or shrunk since the stage began: its sink goes as r**2, its kernels with others as
  // r**-2 and with itself as r**(1/2), that of free molecules; r in the middle of the stride.
  const R ns_sulfate = course.of_ns.in[ns] * rates.so4_ns + course.sulfate.in[ns];
  const auto has_ns = (number[ns] > R(p.number_min)) & (ns_sulfate > zero);
  const R molecules =
      select(has_ns, ns_sulfate / select(has_ns, number[ns], one), rates.ns_molecules);
  const R ahead = molecules + R(T(0.5)) * (molecules - course.last_molecules);
  const R middle = min(max(ahead, R(T(0.5)) * molecules), R(T(2)) * molecules);
  course.last_molecules = molecules;
  const R volume = min(max(min(middle, R(T(1.0e20))) * rates.per_ns_molecules, R(T(1.0e-3))),
                       R(T(1.0e3))); // over that at the start
  const R per_size = rough_inverse_cube_root(volume);
  const R per_surface = per_size * per_size;
  const R size = volume * per_surface, surface = size * size;

  // Condensation, with the gas that production adds; the cloudy part goes to cloud droplets.
  R sink[n_mode];
  for (int k = 0; k < n_mode; ++k)
    sink[k] = rates.sink[k] * number[k];
  sink[ns] = sink[ns] * surface;
  for (int k = ks; k <= as; ++k)
    sink[k] = sink[k] + rates.grown_sink[k] * course.volume.in[k];
  const R total =
      (((sink[ks] + sink[as]) + (sink[cs] + sink[ki])) + (sink[ai] + sink[ci])) + sink[ns];
  const auto acts = total > R(T(least_sink));
  const R both = only(acts, total + rates.cloud_rate);
  const R per_both = quotient(acts, one, both);

  // How long it is. A stage that is over stands still in the caller; it needs a length only.
  const R to_go = max(R(T(clock.strides)) - course.done, zero);
  const R shortest = R(T(finest) / T(1000));
  const auto without_splinter = [&](R part) { // at the end
    return select(to_go - part < R(T(finest) / T(2)), to_go, part);
  };
  R fraction = without_splinter(min(to_go, one)), dt, kept, lost, supply, left;
  const auto condense = [&] {
    dt = max(fraction, shortest) * R(clock.usual);
    decay<T>(both * dt, kept, lost);
    const R lasting = select(acts, lost * per_both, dt);
    supply = max(course.gas + rates.production * dt, zero);
    left = course.gas * kept + rates.production * lasting;
    left = min(max(left, zero), supply);
  };
  condense();
  // Where the gas is too little to nucleate, a shorter stride than a usual one grows again.
  const R gas_now = max(course.gas * rates.per_clear, R(T(gas_min)));
  const auto watched =
      (course.bursts > zero) & ((gas_now > nucleation_bound) | (course.fraction < one));
  if (switches.vehkamaki && any(watched)) {
    if (!has_burst)
      burst_of(air, burst);
    has_burst = true;
    const R at_most = min(fraction, max(R(T(2)) * course.fraction, R(T(finest))));
    R part = until_burst(burst, clock.usual, rates.production, rates.clear, rates.per_clear,
                         course.gas, left, both, per_both, at_most);
    part = max(part, min(fraction, to_go * R(T(1) / T(budget))));
    fraction = select(watched, without_splinter(part), fraction);
    condense();
  }
  const R per_dt = one / dt;
  course.done = course.done + fraction;
  course.fraction = fraction;
  R taken = supply - left;

  // Nucleation at the mean gas of the stride.
  R formed = zero, fresh_gas = zero;
  R mean =
      select(both * dt > R(T(1.0e-3)), taken * per_both * per_dt, R(T(0.5)) * (course.gas + left));
  mean = mean * rates.per_clear;
  R rate = zero, loss = zero;
  course.bursts = zero;
  if (switches.vehkamaki) {
    if (any(max(mean, R(T(gas_min))) > nucleation_bound)) {
      if (!has_burst)
        burst_of(air, burst);
      has_burst = true;
      R cluster, each;
      form_freely(burst, ln_gas(mean), rate, cluster, each);
      auto inside = rate >= R(T(rate_min));
      if (switches.older)
        inside = inside & (mean >= R(T(gas_min)));
      rate = only(inside, rate);
      const auto large = cluster >= R(T(cluster_min));
      const auto much =
          rate * each * rates.clear * R(clock.usual) > R(T(0.5 * burst_share)) * supply;
      course.bursts = only(inside & ((cluster < R(T(cluster_min))) | much), one);
      rate = only(large, rate);
      loss = rate * each;
    }
  }
  if (switches.organic != Settings::no_organic) {
    const R inside = only(to<T>(air.boundary_layer) > R(T(0.5)), to<T>(air.forest_fraction));
    const bool kinetic = switches.organic == Settings::kinetic;
    const R some = min(mean, R(T(1.0e20))); // as in `nucleate`
    const R more = kinetic ? R(T(3.86e-13)) * inside * some * some : R(T(1.0e-6)) * inside * some;
    loss = loss + (kinetic ? R(T(2)) : one) * more;
    rate = rate + more;
  }
  loss = loss * rates.clear * dt;
  const auto forms = (loss > zero) & (supply > zero);
  if (any(forms)) {
    const R rest = select(forms, supply / select(forms, supply + loss, one), one);
    fresh_gas = only(forms, loss * rest);
    formed = fresh_gas * quotient(forms, rate * rates.clear * dt, loss);
    left = left * rest;
    taken = taken * rest;
  }
  const R amount = taken * per_both; // per sink
  left = left + select(acts, zero, taken);
  course.gas = left;
  R condensed[n_mode];
  for (int k = 0; k < n_mode; ++k)
    condensed[k] = sink[k] * amount;
  if (rates.any_cloud) {
    R cloudy = amount * rates.cloud_rate;
    for (int j = 0; j < n_mode; ++j) {
      const int k = cloud_order[j];
      const R take = only(sink[k] > zero, cloudy);
      cloudy = cloudy - take;
      condensed[k] = condensed[k] + take;
    }
  }
  const R each = R(p.molecule_volume);
  for (int k = 0; k < n_soluble; ++k) {
    const R gain = k == ns ? condensed[k] + fresh_gas : condensed[k];
    course.sulfate.in[k] = course.sulfate.in[k] + gain;
    course.volume.in[k] = course.volume.in[k] + gain * each;
  }

  // Number equations, by the numbers of the start: KI first, then NS, KS and AS.
  const R ki_ks = rates.template between<ki, ks>() * number[ks],
          ki_as = rates.template between<ki, as>() * number[as];
  const Slow<T> of_ki =
      few(p, dt, number[ki], R(T(0.5)) * rates.template between<ki, ki>(), ki_ks + ki_as);
  const R ks_as = rates.template between<ks, as>() * number[as],
          ks_cs = rates.template between<ks, cs>() * number[cs];
  const R ks_ai = rates.template between<ks, ai>() * number[ai],
          ks_ci = rates.template between<ks, ci>() * number[ci];
  const Slow<T> of_ks = few(p, dt, number[ks], R(T(0.5)) * rates.template between<ks, ks>(),
                            (ks_as + ks_cs) + (ks_ai + ks_ci));
  const Slow<T> of_as = few(p, dt, number[as], R(T(0.5)) * rates.template between<as, as>(), zero);

  // NS, and what nucleates at a steady rate c: n' = c - a n**2 - b n, as section 12 iii solves it.
  const R all_ns = number[ns] + formed;
  const R collide = only(all_ns > R(p.kernel_number_min), one);
  const R half_kernel = R(T(0.5)) * rates.template between<ns, ns>() * sqrt(size) * collide;
  const R ns_ks = rates.template between<ns, ks>() * number[ks],
          ns_as = rates.template between<ns, as>() * number[as];
  const R ns_cs = rates.template between<ns, cs>() * number[cs],
          ns_ki = rates.template between<ns, ki>() * number[ki];
  const R ns_ai = rates.template between<ns, ai>() * number[ai],
          ns_ci = rates.template between<ns, ci>() * number[ci];
  const R others = per_surface * collide;
  const R rate_b = others * ((ns_ks + ns_as + ns_cs) + (ns_ki + ns_ai + ns_ci));
  const R steady = formed * per_dt, at_start = half_kernel * number[ns];
  const R q = max(sqrt(rate_b * rate_b + R(T(4)) * half_kernel * steady), R(T(1.0e-6)) * per_dt);
  R kept_q, lost_q;
  decay<T>(q * dt, kept_q, lost_q);
  const R t = lost_q / (one + kept_q), speed = R(T(2)) * at_start + rate_b;
  R vanished = R(T(2)) * t * number[ns] * (at_start + rate_b) +
               steady * (dt * speed * t + max(dt * q - R(T(2)) * t, zero));
  vanished = min(vanished / (q + speed * t), all_ns);
  // Without a rate of loss only rounding vanishes.
  const R own = half_kernel * R(T(0.5)) * (number[ns] + max(all_ns - vanished, zero));
  const R losses = own + rate_b;
  const auto moves = (all_ns > R(p.equation_number_min)) & (losses > zero);
  const R gone = quotient(moves, vanished, all_ns);
  const R per_rate = quotient(moves, gone, losses);
  const R intra = own * per_rate;

  // Collisions within NS that count as such with insoluble particles (hidden_collisions, for short
  // steps), as far as the sulfate of NS can coat these.
  const R ki_number = number[ki] * (one - of_ki.lost);
  const R insoluble = ki_number + number[ai] + number[ci];
  const R per_insoluble = quotient(one, insoluble);
  const R has = max(course.of_ns.in[ns] * rates.so4_ns + course.sulfate.in[ns], zero);
  const R mixed = select(insoluble > one, min(half_kernel * dt * (all_ns + number[ks]), one), one);
  const R needed =
      mixed * (rates.coat[0] * ki_number + rates.coat[1] * number[ai] + rates.coat[2] * number[ci]);
  const R most = R(T(0.95)) * intra;
  const auto hidden =
      (most > zero) & (all_ns + number[ks] > insoluble) & (insoluble > R(p.few_insoluble));
  // Nothing is divided that is not wanted: the quotient may overflow, which traps.
  const auto short_of = needed < most * has;
  const R extra =
      only(hidden & (has > zero), select(short_of, needed / select(short_of, has, one), most));
  const R hits = per_rate * others, more = extra * per_insoluble;
  const R ns_to_ki = ns_ki * hits + more * ki_number, ns_to_ai = ns_ai * hits + more * number[ai];
  const R ns_to_ci = ns_ci * hits + more * number[ci];

  // Sulfate that coats the insoluble modes, which then age; what condensed on them goes along.
  const R ks_sulfate = course.of_ks.in[ks] * rates.so4_ks + course.of_ns.in[ks] * rates.so4_ns +
                       course.sulfate.in[ks];
  const R ks_to_ai = ks_ai * of_ks.per_rate, ks_to_ci = ks_ci * of_ks.per_rate;
  const R on[n_insoluble] = {condensed[ki] + has * ns_to_ki,
                             condensed[ai] + has * ns_to_ai + ks_sulfate * ks_to_ai,
                             condensed[ci] + has * ns_to_ci + ks_sulfate * ks_to_ci};
  course.gained[ns] = course.gained[ns] + formed;
  course.lose(ns, gone);
  course.lose(ks, of_ks.lost);
  course.lose(as, of_as.lost);
  course.lose(ki, of_ki.lost);
  Collisions<T> hit;
  hit.ns_ks = ns_ks * hits + ns_to_ki;
  hit.ns_as = ns_as * hits + ns_to_ai;
  hit.ns_cs = ns_cs * hits + ns_to_ci;
  hit.ns_stays = max(one - (hit.ns_ks + hit.ns_as + hit.ns_cs), zero);
  hit.ks_as = ks_as * of_ks.per_rate + ks_to_ai;
  hit.ks_cs = ks_cs * of_ks.per_rate + ks_to_ci;
  hit.ks_stays = max(one - (hit.ks_as + hit.ks_cs), zero);
  hit.template move<ns>(course.sulfate);
  hit.template move<ns>(course.volume);
  hit.template move<ns>(course.of_ns);
  hit.template move<ks>(course.of_ks);
  hit.template move<ks>(course.of_ki);
  R aged[n_insoluble];
  for (int k = 0; k < n_insoluble; ++k) {
    const R now = course.number(ki + k);
    const auto ages = (now >= R(p.ageing_number_min)) & (rates.coat[k] > R(T(coating_min)));
    const R joins = only(ages, min(on[k] * rates.per_coat[k], now));
    aged[k] = quotient(joins, now);
    course.lose(ki + k, aged[k]);
    course.gained[ks + k] = course.gained[ks + k] + joins;
    course.sulfate.in[ks + k] = course.sulfate.in[ks + k] + condensed[ki + k];
    course.volume.in[ks + k] = course.volume.in[ks + k] + condensed[ki + k] * each;
  }
  const R ki_stays = max(one - (of_ki.lost - of_ki.intra), zero);
  const R to_ks = course.stays[0] * (ki_ks * of_ki.per_rate + ki_stays * aged[0]);
  const R to_as = course.stays[0] * (ki_as * of_ki.per_rate);
  const R ai_to_as = course.stays[1] * aged[1], ci_to_cs = course.stays[2] * aged[2];
  course.of_ki.in[ks] = course.of_ki.in[ks] + to_ks;
  course.of_ki.in[as] = course.of_ki.in[as] + to_as;
  course.of_ai.in[as] = course.of_ai.in[as] + ai_to_as;
  course.of_ci.in[cs] = course.of_ci.in[cs] + ci_to_cs;
  course.volume.in[ks] = course.volume.in[ks] + rates.insoluble_volume[0] * to_ks;
  course.volume.in[as] = course.volume.in[as] + rates.insoluble_volume[0] * to_as +
                         rates.insoluble_volume[1] * ai_to_as;
  course.stays[0] = course.stays[0] * ki_stays * (one - aged[0]);
  course.stays[1] = course.stays[1] * (one - aged[1]);
  course.stays[2] = course.stays[2] * (one - aged[2]);

  // Merging, from AS down, each mode before it gains.
  const R often = fraction * R(clock.often);
  Merges<T> merges;
  for (int k = as; k >= ns; --k) {
    const R now = course.number(k), volume = course.volume.in[k];
    const R edge = R(p.edge[k]);
    R gained = course.sulfate.in[k];
    if (k > ns)
      gained = gained + course.of_ns.in[k] * rates.so4_ns;
    if (k > ks)
      gained = gained + course.of_ks.in[k] * rates.so4_ks;
    // Fewer have no size of their own, either.
    const auto there = (now > R(p.merging_number_min)) & (now > R(p.number_min));
    const auto grown_out =
        there & (gained > rates.sulfate_min[k]) & (volume > R(p.middle[k]) * now);
    merges.leaves[k] = zero;
    if (!any(grown_out))
      continue;
    // Each time the mean has reached the middle, it falls back by the gap; where it would do so in
    // every step of M7, it ends settled.
    const R over = volume - R(p.middle[k]) * now, gap = (R(p.middle[k]) - rates.settled[k]) * now;
    const auto falling = (gap > R(T(1.0e-25))) & (over < often * gap);
    const R times = quotient(falling, over, gap);
    const R nearest = (times + R(real_traits<T>::round)) - R(real_traits<T>::round);
    const R falls = select(nearest > times, nearest, nearest + one);
    R out = select(falling, falls * gap, over + gap);
    out = only(grown_out, out * rates.excess[k]);
    const R share = min(quotient(out, edge * now), one);
    merges.leaves[k] = select(share < one, min(quotient(out, volume), one), one);
    course.gained[k + 1] = course.gained[k + 1] + now * share;
    course.lose(k, share);
  }
  merges.template move<ns>(course.sulfate);
  merges.template move<ns>(course.volume);
  merges.template move<ns>(course.of_ns);
  merges.template move<ks>(course.of_ks);
  merges.template move<ks>(course.of_ki);
  merges.template move<as>(course.of_as);
  merges.template move<as>(course.of_ai);
}

// Apply the shares of a stage of `span` seconds.
template <class S, class T>
M7EMU_FUNCTION void apply(const Course<T> &course, const Air &air, double span, State<S> &cells) {
  using H = pack<S>;
  using D = pack<double>;
  auto &mass = cells.mass;
  const D supply = max(to<double>(cells.gas) + air.production * D(span), D(0.0));
  // Shares of the gas that is left, and of that in NS to CS.
  D of_gas[1 + n_soluble], all = to<double>(course.gas);
  of_gas[0] = all;
  for (int k = 0; k < n_soluble; ++k) {
    of_gas[1 + k] = to<double>(course.sulfate.in[k]);
    all = all + of_gas[1 + k];
  }
  const auto some = all > D(1.0e-30);
  const D per_all = quotient(some, D(1.0), all);
  for (int i = 0; i <= n_soluble; ++i)
    of_gas[i] = of_gas[i] * per_all;
  of_gas[0] = select(some, of_gas[0], D(1.0));
  cells.gas = to<S>(supply * of_gas[0]);

  H ns_of[4], ks_of[3], as_of[2], ki_of[4], ai_of[3], ci_of[2];
  for (int k = ns; k <= cs; ++k)
    ns_of[k] = to<S>(course.of_ns.in[k]);
  for (int k = ks; k <= cs; ++k) {
    ks_of[k - ks] = to<S>(course.of_ks.in[k]);
    ki_of[k] = to<S>(course.of_ki.in[k]);
  }
  for (int k = as; k <= cs; ++k) {
    as_of[k - as] = to<S>(course.of_as.in[k]);
    ai_of[k - ks] = to<S>(course.of_ai.in[k]);
  }
  ki_of[0] = to<S>(course.stays[0]);
  ai_of[0] = to<S>(course.stays[1]);
  ci_of[0] = to<S>(course.stays[2]);
  ci_of[1] = to<S>(course.of_ci.in[cs]);
  normalise<S>(ns_of);
  normalise<S>(ks_of);
  normalise<S>(as_of);
  normalise<S>(ki_of);
  normalise<S>(ai_of);
  normalise<S>(ci_of);

  const H old_ns = mass[so4_ns], old_ks = mass[so4_ks], old_as = mass[so4_as];
  mass[so4_ns] = old_ns * ns_of[ns] + to<S>(supply * of_gas[1]);
  mass[so4_ks] = old_ks * ks_of[0] + old_ns * ns_of[ks] + to<S>(supply * of_gas[2]);
  mass[so4_as] =
      old_as * as_of[0] + old_ks * ks_of[1] + old_ns * ns_of[as] + to<S>(supply * of_gas[3]);
  mass[so4_cs] = mass[so4_cs] + old_as * as_of[1] + old_ks * ks_of[2] + old_ns * ns_of[cs] +
                 to<S>(supply * of_gas[4]);
  constexpr int in_ks[] = {bc_ks, oc_ks}, in_as[] = {bc_as, oc_as}, in_cs[] = {bc_cs, oc_cs},
                in_ki[] = {bc_ki, oc_ki};
  for (int j = 0; j < 2; ++j) {
    const H of_ks = mass[in_ks[j]], of_as = mass[in_as[j]], of_ki = mass[in_ki[j]];
    mass[in_ki[j]] = of_ki * ki_of[0];
    mass[in_ks[j]] = of_ks * ks_of[0] + of_ki * ki_of[1];
    mass[in_as[j]] = of_as * as_of[0] + of_ks * ks_of[1] + of_ki * ki_of[2];
    mass[in_cs[j]] = mass[in_cs[j]] + of_as * as_of[1] + of_ks * ks_of[2] + of_ki * ki_of[3];
  }
  const H salt = mass[ss_as], dust = mass[du_as], fine = mass[du_ai], coarse = mass[du_ci];
  mass[ss_as] = salt * as_of[0];
  mass[ss_cs] = mass[ss_cs] + salt * as_of[1];
  mass[du_as] = dust * as_of[0] + fine * ai_of[1];
  mass[du_cs] = mass[du_cs] + dust * as_of[1] + fine * ai_of[2] + coarse * ci_of[1];
  mass[du_ai] = fine * ai_of[0];
  mass[du_ci] = coarse * ci_of[0];
  for (int k = 0; k < n_mode; ++k)
    cells.number[k] = cells.number[k] * (H(S(1)) - to<S>(course.lost[k])) + to<S>(course.gained[k]);
}

// A stage of `span` seconds in strides, from the particles' `sizes`, kernels and sinks at its
// start.
template <class S, class T>
M7EMU_FUNCTION void stage(const Parameters<T> &p, const Switches &switches, double timestep,
                          double span, int strides, const Air &air, const Amounts<T> &x,
                          const Sizes<T> &sizes, pack<T> ns_molecules,
                          const pack<T> (&sink)[n_mode], const pack<T> (&kernel)[n_pair],
                          const pack<T> (&coat)[n_insoluble], pack<T> nucleation_bound,
                          bool &has_burst, Burst &burst, State<S> &cells) {
  using R = pack<T>;
  const R zero = R(T(0)), one = R(T(1));
  Rates<T> rates;
  Course<T> course;
  for (int k = 0; k < n_mode; ++k) {
    rates.sink[k] = sink[k];
    course.start[k] = x.number[k];
    course.lost[k] = zero;
    course.gained[k] = zero;
  }
  for (int pair = 0; pair < n_pair; ++pair)
    rates.kernel[pair] = kernel[pair];
  for (int k = 0; k < n_insoluble; ++k) {
    rates.coat[k] = coat[k];
    rates.per_coat[k] = quotient(one, rates.coat[k]);
    rates.insoluble_volume[k] = zero;
    course.stays[k] = one;
    for (int species = bc; species < n_species; ++species)
      if (mass_index[ki + k][species] >= 0)
        rates.insoluble_volume[k] = rates.insoluble_volume[k] +
                                    x.mass[mass_index[ki + k][species]] * R(p.per_density[species]);
  }
  for (int k = 0; k < n_soluble; ++k) {
    course.sulfate.in[k] = zero;
    course.volume.in[k] = x.mass[mass_index[k][so4]] * R(p.molecule_volume);
    for (int species = bc; species < n_species; ++species)
      if (mass_index[k][species] >= 0)
        course.volume.in[k] =
            course.volume.in[k] + x.mass[mass_index[k][species]] * R(p.per_density[species]);
    course.of_ns.in[k] = k == ns ? one : zero;
    course.of_ks.in[k] = k == ks ? one : zero;
    course.of_as.in[k] = k == as ? one : zero;
    course.of_ki.in[k] = course.of_ai.in[k] = course.of_ci.in[k] = zero;
  }
  rates.ns_molecules = course.last_molecules = ns_molecules;
  course.done = zero;
  course.fraction = course.bursts = one;
  rates.per_ns_molecules = one / max(ns_molecules, R(T(1.0e-10)));
  rates.so4_ns = x.mass[so4_ns];
  rates.so4_ks = x.mass[so4_ks];
  rates.production = to<T>(air.production);
  rates.cloud_rate = zero;
  rates.clear = rates.per_clear = one;
  rates.any_cloud = false;
  if (!switches.older) {
    rates.clear = one - to<T>(air.cloud_fraction);
    rates.per_clear = one / max(rates.clear, R(T(1.0e-6)));
    rates.cloud_rate = log_of<T>(max(rates.clear, R(T(1.0e-30)))) * R(T(-short_steps / timestep));
    rates.any_cloud = any(rates.clear < one);
  }
  course.gas = to<T>(cells.gas);
  const Diffusion<T> diffusion(p, air);
  for (int k = ks; k <= as; ++k) {
    const R volume = course.volume.in[k], radius = sizes.wet_radius[k];
    const auto there = volume > max(course.start[k], one) * R(T(1.0e-15));
    const R mean = quotient(there, course.start[k], volume); // [um-3]
    const R more =
        quotient(diffusion.sink(k, radius * R(T(grown_radius))), diffusion.sink(k, radius));
    const R by_volume = max(more - one, zero) * R(T(1.0 / (grown_volume - 1.0)));
    const R part = by_volume * only(mean > zero, rates.sink[k]);
    rates.grown_sink[k] = part * mean;
    rates.sink[k] = rates.sink[k] - part;
  }
  settle(p, switches, sizes, course, rates);
  const Clock<T> clock = {T(span / strides), T(short_steps * span / (strides * timestep)), strides};
  const R end = R(T(strides));
  const int most = most_strides * strides;
  Course<T> before;
  for (int i = 0; i < most && any(course.done < end); ++i) {
    // Cells that are at the end wait for those beside them.
    const auto goes = course.done < end;
    const bool waits = any(course.done >= end);
    if (waits)
      before = course;
    stride(p, switches, clock, most - i, rates, air, nucleation_bound, has_burst, burst, course);
    if (waits)
      keep<T>(goes, before, course);
  }
  apply<S>(course, air, span, cells);
}

} // namespace M7EMU_SET
} // namespace m7emu
