// Checks the GPU engine against the CPU's, and times it: gpu.sh builds and runs this.
//
// Usage: gpu OUTPUT.json MOST_CELLS MODEL...     MODEL: a file, timed in the order given
//
// Times are medians of repeated calls, each waited for; the state is put back in between, untimed.
// Models with networks are timed in each engine. Energy is the GPU's own meter's (NVML), of steps
// that follow each other for some seconds; it is left out where there is none.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "../bridge/gpu/gpu.h"
extern "C" {
#include "../tests/abi/cells.h"
}

namespace {

using namespace m7emu::gpu;
constexpr int n_prognostic = 26, tile = 10000;

void check(Error error, const char *what) {
  if (error != no_error) {
    std::fprintf(stderr, "%s: %s\n", what, GPU(GetErrorString)(error));
    std::exit(1);
  }
}
void check(std::int32_t status) {
  if (status != M7EMU_OK) {
    std::fprintf(stderr, "%s\n", told());
    std::exit(1);
  }
}
std::int32_t step(const m7emu_model *model, const m7emu_block &block) {
  return m7emu_step(model, &block);
}
std::int32_t step(const m7emu_model *model, const m7emu_block_float &block) {
  return m7emu_step_float(model, &block);
}

m7emu_model *open_on(const char *path, std::int32_t device, const char *engine = "native") {
  const m7emu_options options = {sizeof options, device, engine};
  m7emu_model *model = nullptr;
  check(m7emu_open(path, &options, &model));
  return model;
}

// "native", and for a model with networks those on tensor cores.
std::vector<const char *> engines_of(const char *path) {
  m7emu_model *const cpu = open_on(path, M7EMU_DEVICE_CPU);
  const char *json = nullptr;
  check(m7emu_metadata(cpu, &json));
  const std::string told = json;
  m7emu_close(cpu);
  const std::size_t list = told.find("\"networks\"");
  const std::size_t open = list == std::string::npos ? list : told.find('{', list);
  if (open == std::string::npos || told[told.find_first_not_of(" \n", open + 1)] == '}')
    return {"native"};
  return {"native", "native-3xtf32", "native-tf32", "native-bf16"};
}

// The GPU's own meter of energy [J] since its driver was loaded; below 0 where it has none.
class Meter {
public:
  Meter() {
#if !defined(M7EMU_SIMULATED) && !defined(__HIP_PLATFORM_AMD__)
    void *const library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    char place[32];
    if (!library || GPU(DeviceGetPCIBusId)(place, sizeof place, 0) != no_error)
      return;
    const auto start = reinterpret_cast<int (*)()>(dlsym(library, "nvmlInit_v2"));
    const auto find = reinterpret_cast<int (*)(const char *, void **)>(
        dlsym(library, "nvmlDeviceGetHandleByPciBusId_v2"));
    read = reinterpret_cast<int (*)(void *, unsigned long long *)>(
        dlsym(library, "nvmlDeviceGetTotalEnergyConsumption"));
    if (!start || !find || start() != 0 || find(place, &gpu) != 0)
      read = nullptr;
#endif
  }
  double joules() const {
    unsigned long long millijoules = 0;
    return read && read(gpu, &millijoules) == 0 ? 1e-3 * double(millijoules) : -1.0;
  }

private:
  int (*read)(void *, unsigned long long *) = nullptr;
  void *gpu = nullptr;
};

std::string text(const char *format, ...) {
  char line[512];
  va_list values;
  va_start(values, format);
  std::vsnprintf(line, sizeof line, format, values);
  va_end(values);
  return line;
}

// The two precisions of a block, under one name.
template <class S> struct Kind;
template <> struct Kind<double> {
  using Cells = cells;
  static constexpr const char *name = "float64";
  static Cells made(int columns, int width, int levels) {
    return cells_new(columns, width, levels);
  }
  static void set(Cells &c, std::size_t at, std::uint64_t n) { cells_set(&c, at, n); }
  static void end(Cells &c) { cells_free(&c); }
};
template <> struct Kind<float> {
  using Cells = cells_float;
  static constexpr const char *name = "float32";
  static Cells made(int columns, int width, int levels) {
    return cells_float_new(columns, width, levels);
  }
  static void set(Cells &c, std::size_t at, std::uint64_t n) { cells_float_set(&c, at, n); }
  static void end(Cells &c) { cells_float_free(&c); }
};

// Columns of one level; a tile of cells over and over.
template <class S> typename Kind<S>::Cells sample(int columns) {
  auto c = Kind<S>::made(columns, columns, 1);
  const std::size_t n = static_cast<std::size_t>(columns);
  for (std::size_t i = 0; i < std::min<std::size_t>(n, tile); ++i)
    Kind<S>::set(c, i, i);
  for (std::size_t field = 0; field < 34; ++field)
    for (std::size_t i = tile; i < n; ++i)
      c.memory[field * n + i] = c.memory[field * n + i - tile];
  return c;
}

// The same block in a device's memory, which it owns.
template <class S> struct OnDevice {
  using Block = decltype(Kind<S>::Cells::block);
  std::size_t size, flags;
  char *memory = nullptr;
  Block block;

  explicit OnDevice(const typename Kind<S>::Cells &c)
      : size(c.size * sizeof(S)),
        flags(sizeof(std::int32_t) * std::size_t(c.block.kbdim) * std::size_t(c.block.klev)),
        block(c.block) {
    check(GPU(Malloc)(reinterpret_cast<void **>(&memory), size + 2 * flags), "memory of the GPU");
    const S **const first = &block.pressure;
    for (int i = 0; i < 15; ++i)
      first[i] = reinterpret_cast<S *>(memory) + (first[i] - c.memory);
    block.uncertainty = reinterpret_cast<S *>(memory) + (block.uncertainty - c.memory);
    block.flag = reinterpret_cast<std::int32_t *>(memory + size);
    block.negatives = reinterpret_cast<std::int32_t *>(memory + size + flags);
    block.space = M7EMU_DEVICE;
    put(c);
  }
  ~OnDevice() { static_cast<void>(GPU(Free)(memory)); }
  OnDevice(const OnDevice &) = delete;
  void put(const typename Kind<S>::Cells &c) {
    check(GPU(MemcpyAsync)(memory, c.memory, size, GPU(MemcpyHostToDevice), nullptr), "copy");
    check(GPU(StreamSynchronize)(nullptr), "copy");
  }
  void get(typename Kind<S>::Cells &c) {
    check(GPU(MemcpyAsync)(c.memory, memory, size, GPU(MemcpyDeviceToHost), nullptr), "copy");
    check(GPU(MemcpyAsync)(c.flag, memory + size, flags, GPU(MemcpyDeviceToHost), nullptr), "copy");
    check(GPU(StreamSynchronize)(nullptr), "copy");
  }
};

double seconds(const std::function<void()> &work) {
  const auto began = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

// Median of repeated work, some of which is not counted.
double median(const std::function<void()> &before, const std::function<void()> &work) {
  std::vector<double> taken;
  double all = 0.0;
  for (int i = 0; i < 3 || (i < 50 && all < 1.0); ++i) {
    before();
    const double once = seconds(work);
    if (i > 0) // the first warms up
      taken.push_back(once);
    all += once;
  }
  std::sort(taken.begin(), taken.end());
  return taken[taken.size() / 2];
}

// Amount of a species (masses of these numbers) and of what gives it.
template <class S> double closure(const S *before, const S *after, std::size_t n, double timestep) {
  static const int last[] = {4, 8, 12, 14, 18};
  double worst = 0.0;
  for (std::size_t i = 0; i < n; ++i)
    for (int species = 0, m = 0; species < 5; ++species) {
      double one = 0.0, other = 0.0;
      if (species == 0) {
        one = double(before[8 * n + i]) + double(before[4 * n + i]) * timestep;
        other = double(after[8 * n + i]);
      }
      for (; m < last[species]; ++m) {
        one += double(before[std::size_t(9 + m) * n + i]);
        other += double(after[std::size_t(9 + m) * n + i]);
      }
      worst = std::fmax(worst, std::fabs(other - one) / std::fmax(one, 1e-30));
    }
  return worst;
}

// What the GPU makes of cells beside the CPU: a line of JSON, and whether all is well.
template <class S>
std::string compare(const char *path, const char *engine, int count, bool &well) {
  m7emu_model *const cpu = open_on(path, M7EMU_DEVICE_CPU), *const gpu = open_on(path, 0, engine);
  // Factors of fewer bits are not float's: what they make of a step `pyemu evaluate` tells.
  const bool rounds = std::string(engine) == "native-tf32" || std::string(engine) == "native-bf16";
  const std::size_t n = static_cast<std::size_t>(count), fields = N_FIELDS;
  auto start = sample<S>(count), expected = sample<S>(count), found = sample<S>(count);
  check(step(cpu, expected.block));
  OnDevice<S> there(found);
  check(step(gpu, there.block));
  there.get(found);

  double worst = 0.0;
  std::size_t off = 0, flags = 0, insane = 0;
  for (std::size_t i = 8 * n; i < fields * n; ++i) {
    const double x = double(found.memory[i]), y = double(expected.memory[i]);
    insane += !(std::isfinite(x) && x >= 0.0);
    if (i < 34 * n && std::fabs(y) < 1e-3)
      continue; // a residue of what was emptied has no digits
    const double error = x == y ? 0.0 : std::fabs(x - y) / std::fmax(std::fabs(y), 1e-300);
    worst = std::fmax(worst, error);
    off += error > 1e-5;
  }
  for (std::size_t i = 0; i < n; ++i)
    flags += found.flag[i] != expected.flag[i];

  // Bits: run to run, through the host's memory, and in another block.
  auto again = sample<S>(count), other = Kind<S>::made(count / 10, count / 10 + 7, 10);
  there.put(start);
  check(step(gpu, there.block));
  there.get(again);
  const std::size_t used = fields * n * sizeof(S);
  bool same = std::memcmp(again.memory, found.memory, used) == 0;
  Kind<S>::end(again);
  again = sample<S>(count);
  check(step(gpu, again.block));
  same = same && std::memcmp(again.memory, found.memory, used) == 0;
  const std::size_t width = std::size_t(other.block.kbdim), plane = width * 10;
  const auto place = [&](std::size_t i) { return i / (n / 10) * width + i % (n / 10); };
  for (std::size_t i = 0; i < n; ++i)
    Kind<S>::set(other, place(i), i % tile);
  check(step(gpu, other.block));
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t f = 8; f < fields; ++f)
      same = same && other.memory[f * plane + place(i)] == found.memory[f * n + i];

  const double open = closure(start.memory, found.memory, n, start.block.timestep);
  const double allowed = sizeof(S) == 8 ? 1e-14 : 2e-6;
  // The worst of so many is a cell near a threshold; in 3xtf32 the network's last bits differ, too.
  const double bound = std::string(engine) == "native" ? 1e-2 : 3e-2;
  const bool near = worst < bound && double(off) < 0.01 * double(fields * n);
  const bool good =
      same && insane == 0 && open <= allowed && (rounds || near) && flags < n / 1000 + 1;
  well = well && good;
  const std::string line = text(
      "{\"model\": \"%s\", \"engine\": \"%s\", \"real\": \"%s\", \"cells\": %d, \"worst\": %.1e, "
      "\"above 1e-5\": %zu, \"of\": %zu, \"other flags\": %zu, \"same bits\": %s, "
      "\"negative or not finite\": %zu, \"closure\": %.1e, \"well\": %s}",
      path, engine, Kind<S>::name, count, worst, off, (fields - 8) * n, flags,
      same ? "true" : "false", insane, open, good ? "true" : "false");
  std::fprintf(stderr, "%s\n", line.c_str());
  for (auto *c : {&start, &expected, &found, &again, &other})
    Kind<S>::end(*c);
  m7emu_close(cpu);
  m7emu_close(gpu);
  return line;
}

// What the machine can do [bytes s-1]: read and write together on the device; in, out, and each of
// both at once over the bus.
struct Rates {
  double copy, in, out, in_of_both, out_of_both;
};

Rates measure(std::size_t size) {
  char *here[2], *there[3];
  Stream stream[2];
  for (char *&piece : here)
    check(GPU_ALLOCATE_PINNED(reinterpret_cast<void **>(&piece), size), "host");
  for (char *&piece : there)
    check(GPU(Malloc)(reinterpret_cast<void **>(&piece), size), "memory");
  for (Stream &s : stream)
    check(GPU(StreamCreateWithFlags)(&s, GPU(StreamNonBlocking)), "stream");
  const auto nothing = [] {};
  const auto in = [&] {
    check(GPU(MemcpyAsync)(there[0], here[0], size, GPU(MemcpyHostToDevice), stream[0]), "in");
  };
  const auto out = [&] {
    check(GPU(MemcpyAsync)(here[1], there[1], size, GPU(MemcpyDeviceToHost), stream[1]), "out");
  };
  const auto wait = [&] {
    for (Stream s : stream)
      check(GPU(StreamSynchronize)(s), "copy");
  };
  const double bytes = static_cast<double>(size);
  Rates rates;
  rates.copy =
      2.0 * bytes / median(nothing, [&] {
        check(GPU(MemcpyAsync)(there[2], there[1], size, GPU(MemcpyDeviceToDevice), stream[0]),
              "copy");
        wait();
      });
  rates.in = bytes / median(nothing, [&] { in(), wait(); });
  rates.out = bytes / median(nothing, [&] { out(), wait(); });
  rates.in_of_both = rates.out_of_both = bytes / median(nothing, [&] { in(), out(), wait(); });
  for (char *piece : here)
    check(GPU_FREE_PINNED(piece), "host");
  for (char *piece : there)
    check(GPU(Free)(piece), "memory");
  for (Stream s : stream)
    check(GPU(StreamDestroy)(s), "stream");
  return rates;
}

struct Row {
  const char *model, *engine;
  const char *real, *how;
  int count;
  double rate;       // cells s-1
  double of_machine; // share of what its memory or bus allows; below 0: not known
  double energy;     // [J] a cell; below 0: not known

