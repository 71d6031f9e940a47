// A network in libtorch as a Fortran host calls it through FTorch: a TorchScript file, tensors made
// of the host's arrays without a copy, the result copied into the host's array; one thread. A program
// of its own, as it is in a host, compiled by pyemu.bench.rivals against the installed torch.
//
// Usage: libtorch NETWORK INPUTS OUTPUTS N_IN N_OUT. INPUTS are floats (cells, N_IN). For each line
// "BLOCK" of the standard input it runs over all cells in calls of BLOCK and prints the seconds; at
// its end it writes OUTPUTS.
#include <ATen/Parallel.h>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <torch/script.h>
#include <vector>

int main(int, char **argument) {
  using clock = std::chrono::steady_clock;
  at::set_num_threads(1);
  torch::NoGradGuard no_gradients;
  torch::jit::Module network = torch::jit::load(argument[1]);
  network.eval();
  const std::int64_t n_in = std::atoll(argument[4]), n_out = std::atoll(argument[5]);
  std::ifstream file(argument[2], std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  const std::int64_t cells = static_cast<std::int64_t>(bytes.size() / sizeof(float)) / n_in;
  std::vector<float> inputs(static_cast<std::size_t>(cells * n_in));
  std::vector<float> outputs(static_cast<std::size_t>(cells * n_out));
  std::memcpy(inputs.data(), bytes.data(), inputs.size() * sizeof(float));
  for (std::int64_t block = 0; std::cin >> block && block > 0;) {
    const auto begin = clock::now();
    for (std::int64_t at = 0; at < cells; at += block) {
      std::vector<torch::jit::IValue> given{
          torch::from_blob(inputs.data() + at * n_in, {block, n_in})};
      torch::Tensor result = torch::from_blob(outputs.data() + at * n_out, {block, n_out});
      result.copy_(network.forward(given).toTensor());
    }
    std::cout << std::chrono::duration<double>(clock::now() - begin).count() << std::endl;
  }
  std::ofstream(argument[3], std::ios::binary)
      .write(reinterpret_cast<const char *>(outputs.data()),
             static_cast<std::streamsize>(outputs.size() * sizeof(float)));
}
