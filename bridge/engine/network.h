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
  int cells = lanes; // the first of them count
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

// Layers are summed in two forms: with cells in the lanes or, where cells are few, with outputs in
// the lanes. Each sum begins with its bias and runs over the inputs in their order, so that bits
// depend neither on the form nor on how many sums are made together. These have a register each:
// loops over them are unrolled early, or they stay in memory.
constexpr int room_of_width = padded_width > 0 ? padded_width : 1;
#if M7EMU_WIDTH == 64 && !defined(M7EMU_SCALAR)
constexpr bool many_registers = true; // 32 of them, else 16
#else
constexpr bool many_registers = false;
#endif
constexpr int most_packs = many_registers ? 4 : 3; // of cells whose layers are summed together

// Cells in the lanes: value i of pack v of n is at i * n + v.
template <int n> struct Cells {
  static constexpr int size = room_of_width * n;
  // More outputs together need fewer loads of inputs, more packs fewer of weights.
  static constexpr int vectors = n * M7EMU_VECTORS;
  static constexpr int together = vectors == 1                     ? (many_registers ? 16 : 8)
                                  : vectors == 2 && many_registers ? 8
                                                                   : 4;
  static constexpr int rest = many_registers && vectors < 8 ? 8 / vectors : together;

  template <class Operation> M7EMU_INLINE static void each(int outputs, const Operation &act) {
    for (int i = 0; i < outputs * n; ++i)
      act(i);
  }

  static M7EMU_FUNCTION void linear(const Linear &map, Activation activation,
                                    const pack<float> *inputs, pack<float> *outputs) {
    switch (activation) {
    case activation_relu:
      return bent<activation_relu>(map, inputs, outputs);
    case activation_silu:
      return bent<activation_silu>(map, inputs, outputs);
    case activation_tanh:
      return bent<activation_tanh>(map, inputs, outputs);
    default:
      return bent<activation_none>(map, inputs, outputs);
    }
  }

private:
  template <Activation activation>
  static M7EMU_FUNCTION void bent(const Linear &map, const pack<float> *inputs,
                                  pack<float> *outputs) {
    int o = 0;
    for (; o + together <= map.outputs; o += together)
      bend<activation, together>(map, o, inputs, outputs);
    for (; o < map.outputs; o += rest)
      bend<activation, rest>(map, o, inputs, outputs);
  }

  // `many` outputs from the first on.
  template <Activation activation, int many>
  static M7EMU_INLINE void bend(const Linear &map, int first, const pack<float> *inputs,
                                pack<float> *outputs) {
    using R = pack<float>;
    constexpr int tile = outputs_per_tile;
    R sum[many * n];
    M7EMU_UNROLL(16)
    for (int j = 0; j < many; ++j) {
      const R bias = map.bias ? R(map.bias[first + j]) : R(0.0f);
      M7EMU_UNROLL(4)
      for (int v = 0; v < n; ++v)
        sum[j * n + v] = bias;
    }
    const float *weight = map.weight + first / tile * map.inputs * tile + first % tile;
    if constexpr (many % tile == 0) // whole tiles, which a GPU can read by fours
      weight = static_cast<const float *>(__builtin_assume_aligned(weight, sizeof(float[tile])));
    const int next_tile = map.inputs * tile;
    for (int i = 0; i < map.inputs; ++i, weight += tile, inputs += n) {
      R x[n];
      M7EMU_UNROLL(4)
      for (int v = 0; v < n; ++v)
        x[v] = inputs[v];
      M7EMU_UNROLL(16)
      for (int j = 0; j < many; ++j) {
        const R w = R(weight[j / tile * next_tile + j % tile]);
        M7EMU_UNROLL(4)
        for (int v = 0; v < n; ++v)
          sum[j * n + v] = sum[j * n + v] + x[v] * w;
      }
    }
    outputs += first * n;
    constexpr bool plain = activation == activation_none || activation == activation_relu;
    M7EMU_UNROLL(16)
    for (int j = 0; j < many * n; ++j)
      outputs[j] = plain ? activate<activation>(sum[j]) : sum[j];
    if constexpr (!plain) {
      M7EMU_UNROLL(4)
      for (int j = 0; j < many * n; ++j)
        outputs[j] = activate<activation>(outputs[j]);
    }
  }
};

// Packs of several vectors leave few cells, and networks alone, to packs of one (set.cpp).
#if !defined(M7EMU_SCALAR) && M7EMU_VECTORS == 1
#define M7EMU_FEW
#endif

