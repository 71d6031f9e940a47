// Networks of a model in one piece, as kernels read them: see Task.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "form.h"
#include "rounded.h"

namespace m7emu {
namespace gpu {

struct Image {
  Program program;         // its networks' places in the image, as if it began at address 0
  std::vector<char> bytes; // whole 16 bytes
  std::vector<unsigned> pointers;
  int widest = 0; // value that lies between layers; 0 without networks

  Image(const Program &given, Products products) : program(given), products(products) {
    each_network(program, [this](const Network *&network) {
      if (network)
        network = reinterpret_cast<const Network *>(place_of(network));
    });
    bytes.resize((bytes.size() + 15) / 16 * 16);
  }
  unsigned pointer_at() const { return static_cast<unsigned>(bytes.size()); }

  // All of it, for where it will lie: pointers turned, their places appended.
  std::vector<char> placed(const char *start) const {
    std::vector<char> all(bytes);
    for (unsigned at : pointers) {
      std::uintptr_t pointer;
      std::memcpy(&pointer, &all[at], sizeof pointer);
      pointer += reinterpret_cast<std::uintptr_t>(start);
      std::memcpy(&all[at], &pointer, sizeof pointer);
    }
    const std::size_t end = all.size(), table = pointers.size() * sizeof(unsigned);
    all.resize((end + table + 15) / 16 * 16);
    std::memcpy(all.data() + end, pointers.data(), table);
    return all;
  }

private:
  static constexpr std::size_t alignment = 64;
  Products products;
  std::vector<std::pair<const Network *, std::size_t>> known;

  std::size_t append(const void *from, std::size_t size) {
    const std::size_t at = (bytes.size() + alignment - 1) / alignment * alignment;
    bytes.resize(at + size);
    std::memcpy(&bytes[at], from, size);
    return at;
  }
  // Floats that the pointer at `at` points to; null stays null.
  void take(const float *from, int count, std::size_t at) {
    if (!from)
      return;
    const std::uintptr_t place = append(from, static_cast<std::size_t>(count) * sizeof(float));
    std::memcpy(&bytes[at], &place, sizeof place);
    pointers.push_back(static_cast<unsigned>(at));
  }
  void take(const Linear &map, std::size_t at) {
    const int padded = (map.outputs + outputs_per_tile - 1) / outputs_per_tile * outputs_per_tile;
    if (products == products_float || !map.weight) {
      take(map.weight, padded * map.inputs, at + offsetof(Linear, weight));
    } else {
      const std::vector<float> factors = factors_of(map);
      take(factors.data(), static_cast<int>(factors.size()), at + offsetof(Linear, weight));
    }
    take(map.bias, padded, at + offsetof(Linear, bias));
    if (map.weight)
      for (int width : {map.inputs, map.outputs})
        widest = widest < width ? width : widest;
  }
  // Weights as a warp multiplies them (tensor.h): by 8 outputs, by 8 inputs, by lanes. Lane 4 r + c
  // has inputs 2 c and 2 c + 1 of output r; with 3xtf32 also what rounding leaves of them.
  std::vector<float> factors_of(const Linear &map) const {
    std::vector<float> factors;
    const auto put = [&factors](std::uint32_t bits) { factors.push_back(float_of(bits)); };
    for (int output = 0; output < map.outputs; output += outputs_per_tile)
      for (int input = 0; input < map.inputs; input += outputs_per_tile)
        for (int lane = 0; lane < warp_lanes; ++lane) {
          float w[2];
          for (int i = 0; i < 2; ++i) {
            const int from = input + lane % 4 * 2 + i;
            w[i] = from < map.inputs
                       ? map.weight[(output * map.inputs) + from * outputs_per_tile + lane / 4]
                       : 0.0f;
          }
          if (products == products_bf16) {
            put(to_bf16(w[0], w[1]));
            continue;
          }
          for (float x : w)
            put(to_tf32(x));
          if (products == products_3xtf32)
            for (float x : w)
              put(to_tf32(x - float_of(to_tf32(x))));
        }
    return factors;
  }
  std::size_t place_of(const Network *network) {
    for (const auto &[other, at] : known)
      if (other == network)
        return at;
    // An image does not begin with a network: its place would be null.
    if (bytes.empty())
      bytes.resize(alignment);
    const std::size_t at = append(network, sizeof *network);
    known.emplace_back(network, at);
    std::memcpy(&bytes[at + offsetof(Network, products)], &products, sizeof products);
    for (int l = 0; l < network->n_layers; ++l) {
      const std::size_t layer = at + offsetof(Network, layer) + sizeof(Layer) * std::size_t(l);
      take(network->layer[l].first, layer + offsetof(Layer, first));
      take(network->layer[l].second, layer + offsetof(Layer, second));
    }
    take(network->bypass, at + offsetof(Network, bypass));
    return at;
  }
};

} // namespace gpu
} // namespace m7emu
