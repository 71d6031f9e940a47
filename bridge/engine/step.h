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

// The kind of real that each process is computed in: chosen here, once.
struct Precision {
  using size = float;    // properties, water
  using sink = float;    // condensation sinks
  using kernel = float;  // coagulation kernels
  using number = float;  // number equations, shares of coagulation and ageing
  using merging = float; // merging
};

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
    if (!learned) {
      sulfuric_solution(p, solution, molecules, percent, density);
      return;
    }
    using R = pack<T>;
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
  if (program.water) {
    R feature[n_water_features], present[n_water_features] = {one, one, one};
    R target[n_water_targets];
    feature[water_temperature] = to<float>(max(air.temperature, D(temperature_floor)));
    feature[water_relative_humidity] =
        to<float>(min(max(air.relative_humidity, D(humidity_floor)), D(humidity_ceiling)));
    feature[water_ln_pressure] = log_of<float>(to<float>(air.pressure));
    evaluate(*program.water, feature, present, target, guard);
    for (int i = 0; i < n_size; ++i)
      target[water_ln_weight_percent + i] =
          exp_of<float>(min(max(target[water_ln_weight_percent + i], R(-10.0f)), R(6.0f)));
    quartic(target + water_ln_weight_percent, solution.learned_percent);
    quartic(target + water_solution_density, solution.learned_density);
  } else {
    solution_terms(air.pressure, air.temperature, air.relative_humidity, solution);
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
    present[particle_ln_wet_radius + k] = present[particle_density + k] =
        select(some, R(1.0f), R(0.0f));
    feature[particle_ln_wet_radius + k] = log_of<float>(select(some, r, R(1.0f)));
    feature[particle_density + k] = to<float>(sizes.density[k]);
  }
  feature[particle_temperature] = to<float>(air.temperature);
  feature[particle_ln_pressure] = log_of<float>(to<float>(air.pressure));
  present[particle_temperature] = present[particle_ln_pressure] = R(1.0f);
  for (int i = 0; i < 3; ++i)
    if (used[i] && (i < 1 || used[i] != used[0]) && (i < 2 || used[i] != used[1]))
      evaluate(*used[i], feature, present, target, guard);
}

// Sizes of the particles, and the rates at which they act: exact ones, or those of networks.
template <class S> struct Particles {
  using size = Precision::size;
  using kernel_real = Precision::kernel;
  const Program &program;
  const Air &air;
  Guard &guard;
  Solution<size> solution;
  pack<size> virtual_molecules = pack<size>(size(0));
  Sizes<size> sizes;
  pack<float> learned[n_particle_targets];

  M7EMU_INLINE Particles(const Program &program, const Air &air, Guard &guard)
      : program(program), air(air), guard(guard) {
    M7EMU_PART(air);
    wetting(program, air, solution, guard);
  }

  M7EMU_FUNCTION void properties(const Amounts<size> &x) {
    const Parameters<size> &p = parameters<size>(program);
    const Dissolve<size> dissolve{p, solution, program.water != nullptr};
    particle_properties(p, program.switches, solution, x, dissolve, virtual_molecules, sizes);
  }

  // Evaluate the networks of the rates below, for the sizes there are.
  M7EMU_FUNCTION void rates() { learned_rates(program, air, sizes, learned, guard); }

  // `ns_too`: also the kernels of NS where the mode is empty.
  template <class T>
  M7EMU_FUNCTION void kernels(const Amounts<size> &x, bool ns_too, pack<T> (&kernel)[n_pair]) {
    if (!program.switches.coagulation) {
      for (int pair = 0; pair < n_pair; ++pair)
        kernel[pair] = pack<T>(T(0));
      return;
    }
    pack<kernel_real> radius[n_mode], density[n_mode], number[n_mode], valid[n_mode];
    pack<kernel_real> found[n_pair];
    convert(sizes.wet_radius, radius);
    convert(sizes.density, density);
    convert(x.number, number);
    if (ns_too)
      number[ns] = max(number[ns], pack<kernel_real>(kernel_real(1)));
    const Parameters<kernel_real> &p = parameters<kernel_real>(program);
    colliding(p, radius, density, number, valid);
    if (program.coagulation)
      for (int pair = 0; pair < n_pair; ++pair)
        found[pair] = to<kernel_real>(rate_of(learned[particle_ln_kernel + pair], kernel_max)) *
                      (valid[pair_first[pair]] * valid[pair_second[pair]]);
    else
      coagulation_kernels(p, air, radius, density, valid, found);
    convert(found, kernel);
  }

  // Sinks of so many particles [s-1].
  template <class T>
  M7EMU_FUNCTION void sinks(const pack<T> (&number)[n_mode], pack<T> (&sink)[n_mode]) {
    pack<T> radius[n_mode];
    convert(sizes.wet_radius, radius);
    if (program.condensation)
      for (int k = 0; k < n_mode; ++k)
        sink[k] = select(radius[k] > pack<T>(T(0)),
                         number[k] * to<T>(rate_of(learned[particle_ln_sink + k], sink_max)),
                         pack<T>(T(0)));
    else
      condensation_sink(parameters<T>(program), air, radius, number, sink);
  }

  // Molecules that coat the mean insoluble particle [1].
  template <class T> M7EMU_FUNCTION void coats(pack<T> (&coat)[n_insoluble]) {
    pack<T> radius[n_mode];
    convert(sizes.wet_radius, radius);
    if (program.ageing)
      for (int k = 0; k < n_insoluble; ++k)
        coat[k] = select(radius[ki + k] > pack<T>(T(0)),
                         to<T>(rate_of(learned[particle_ln_coating + k], coat_max)), pack<T>(T(0)));
    else
      coatings(parameters<T>(program), radius, coat);
  }

  // Merge what has outgrown its mode.
  M7EMU_FUNCTION void merging(double slack, State<S> &cells) {
    using merging_real = Precision::merging;
    Dry<merging_real> dry;
    Amounts<merging_real> now;
    pack<merging_real> dry_radius[n_soluble];
    pack<merging_real> kept = to<merging_real>(virtual_molecules);
    const Parameters<merging_real> &p = parameters<merging_real>(program);
    convert(cells, now);
    dry_particles(p, program.switches, now, kept, dry);
    for (int k = ns; k <= as; ++k)
      dry_radius[k] = median_radius(p, k, dry.volume[k]);
    virtual_molecules = to<size>(kept);
    merge_modes(p, program.switches, dry_radius, now, merging_real(slack), cells);
  }
};

