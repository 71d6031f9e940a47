// The layers of a network: against plain loops in double, and with the same bits for any number of
// cells, few of which are summed in another form than many, and, with fused multiply-adds, any set
// of instructions.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "../../bridge/engine/model.h"
extern "C" {
#include "cells.h"
}

namespace {

using namespace m7emu;

constexpr int most_cells = 130; // four packs of AVX-512, twice
std::uint64_t seed = 7;

// The weights in rows beside the tiles of the engine.
struct Plain {
  std::vector<double> weight, bias;
};

Linear random_map(Model &model, int inputs, int outputs, bool biased, Plain &plain) {
  std::vector<float> weight(std::size_t(outputs * inputs)), bias(std::size_t(outputs), 0.0f);
  if (biased)
    for (float &x : bias)
      x = float(draw(&seed) - 0.5);
  for (float &x : weight)
    x = float((2.0 * draw(&seed) - 1.0) / std::sqrt(inputs));
  plain = {{weight.begin(), weight.end()}, {bias.begin(), bias.end()}};
  return model.linear(weight.data(), biased ? bias.data() : nullptr, outputs, inputs);
}

double bend(Activation activation, double x) {
  switch (activation) {
  case activation_relu:
    return x > 0.0 ? x : 0.0;
  case activation_silu:
    return x / (1.0 + std::exp(-x));
  case activation_tanh:
    return std::tanh(x);
  default:
    return x;
  }
}

std::vector<double> map(const Linear &linear, const Plain &plain, Activation activation,
                        const std::vector<double> &x) {
  std::vector<double> y(std::size_t(linear.outputs));
  for (int o = 0; o < linear.outputs; ++o) {
    double sum = plain.bias[o];
    for (int i = 0; i < linear.inputs; ++i)
      sum += plain.weight[o * linear.inputs + i] * x[i];
    y[o] = bend(activation, sum);
  }
  return y;
}

void compare(const int *widths, int n_layers, Operation operation, Activation activation,
             bool bypass) {
  Model model{};
  Network network{};
  std::vector<Plain> first(n_layers), second(n_layers);
  Plain around;
  network.n_features = widths[0];
  network.n_targets = widths[n_layers];
  network.n_layers = n_layers;
  for (int l = 0; l < n_layers; ++l) {
    const int i = widths[l], o = widths[l + 1];
    Layer &layer = network.layer[l];
    layer.operation = i == o || operation == operation_low_rank ? operation : operation_dense;
    layer.activation = l + 1 < n_layers ? activation : activation_none;
    const int rank = 5;
    const bool low = layer.operation == operation_low_rank;
    layer.first = random_map(model, low ? rank : i, o, true, first[l]);
    if (layer.operation == operation_gated || low)
      layer.second = random_map(model, i, low ? rank : o, !low, second[l]);
  }
  network.bypass = Linear{};
  if (bypass)
    network.bypass = random_map(model, widths[0], widths[n_layers], false, around);

  std::vector<float> given(std::size_t(network.n_features * most_cells));
  for (float &x : given)
    x = float(4.0 * draw(&seed) - 2.0);
  std::vector<double> expected(std::size_t(network.n_targets * most_cells));
  for (int cell = 0; cell < most_cells; ++cell) {
    std::vector<double> z(std::size_t(network.n_features));
    for (int i = 0; i < network.n_features; ++i)
      z[i] = given[i * most_cells + cell];
    std::vector<double> h = z;
    for (int l = 0; l < n_layers; ++l) {
      const Layer &layer = network.layer[l];
      if (layer.operation == operation_low_rank) {
        h = map(layer.first, first[l], layer.activation,
                map(layer.second, second[l], activation_none, h));
        continue;
      }
      std::vector<double> y = map(layer.first, first[l], layer.activation, h);
      if (layer.operation == operation_residual)
        for (std::size_t i = 0; i < y.size(); ++i)
          y[i] += h[i];
      if (layer.operation == operation_gated) {
        const std::vector<double> gate = map(layer.second, second[l], activation_none, h);
        for (std::size_t i = 0; i < y.size(); ++i)
          y[i] *= gate[i];
      }
      h = y;
    }
    if (bypass) {
      const std::vector<double> more = map(network.bypass, around, activation_none, z);
      for (std::size_t i = 0; i < h.size(); ++i)
        h[i] += more[i];
    }
    for (int i = 0; i < network.n_targets; ++i)
      expected[i * most_cells + cell] = h[i];
  }

  std::vector<float> fused; // by the first set with fused multiply-adds
  for (const Engine *const *engine = engines(); *engine; ++engine) {
    std::vector<float> all(expected.size());
    (*engine)->layers(network, given.data(), all.data(), most_cells);
    double worst = 0.0;
    for (std::size_t i = 0; i < all.size(); ++i)
      worst = std::fmax(worst, std::fabs(all[i] - expected[i]));
    that(worst < 1e-5, "as plain loops in double");
    if (std::strcmp((*engine)->name, "portable") != 0) {
      if (fused.empty())
        fused = all;
      that(fused == all, "the same bits with any width of vectors");
    }
    for (int cells = 1; cells < most_cells; cells += cells < 40 ? 1 : 7) {
      std::vector<float> some(std::size_t(network.n_features * cells)),
          found(std::size_t(network.n_targets * cells + 1), -7.0f);
      for (int i = 0; i < network.n_features; ++i)
        for (int cell = 0; cell < cells; ++cell)
          some[i * cells + cell] = given[i * most_cells + cell];
      (*engine)->layers(network, some.data(), found.data(), cells);
      bool same = true;
      for (int i = 0; i < network.n_targets; ++i)
        same &= std::memcmp(&found[i * cells], &all[i * most_cells], cells * sizeof(float)) == 0;
      that(same, "the same bits for any number of cells");
      that(found.back() == -7.0f, "nothing written beyond the last cell");
    }
  }
}

} // namespace

int main() {
  const int harder[] = {32, 128, 128, 128, 28}, odd[] = {3, 24, 24, 17, 17, 7}, one[] = {5, 1},
            wide[] = {31, 100, 200, 136, 9};
  const Activation bends[] = {activation_none, activation_relu, activation_silu, activation_tanh};
  const Operation operations[] = {operation_dense, operation_residual, operation_gated,
                                  operation_low_rank};
  for (const Activation activation : bends) {
    compare(harder, 4, operation_dense, activation, false);
    for (const Operation operation : operations)
      compare(odd, 5, operation, activation, operation != operation_dense);
    compare(one, 1, operation_dense, activation, true);
    compare(wide, 4, operation_dense, activation, true);
  }
  return finish();
}