  std::string json() const {
    const std::string name = std::string(model).substr(std::string(model).rfind('/') + 1);
    std::string line =
        text("{\"model\": \"%s\", \"engine\": \"%s\", \"state\": \"%s\", \"how\": \"%s\", "
             "\"cells\": %d, \"cells per s\": %.4g, \"ns per cell\": %.4g, ",
             name.substr(0, name.find('.')).c_str(), engine, real, how, count, rate, 1e9 / rate);
    line += of_machine < 0.0 ? "\"of the roofline\": \"\", "
                             : text("\"of the roofline\": %.3g, ", of_machine);
    line += energy < 0.0 ? "\"nJ per cell\": \"\"}" : text("\"nJ per cell\": %.3g}", 1e9 * energy);
    std::fprintf(stderr, "%s\n", line.c_str());
    return line;
  }
};

// Energy of a cell's step, of steps that follow each other [J]; below 0 where there is no meter.
template <class Block>
double energy_of(const Meter &meter, const m7emu_model *gpu, const Block &block, double once) {
  if (meter.joules() < 0.0)
    return -1.0;
  const int steps = static_cast<int>(2.0 / once) + 1;
  const double before = meter.joules();
  for (int i = 0; i < steps; ++i)
    check(step(gpu, block));
  return (meter.joules() - before) / steps / (double(block.kproma) * block.klev);
}

template <class S>
void time_model(const char *path, const char *engine, int count, const Rates &rates,
                const Meter &meter, std::vector<std::string> &rows) {
  m7emu_model *const gpu = open_on(path, 0, engine);
  auto c = sample<S>(count);
  const std::size_t n = static_cast<std::size_t>(count), moved = n_prognostic * n * sizeof(S);
  const double reals = sizeof(S) * double(n);
  const double in = (8 + n_prognostic) * reals, out = (n_prognostic + 23) * reals + 8.0 * double(n);
  {
    OnDevice<S> there(c);
    char *kept = nullptr, *const state = reinterpret_cast<char *>(there.block.h2so4);
    check(GPU(Malloc)(reinterpret_cast<void **>(&kept), moved), "memory");
    const auto copy = [&](char *to, const char *from) {
      check(GPU(MemcpyAsync)(to, from, moved, GPU(MemcpyDeviceToDevice), nullptr), "copy");
      check(GPU(StreamSynchronize)(nullptr), "copy");
    };
    copy(kept, state);
    const double taken = median([&] { copy(state, kept); }, [&] { check(step(gpu, there.block)); });
    check(GPU(Free)(kept), "memory");
    const double energy = count >= 1000000 ? energy_of(meter, gpu, there.block, taken) : -1.0;
    rows.push_back(Row{path, engine, Kind<S>::name, "on the device", count, double(n) / taken,
                       (in + out) / rates.copy / taken, energy}
                       .json());
  }
  if (std::string(engine) != "native") { // the way through the bus is the same
    Kind<S>::end(c);
    m7emu_close(gpu);
    return;
  }
  const std::vector<S> kept(c.memory + 8 * n, c.memory + 34 * n);
  const std::size_t flags = n * sizeof(std::int32_t);
  for (int pinned = 1; pinned >= 0; --pinned) {
    if (pinned) {
      check(m7emu_pin(gpu, c.memory, c.size * sizeof(S)));
      check(m7emu_pin(gpu, c.flag, flags));
      check(m7emu_pin(gpu, c.negatives, flags));
    }
    const double taken = median([&] { std::copy(kept.begin(), kept.end(), c.memory + 8 * n); },
                                [&] { check(step(gpu, c.block)); });
    if (pinned) {
      check(m7emu_unpin(gpu, c.memory));
      check(m7emu_unpin(gpu, c.flag));
      check(m7emu_unpin(gpu, c.negatives));
    }
    // In and out at once, or one after the other: whichever the bus does faster.
    const double least = std::min(std::max(in / rates.in_of_both, out / rates.out_of_both),
                                  in / rates.in + out / rates.out);
    rows.push_back(Row{path, engine, Kind<S>::name,
                       pinned ? "with transfers, pinned" : "with transfers, pageable", count,
                       double(n) / taken, least / taken, -1.0}
                       .json());
  }
  Kind<S>::end(c);
  m7emu_close(gpu);
}

// The CPU's engine in blocks of 64, in so many threads.
template <class S> std::string time_cpu(const char *path, int threads, const char *how) {
  m7emu_model *const cpu = open_on(path, M7EMU_DEVICE_CPU);
  constexpr int block = 64, blocks = 64, rounds = 40;
  const auto work = [&](double *rate) {
    std::vector<typename Kind<S>::Cells> all;
    for (int b = 0; b < blocks; ++b) {
      all.push_back(Kind<S>::made(block, block, 1));
      for (int i = 0; i < block; ++i)
        Kind<S>::set(all.back(), std::size_t(i), std::uint64_t(b * block + i));
    }
    std::vector<std::vector<S>> kept;
    for (auto &c : all)
      kept.emplace_back(c.memory + 8 * block, c.memory + 34 * block);
    double taken = 0.0;
    for (int r = 0; r < rounds; ++r) {
      for (int b = 0; b < blocks; ++b)
        std::copy(kept[std::size_t(b)].begin(), kept[std::size_t(b)].end(),
                  all[std::size_t(b)].memory + 8 * block);
      taken += seconds([&] {
        for (auto &c : all)
          check(step(cpu, c.block));
      });
    }
    *rate = double(block) * blocks * rounds / taken;
    for (auto &c : all)
      Kind<S>::end(c);
  };
  std::vector<double> rates(static_cast<std::size_t>(threads));
  std::vector<std::thread> running;
  for (double &rate : rates)
    running.emplace_back(work, &rate);
  double sum = 0.0;
  for (std::thread &one : running)
    one.join();
  for (double rate : rates)
    sum += rate;
  m7emu_close(cpu);
  return Row{path, "native", Kind<S>::name, how, block * blocks, sum, -1.0, -1.0}.json();
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: gpu OUTPUT.json MOST_CELLS MODEL...\n");
    return 2;
  }
  const int most = std::atoi(argv[2]);
  bool well = true;
  std::vector<std::string> rows, checks;
  for (int i = 3; i < argc; ++i) {
    for (const char *engine : engines_of(argv[i])) {
      checks.push_back(compare<double>(argv[i], engine, std::min(most, 50000), well));
      checks.push_back(compare<float>(argv[i], engine, std::min(most, 50000), well));
    }
  }
  const Meter meter;
  const std::size_t size = std::size_t(most) * 100;
  const Rates rates = measure(std::min(size, std::size_t(512) << 20));
  std::string machine =
      text("\"copy on the device, GB/s\": %.4g, \"bus in, GB/s\": %.4g, "
           "\"bus out, GB/s\": %.4g, \"bus both at once, GB/s each\": %.4g",
           rates.copy / 1e9, rates.in / 1e9, rates.out / 1e9, rates.in_of_both / 1e9);
  std::fprintf(stderr, "%s\n", machine.c_str());
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  for (int i = 3; i < argc; ++i) {
    rows.push_back(time_cpu<double>(argv[i], 1, "CPU engine, one core"));
    rows.push_back(time_cpu<double>(argv[i], cores, "CPU engine, all cores"));
    for (const char *engine : engines_of(argv[i]))
      for (int count = 10000; count <= most; count *= 10) {
        time_model<double>(argv[i], engine, count, rates, meter, rows);
        time_model<float>(argv[i], engine, count, rates, meter, rows);
      }
  }
  std::FILE *const file = std::fopen(argv[1], "w");
  if (!file) {
    std::perror(argv[1]);
    return 1;
  }
  std::fprintf(file, "{\"well\": \"%s\", \"cores\": %d, %s,\n\"checks\": [\n", well ? "yes" : "no",
               cores, machine.c_str());
  for (std::size_t i = 0; i < checks.size(); ++i)
    std::fprintf(file, "%s%s\n", checks[i].c_str(), i + 1 < checks.size() ? "," : "],");
  std::fprintf(file, "\"rows\": [\n");
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::fprintf(file, "%s%s\n", rows[i].c_str(), i + 1 < rows.size() ? "," : "]}");
  if (std::fclose(file) != 0) {
    std::perror(argv[1]);
    return 1;
  }
  std::fprintf(stderr, well ? "all checks are well\n" : "CHECKS FAILED\n");
  return well ? 0 : 1;
}
