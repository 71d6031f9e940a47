// A warp that is none, on the host: its lanes are fibers of one thread, which take turns. Each runs
// until it waits for the others; they must all do so at the same place, or the test ends here.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "rounded.h"

namespace m7emu {
namespace gpu {

class SimulatedWarp {
public:
  // Runs work(lane) in every lane. Rounds go up and down, so that what one lane writes before a
  // wait, and another reads without one, is seen by some.
  static void run(const std::function<void(unsigned)> &work) {
    SimulatedWarp &warp = own();
    warp.work = &work;
    for (Lane &lane : warp.lane) {
      getcontext(&lane.context);
      lane.context.uc_stack.ss_sp = lane.stack.data();
      lane.context.uc_stack.ss_size = lane.stack.size();
      lane.context.uc_link = nullptr;
      lane.fake = nullptr;
      lane.count = 0;
      makecontext(&lane.context, enter, 0);
    }
    for (bool up = true;; up = !up) {
      for (unsigned i = 0; i < warp_lanes; ++i)
        warp.go_on(up ? i : warp_lanes - 1 - i);
      const char *const place = warp.lane[0].place;
      for (const Lane &lane : warp.lane)
        if (lane.place != place) {
          std::fprintf(stderr, "lanes of a simulated warp part: one waits in %s, another in %s\n",
                       place ? place : "nothing, it has ended",
                       lane.place ? lane.place : "nothing, it has ended");
          std::abort();
        }
      if (!place)
        return;
    }
  }

  static SimulatedWarp &own() {
    static thread_local SimulatedWarp warp;
    return warp;
  }
  unsigned current = 0;
  alignas(64) float room[warp_floats];

  // What each lane gives, once all have given theirs; it stays for the next exchange but one.
  template <int n> const std::uint32_t (*exchange(const std::uint32_t (&mine)[n]))[8] {
    static_assert(n <= 8);
    auto &all = given[lane[current].count++ % 2];
    std::memcpy(all[current], mine, sizeof mine);
    wait("a product");
    return all;
  }
  void wait(const char *place) {
    Lane &mine = lane[current];
    mine.place = place;
    leave(&mine.fake);
  }

private:
  struct Lane {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(1 << 20);
    const char *place = nullptr; // where it waits; null at its end
    void *fake = nullptr;        // the address sanitizer's stack
    unsigned count = 0;
  };
  Lane lane[warp_lanes];
  ucontext_t scheduler;
  const std::function<void(unsigned)> *work = nullptr;
  std::uint32_t given[2][warp_lanes][8];
  void *scheduler_fake = nullptr;
  const void *scheduler_stack = nullptr;
  std::size_t scheduler_size = 0;

  static void enter() {
    SimulatedWarp &warp = own();
    warp.arrive(nullptr);
    const unsigned mine = warp.current;
    (*warp.work)(mine);
    warp.lane[mine].place = nullptr;
    warp.leave(nullptr);
  }
  void go_on(unsigned next) {
    current = next;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&scheduler_fake, lane[next].stack.data(),
                                   lane[next].stack.size());
#endif
    swapcontext(&scheduler, &lane[next].context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(scheduler_fake, nullptr, nullptr);
#endif
  }
  void leave(void **fake) {
    const unsigned mine = current;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(fake, scheduler_stack, scheduler_size);
#endif
    swapcontext(&lane[mine].context, &scheduler);
    arrive(fake);
  }
  void arrive(void **fake) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake ? *fake : nullptr, &scheduler_stack, &scheduler_size);
#endif
    static_cast<void>(fake);
  }
};

inline unsigned lane() {
  return SimulatedWarp::own().current;
}
inline float *warp_room() {
  return SimulatedWarp::own().room;
}
inline void sync_warp() {
  SimulatedWarp::own().wait("sync_warp");
}
inline std::uint32_t rounded_tf32(float x) {
  return to_tf32(x);
}
inline std::uint32_t rounded_bf16(float first, float second) {
  return to_bf16(first, second);
}

// Lane 4 r + c has of the sums rows r and r + 8, columns 2 c and 2 c + 1.
template <class Factors> void add_products(float *sum, const Factors &factors) {
  const unsigned row = lane() / 4, column = lane() % 4 * 2;
  for (unsigned i = 0; i < 4; ++i)
    for (unsigned k = 0; k < 8; ++k)
      sum[i] += factors(row + i / 2 * 8, column + i % 2, k);
}
inline void multiply_tf32(float *sum, std::uint32_t a0, std::uint32_t a1, std::uint32_t a2,
                          std::uint32_t a3, std::uint32_t b0, std::uint32_t b1) {
  const std::uint32_t mine[] = {a0, a1, a2, a3, b0, b1};
  const auto *const all = SimulatedWarp::own().exchange(mine);
  add_products(sum, [all](unsigned row, unsigned column, unsigned k) {
    const std::uint32_t a = all[row % 8 * 4 + k % 4][row / 8 + k / 4 * 2];
    const std::uint32_t b = all[column * 4 + k % 4][4 + k / 4];
    return float_of(a) * float_of(b);
  });
}
inline void multiply_bf16(float *sum, std::uint32_t a0, std::uint32_t a1, std::uint32_t b) {
  const std::uint32_t mine[] = {a0, a1, b};
  const auto *const all = SimulatedWarp::own().exchange(mine);
  add_products(sum, [all](unsigned row, unsigned column, unsigned k) {
    const std::uint32_t x = all[row % 8 * 4 + k / 2][row / 8], y = all[column * 4 + k / 2][2];
    return float_of(k % 2 ? x & 0xffff0000u : x << 16) *
           float_of(k % 2 ? y & 0xffff0000u : y << 16);
  });
}

} // namespace gpu
} // namespace m7emu
