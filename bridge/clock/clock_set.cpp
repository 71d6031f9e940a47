// One set of instructions under the clock: the step with a clock between its parts, or with its
// operations counted (M7EMU_COUNT), a network alone, and what the processor can do at best. Built
// like set.cpp, in namespaces of its own.
#include "clock_set.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace m7emu {
namespace M7EMU_CLOCK {

enum {
#define M7EMU_ENTRY(part) part_##part,
#include "clock_parts.h"
  n_part
};

#ifdef M7EMU_COUNT
enum { count_multiply, count_add, count_divide, count_root, count_other };
thread_local double counted[n_part][n_precision][n_operation];
thread_local int running;

template <class T> inline void tally(int operation) {
  counted[running][sizeof(T) == sizeof(double)][operation] += 1.0;
}
template <> inline void tally<unsigned>(int) {}
template <> inline void tally<unsigned long>(int) {}
inline void part_begins(int next) {
  running = next;
}
#define M7EMU_TALLY(T, operation) tally<T>(count_##operation)
#else
thread_local double began;
thread_local std::uint64_t ticks[n_part], first, last;
thread_local int running;

inline std::uint64_t tick() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return static_cast<std::uint64_t>(now() * 1.0e9);
#endif
}
inline void part_begins(int next) {
  const std::uint64_t at = tick();
  ticks[running] += at - last;
  last = at;
  running = next;
}
#endif
#ifndef M7EMU_TALLY
#define M7EMU_TALLY(T, operation)
#endif
#define M7EMU_PART(part) part_begins(part_##part)

} // namespace M7EMU_CLOCK
} // namespace m7emu

#include "../engine/set.cpp"

namespace m7emu {
namespace M7EMU_SET {

#ifdef M7EMU_COUNT
void start_watch() {
  std::memset(counted, 0, sizeof counted);
}
void end_watch(double *operations) {
  std::memcpy(operations, counted, sizeof counted);
}
#else
void start_watch() {
  std::memset(ticks, 0, sizeof ticks);
  running = part_reading;
  began = now();
  first = last = tick();
}
void end_watch(double *seconds) {
  part_begins(part_reading);
  const double per_tick = (now() - began) / static_cast<double>(last - first);
  for (int i = 0; i < n_part; ++i)
    seconds[i] = static_cast<double>(ticks[i]) * per_tick;
}
#endif

// Of an operation in chains, enough of them to keep the processor busy [s-1].
template <class T, int n_chain, class Operation> double rate_of_chains(Operation operation) {
  using R = pack<T>;
  constexpr int rounds = 1 << 15;
  double best = 0.0;
  for (int repeat = 0; repeat < 25; ++repeat) {
    R chain[n_chain];
    volatile T one = T(1); // no two numbers are known to be the same
    for (int i = 0; i < n_chain; ++i) {
      T lane[lanes];
      for (int k = 0; k < lanes; ++k)
        lane[k] = one + T(i * lanes + k) / T(n_chain * lanes);
      chain[i] = load(lane);
    }
    const double begin = now();
    for (int round = 0; round < rounds; ++round)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC unroll 32
#endif
      for (int i = 0; i < n_chain; ++i)
        chain[i] = operation(chain[i]);
    const double seconds = now() - begin;
    R sum = chain[0];
    for (int i = 1; i < n_chain; ++i)
      sum = sum + chain[i];
    T lane[lanes];
    store(lane, sum);
    volatile T used = T(0); // all lanes, or some are not computed
    for (int k = 0; k < lanes; ++k)
      used = used + lane[k];
    const double rate = static_cast<double>(rounds) * n_chain * lanes / seconds;
    best = rate > best ? rate : best;
  }
  return best;
}

template <class T> double rate_in(int operation) {
  using R = pack<T>;
  constexpr int chains = 10 / pack<T>::parts;
  const R most = R(T(0.9999)), more = R(T(0.0001)), two = R(T(2));
  if (operation == 0)
    return rate_of_chains<T, chains>([=](R x) { return x * most + more; });
  if (operation == 1)
    return rate_of_chains<T, chains>([=](R x) { return two / x; });
  return rate_of_chains<T, chains>([](R x) { return m7emu::M7EMU_SET::sqrt(x); });
}

double rate(int operation) {
  return operation % 2 == 0 ? rate_in<float>(operation / 2) : rate_in<double>(operation / 2);
}

double bandwidth(float *memory, std::size_t count) {
  using R = pack<float>;
  const R most = R(0.9999f);
  const double begin = now();
  for (std::size_t i = 0; i + lanes <= count; i += lanes)
    store(memory + i, load(memory + i) * most);
  return 2.0 * sizeof(float) * static_cast<double>(count) / (now() - begin);
}

extern const ClockSet clock_set;
const ClockSet clock_set = {
    M7EMU_NAME(M7EMU_TWIN), engine, start_watch, end_watch, rate, bandwidth};

} // namespace M7EMU_SET
} // namespace m7emu
