// An opened model as the step needs it: plain data, shared by all sets of instructions.
#pragma once

#include <cstddef>

#include "../include/m7emu.h"
#include "macros.h"
#include "parameters.h"

namespace m7emu {

enum Activation { activation_none, activation_relu, activation_silu, activation_tanh };
enum Operation { operation_dense, operation_residual, operation_gated, operation_low_rank };

constexpr int outputs_per_tile = 8; // of a dense layer that are computed together
constexpr int outputs_stored = 16;  // whole vectors of them
constexpr int max_width = 256;      // of a layer
constexpr int max_layers = 16;
constexpr int max_features = 32, max_targets = 32;

// Features of the networks, in the order of their numbers; `<mode>` runs over the modes.
enum { // of condensation, coagulation and ageing
  particle_ln_wet_radius = 0,
  particle_density = n_mode,
  particle_temperature = 2 * n_mode,
  particle_ln_pressure,
  n_particle_features
};
enum {
  particle_ln_sink = 0,
  particle_ln_kernel = n_mode,
  particle_ln_coating = n_mode + n_pair,
  n_particle_targets = n_mode + n_pair + n_insoluble
};
enum { water_temperature, water_relative_humidity, water_ln_pressure, n_water_features };
// Sizes at which a network tells the solution: 10, 1e4, ..., 1e13 molecules in a particle.
constexpr int n_size = 5;
constexpr double ln_middle_size = 16.11809565095832, ln_size_step = 6.907755278982137;
enum { water_ln_weight_percent = 0, water_solution_density = n_size, n_water_targets = 2 * n_size };
enum { salt_activity, salt_ln_subsaturation, n_salt_features };
constexpr int n_salt_targets = 3;
enum { nucleation_temperature, nucleation_ln_saturation, nucleation_ln_gas, n_nucleation_features };
enum {
  nucleation_ln_rate,
  nucleation_ln_cluster_molecules,
  nucleation_ln_cluster_h2so4,
  n_nucleation_targets
};
enum { // of the self-error head; a mode's are of its state before the step
  error_ln_number = 0,
  error_ln_wet_radius = n_mode,
  error_temperature = 2 * n_mode,
  error_ln_pressure,
  error_relative_humidity,
  error_cloud_fraction,
  error_ln_h2so4_available,
  error_ln_timestep,
  n_error_features
};
static_assert(n_error_features <= max_features);
static_assert(n_particle_targets <= max_targets && n_particle_features <= max_features);

// weight inputs + bias. Weights (outputs, inputs) in tiles: all inputs of outputs 1 to 8, of 9 to
// 16, ..., filled up with 0 to whole `outputs_stored`. Aligned to 64 bytes.
struct Linear {
  const float *weight, *bias; // bias may be null
  int inputs, outputs;
};
// `second` is the gate's map, or the first factor of a low rank.
struct Layer {
  Operation operation;
  Activation activation;
  Linear first, second;
};

// How layers multiply: in float, or in what a GPU's tensor cores take: factors rounded to tf32
// (with 3xtf32 what that leaves is multiplied, too) or bf16, sums in float.
enum Products { products_float, products_tf32, products_3xtf32, products_bf16 };

struct Network {
  int n_features, n_targets, n_layers;
  Products products; // of an image on a GPU (gpu/image.h); others are read in float
  int feature[max_features], target[max_targets]; // their numbers
  float feature_mean[max_features], feature_per_scale[max_features];
  float feature_low[max_features], feature_high[max_features], feature_per_range[max_features];
  float target_mean[max_targets], target_scale[max_targets];
  Layer layer[max_layers];
  Linear bypass; // without weights where there is none
};

struct Program {
  Switches switches;
  Parameters<float> single_precision;
  Parameters<double> double_precision;
  // Null where the exact form is used; forms of the particles may share one.
  const Network *water, *salt, *nucleation, *condensation, *coagulation, *ageing;
  const Network *self_error; // expects the step's own error; null where there is none
  // Stages of the step and strides of each; no stages are M7's own single step.
  int stages, strides;
};

// f(network) for each pointer to a network that a program has. Whoever copies or moves them all
// does it by this list.
constexpr int n_networks = 7;
template <class F> M7EMU_INLINE void each_network(Program &program, const F &f) {
  f(program.water);
  f(program.salt);
  f(program.nucleation);
  f(program.condensation);
  f(program.coagulation);
  f(program.ageing);
  f(program.self_error);
}
static_assert(offsetof(Program, stages) - offsetof(Program, water) ==
                  n_networks * sizeof(const Network *),
              "a network that each_network does not know");

// The step of one set of instructions. The block has been checked.
struct Engine {
  const char *name;
  int lanes;
  void (*step)(const Program &, const m7emu_block &);
  void (*step_float)(const Program &, const m7emu_block_float &);
  // The layers of a network alone (layers_of_cells in network.h), for tests and benchmarks.
  void (*layers)(const Network &, const float *inputs, float *outputs, int cells);
};

} // namespace m7emu