#if defined(M7EMU_FEW)
// Outputs in the lanes: the values of cell c of n begin at pack c * row.
template <int n> struct Outputs {
  static constexpr int row = (room_of_width + lanes - 1) / lanes, size = row * n;
  // Packs that are summed together: of no more than eight tiles, which may all lie in the same ways
  // of a cache.
  static constexpr int sums = many_registers ? 16 : 8, eight = 8 * outputs_per_tile / lanes;
  static constexpr int most = sums / n < eight ? sums / n : eight;

  template <class Operation> M7EMU_INLINE static void each(int outputs, const Operation &act) {
    for (int c = 0; c < n; ++c)
      for (int j = 0; j * lanes < outputs; ++j)
        act(c * row + j);
  }

  static M7EMU_FUNCTION void linear(const Linear &map, Activation activation,
                                    const pack<float> *inputs, pack<float> *outputs) {
    int o = 0;
    sum_all<most>(map, o, inputs, outputs);
    const auto bend = [&](auto bent) {
      each(map.outputs, [&](int i) { outputs[i] = bent(outputs[i]); });
    };
    if (activation == activation_relu)
      bend([](pack<float> x) { return activate<activation_relu>(x); });
    else if (activation == activation_silu)
      bend([](pack<float> x) { return activate<activation_silu>(x); });
    else if (activation == activation_tanh)
      bend([](pack<float> x) { return activate<activation_tanh>(x); });
  }

private:
  // The outputs from o on, so many packs together as there are left.
  template <int many>
  static M7EMU_INLINE void sum_all(const Linear &map, int &o, const pack<float> *inputs,
                                   pack<float> *outputs) {
    for (; o + (many > 1 ? (many - 1) * lanes : 0) < map.outputs; o += many * lanes)
      sum_of<many>(map, o, inputs, outputs);
    if constexpr (many > 1)
      sum_all<many / 2>(map, o, inputs, outputs);
  }

  // Weights of a pack of outputs.
  static M7EMU_INLINE pack<float> weights(const float *weight, [[maybe_unused]] int next_tile) {
    pack<float> w;
    if constexpr (lanes <= outputs_per_tile) {
      w = load(weight);
    } else {
      static_assert(lanes <= outputs_stored);
#if M7EMU_WIDTH == 64
      w.part[0] = _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_load_ps(weight)),
                                     _mm256_load_ps(weight + next_tile), 1);
#endif
    }
    return w;
  }

  // `many` packs of outputs from the first output on.
  template <int many>
  static M7EMU_INLINE void sum_of(const Linear &map, int first, const pack<float> *inputs,
                                  pack<float> *outputs) {
    using R = pack<float>;
    constexpr int tile = outputs_per_tile;
    R sum[n * many];
    M7EMU_UNROLL(8)
    for (int j = 0; j < many; ++j) {
      const R bias = map.bias ? load(map.bias + first + j * lanes) : R(0.0f);
      M7EMU_UNROLL(8)
      for (int c = 0; c < n; ++c)
        sum[c * many + j] = bias;
    }
    const int next_tile = map.inputs * tile;
    const float *weight = map.weight + first / tile * next_tile + first % tile;
    const float *input = reinterpret_cast<const float *>(inputs);
    for (int i = 0; i < map.inputs; ++i, weight += tile, ++input) {
      R w[many];
      M7EMU_UNROLL(8)
      for (int j = 0; j < many; ++j)
        w[j] = weights(weight + j * lanes / tile * next_tile + j * lanes % tile, next_tile);
      M7EMU_UNROLL(8)
      for (int c = 0; c < n; ++c) {
        const R x = R(input[c * row * lanes]);
        M7EMU_UNROLL(8)
        for (int j = 0; j < many; ++j)
          sum[c * many + j] = sum[c * many + j] + x * w[j];
      }
    }
    outputs += first / lanes;
    M7EMU_UNROLL(8)
    for (int c = 0; c < n; ++c)
      M7EMU_UNROLL(8)
    for (int j = 0; j < many; ++j)
      outputs[c * row + j] = sum[c * many + j];
  }
};
#endif

// What a layer makes of `inputs`; `room` is for what lies between. No two may overlap.
template <class Form>
M7EMU_FUNCTION void apply(const Layer &layer, const pack<float> *inputs, pack<float> *room,
                          pack<float> *outputs) {
  if (layer.operation == operation_low_rank) {
    Form::linear(layer.second, activation_none, inputs, room);
    Form::linear(layer.first, layer.activation, room, outputs);
    return;
  }
  Form::linear(layer.first, layer.activation, inputs, outputs);
  if (layer.operation == operation_residual) {
    Form::each(layer.first.outputs, [=](int i) { outputs[i] = inputs[i] + outputs[i]; });
  } else if (layer.operation == operation_gated) {
    Form::linear(layer.second, activation_none, inputs, room);
    Form::each(layer.first.outputs, [=](int i) { outputs[i] = outputs[i] * room[i]; });
  }
}

