// The layers of networks on tensor cores: a warp computes them for its 32 cells together. All lanes
// of a warp come here, or none.
//
// Cells are the rows of a product and neurons its columns, as then what a lane has of one layer's
// outputs is what it needs of the next one's inputs: nothing is exchanged between layers. Of each 8
// neurons (a tile) lane 4 r + c has numbers 2 c and 2 c + 1 in cells r, r + 8, r + 16 and r + 24:
// 8 values, neurons first. PTX ISA, "Matrix fragments for mma.m16n8k8"; its column c of a factor is
// neuron 2 c here, c + 4 is 2 c + 1, and weights lie in that order (image.h).
//
// A cell's sums are its own row's: they do not depend on the cells beside it.
#pragma once

#include "../engine/network.h"

#include "gpu.h"

namespace m7emu {
namespace M7EMU_SET {

constexpr int tile_values = 8; // of a lane
// Words of a lane's weights in 8 by 8 of them.
template <Products products>
constexpr int words_of_weights = products == products_bf16   ? 1
                                 : products == products_tf32 ? 2
                                                             : 4;

M7EMU_INLINE int tiles_of(int neurons) {
  return (neurons + outputs_per_tile - 1) / outputs_per_tile;
}

// sum[j] += the weights of output tile `first` + j times what a lane has of the inputs.
template <Products products, int together>
M7EMU_INLINE void multiply(const Linear &map, int first, const float *inputs,
                           float (&sum)[together][tile_values]) {
  constexpr int words = words_of_weights<products>;
  const int depth = tiles_of(map.inputs), next_tile = depth * gpu::warp_lanes * words;
  const auto *weight = reinterpret_cast<const std::uint32_t *>(map.weight) + first * next_tile +
                       static_cast<int>(gpu::lane()) * words;
  inputs = static_cast<const float *>(__builtin_assume_aligned(inputs, sizeof(float[4])));
  for (int k = 0; k < depth; ++k, weight += gpu::warp_lanes * words, inputs += tile_values)
    if constexpr (products == products_bf16) {
      std::uint32_t x[4];
      for (int i = 0; i < 4; ++i)
        x[i] = gpu::rounded_bf16(inputs[2 * i], inputs[2 * i + 1]);
      for (int j = 0; j < together; ++j)
        for (int half = 0; half < 2; ++half)
          gpu::multiply_bf16(sum[j] + 4 * half, x[2 * half], x[2 * half + 1],
                             weight[j * next_tile]);
    } else {
      std::uint32_t x[tile_values], rest[tile_values];
      for (int i = 0; i < tile_values; ++i) {
        x[i] = gpu::rounded_tf32(inputs[i]);
        if constexpr (products == products_3xtf32)
          rest[i] = gpu::rounded_tf32(inputs[i] - real<float>(x[i]));
      }
      for (int j = 0; j < together; ++j) {
        const auto *const w = static_cast<const std::uint32_t *>(
            __builtin_assume_aligned(weight + j * next_tile, words * sizeof(std::uint32_t)));
        for (int i = 0; i < tile_values; i += 4) {
          float *const s = sum[j] + i;
          if constexpr (products == products_3xtf32) { // the small parts first
            gpu::multiply_tf32(s, rest[i], rest[i + 2], rest[i + 1], rest[i + 3], w[0], w[1]);
            gpu::multiply_tf32(s, x[i], x[i + 2], x[i + 1], x[i + 3], w[2], w[3]);
          }
          gpu::multiply_tf32(s, x[i], x[i + 2], x[i + 1], x[i + 3], w[0], w[1]);
        }
      }
    }
}

// Tiles of weight inputs + bias, from the first on.
template <Products products, int together>
M7EMU_INLINE void sums(const Linear &map, int first, const float *inputs, float *outputs) {
  const int neuron = static_cast<int>(gpu::lane() % 4) * 2;
  float sum[together][tile_values];
  for (int j = 0; j < together; ++j)
    for (int i = 0; i < tile_values; ++i)
      sum[j][i] = map.bias ? map.bias[(first + j) * outputs_per_tile + neuron + i % 2] : 0.0f;
  multiply<products, together>(map, first, inputs, sum);
  for (int j = 0; j < together; ++j)
    for (int i = 0; i < tile_values; ++i)
      outputs[(first + j) * tile_values + i] = sum[j][i];
}
template <Products products>
M7EMU_FUNCTION void sums(const Linear &map, const float *inputs, float *outputs) {
  constexpr int together = 4;
  const int tiles = tiles_of(map.outputs);
  int first = 0;
  for (; first + together <= tiles; first += together)
    sums<products, together>(map, first, inputs, outputs);
  for (; first < tiles; ++first)
    sums<products, 1>(map, first, inputs, outputs);
}

template <Activation activation> M7EMU_FUNCTION void activate_all(float *values, int count) {
  for (int i = 0; i < count; ++i)
    values[i] = activate<activation>(values[i]);
}

// outputs = activation(weight inputs + bias)
M7EMU_FUNCTION void linear_of_warp(Products products, const Linear &map, Activation activation,
                                   const float *inputs, float *outputs) {
  if (products == products_tf32)
    sums<products_tf32>(map, inputs, outputs);
  else if (products == products_3xtf32)
    sums<products_3xtf32>(map, inputs, outputs);
  else
    sums<products_bf16>(map, inputs, outputs);
  const int count = tiles_of(map.outputs) * tile_values;
  if (activation == activation_relu)
    activate_all<activation_relu>(outputs, count);
  else if (activation == activation_silu)
    activate_all<activation_silu>(outputs, count);
  else if (activation == activation_tanh)
    activate_all<activation_tanh>(outputs, count);
}

// As `apply` in network.h.
M7EMU_FUNCTION void apply_in_warp(Products products, const Layer &layer, const float *inputs,
                                  float *room, float *outputs) {
  if (layer.operation == operation_low_rank) {
    linear_of_warp(products, layer.second, activation_none, inputs, room);
    linear_of_warp(products, layer.first, layer.activation, room, outputs);
    return;
  }
  linear_of_warp(products, layer.first, layer.activation, inputs, outputs);
  const int count = tiles_of(layer.first.outputs) * tile_values;
  if (layer.operation == operation_residual) {
    for (int i = 0; i < count; ++i)
      outputs[i] = inputs[i] + outputs[i];
  } else if (layer.operation == operation_gated) {
    linear_of_warp(products, layer.second, activation_none, inputs, room);
    for (int i = 0; i < count; ++i)
      outputs[i] = outputs[i] * room[i];
  }
}

// Between a lane's own cell and its tiles, by way of memory that the warp shares: a row a neuron,
// those of even numbers first, as far apart as lets all lanes reach them at once.
M7EMU_INLINE int place_of(int neuron) {
  return (neuron / 2 + neuron % 2 * 4) * gpu::warp_pitch;
}
M7EMU_INLINE int place_of_value(int i) {
  const int lane = static_cast<int>(gpu::lane());
  return place_of(lane % 4 * 2 + i % 2) + lane / 4 + i / 2 * 8;
}
M7EMU_FUNCTION void spread(const float *cell, int count, float *tiles) {
  float *const room = gpu::warp_room(), *const own = room + gpu::lane();
  for (int first = 0; first < count; first += outputs_per_tile, tiles += tile_values) {
    for (int i = 0; i < outputs_per_tile; ++i)
      own[place_of(i)] = first + i < count ? cell[first + i] : 0.0f;
    gpu::sync_warp();
    for (int i = 0; i < tile_values; ++i)
      tiles[i] = room[place_of_value(i)];
    gpu::sync_warp();
  }
}
M7EMU_FUNCTION void collect(const float *tiles, float *cell, int count) {
  float *const room = gpu::warp_room(), *const own = room + gpu::lane();
  for (int first = 0; first < count; first += outputs_per_tile, tiles += tile_values) {
    for (int i = 0; i < tile_values; ++i)
      room[place_of_value(i)] = tiles[i];
    gpu::sync_warp();
    for (int i = 0; i < outputs_per_tile && first + i < count; ++i)
      cell[first + i] = own[place_of(i)];
    gpu::sync_warp();
  }
}

// As `layers` in network.h, for the cell of each lane.
M7EMU_FUNCTION void layers_of_warp(const Network &network, const float *z, float *y) {
  alignas(16) float features[max_features], one_side[padded_width], other_side[padded_width],
      room[padded_width];
  gpu::sync_warp();
  spread(z, network.n_features, features);
  const float *h = features;
  float *next = one_side;
  for (int l = 0; l < network.n_layers; ++l) {
    apply_in_warp(network.products, network.layer[l], h, room, next);
    h = next;
    next = h == one_side ? other_side : one_side;
  }
  if (network.bypass.weight) {
    linear_of_warp(network.products, network.bypass, activation_none, features, room);
    const int count = tiles_of(network.n_targets) * tile_values;
    for (int i = 0; i < count; ++i)
      next[i] = h[i] + room[i];
    h = next;
  }
  collect(h, y, network.n_targets);
}

} // namespace M7EMU_SET
} // namespace m7emu
