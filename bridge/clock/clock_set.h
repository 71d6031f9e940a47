// What clock.cpp knows of one set of instructions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../engine/program.h"

namespace m7emu {

constexpr int n_operation = 5, n_precision = 2;

double now(); // [s]

// A dense network, its layers all ReLU but the last.
struct Dense {
  int n_layers;
  Layer layer[max_layers];
};

struct ClockSet {
  const char *name;                           // of the engine whose double this is
  Engine engine;                              // with clocks or counters between its parts
  void (*start)();                            // before a run of it
  void (*end)(double *seconds_or_operations); // after it
  void (*dense)(const Dense &, const float *inputs, float *outputs, std::size_t columns);
  double (*rate)(int operation);
  double (*bandwidth)(float *memory, std::size_t count);
};

} // namespace m7emu
