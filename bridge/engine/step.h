// One step of a block of cells: the processes in M7's order (section 6 of the physics contract).
#pragma once

#include "cells.h"
#include "coagulation.h"
#include "condensation.h"
#include "merging.h"
#include "network.h"
#include "nucleation.h"
#include "program.h"
#include "properties.h"
#include "stages.h"
#include "transfer.h"
#include "water.h"

namespace m7emu {
namespace M7EMU_SET {

template <class T> M7EMU_INLINE const Parameters<T> &parameters(const Program &program) {
  if constexpr (sizeof(T) == sizeof(float))
    return program.single_precision;
  else
    return program.double_precision;
}

// What solution a particle of H2SO4 becomes: section 8.1, or what a network tells of the air.
template <class T> struct Dissolve {
  const Parameters<T> &p;
  const Solution<T> &solution;
  bool learned;

  M7EMU_INLINE void operator()(pack<T> molecules, pack<T> &percent, pack<T> &density) const {
    using R = pack<T>;
    if (!learned) {
      sulfuric_solution(p, solution, molecules, percent, density);
      return;
    }
    const R u = (log_of<T>(molecules) - R(T(ln_middle_size))) * R(T(1.0 / ln_size_step));
    percent = min(max(polynomial(u, solution.learned_percent), R(p.floor_percent)), R(T(100)));
    density = min(max(polynomial(u, solution.learned_density), R(T(1.0))), R(T(1.841)));
  }
};

// Coefficients of the quartic through values at -2, -1, 0, 1, 2.
template <class T> M7EMU_FUNCTION void quartic(const pack<float> *y, pack<T> (&series)[n_size]) {
  using R = pack<float>;
  const R odd0 = y[4] - y[0], odd1 = y[3] - y[1], even0 = y[4] + y[0], even1 = y[3] + y[1];
  const R twelfth = R(1.0f / 12.0f), half = R(0.5f);
  series[0] = to<T>(y[2]);
  series[1] = to<T>((R(8.0f) * odd1 - odd0) * twelfth);
  series[2] = to<T>((R(16.0f) * even1 - even0 - R(30.0f) * y[2]) * (half * twelfth));
  series[3] = to<T>((odd0 - R(2.0f) * odd1) * twelfth);
  series[4] = to<T>((even0 - R(4.0f) * even1 + R(6.0f) * y[2]) * (half * twelfth));
}

// How the air wets particles: exact terms, or those of networks (sections 8.1 and 8.3).
template <class T>
M7EMU_FUNCTION void wetting(const Program &program, const Air &air, Solution<T> &solution,
                            Guard &guard) {
  using D = pack<double>;
  using R = pack<float>;
  const R one = R(1.0f);
  if (program.switches.kappa_water) {
    solution.moist = Moist<T>(air);
    return;
  }
  if (program.water) {
    R feature[n_water_features], present[n_water_features] = {one, one, one};
    R target[n_water_targets];
    feature[water_temperature] = max(to<float>(air.seen_temperature), R(float(temperature_floor)));
    feature[water_relative_humidity] = min(
        max(to<float>(air.seen_humidity), R(float(humidity_floor))), R(float(humidity_ceiling)));
    feature[water_ln_pressure] = log_of<float>(to<float>(air.pressure));
    evaluate(*program.water, feature, present, target, guard);
    for (int i = 0; i < n_size; ++i)
      target[water_ln_weight_percent + i] =
          exp_of<float>(min(max(target[water_ln_weight_percent + i], R(-10.0f)), R(6.0f)));
    quartic(target + water_ln_weight_percent, solution.learned_percent);
    quartic(target + water_solution_density, solution.learned_density);
  } else {
    solution_terms(to<T>(air.pressure), to<T>(air.seen_temperature), to<T>(air.seen_humidity),
                   solution);
  }
  if (program.salt) {
    const R wet = to<float>(select(air.relative_humidity < D(deliquescence_rh), D(0.0), D(1.0)));
    const D activity = min(max(air.relative_humidity, D(deliquescence_rh)), D(1.0));
    R feature[n_salt_features], present[n_salt_features] = {wet, wet}, target[n_salt_targets];
    feature[salt_activity] = to<float>(activity);
    feature[salt_ln_subsaturation] = log_of<float>(to<float>(D(1.01) - activity));
    evaluate(*program.salt, feature, present, target, guard);
    for (int salt = 0; salt < n_salt; ++salt) {
      const R held = wet * exp_of<float>(min(max(target[salt], R(-20.0f)), R(20.0f)));
      solution.water_per_salt[salt] = to<T>(held);
      solution.exact_water_per_salt[salt] = to<double>(held);
    }
  } else {
    salt_terms(air.relative_humidity, solution);
  }
}

// A learned rate from its logarithm, within bounds that nothing in an atmosphere reaches and that
// keep float from overflow and underflow.
constexpr float ln_rate_min = -50.0f;
constexpr float ln_error_min = -30.0f, ln_error_max = 10.0f; // of what the self-error head expects
M7EMU_INLINE pack<float> rate_of(pack<float> ln_rate, double most) {
  using R = pack<float>;
  return min(exp_of<float>(max(ln_rate, R(ln_rate_min))), R(static_cast<float>(most)));
}

// Logarithms that networks of the particles give: sinks, kernels, coatings. One that serves several
// of them is evaluated once.
template <class T>
M7EMU_FUNCTION void learned_rates(const Program &program, const Air &air, const Sizes<T> &sizes,
                                  pack<float> (&target)[n_particle_targets], Guard &guard) {
  using R = pack<float>;
  const Network *used[] = {program.switches.condensation ? program.condensation : nullptr,
                           program.switches.coagulation ? program.coagulation : nullptr,
                           program.ageing};
  if (!used[0] && !used[1] && !used[2])
    return;
  R feature[n_particle_features], present[n_particle_features];
  for (int k = 0; k < n_mode; ++k) {
    const R r = to<float>(sizes.wet_radius[k]);
    const auto some = r > R(0.0f);
    present[particle_ln_wet_radius + k] = present[particle_density + k] = only(some, R(1.0f));
    feature[particle_ln_wet_radius + k] = log_of<float>(select(some, r, R(1.0f)));
    feature[particle_density + k] = to<float>(sizes.density[k]);
  }
  feature[particle_temperature] = to<float>(air.seen_temperature);
  feature[particle_ln_pressure] = log_of<float>(to<float>(air.pressure));
  present[particle_temperature] = present[particle_ln_pressure] = R(1.0f);
  for (int i = 0; i < 3; ++i)
    if (used[i] && (i < 1 || used[i] != used[0]) && (i < 2 || used[i] != used[1]))
      evaluate(*used[i], feature, present, target, guard);
}

// What the self-error head expects of the step, from the state before it: u of pyemu/modelfile.py.
template <class T>
M7EMU_FUNCTION void expect_error(const Program &program, double timestep, const Air &air,
                                 pack<double> available, const pack<T> (&particles)[n_mode],
                                 const Sizes<T> &sizes, Guard &guard) {
  using R = pack<float>;
  const R zero = R(0.0f), one = R(1.0f);
  R feature[n_error_features], present[n_error_features], ln_bound;
  for (int k = 0; k < n_mode; ++k) {
    const R number = to<float>(particles[k]), radius = to<float>(sizes.wet_radius[k]);
    const R some = min(only(number > zero, one), only(radius > zero, one));
    present[error_ln_number + k] = present[error_ln_wet_radius + k] = some;
    feature[error_ln_number + k] = log_of<float>(select(some > zero, number, one));
    feature[error_ln_wet_radius + k] = log_of<float>(select(some > zero, radius, one));
  }
  const R gas = to<float>(available);
  for (int i = error_temperature; i < n_error_features; ++i)
    present[i] = one;
  present[error_ln_h2so4_available] = only(gas > zero, one);
  feature[error_temperature] = to<float>(air.seen_temperature);
  feature[error_ln_pressure] = log_of<float>(to<float>(air.pressure));
  feature[error_relative_humidity] = to<float>(air.seen_humidity);
  feature[error_cloud_fraction] = to<float>(air.cloud_fraction);
  feature[error_ln_h2so4_available] = log_of<float>(select(gas > zero, gas, one));
  feature[error_ln_timestep] = log_of<float>(R(static_cast<float>(timestep)));
  Guard own; // the head's range says nothing of the step
  own.cells = guard.cells;
  evaluate(*program.self_error, feature, present, &ln_bound, own);
  guard.error = exp_of<float>(min(max(ln_bound, R(ln_error_min)), R(ln_error_max)));
}

// Sizes of the particles, and the rates at which they act: exact ones, or those of networks.
struct Particles {
  Solution<Real> solution;
  pack<Real> virtual_molecules;
  Sizes<Real> sizes;
  pack<float> learned[n_particle_targets];

