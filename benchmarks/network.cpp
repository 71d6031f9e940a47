// What the dense layers of the engine cost by themselves: microseconds per cell and GFLOP/s of an
// MLP with every set of instructions of this processor, as lines of JSON.
//
//   time_network [WIDTH-WIDTH-... [ACTIVATION [ROUNDS [CELLS ...]]]]
//
// by default 32-128-128-128-28 relu 25 16 64 512 4096 65536. In each round all sets and sizes take
// turns; a turn is as many calls as take about a millisecond. The weights are drawn at random.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../bridge/engine/model.h"

namespace {

using namespace m7emu;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

float draw() {
  static std::uint64_t seed = 1;
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return float(seed >> 40) / float(1 << 23) - 1.0f;
}

Linear random_map(Model &model, int inputs, int outputs) {
  const int padded = (outputs + outputs_per_tile - 1) / outputs_per_tile * outputs_per_tile;
  float *weight = model.floats(std::size_t(padded * inputs)), *bias = model.floats(padded);
  for (int i = 0; i < padded * inputs; ++i)
    weight[i] = draw() / float(inputs);
  for (int i = 0; i < outputs; ++i)
    bias[i] = draw();
  return {weight, bias, inputs, outputs};
}

Activation named(const char *name) {
  const char *names[] = {"none", "relu", "silu", "tanh"};
  for (int i = 0; i < 4; ++i)
    if (std::strcmp(name, names[i]) == 0)
      return Activation(i);
  std::fprintf(stderr, "time_network: activation is '%s', expected none, relu, silu or tanh\n",
               name);
  std::exit(2);
}

struct Turn {
  const Engine *engine;
  int cells, calls;
  std::vector<float> inputs, outputs;
  std::vector<double> taken; // [us per cell]

  double run(const Network &network) {
    const double began = seconds();
    for (int i = 0; i < calls; ++i)
      engine->layers(network, inputs.data(), outputs.data(), cells);
    return (seconds() - began) / calls / cells * 1e6;
  }
};

double quantile(std::vector<double> &x, double q) {
  std::sort(x.begin(), x.end());
  return x[std::size_t(q * double(x.size() - 1) + 0.5)];
}

} // namespace

int main(int argc, char **argv) {
  std::vector<int> width, sizes;
  const char *shape = argc > 1 ? argv[1] : "32-128-128-128-28";
  for (const char *at = shape; *at;) {
    char *end;
    width.push_back(int(std::strtol(at, &end, 10)));
    at = *end == '-' ? end + 1 : end;
    if (width.back() < 1 || width.back() > max_width || (*end && *end != '-')) {
      std::fprintf(stderr, "time_network: widths are '%s', expected 1 to %d, as 32-64-28\n", shape,
                   max_width);
      return 2;
    }
  }
  const Activation activation = named(argc > 2 ? argv[2] : "relu");
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 25;
  for (int i = 4; i < argc; ++i)
    sizes.push_back(std::atoi(argv[i]));
  if (sizes.empty())
    sizes = {16, 64, 512, 4096, 65536};
  if (width.size() < 2 || width.front() > max_features || width.back() > max_targets ||
      int(width.size()) - 1 > max_layers || rounds < 1 ||
      *std::min_element(sizes.begin(), sizes.end()) < 1) {
    std::fprintf(stderr,
                 "time_network: expected 2 to %d widths, the first at most %d, the last at "
                 "most %d, and at least one round and cell\n",
                 max_layers + 1, max_features, max_targets);
    return 2;
  }

  Model model{};
  Network network{};
  network.n_features = width.front();
  network.n_targets = width.back();
  network.n_layers = int(width.size()) - 1;
  double work = 0.0; // multiply-adds
  for (int l = 0; l < network.n_layers; ++l) {
    network.layer[l] = {operation_dense, l + 1 < network.n_layers ? activation : activation_none,
                        random_map(model, width[l], width[l + 1]), Linear{}};
    work += double(width[l]) * width[l + 1];
  }
  std::vector<Turn> turns;
  for (const Engine *const *engine = engines(); *engine; ++engine)
    for (const int cells : sizes) {
      Turn turn{*engine,
                cells,
                1,
                std::vector<float>(std::size_t(cells * width.front())),
                std::vector<float>(std::size_t(cells * width.back())),
                {}};
      for (float &x : turn.inputs)
        x = draw();
      turn.run(network);
      turn.calls = std::max(1, int(1e3 / (turn.run(network) * cells)));
      turns.push_back(std::move(turn));
    }
  for (int round = 0; round < rounds; ++round)
    for (Turn &turn : turns)
      turn.taken.push_back(turn.run(network));
  for (Turn &turn : turns) {
    const double median = quantile(turn.taken, 0.5);
    std::printf("{\"network\": \"%s\", \"set\": \"%s\", \"cells\": %d, \"median\": %.4f, "
                "\"lower\": %.4f, \"upper\": %.4f, \"best\": %.4f, \"gflops\": %.1f}\n",
                shape, turn.engine->name, turn.cells, median, quantile(turn.taken, 0.25),
                quantile(turn.taken, 0.75), turn.taken.front(), 2e-3 * work / median);
  }
}
