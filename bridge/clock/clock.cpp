#include "clock.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <exception>
#include <thread>
#include <vector>

#include "../engine/model.h"
#include "clock_set.h"

namespace m7emu {

#ifdef M7EMU_HAVE_AVX512
namespace avx512_clock {
extern const ClockSet clock_set;
}
#endif
#ifdef M7EMU_HAVE_AVX2
namespace avx2_clock {
extern const ClockSet clock_set;
}
#endif
namespace portable_clock {
extern const ClockSet clock_set;
}
namespace portable_count {
extern const ClockSet clock_set;
}

double now() {
  using clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(clock::now().time_since_epoch()).count();
}

} // namespace m7emu

namespace {

using namespace m7emu;

const ClockSet &clock_of(std::int32_t set) {
  static const ClockSet *const all[] = {
#ifdef M7EMU_HAVE_AVX512
      &avx512_clock::clock_set,
#endif
#ifdef M7EMU_HAVE_AVX2
      &avx2_clock::clock_set,
#endif
  };
  for (const ClockSet *one : all)
    if (std::strcmp(one->name, engines()[set]->name) == 0)
      return *one;
  return portable_clock::clock_set;
}

constexpr std::size_t n_environment = 8, n_prognostic = 1 + n_mass + n_mode;
constexpr std::size_t n_diagnostic = 2 * n_mode + 2 * n_soluble + 1;

// What a host has for every thread: its outputs, overwritten by each call.
template <class Block, class Real> struct Caller {
  Block block = {};
  std::vector<Real> diagnostic;
  std::vector<std::int32_t> counts;

  Caller(std::size_t kbdim, double timestep) : diagnostic(n_diagnostic * kbdim), counts(2 * kbdim) {
    block.struct_size = sizeof block;
    block.kproma = block.kbdim = static_cast<std::int32_t>(kbdim);
    block.klev = 1;
    block.timestep = timestep;
    Real *at = diagnostic.data();
    block.wet_radius = at;
    block.dry_radius = at += n_mode * kbdim;
    block.density = at += n_soluble * kbdim;
    block.water = at += n_mode * kbdim;
    block.uncertainty = at + n_soluble * kbdim;
    block.flag = counts.data();
    block.negatives = counts.data() + kbdim;
  }

  const Block &at(std::size_t call, const Real *environment, Real *prognostic) {
    const std::size_t kbdim = static_cast<std::size_t>(block.kbdim);
    const Real *const e = environment + call * n_environment * kbdim;
    Real *const x = prognostic + call * n_prognostic * kbdim;
    block.pressure = e;
    block.temperature = e + kbdim;
    block.relative_humidity = e + 2 * kbdim;
    block.cloud_fraction = e + 3 * kbdim;
    block.h2so4_production = e + 4 * kbdim;
    block.ion_pair_production = e + 5 * kbdim;
    block.forest_fraction = e + 6 * kbdim;
    block.boundary_layer = e + 7 * kbdim;
    block.h2so4 = x;
    block.mass = x + kbdim;
    block.number = x + (1 + n_mass) * kbdim;
    return block;
  }
};

template <class Block, class Real, class Step>
double timed(Step step, const Real *environment, Real *prognostic, std::int32_t kbdim,
             std::int32_t calls, double timestep, std::int32_t threads) {
  const std::size_t n = static_cast<std::size_t>(threads), all = static_cast<std::size_t>(calls);
  std::vector<double> ended(n);
  std::atomic<bool> failed{false}, go{false};
  std::atomic<std::size_t> ready{0};
  const auto work = [&](std::size_t thread) {
    Caller<Block, Real> caller(static_cast<std::size_t>(kbdim), timestep);
    ++ready;
    while (!go)
      std::this_thread::yield();
    for (std::size_t call = thread * all / n; call < (thread + 1) * all / n; ++call)
      if (step(caller.at(call, environment, prognostic)) != M7EMU_OK)
        failed = true;
    ended[thread] = now();
  };
  std::vector<std::thread> others;
  for (std::size_t thread = 1; thread < n; ++thread)
    others.emplace_back(work, thread);
  while (ready + 1 < n)
    std::this_thread::yield();
  const double begin = now();
  go = true;
  work(0);
  double last = ended[0];
  for (std::size_t thread = 1; thread < n; ++thread) {
    others[thread - 1].join();
    last = ended[thread] > last ? ended[thread] : last;
  }
  return failed ? -1.0 : last - begin;
}

// Step once with an engine that watches itself.
bool watched(const ClockSet &set, const char *path, const double *environment, double *prognostic,
             std::int32_t kbdim, std::int32_t calls, double timestep, double *found) {
  try {
    Model model{};
    read_model(path, model);
    Caller<m7emu_block, double> caller(static_cast<std::size_t>(kbdim), timestep);
    set.start();
    for (std::size_t call = 0; call < static_cast<std::size_t>(calls); ++call)
      set.engine.step(model.program, caller.at(call, environment, prognostic));
    set.end(found);
    return true;
  } catch (const std::exception &) {
    return false;
  }
}

const char *const part_names[] = {
#define M7EMU_ENTRY(part) #part,
#include "clock_parts.h"
};
constexpr std::int32_t n_part = sizeof part_names / sizeof *part_names;

} // namespace