  M7EMU_FUNCTION void wet(const Program &program, const Air &air, Guard &guard) {
    virtual_molecules = pack<Real>(Real(0));
    wetting(program, air, solution, guard);
  }

  // All of them, or what rates need.
  template <bool all, class Held>
  M7EMU_FUNCTION void properties(const Program &program, const Held &x) {
    const Parameters<Real> &p = parameters<Real>(program);
    const Dissolve<Real> dissolve{p, solution, program.water != nullptr};
    particle_properties<all>(p, program.switches, solution, x, dissolve, virtual_molecules, sizes);
  }

  // Evaluate the networks of the rates below, for the sizes there are.
  M7EMU_FUNCTION void rates(const Program &program, const Air &air, Guard &guard) {
    learned_rates(program, air, sizes, learned, guard);
  }

  // `least`: of NS in each cell, to have its kernels where the mode is empty, too [cm-3].
  M7EMU_FUNCTION void kernels(const Program &program, const Air &air,
                              const pack<Real> (&number)[n_mode], Real least,
                              pack<Real> (&kernel)[n_pair]) const {
    using R = pack<Real>;
    if (!program.switches.coagulation) {
      for (int pair = 0; pair < n_pair; ++pair)
        kernel[pair] = R(Real(0));
      return;
    }
    const Parameters<Real> &p = parameters<Real>(program);
    mask<Real> there[n_mode];
    there[ns] = collides(p, sizes.wet_radius[ns], sizes.density[ns], max(number[ns], R(least)));
    for (int k = ks; k < n_mode; ++k)
      there[k] = collides(p, sizes.wet_radius[k], sizes.density[k], number[k]);
    if (program.coagulation)
      for (int pair = 0; pair < n_pair; ++pair)
        kernel[pair] = only(there[pair_first[pair]] & there[pair_second[pair]],
                            to<Real>(rate_of(learned[particle_ln_kernel + pair], kernel_max)));
    else
      coagulation_kernels(p, air, sizes.wet_radius, sizes.density, there, kernel);
  }

