// An opened model as the step needs it: plain data, shared by all sets of instructions.
#pragma once

#include "../include/m7emu.h"
#include "parameters.h"

namespace m7emu {

enum Activation { activation_none, activation_relu, activation_silu, activation_tanh };

constexpr int outputs_per_tile = 8; // of a dense layer that are computed together
constexpr int max_width = 256;      // of a layer
constexpr int max_layers = 16;
constexpr int max_features = 32, max_targets = 32;

// Features of the networks, in the order of their numbers; `<mode>` runs over the modes.
enum {
  coagulation_ln_wet_radius = 0,
  coagulation_density = n_mode,
  coagulation_temperature = 2 * n_mode,
  coagulation_ln_pressure,
  n_coagulation_features
};
enum {
  water_ln_molecules,
  water_temperature,
  water_relative_humidity,
  water_ln_pressure,
  n_water_features
};
enum { water_ln_weight_percent, water_solution_density, n_water_targets };

// Weights (outputs, inputs) in tiles: all inputs of outputs 1 to 8, of 9 to 16, ..., the last tile
// filled up with 0. Aligned to 64 bytes.
struct Layer {
  const float *weight, *bias; // bias is null for the bypass
  int inputs, outputs;
  Activation activation;
};

struct Network {
  int n_features, n_targets, n_layers;
  int feature[max_features], target[max_targets]; // their numbers
  float feature_mean[max_features], feature_per_scale[max_features];
  float feature_low[max_features], feature_high[max_features], feature_per_range[max_features];
  float target_mean[max_targets], target_scale[max_targets];
  Layer layer[max_layers], bypass;
};

struct Program {
  Switches switches;
  Parameters<float> single_precision;
  Parameters<double> double_precision;
  const Network *water, *coagulation; // null where the exact form is used
  // Stages of the step and strides of each; no stages are M7's own single step.
  int stages, strides;
};

// The step of one set of instructions. The block has been checked.
struct Engine {
  const char *name;
  int lanes;
  void (*step)(const Program &, const m7emu_block &);
  void (*step_float)(const Program &, const m7emu_block_float &);
};

} // namespace m7emu