struct clock_network {
  m7emu::Network dense; // its layers all ReLU but the last
  m7emu::Model room;
  const m7emu::ClockSet *set;
};

extern "C" {

const char *clock_compiler(void) {
  return __VERSION__;
}

const char *clock_set(std::int32_t set) {
  std::int32_t known = 0;
  while (known < set && engines()[known])
    ++known;
  return engines()[known] ? engines()[known]->name : nullptr;
}

std::int32_t clock_lanes(std::int32_t set) {
  return engines()[set]->lanes;
}

void *clock_open(const char *path, std::int32_t set) {
  m7emu_model *model = nullptr;
  if (m7emu_open(path, nullptr, &model) == M7EMU_OK)
    choose(model, *engines()[set]);
  return model;
}

void clock_close(void *model) {
  m7emu_close(static_cast<m7emu_model *>(model));
}

double clock_step(const void *model, const double *environment, double *prognostic,
                  std::int32_t kbdim, std::int32_t calls, double timestep, std::int32_t threads) {
  const auto step = [=](const m7emu_block &block) {
    return m7emu_step(static_cast<const m7emu_model *>(model), &block);
  };
  return timed<m7emu_block>(step, environment, prognostic, kbdim, calls, timestep, threads);
}

double clock_step_float(const void *model, const float *environment, float *prognostic,
                        std::int32_t kbdim, std::int32_t calls, double timestep,
                        std::int32_t threads) {
  const auto step = [=](const m7emu_block_float &block) {
    return m7emu_step_float(static_cast<const m7emu_model *>(model), &block);
  };
  return timed<m7emu_block_float>(step, environment, prognostic, kbdim, calls, timestep, threads);
}

const char *clock_part(std::int32_t part) {
  return part < n_part ? part_names[part] : nullptr;
}

std::int32_t clock_parts(const char *path, std::int32_t set, const double *environment,
                         double *prognostic, std::int32_t kbdim, std::int32_t calls,
                         double timestep, double *seconds) {
  return watched(clock_of(set), path, environment, prognostic, kbdim, calls, timestep, seconds);
}

std::int32_t clock_count(const char *path, const double *environment, double *prognostic,
                         std::int32_t kbdim, std::int32_t calls, double timestep,
                         double *operations) {
  const ClockSet &set = portable_count::clock_set;
  if (!watched(set, path, environment, prognostic, kbdim, calls, timestep, operations))
    return false;
  const int vectors = (kbdim + set.engine.lanes - 1) / set.engine.lanes;
  const double per_cell = 1.0 / (static_cast<double>(vectors) * calls);
  for (int i = 0; i < n_part * n_precision * n_operation; ++i)
    operations[i] *= per_cell;
  return true;
}

clock_network *clock_network_open(std::int32_t set, const std::int32_t *widths, std::int32_t layers,
                                  const float *numbers) {
  if (layers < 1 || layers > max_layers)
    return nullptr;
  for (std::int32_t l = 0; l <= layers; ++l)
    if (widths[l] < 1 || widths[l] > max_width)
      return nullptr;
  if (widths[0] > max_features || widths[layers] > max_targets)
    return nullptr;
  clock_network *const network = new clock_network{};
  network->set = &clock_of(set);
  network->dense.n_features = widths[0];
  network->dense.n_targets = widths[layers];
  network->dense.n_layers = layers;
  for (std::int32_t l = 0; l < layers; ++l) {
    const float *const bias = numbers + widths[l] * widths[l + 1];
    const Linear map = network->room.linear(numbers, bias, widths[l + 1], widths[l]);
    const Activation bend = l + 1 < layers ? activation_relu : activation_none;
    network->dense.layer[l] = {operation_dense, bend, map, {}};
    numbers = bias + widths[l + 1];
  }
  return network;
}

void clock_network_close(clock_network *network) {
  delete network;
}

double clock_network_run(const clock_network *network, const float *inputs, float *outputs,
                         std::int32_t kbdim, std::int32_t calls) {
  const Network &dense = network->dense;
  const std::int64_t n_in = dense.n_features, n_out = dense.n_targets;
  const double begin = now();
  for (std::int64_t call = 0; call < calls; ++call)
    network->set->engine.layers(dense, inputs + call * n_in * kbdim, outputs + call * n_out * kbdim,
                                kbdim);
  return now() - begin;
}

double clock_rate(std::int32_t set, std::int32_t operation) {
  return clock_of(set).rate(operation);
}

double clock_bandwidth(std::int32_t set, float *memory, std::int64_t count) {
  return clock_of(set).bandwidth(memory, static_cast<std::size_t>(count));
}

} // extern "C"
