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

// What solution a particle of H2SO4 becomes: section 8.1, or a network.
template <class T> struct Dissolve {
  const Parameters<T> &p;
  const Solution<T> &solution;
  const Network *network;
  pack<float> *feature; // of the air, room for the mode's
  Guard &guard;

  M7EMU_INLINE void operator()(pack<T> molecules, pack<T> present, pack<T> &percent,
                               pack<T> &density) const {
    if (!network) {
      sulfuric_solution(p, solution, molecules, percent, density);
      return;
    }
    using R = pack<T>;
    pack<float> here[n_water_features], target[n_water_targets];
    for (int i = 0; i < n_water_features; ++i)
      here[i] = to<float>(present);
    feature[water_ln_molecules] = log_of<float>(to<float>(molecules));
    evaluate(*network, feature, here, target, guard);
    percent = to<T>(exp_of<float>(target[water_ln_weight_percent]));
    percent = min(max(percent, R(p.floor_percent)), R(T(100)));
    density = min(max(to<T>(target[water_solution_density]), R(T(1.0))), R(T(1.841)));
  }
};

// Kernels of section 11 by a network.
template <class T>
M7EMU_FUNCTION void
learned_kernels(const Network &network, const Air &air, const pack<T> (&radius)[n_mode],
                const pack<T> (&density)[n_mode], const pack<T> (&valid)[n_mode],
                pack<T> (&kernel)[n_pair], Guard &guard) {
  using R = pack<float>;
  R feature[n_coagulation_features], present[n_coagulation_features], target[n_pair];
  for (int k = 0; k < n_mode; ++k) {
    const R r = to<float>(radius[k]);
    const auto some = r > R(0.0f);
    present[coagulation_ln_wet_radius + k] = present[coagulation_density + k] =
        select(some, R(1.0f), R(0.0f));
    feature[coagulation_ln_wet_radius + k] = log_of<float>(select(some, r, R(1.0f)));
    feature[coagulation_density + k] = to<float>(density[k]);
  }
  feature[coagulation_temperature] = to<float>(air.temperature);
  feature[coagulation_ln_pressure] = log_of<float>(to<float>(air.pressure));
  present[coagulation_temperature] = present[coagulation_ln_pressure] = R(1.0f);
  evaluate(network, feature, present, target, guard);
  for (int pair = 0; pair < n_pair; ++pair)
    kernel[pair] = to<T>(min(exp_of<float>(target[pair]), R(float(kernel_max)))) *
                   (valid[pair_first[pair]] * valid[pair_second[pair]]);
}

// Sizes of the particles, and the kernels of their collisions.
template <class S> struct Particles {
  using size = Precision::size;
  using kernel_real = Precision::kernel;
  const Program &program;
  const Air &air;
  Guard &guard;
  Solution<size> solution;
  pack<float> feature[n_water_features];
  pack<size> virtual_molecules = pack<size>(size(0));

  M7EMU_INLINE Particles(const Program &program, const Air &air, Guard &guard)
      : program(program), air(air), guard(guard) {
    using D = pack<double>;
    solution_terms(air.pressure, air.temperature, air.relative_humidity, solution);
    if (program.water) {
      feature[water_temperature] = to<float>(max(air.temperature, D(temperature_floor)));
      feature[water_relative_humidity] =
          to<float>(min(max(air.relative_humidity, D(humidity_floor)), D(humidity_ceiling)));
      feature[water_ln_pressure] = log_of<float>(to<float>(air.pressure));
    }
  }

  M7EMU_FUNCTION void properties(const Amounts<size> &x, Sizes<size> &sizes) {
    const Parameters<size> &p = parameters<size>(program);
    const Dissolve<size> dissolve{p, solution, program.water, feature, guard};
    particle_properties(p, program.switches, solution, x, dissolve, virtual_molecules, sizes);
  }

  // `ns_too`: also those of NS where the mode is empty.
  template <class T>
  M7EMU_FUNCTION void kernels(const Amounts<size> &x, const Sizes<size> &sizes, bool ns_too,
                              pack<T> (&kernel)[n_pair]) {
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
      learned_kernels(*program.coagulation, air, radius, density, valid, found, guard);
    else
      coagulation_kernels(p, air, radius, density, valid, found);
    convert(found, kernel);
  }

  // Merge what has outgrown its mode.
  M7EMU_FUNCTION void merging(State<S> &cells) {
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
    merge_modes(p, program.switches, dry_radius, now, cells);
  }
};

// M7's own step: each process in turn.
template <class S>
M7EMU_FUNCTION void single_step(const Program &program, double timestep, Air &air,
                                Particles<S> &particles, State<S> &cells,
                                Sizes<Precision::size> &sizes) {
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
  Amounts<Precision::size> x;
  convert(cells, x);
  particles.properties(x, sizes);
  pack<number_real> kernel[n_pair];
  particles.kernels(x, sizes, false, kernel);

  D total = D(0.0);
  pack<S> condensed[n_mode];
  if (switches.condensation) {
    pack<sink_real> radius[n_mode], number[n_mode], sink[n_mode];
    D rate[n_mode];
    convert(sizes.wet_radius, radius);
    convert(x.number, number);
    condensation_sink(parameters<sink_real>(program), air, radius, number, sink);
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

  D taken, formed;
  nucleate(switches, timestep, air, total, gas, taken, formed);
  cells.gas = to<S>(gas - taken);

  pack<number_real> radius[n_mode];
  convert(sizes.wet_radius, radius);
  coagulate_and_age(parameters<number_real>(program), switches, number_real(timestep), kernel,
                    radius, condensed, to<S>(taken), to<S>(formed), cells);
  if (switches.condensation || switches.coagulation)
    particles.merging(cells);
}

// The step in stages.
template <class S>
M7EMU_FUNCTION void staged_step(const Program &program, double timestep, const Air &air,
                                Particles<S> &particles, State<S> &cells,
                                Sizes<Precision::size> &sizes) {
  using T = float;
  using R = pack<T>;
  const Switches &switches = program.switches;
  const Parameters<T> &p = parameters<T>(program);
  const R bound = exp_of<T>(nucleation_bound(air));
  bool has_burst = false;
  Burst burst;
  particles.merging(cells);
  for (int i = 0; i < program.stages; ++i) {
    Amounts<T> x;
    convert(cells, x);
    particles.properties(x, sizes);
    R kernel[n_pair], sink[n_mode], one_each[n_mode];
    particles.kernels(x, sizes, true, kernel);
    for (int k = 0; k < n_mode; ++k)
      one_each[k] = R(switches.condensation ? T(1) : T(0));
    condensation_sink(p, air, sizes.wet_radius, one_each, sink);
    stage(p, switches, timestep, timestep / program.stages, program.strides, air, x, sizes,
          particles.virtual_molecules, sink, kernel, bound, has_burst, burst, cells);
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
    staged_step(program, timestep, air, particles, cells, sizes);
  else
    single_step(program, timestep, air, particles, cells, sizes);
  Amounts<Precision::size> x;
  convert(cells, x);
  particles.properties(x, sizes);
  convert(sizes.water, water);
  salt_water<as>(program.double_precision, particles.solution, cells, water[as]);
  salt_water<cs>(program.double_precision, particles.solution, cells, water[cs]);
}

} // namespace M7EMU_SET
} // namespace m7emu
