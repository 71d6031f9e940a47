// What clock.cpp knows of one set of instructions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../engine/program.h"

namespace m7emu {

constexpr int n_operation = 5, n_precision = 2;

double now(); // [s]

struct ClockSet {
  const char *name;                           // of the engine whose double this is
  Engine engine;                              // with clocks or counters between its parts
  void (*start)();                            // before a run of it
  void (*end)(double *seconds_or_operations); // after it
  double (*rate)(int operation);
  double (*bandwidth)(float *memory, std::size_t count);
};

} // namespace m7emu
