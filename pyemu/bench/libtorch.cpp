// A network in libtorch as a Fortran host calls it through FTorch: a TorchScript file, tensors made
// of the host's arrays without a copy, the result copied into the host's array. Compiled by
// pyemu.bench.rivals against the installed torch.
#include <chrono>
#include <cstdint>
#include <exception>
#include <torch/script.h>
#include <vector>

extern "C" {

void *libtorch_open(const char *path) {
  try {
    auto *network = new torch::jit::Module(torch::jit::load(path));
    network->eval();
    return network;
  } catch (const std::exception &) {
    return nullptr;
  }
}

void libtorch_close(void *network) {
  delete static_cast<torch::jit::Module *>(network);
}

// Seconds of `calls` calls of `block` cells: inputs (calls, block, n_in), outputs alike.
double libtorch_run(void *network, float *inputs, float *outputs, std::int64_t n_in,
                    std::int64_t n_out, std::int64_t block, std::int64_t calls) {
  using clock = std::chrono::steady_clock;
  try {
    torch::NoGradGuard no_gradients;
    auto &module = *static_cast<torch::jit::Module *>(network);
    const auto begin = clock::now();
    for (std::int64_t call = 0; call < calls; ++call) {
      std::vector<torch::jit::IValue> given{
          torch::from_blob(inputs + call * block * n_in, {block, n_in})};
      torch::Tensor result = torch::from_blob(outputs + call * block * n_out, {block, n_out});
      result.copy_(module.forward(given).toTensor());
    }
    return std::chrono::duration<double>(clock::now() - begin).count();
  } catch (const std::exception &) {
    return -1.0;
  }
}
}