// The layers alone: from standardised features to standardised targets.
template <class Form>
M7EMU_FUNCTION void layers(const Network &network, const pack<float> *z, pack<float> *y) {
  using R = pack<float>;
  R one_side[Form::size], other_side[Form::size], room[Form::size];
  const R *h = z;
  R *next = one_side;
  for (int l = 0; l < network.n_layers; ++l) {
    apply<Form>(network.layer[l], h, room, next);
    h = next;
    next = h == one_side ? other_side : one_side;
  }
  const bool bypassed = network.bypass.weight;
  if (bypassed)
    Form::linear(network.bypass, activation_none, z, room);
  Form::each(network.n_targets, [&](int i) { y[i] = bypassed ? h[i] + room[i] : h[i]; });
}

#if defined(M7EMU_FEW)
// The layers for fewer cells than lanes, by outputs in the lanes: value i of cell c is at
// i * between + c. Forms for n, n/2, ..., 1 cells take what is left.
template <int n>
M7EMU_FUNCTION void layers_of_few(const Network &network, const float *inputs, float *outputs,
                                  std::ptrdiff_t between, int cells) {
  using Form = Outputs<n>;
  for (; cells > n / 2; cells -= n, inputs += n, outputs += n) {
    pack<float> z[Form::size], y[Form::size];
    float *const in = reinterpret_cast<float *>(z);
    const float *const out = reinterpret_cast<const float *>(y);
    for (int c = 0; c < n; ++c)
      for (int i = 0; i < network.n_features; ++i)
        in[c * Form::row * lanes + i] = inputs[i * between + (c < cells ? c : cells - 1)];
    layers<Form>(network, z, y);
    for (int c = 0; c < n && c < cells; ++c)
      for (int i = 0; i < network.n_targets; ++i)
        outputs[i * between + c] = out[c * Form::row * lanes + i];
  }
  if constexpr (n > 1)
    layers_of_few<n / 2>(network, inputs, outputs, between, cells);
}
#endif

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
  layers<Cells<1>>(network, z, y);
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
    z[i] = only(here, (x - R(network.feature_mean[i])) * R(network.feature_per_scale[i]));
    const R beyond = max(R(network.feature_low[i]) - x, x - R(network.feature_high[i])) *
                     R(network.feature_per_range[i]);
    guard.excess = max(guard.excess, only(here, beyond));
  }
#if defined(M7EMU_FEW)
  const bool few = guard.cells <= lanes / 2;
  if (few) {
    for (int i = 0; i < network.n_targets; ++i)
      y[i] = zero;
    layers_of_few<lanes / 2>(network, reinterpret_cast<const float *>(z),
                             reinterpret_cast<float *>(y), lanes, guard.cells);
  }
#else
  constexpr bool few = false;
#endif
  if (!few)
    layers_of_cell(network, z, y);
  for (int i = 0; i < network.n_targets; ++i) {
    const R scaled = R(network.target_mean[i]) + R(network.target_scale[i]) * y[i];
    // Of a wild network: what is no number becomes the least, the first of max's arguments giving
    // way.
    target[network.target[i]] = min(max(scaled, R(-target_max)), R(target_max));
  }
}

#if M7EMU_VECTORS == 1
// The layers for many cells: inputs (features, cells) and outputs (targets, cells), the cells of
// one in a row. What a benchmark of the network alone calls.
template <int n>
M7EMU_FUNCTION void layers_at(const Network &network, const float *inputs, float *outputs,
                              std::ptrdiff_t cells) {
  using R = pack<float>;
  R z[max_features * n], y[max_targets * n];
  for (int i = 0; i < network.n_features; ++i)
    for (int v = 0; v < n; ++v)
      z[i * n + v] = load(inputs + i * cells + v * lanes);
  layers<Cells<n>>(network, z, y);
  for (int i = 0; i < network.n_targets; ++i)
    for (int v = 0; v < n; ++v)
      store(outputs + i * cells + v * lanes, y[i * n + v]);
}
M7EMU_FUNCTION void layers_of_cells(const Network &network, const float *inputs, float *outputs,
                                    int cells) {
  int first = 0;
  for (; first + most_packs * lanes <= cells; first += most_packs * lanes)
    layers_at<most_packs>(network, inputs + first, outputs + first, cells);
  for (; first + 2 * lanes <= cells; first += 2 * lanes)
    layers_at<2>(network, inputs + first, outputs + first, cells);
  for (; first + lanes <= cells; first += lanes)
    layers_at<1>(network, inputs + first, outputs + first, cells);
#if defined(M7EMU_FEW)
  layers_of_few<lanes / 2>(network, inputs + first, outputs + first, cells, cells - first);
#endif
}
#endif

} // namespace M7EMU_SET
} // namespace m7emu
