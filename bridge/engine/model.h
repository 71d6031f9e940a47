// Reading and checking model files: the contract is the docstring of pyemu/modelfile.py.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "program.h"

namespace m7emu {

// Why something is refused: a status of m7emu.h and a text for people.
struct Refusal : std::runtime_error {
  std::int32_t status;
  Refusal(std::int32_t status, const std::string &text)
      : std::runtime_error(text), status(status) {}
};

struct Model {
  Program program;
  const Engine *engine;
  std::string metadata; // JSON
  Network networks[n_networks];

  // Floats that stay where they are, aligned to 64 bytes and filled with 0.
  float *floats(std::size_t count);

  // A map from weights (outputs, inputs) and a bias, which may be null.
  Linear linear(const float *weight, const float *bias, int outputs, int inputs);

private:
  struct Free {
    void operator()(float *p) const { ::operator delete[](p, std::align_val_t(64)); }
  };
  std::vector<std::unique_ptr<float[], Free>> storage;
};

// Fills `model` but for its engine. Throws Refusal, or std::bad_alloc.
void read_model(const char *path, Model &model);

// Let an opened model step with another set of instructions.
void choose(m7emu_model *model, const Engine &engine);

// The best set of instructions that this processor has.
const Engine &best_engine();
// All that were built and that this processor has, best first; ends with null.
const Engine *const *engines();

} // namespace m7emu
