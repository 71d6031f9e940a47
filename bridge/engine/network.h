// Small networks over lanes, in float: each output is summed over the inputs in their order,
// so that bits are the same for any number of lanes.
#pragma once

#include <cstddef>

#include "math.h"
#include "program.h"

namespace m7emu {
namespace M7EMU_SET {

// Room for a layer's values, whole tiles of them. 0 is for models without networks.
#if !defined(M7EMU_WIDEST)
#define M7EMU_WIDEST max_width
#endif
constexpr int padded_width =
    (M7EMU_WIDEST + outputs_per_tile - 1) / outputs_per_tile * outputs_per_tile;

constexpr float target_max = 1.0e30f; // bound of what a network gives

// How far a cell's step may be trusted: by how much of its range the furthest feature lies outside
// it, and what the self-error head expects.
struct Guard {
  pack<float> excess = pack<float>(0.0f), error = pack<float>(0.0f);
};

template <Activation activation> M7EMU_INLINE pack<float> activate(pack<float> x) {
  using R = pack<float>;
  const R zero = R(0.0f), one = R(1.0f);
  if constexpr (activation == activation_relu) {
    return max(x, zero);
  } else if constexpr (activation == activation_silu) {
    // x/(1 + exp(-x))
    const R y = min(max(x * R(-1.44269504f), R(-126.0f)), R(126.0f));
    return x / (one + power_of_two(y));
  } else if constexpr (activation == activation_tanh) {
    R left, lost;
    decay<float>(R(2.0f) * max(x, zero - x), left, lost);
    const R size = lost / (one + left);
    return select(x < zero, zero - size, size);
  } else {
    return x;
  }
}

// Networks take one pack of cells at a time in the step, `packs_of_network` where there are more:
// value i of pack v is at i * n + v. So many outputs are summed together as there are registers
// for, each sum in the order of the inputs: bits depend neither on that nor on n.
#if M7EMU_WIDTH == 64 && !defined(M7EMU_SCALAR)
constexpr int packs_of_network = 3;
template <int n> constexpr int outputs_together = n == 1 ? 16 : 8;
#elif defined(M7EMU_SCALAR)
constexpr int packs_of_network = 1;
template <int n> constexpr int outputs_together = 8;
#else
constexpr int packs_of_network = 3;
template <int n> constexpr int outputs_together = n == 1 ? 8 : 4;
#endif

// `together` outputs from the first on.
template <Activation activation, int together, int n>
M7EMU_INLINE void bend(const Linear &map, int first, const pack<float> *inputs,
                       pack<float> *outputs) {
  using R = pack<float>;
  constexpr int tile = outputs_per_tile;
  R sum[together * n];
  for (int j = 0; j < together; ++j)
    for (int v = 0; v < n; ++v)
      sum[j * n + v] = map.bias ? R(map.bias[first + j]) : R(0.0f);
  const float *weight = map.weight + first / tile * map.inputs * tile + first % tile;
  if constexpr (together % tile == 0) // whole tiles, which a GPU can read by fours
    weight = static_cast<const float *>(__builtin_assume_aligned(weight, sizeof(float[tile])));
  const int next_tile = map.inputs * tile;
  for (int i = 0; i < map.inputs; ++i, weight += tile, inputs += n) {
    R x[n];
    for (int v = 0; v < n; ++v)
      x[v] = inputs[v];
    for (int j = 0; j < together; ++j) {
      const R w = R(weight[j / tile * next_tile + j % tile]);
      for (int v = 0; v < n; ++v)
        sum[j * n + v] = sum[j * n + v] + x[v] * w;
    }
  }
  outputs += first * n;
  if constexpr (activation == activation_none || activation == activation_relu) {
    for (int j = 0; j < together * n; ++j)
      outputs[j] = activate<activation>(sum[j]);
    return;
  }
  for (int j = 0; j < together * n; ++j)
    outputs[j] = sum[j];
#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#pragma GCC unroll 4
#endif
  for (int j = 0; j < together * n; ++j)
    outputs[j] = activate<activation>(outputs[j]);
}

// outputs = activation(weight inputs + bias)
template <Activation activation, int n>
M7EMU_FUNCTION void bent(const Linear &map, const pack<float> *inputs, pack<float> *outputs) {
  constexpr int together = outputs_together<n>;
  int o = 0;
  for (; o + together <= map.outputs; o += together)
    bend<activation, together, n>(map, o, inputs, outputs);
  constexpr int rest = together < outputs_per_tile ? together : outputs_per_tile;
  for (; o < map.outputs; o += rest)
    bend<activation, rest, n>(map, o, inputs, outputs);
}

template <int n>
M7EMU_FUNCTION void linear(const Linear &map, Activation activation, const pack<float> *inputs,
                           pack<float> *outputs) {
  switch (activation) {
  case activation_relu:
    return bent<activation_relu, n>(map, inputs, outputs);
  case activation_silu:
    return bent<activation_silu, n>(map, inputs, outputs);
  case activation_tanh:
    return bent<activation_tanh, n>(map, inputs, outputs);
  default:
    return bent<activation_none, n>(map, inputs, outputs);
  }
}

// What a layer makes of `inputs`; `room` is for what lies between. No two may overlap.
template <int n>
M7EMU_FUNCTION void apply(const Layer &layer, const pack<float> *inputs, pack<float> *room,
                          pack<float> *outputs) {
  if (layer.operation == operation_low_rank) {
    linear<n>(layer.second, activation_none, inputs, room);
    linear<n>(layer.first, layer.activation, room, outputs);
    return;
  }
  linear<n>(layer.first, layer.activation, inputs, outputs);
  if (layer.operation == operation_residual) {
    for (int i = 0; i < layer.first.outputs * n; ++i)
      outputs[i] = inputs[i] + outputs[i];
  } else if (layer.operation == operation_gated) {
    linear<n>(layer.second, activation_none, inputs, room);
    for (int i = 0; i < layer.first.outputs * n; ++i)
      outputs[i] = outputs[i] * room[i];
  }
}

// The layers alone: from standardised features to standardised targets, `n` packs at a time.
template <int n>
M7EMU_FUNCTION void layers(const Network &network, const pack<float> *z, pack<float> *y) {
  using R = pack<float>;
  constexpr int width = padded_width > 0 ? padded_width : 1;
  R one_side[width * n], other_side[width * n], room[width * n];
  const R *h = z;
  R *next = one_side;
  for (int l = 0; l < network.n_layers; ++l) {
    apply<n>(network.layer[l], h, room, next);
    h = next;
    next = h == one_side ? other_side : one_side;
  }
  if (network.bypass.weight)
    linear<n>(network.bypass, activation_none, z, room);
  for (int i = 0; i < network.n_targets * n; ++i)
    y[i] = network.bypass.weight ? h[i] + room[i] : h[i];
}

// The layers in `evaluate`. Tensor cores of a GPU compute those of a warp of cells together
// (gpu/tensor.h): there all cells of a warp evaluate a network, or none.
#if defined(M7EMU_TENSOR)
constexpr bool cells_evaluate_together = true;
M7EMU_FUNCTION void layers_of_warp(const Network &network, const float *z, float *y);
M7EMU_INLINE void layers_of_cell(const Network &network, const float *z, float *y) {
  layers_of_warp(network, z, y);
}
#else
constexpr bool cells_evaluate_together = false;
M7EMU_INLINE void layers_of_cell(const Network &network, const pack<float> *z, pack<float> *y) {
  layers<1>(network, z, y);
}
#endif

// Targets by their numbers from features by theirs. Where a feature is not `present` (its mode has
// no particles) it counts as its mean, and the guard does not look at it.
M7EMU_OUTLINE void evaluate(const Network &network, const pack<float> *feature,
                            const pack<float> *present, pack<float> *target, Guard &guard) {
  using R = pack<float>;
  if constexpr (padded_width == 0)
    return;
  const R zero = R(0.0f);
  R z[max_features], y[max_targets];
  for (int i = 0; i < network.n_features; ++i) {
    const R x = feature[network.feature[i]];
    const auto here = present[network.feature[i]] > zero;
    z[i] = select(here, (x - R(network.feature_mean[i])) * R(network.feature_per_scale[i]), zero);
    const R beyond = max(R(network.feature_low[i]) - x, x - R(network.feature_high[i])) *
                     R(network.feature_per_range[i]);
    guard.excess = max(guard.excess, select(here, beyond, zero));
  }
  layers_of_cell(network, z, y);
  for (int i = 0; i < network.n_targets; ++i) {
    const R scaled = R(network.target_mean[i]) + R(network.target_scale[i]) * y[i];
    // Of a wild network: what is no number becomes the least, the first of max's arguments giving
    // way.
    target[network.target[i]] = min(max(scaled, R(-target_max)), R(target_max));
  }
}

// The layers for many cells: inputs (features, cells) and outputs (targets, cells), the cells of
// one in a row. What a benchmark of the network alone calls.
template <int n>
M7EMU_FUNCTION void layers_at(const Network &network, const float *inputs, float *outputs,
                              int cells, int first) {
  using R = pack<float>;
  R z[max_features * n], y[max_targets * n];
  const std::ptrdiff_t row = cells;
  for (int i = 0; i < network.n_features; ++i)
    for (int v = 0; v < n; ++v)
      z[i * n + v] = load(inputs + i * row + first + v * lanes);
  layers<n>(network, z, y);
  for (int i = 0; i < network.n_targets; ++i)
    for (int v = 0; v < n; ++v)
      store(outputs + i * row + first + v * lanes, y[i * n + v]);
}
M7EMU_FUNCTION void layers_of_cells(const Network &network, const float *inputs, float *outputs,
                                    int cells) {
  using R = pack<float>;
  int first = 0;
  for (; first + packs_of_network * lanes <= cells; first += packs_of_network * lanes)
    layers_at<packs_of_network>(network, inputs, outputs, cells, first);
  for (; first + lanes <= cells; first += lanes)
    layers_at<1>(network, inputs, outputs, cells, first);
  if (first == cells)
    return;
  R z[max_features], y[max_targets];
  float lane[lanes];
  const std::ptrdiff_t row = cells;
  for (int i = 0; i < network.n_features; ++i) {
    for (int k = 0; k < lanes; ++k)
      lane[k] = inputs[i * row + (first + k < cells ? first + k : cells - 1)];
    z[i] = load(lane);
  }
  layers<1>(network, z, y);
  for (int i = 0; i < network.n_targets; ++i) {
    store(lane, y[i]);
    for (int k = 0; first + k < cells; ++k)
      outputs[i * row + first + k] = lane[k];
  }
}

} // namespace M7EMU_SET
} // namespace m7emu