  // Sinks of so many particles [s-1].
  M7EMU_FUNCTION void sinks(const Program &program, const Air &air,
                            const pack<Real> (&number)[n_mode], pack<Real> (&sink)[n_mode]) const {
    using R = pack<Real>;
    if (program.condensation)
      for (int k = 0; k < n_mode; ++k)
        sink[k] = only(sizes.wet_radius[k] > R(Real(0)),
                       number[k] * to<Real>(rate_of(learned[particle_ln_sink + k], sink_max)));
    else
      condensation_sink(parameters<Real>(program), air, sizes.wet_radius, number, sink);
  }

  // Molecules that coat the mean insoluble particle [1].
  M7EMU_FUNCTION void coats(const Program &program, pack<Real> (&coat)[n_insoluble]) const {
    using R = pack<Real>;
    if (program.ageing)
      for (int k = 0; k < n_insoluble; ++k)
        coat[k] = only(sizes.wet_radius[ki + k] > R(Real(0)),
                       to<Real>(rate_of(learned[particle_ln_coating + k], coat_max)));
    else
      coatings(parameters<Real>(program), sizes.wet_radius, coat);
  }

  // Merge what has outgrown its mode; `x` is what NS, KS and AS of `cells` hold. Returns whether
  // any lane merges.
  template <class S>
  M7EMU_FUNCTION bool merging(const Program &program, double slack, const Amounts<Real> &x,
                              State<S> &cells) {
    return merge_modes(parameters<Real>(program), program.switches, Real(slack), x,
                       virtual_molecules, cells);
  }
};

// What a step of `lanes` cells holds from one of its parts to the next. S is the host's precision.
template <class S> struct Passage {
  Air air;
  State<S> cells;
#if !defined(M7EMU_SCALAR)
  alignas(64) S copy[1 + n_mass + n_mode][lanes]; // of the cells, where it is needed
#endif
  Guard guard;
  pack<float> negatives; // amounts that were given so
  Particles particles;
  pack<Real> number[n_mode]; // at the start [cm-3]
  pack<Real> kernel[n_pair];
  pack<S> coating[n_insoluble];  // sulfate that has condensed on KI, AI and CI
  pack<double> sink;             // of all modes [s-1]
  pack<double> gas;              // left by condensation [cm-3]
  pack<double> water[n_soluble]; // after the step [kg m-3]
};

// Parts of the step, each for one passage: the engine takes several passages through a part before
// it goes on, so that the part's instructions are fetched once.

// The air's production is bounded here: the gas must cover what other processes take out of it.
template <class S>
M7EMU_FUNCTION void begin(const Program &program, double timestep, Passage<S> &c) {
  using D = pack<double>;
  const D dt = D(timestep);
  Air &air = c.air;
  if (program.switches.production_in_gas)
    air.production = D(0.0);
  c.gas = to<double>(c.cells.gas);
  air.production = max(air.production, D(0.0) - c.gas * D(1.0 / timestep));
  if (program.stages == 0 && program.switches.older) {
    c.gas = max(c.gas + air.production * dt, D(0.0));
    air.production = D(0.0);
  }
  M7EMU_PART(air);
  c.particles.wet(program, air, c.guard);
}

template <bool all, class S> M7EMU_FUNCTION void size_up(const Program &program, Passage<S> &c) {
  c.particles.template properties<all>(program, Seen<Real, S>(c.cells));
}

template <class S>
M7EMU_FUNCTION void foresee(const Program &program, double timestep, Passage<S> &c) {
  if (program.self_error)
    expect_error(program, timestep, c.air, c.gas + c.air.production * pack<double>(timestep),
                 c.number, c.particles.sizes, c.guard);
}

template <class S> M7EMU_FUNCTION void find_rates(const Program &program, Passage<S> &c) {
  M7EMU_PART(networks);
  c.particles.rates(program, c.air, c.guard);
  M7EMU_PART(kernels);
  c.particles.kernels(program, c.air, c.number, Real(0), c.kernel);
}

template <class S>
M7EMU_FUNCTION void condense_gas(const Program &program, double timestep, Passage<S> &c) {
  M7EMU_PART(condensation);
  using D = pack<double>;
  const Switches &switches = program.switches;
  c.sink = D(0.0);
  if (switches.condensation) {
    pack<Real> sink[n_mode];
    D rate[n_mode];
    c.particles.sinks(program, c.air, c.number, sink);
    convert(sink, rate);
    for (int k = 0; k < n_mode; ++k)
      c.sink = c.sink + rate[k];
    condense(switches, timestep, c.air, rate, c.sink, c.gas, c.cells, c.coating);
  } else {
    c.gas = max(c.gas + c.air.production * D(timestep), D(0.0));
    for (int k = 0; k < n_insoluble; ++k)
      c.coating[k] = pack<S>(S(0));
  }
}

template <class S>
M7EMU_FUNCTION void form_and_collide(const Program &program, double timestep, Passage<S> &c) {
  pack<double> taken, formed;
  M7EMU_PART(nucleation);
  nucleate(program.nucleation, program.switches, timestep, c.air, c.sink, c.gas, taken, formed,
           c.guard);
  c.cells.gas = to<S>(c.gas - taken);
  M7EMU_PART(coagulation);
  pack<Real> coat[n_insoluble];
  c.particles.coats(program, coat);
  coagulate_and_age(parameters<Real>(program), program.switches, Real(timestep), c.kernel, coat,
                    c.coating, c.number, to<S>(taken), to<S>(formed), c.cells);
}

template <class S> M7EMU_FUNCTION void merge(const Program &program, Passage<S> &c) {
  M7EMU_PART(merging);
  if (!program.switches.condensation && !program.switches.coagulation)
    return;
  Amounts<Real> x;
  for (int k = ns; k <= as; ++k)
    convert(c.cells, k, x);
  c.particles.merging(program, 0.0, x, c.cells);
}

// The step in stages; nucleation is exact there.
template <class S>
M7EMU_FUNCTION void staged_step(const Program &program, double timestep, Passage<S> &c) {
  using R = pack<Real>;
  const Switches &switches = program.switches;
  const R bound = exp_of<Real>(nucleation_bound(c.air, ln_saturation(c.air)));
  bool has_burst = false;
  Burst burst;
  M7EMU_PART(merging);
  Amounts<Real> x;
  convert(c.cells, x);
  if (c.particles.merging(program, merging_slack, x, c.cells))
    convert(c.cells, x);
  for (int i = 0; i < program.stages; ++i) {
    M7EMU_PART(properties);
    c.particles.template properties<true>(program, x);
    if (i == 0) {
      convert(x.number, c.number);
      foresee(program, timestep, c);
    }
    M7EMU_PART(networks);
    c.particles.rates(program, c.air, c.guard);
    R kernel[n_pair], sink[n_mode], coat[n_insoluble], one_each[n_mode];
    M7EMU_PART(kernels);
    c.particles.kernels(program, c.air, x.number, Real(1), kernel);
    for (int k = 0; k < n_mode; ++k)
      one_each[k] = R(switches.condensation ? Real(1) : Real(0));
    c.particles.sinks(program, c.air, one_each, sink);
    c.particles.coats(program, coat);
    M7EMU_PART(stages);
    stage(parameters<Real>(program), switches, timestep, timestep / program.stages, program.strides,
          c.air, x, c.particles.sizes, c.particles.virtual_molecules, sink, kernel, coat, bound,
          has_burst, burst, c.cells);
    convert(c.cells, x);
  }
}

template <class S> M7EMU_FUNCTION void moisten(const Program &program, Passage<S> &c) {
  const Seen<double, S> exact(c.cells);
  const Parameters<double> &p = program.double_precision;
  const Switches &switches = program.switches;
  const Moist<double> air(c.air);
  const auto &sizes = c.particles.sizes;
  const pack<double> molecules = to<double>(c.particles.virtual_molecules);
  kappa_water<ns>(p, switches, air, exact, sizes, molecules, c.water[ns]);
  kappa_water<ks>(p, switches, air, exact, sizes, molecules, c.water[ks]);
  kappa_water<as>(p, switches, air, exact, sizes, molecules, c.water[as]);
  kappa_water<cs>(p, switches, air, exact, sizes, molecules, c.water[cs]);
}

template <class S> M7EMU_FUNCTION void finish(const Program &program, Passage<S> &c) {
  M7EMU_PART(diagnostics);
  size_up<true>(program, c);
  if (program.switches.kappa_water) {
    moisten(program, c);
    return;
  }
  const Parameters<double> &p = program.double_precision;
  const auto &water = c.particles.sizes.water;
  c.water[ns] = to<double>(water[ns]);
  c.water[ks] = to<double>(water[ks]);
  c.water[as] = salt_water<as>(p, c.particles.solution, c.cells, water[as]);
  c.water[cs] = salt_water<cs>(p, c.particles.solution, c.cells, water[cs]);
}

// M7's own step, or that in stages, of so many passages.
template <class S>
M7EMU_FUNCTION void advance(const Program &program, double timestep, Passage<S> *passage, int n) {
  const auto each = [&](const auto &part) {
    for (int i = 0; i < n; ++i)
      part(passage[i]);
  };
  each([&](Passage<S> &c) { begin(program, timestep, c); });
  if (program.stages > 0) {
    each([&](Passage<S> &c) { staged_step(program, timestep, c); });
  } else {
    M7EMU_PART(properties);
    each([&](Passage<S> &c) { size_up<false>(program, c); });
    each([&](Passage<S> &c) { foresee(program, timestep, c); });
    each([&](Passage<S> &c) { find_rates(program, c); });
    each([&](Passage<S> &c) { condense_gas(program, timestep, c); });
    each([&](Passage<S> &c) { form_and_collide(program, timestep, c); });
    each([&](Passage<S> &c) { merge(program, c); });
  }
  each([&](Passage<S> &c) { finish(program, c); });
}

} // namespace M7EMU_SET
} // namespace m7emu
