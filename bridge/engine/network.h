// Small networks over lanes, in float: each output is summed over the inputs in their order,
// so that bits are the same for any number of lanes.
#pragma once

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

// By how much of its range the furthest feature of a cell lies outside it.
struct Guard {
  pack<float> excess = pack<float>(0.0f);
};

template <Activation activation> M7EMU_INLINE pack<float> activate(pack<float> x) {
  using R = pack<float>;
  const R zero = R(0.0f), one = R(1.0f);
  if constexpr (activation == activation_relu) {
    return max(x, zero);
  } else if constexpr (activation == activation_silu) {
    using traits = real_traits<float>;
    const exponential<float> e =
        exponential_parts<float>(min(max(zero - x, R(traits::exp_low)), R(traits::exp_high)));
    return x / (one + (e.power + e.power * e.rest));
  } else if constexpr (activation == activation_tanh) {
    R left, lost;
    decay<float>(R(2.0f) * max(x, zero - x), left, lost);
    const R size = lost / (one + left);
    return select(x < zero, zero - size, size);
  } else {
    return x;
  }
}

// outputs = activation(weight inputs + bias)
template <Activation activation>
M7EMU_FUNCTION void bent(const Linear &map, const pack<float> *inputs, pack<float> *outputs) {
  using R = pack<float>;
  const auto *weight = static_cast<const float *>(__builtin_assume_aligned(map.weight, 32));
  for (int o = 0; o < map.outputs; o += outputs_per_tile) {
    R sum[outputs_per_tile];
    for (int j = 0; j < outputs_per_tile; ++j)
      sum[j] = map.bias ? R(map.bias[o + j]) : R(0.0f);
    for (int i = 0; i < map.inputs; ++i, weight += outputs_per_tile) {
      const R x = inputs[i];
      for (int j = 0; j < outputs_per_tile; ++j)
        sum[j] = sum[j] + x * R(weight[j]);
    }
    for (int j = 0; j < outputs_per_tile; ++j)
      outputs[o + j] = activate<activation>(sum[j]);
  }
}

M7EMU_FUNCTION void linear(const Linear &map, Activation activation, const pack<float> *inputs,
                           pack<float> *outputs) {
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

// What a layer makes of `inputs`; `room` is for what lies between. No two may overlap.
M7EMU_FUNCTION void apply(const Layer &layer, const pack<float> *inputs, pack<float> *room,
                          pack<float> *outputs) {
  if (layer.operation == operation_low_rank) {
    linear(layer.second, activation_none, inputs, room);
    linear(layer.first, layer.activation, room, outputs);
    return;
  }
  linear(layer.first, layer.activation, inputs, outputs);
  if (layer.operation == operation_residual) {
    for (int i = 0; i < layer.first.outputs; ++i)
      outputs[i] = inputs[i] + outputs[i];
  } else if (layer.operation == operation_gated) {
    linear(layer.second, activation_none, inputs, room);
    for (int i = 0; i < layer.first.outputs; ++i)
      outputs[i] = outputs[i] * room[i];
  }
}

// Targets by their numbers from features by theirs. Where a feature is not `present` (its mode has
// no particles) it counts as its mean, and the guard does not look at it.
M7EMU_OUTLINE void evaluate(const Network &network, const pack<float> *feature,
                            const pack<float> *present, pack<float> *target, Guard &guard) {
  using R = pack<float>;
  if constexpr (padded_width == 0)
    return;
  constexpr int width = padded_width > 0 ? padded_width : 1;
  const R zero = R(0.0f);
  R z[max_features], one_side[width], other_side[width], room[width];
  for (int i = 0; i < network.n_features; ++i) {
    const R x = feature[network.feature[i]];
    const auto here = present[network.feature[i]] > zero;
    z[i] = select(here, (x - R(network.feature_mean[i])) * R(network.feature_per_scale[i]), zero);
    const R beyond = max(R(network.feature_low[i]) - x, x - R(network.feature_high[i])) *
                     R(network.feature_per_range[i]);
    guard.excess = max(guard.excess, select(here, beyond, zero));
  }
  const R *h = z;
  R *next = one_side;
  for (int l = 0; l < network.n_layers; ++l) {
    apply(network.layer[l], h, room, next);
    h = next;
    next = h == one_side ? other_side : one_side;
  }
  if (network.bypass.weight)
    linear(network.bypass, activation_none, z, room);
  for (int i = 0; i < network.n_targets; ++i) {
    const R y = R(network.target_mean[i]) +
                R(network.target_scale[i]) * (network.bypass.weight ? h[i] + room[i] : h[i]);
    // Of a wild network: what is no number becomes the least, the first of max's arguments giving
    // way.
    target[network.target[i]] = min(max(y, R(-target_max)), R(target_max));
  }
}

} // namespace M7EMU_SET
} // namespace m7emu