// M7's own step: each process in turn.
template <class S>
M7EMU_FUNCTION void single_step(const Program &program, double timestep, Air &air,
                                Particles<S> &particles, State<S> &cells, Guard &guard) {
  using D = pack<double>;
  using sink_real = Precision::sink;
  using number_real = Precision::number;
  const Switches &switches = program.switches;
  const D dt = D(timestep);
  D gas = to<double>(cells.gas);
  if (switches.older) {
    gas = max(gas + air.production * dt, D(0.0));
    air.production = D(0.0);
  }
  M7EMU_PART(properties);
  Amounts<Precision::size> x;
  convert(cells, x);
  particles.properties(x);
  M7EMU_PART(networks);
  particles.rates();
  M7EMU_PART(kernels);
  pack<number_real> kernel[n_pair];
  particles.kernels(x, false, kernel);

  M7EMU_PART(condensation);
  D total = D(0.0);
  pack<S> condensed[n_mode];
  if (switches.condensation) {
    pack<sink_real> number[n_mode], sink[n_mode];
    D rate[n_mode];
    convert(x.number, number);
    particles.sinks(number, sink);
    convert(sink, rate);
    for (int k = 0; k < n_mode; ++k)
      total = total + rate[k];
    condense(switches, timestep, air, rate, total, gas, condensed);
    for (int k = 0; k < n_soluble; ++k)
      cells.mass[so4_ns + k] = cells.mass[so4_ns + k] + condensed[k];
  } else {
    gas = max(gas + air.production * dt, D(0.0));
    for (int k = 0; k < n_mode; ++k)
      condensed[k] = pack<S>(S(0));
  }

  M7EMU_PART(nucleation);
  D taken, formed;
  nucleate(program.nucleation, switches, timestep, air, total, gas, taken, formed, guard);
  cells.gas = to<S>(gas - taken);

  M7EMU_PART(coagulation);
  pack<number_real> coat[n_insoluble];
  particles.coats(coat);
  coagulate_and_age(parameters<number_real>(program), switches, number_real(timestep), kernel, coat,
                    condensed, to<S>(taken), to<S>(formed), cells);
  M7EMU_PART(merging);
  if (switches.condensation || switches.coagulation)
    particles.merging(0.0, cells);
}

// The step in stages; nucleation is exact there.
template <class S>
M7EMU_FUNCTION void staged_step(const Program &program, double timestep, const Air &air,
                                Particles<S> &particles, State<S> &cells) {
  using T = float;
  using R = pack<T>;
  const Switches &switches = program.switches;
  const R bound = exp_of<T>(nucleation_bound(air));
  bool has_burst = false;
  Burst burst;
  M7EMU_PART(merging);
  particles.merging(merging_slack, cells);
  for (int i = 0; i < program.stages; ++i) {
    M7EMU_PART(properties);
    Amounts<T> x;
    convert(cells, x);
    particles.properties(x);
    M7EMU_PART(networks);
    particles.rates();
    M7EMU_PART(kernels);
    R kernel[n_pair], sink[n_mode], coat[n_insoluble], one_each[n_mode];
    particles.kernels(x, true, kernel);
    for (int k = 0; k < n_mode; ++k)
      one_each[k] = R(switches.condensation ? T(1) : T(0));
    particles.sinks(one_each, sink);
    particles.coats(coat);
    M7EMU_PART(stages);
    stage(parameters<T>(program), switches, timestep, timestep / program.stages, program.strides,
          air, x, particles.sizes, particles.virtual_molecules, sink, kernel, coat, bound,
          has_burst, burst, cells);
  }
}

// S is the host's precision. The air's production is bounded here: the gas must cover what other
// processes take out of it.
template <class S>
M7EMU_FUNCTION void advance(const Program &program, double timestep, Air &air, State<S> &cells,
                            Sizes<Precision::size> &sizes, pack<double> (&water)[n_soluble],
                            Guard &guard) {
  using D = pack<double>;
  if (program.switches.production_in_gas)
    air.production = D(0.0);
  air.production = max(air.production, D(0.0) - to<double>(cells.gas) / D(timestep));
  Particles<S> particles(program, air, guard);
  if (program.stages > 0)
    staged_step(program, timestep, air, particles, cells);
  else
    single_step(program, timestep, air, particles, cells, guard);
  M7EMU_PART(diagnostics);
  Amounts<Precision::size> x;
  convert(cells, x);
  particles.properties(x);
  sizes = particles.sizes;
  convert(sizes.water, water);
  salt_water<as>(program.double_precision, particles.solution, cells, water[as]);
  salt_water<cs>(program.double_precision, particles.solution, cells, water[cs]);
}

} // namespace M7EMU_SET
} // namespace m7emu
