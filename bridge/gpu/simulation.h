// A GPU that is none: what gpu.h needs, on the host, for tests of the driver and the kernels.
//
// Streams are queues, of which nothing is done before someone waits for it: as late as a GPU could
// be. Device memory can be touched by what runs in a stream alone. There are two devices, host
// memory is pageable unless it is allocated or registered here, and any call can be made to fail.
// An error stays the thread's last one until that is asked for, as CUDA's do.
#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "simulated_warp.h"

#define GPU(name) simulated##name
#define GPU_HAS_TENSOR true

enum simulatedError_t {
  simulatedSuccess,
  simulatedErrorInvalidValue,
  simulatedErrorMemoryAllocation,
  simulatedErrorInvalidDevice,
  simulatedErrorNoDevice
};
enum simulatedMemcpyKind {
  simulatedMemcpyHostToDevice,
  simulatedMemcpyDeviceToHost,
  simulatedMemcpyDeviceToDevice
};
enum simulatedMemoryType {
  simulatedMemoryTypeUnregistered,
  simulatedMemoryTypeHost,
  simulatedMemoryTypeDevice,
  simulatedMemoryTypeManaged
};
enum { simulatedStreamNonBlocking, simulatedEventDisableTiming };
enum { simulatedHostAllocPortable, simulatedHostRegisterPortable };
enum simulatedDeviceAttr {
  GPU_OPT_IN_SHARED,
  GPU_PROCESSORS,
  GPU_READS_HOST,
  GPU_CAPABILITY,
  GPU_MAX_PITCH
};
struct simulatedPointerAttributes {
  simulatedMemoryType type;
  int device;
};

namespace m7emu {
namespace gpu {

struct SimulatedStream {
  int device;
  std::deque<std::function<void()>> queue;
  std::size_t done = 0; // of all that was ever in the queue
};
struct SimulatedEvent {
  SimulatedStream *stream = nullptr;
  std::size_t until = 0;
};
using Error = simulatedError_t;
using Stream = SimulatedStream *;
using Event = SimulatedEvent *;
constexpr Error no_error = simulatedSuccess;

struct Simulation {
  static constexpr int devices = 2, shared_bytes = 100 * 1024, processors = 2;
  static constexpr std::size_t stacks = std::size_t(1) << 20; // of all threads at once
  struct Memory {
    std::size_t size, mapped;
    int device; // -1: the host's
  };
  struct Device {
    bool full = false;                       // no context can be made
    bool has_stacks = false;                 // since the first launch
    std::size_t left = std::size_t(1) << 40; // bytes of memory
  };
  std::recursive_mutex mutex;
  std::map<const char *, Memory> memory;
  SimulatedStream legacy[devices] = {{0, {}, 0}, {1, {}, 0}}; // the default streams
  long calls_to_failure = -1;                                 // none
  long live = 0;          // streams, events and pieces of memory
  std::size_t pinned = 0; // bytes, of those allocated
  int capability = 9;
  std::size_t max_pitch = 0x7fffffff;
  Device of[devices];

  static Simulation &get() {
    static Simulation simulation;
    return simulation;
  }
  static int &device() {
    static thread_local int current = 0;
    return current;
  }
  static simulatedError_t &last_error() {
    static thread_local simulatedError_t last = simulatedSuccess;
    return last;
  }
  bool fails() { return calls_to_failure >= 0 && calls_to_failure-- == 0; }

  void protect(int how) {
    for (const auto &[start, piece] : memory)
      if (piece.device >= 0)
        mprotect(const_cast<char *>(start), piece.mapped, how);
  }
  // Run what is in a stream, up to the work of that number.
  void run(SimulatedStream &stream, std::size_t until) {
    if (stream.done >= until)
      return;
    protect(PROT_READ | PROT_WRITE);
    while (stream.done < until) {
      stream.queue.front()();
      stream.queue.pop_front();
      ++stream.done;
    }
    protect(PROT_NONE);
  }
  void run(SimulatedStream &stream) { run(stream, stream.done + stream.queue.size()); }
  SimulatedStream &stream(Stream given) { return given ? *given : legacy[device()]; }

  const Memory *find(const void *pointer) const {
    const char *const p = static_cast<const char *>(pointer);
    auto next = memory.upper_bound(p);
    if (next == memory.begin())
      return nullptr;
    --next;
    return p < next->first + next->second.size ? &next->second : nullptr;
  }
};

inline Error failed(Error error) {
  Simulation::last_error() = error;
  return error;
}

// What a call begins with that may fail; and one that needs a context of the thread's device.
#define SIMULATED_CALL_ANYWHERE(error)                                                             \
  Simulation &sim = Simulation::get();                                                             \
  const std::lock_guard<std::recursive_mutex> lock(sim.mutex);                                     \
  if (sim.fails())                                                                                 \
  return failed(error)
#define SIMULATED_CALL(error)                                                                      \
  SIMULATED_CALL_ANYWHERE(error);                                                                  \
  SIMULATED_CONTEXT
#define SIMULATED_CONTEXT                                                                          \
  if (sim.of[Simulation::device()].full)                                                           \
  return failed(simulatedErrorInvalidDevice)

template <class Kernel, int phase>
void run_phases(const typename Kernel::Task &task, char *shared, unsigned block, unsigned blocks) {
  const auto run = [&](unsigned thread) {
    Kernel::template run<phase>(task, shared, thread, Kernel::threads, block, blocks);
  };
  if constexpr (Kernel::in_warps && phase + 1 == Kernel::phases)
    for (unsigned first = 0; first < Kernel::threads; first += warp_lanes)
      SimulatedWarp::run([&](unsigned lane) { run(first + lane); });
  else
    for (unsigned thread = 0; thread < Kernel::threads; ++thread)
      run(thread);
  if constexpr (phase + 1 < Kernel::phases)
    run_phases<Kernel, phase + 1>(task, shared, block, blocks);
}

// Of all models that use a kernel; a launch with more fails. As gpu.h's `prepare`, it only grows.
template <class Kernel> std::size_t &shared_allowed() {
  static std::size_t allowed[Simulation::devices] = {};
  return allowed[Simulation::device()];
}
template <class Kernel> Error prepare(std::size_t shared, int *blocks) {
  SIMULATED_CALL(simulatedErrorInvalidValue);
  *blocks = 1;
  if (shared > shared_allowed<Kernel>())
    shared_allowed<Kernel>() = shared;
  return shared <= std::size_t(Simulation::shared_bytes) ? no_error
                                                         : failed(simulatedErrorInvalidValue);
}

template <class Kernel>
Error launch(const typename Kernel::Task &task, unsigned blocks, std::size_t shared,
             Stream stream) {
  SIMULATED_CALL(simulatedErrorInvalidValue);
  if (blocks == 0 || sim.stream(stream).device != Simulation::device() ||
      shared > shared_allowed<Kernel>())
    return failed(simulatedErrorInvalidValue);
  Simulation::Device &device = sim.of[Simulation::device()];
  if (!device.has_stacks) {
    if (device.left < Simulation::stacks)
      return failed(simulatedErrorMemoryAllocation);
    device.left -= Simulation::stacks;
    device.has_stacks = true;
  }
  sim.stream(stream).queue.push_back([task, blocks, shared] {
    for (unsigned block = 0; block < blocks; ++block) {
      // of exactly this size, and no older block's
      std::unique_ptr<char, void (*)(void *)> room(
          static_cast<char *>(std::aligned_alloc(16, (shared + 31) / 16 * 16)), std::free);
      std::memset(room.get(), 0xff, shared);
      run_phases<Kernel, 0>(task, room.get(), block, blocks);
    }
  });
  return no_error;
}

} // namespace gpu
} // namespace m7emu

// The same calls as CUDA's and HIP's.
inline simulatedError_t simulatedGetDeviceCount(int *count) {
  using namespace m7emu::gpu;
  SIMULATED_CALL_ANYWHERE(simulatedErrorNoDevice);
  *count = Simulation::devices;
  return no_error;
}
inline simulatedError_t simulatedGetDevice(int *device) {
  *device = m7emu::gpu::Simulation::device();
  return simulatedSuccess;
}
inline simulatedError_t simulatedSetDevice(int device) {
  using namespace m7emu::gpu;
  SIMULATED_CALL_ANYWHERE(simulatedErrorInvalidDevice);
  if (device < 0 || device >= Simulation::devices || sim.of[device].full)
    return failed(simulatedErrorInvalidDevice);
  Simulation::device() = device;
  return no_error;
}
inline simulatedError_t simulatedDeviceGetAttribute(int *value, simulatedDeviceAttr which, int) {
  using namespace m7emu::gpu;
  SIMULATED_CALL_ANYWHERE(simulatedErrorInvalidValue);
  *value = which == GPU_OPT_IN_SHARED ? Simulation::shared_bytes
           : which == GPU_PROCESSORS  ? Simulation::processors
           : which == GPU_CAPABILITY  ? sim.capability
           : which == GPU_MAX_PITCH   ? static_cast<int>(sim.max_pitch)
                                      : 0;
  return no_error;
}

inline simulatedError_t simulatedMalloc(void **memory, std::size_t size) {
  using namespace m7emu::gpu;
  SIMULATED_CALL(simulatedErrorMemoryAllocation);
  std::size_t &left = sim.of[Simulation::device()].left;
  if (size > left)
    return failed(simulatedErrorMemoryAllocation);
  const std::size_t page = 4096, mapped = (size + page - 1) / page * page + page;
  void *const start = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED)
    return failed(simulatedErrorMemoryAllocation);
  mprotect(start, mapped - page, PROT_READ | PROT_WRITE);
  std::memset(start, 0xff, size);
  mprotect(start, mapped - page, PROT_NONE);
  sim.memory[static_cast<char *>(start)] = {size, mapped - page, Simulation::device()};
  *memory = start;
  left -= size;
  ++sim.live;
  return no_error;
}
inline simulatedError_t simulatedFree(void *memory) {
  using namespace m7emu::gpu;
  Simulation &sim = Simulation::get();
  const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
  SIMULATED_CONTEXT;
  if (!memory)
    return no_error;
  const auto found = sim.memory.find(static_cast<char *>(memory));
  if (found == sim.memory.end())
    return failed(simulatedErrorInvalidValue);
  sim.run(sim.legacy[found->second.device]); // CUDA's waits for the device
  munmap(memory, found->second.mapped + 4096);
  sim.of[found->second.device].left += found->second.size;
  sim.memory.erase(found);
  --sim.live;
  return no_error;
}
inline simulatedError_t simulatedHostRegister(void *memory, std::size_t size, unsigned) {
  using namespace m7emu::gpu;
  SIMULATED_CALL(simulatedErrorMemoryAllocation);
  if (!memory || size == 0 || sim.find(memory))
    return failed(simulatedErrorInvalidValue);
  sim.memory[static_cast<char *>(memory)] = {size, 0, -1};
  ++sim.live;
  return no_error;
}
inline simulatedError_t simulatedHostUnregister(void *memory) {
  using namespace m7emu::gpu;
  SIMULATED_CALL(simulatedErrorInvalidValue);
  if (sim.memory.erase(static_cast<char *>(memory)) == 0)
    return failed(simulatedErrorInvalidValue);
  --sim.live;
  return no_error;
}
inline simulatedError_t simulatedHostAlloc(void **memory, std::size_t size, unsigned flags) {
  m7emu::gpu::Simulation &sim = m7emu::gpu::Simulation::get();
  const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
  void *const start = std::malloc(size);
  const simulatedError_t error = simulatedHostRegister(start, size, flags);
  if (error != simulatedSuccess) {
    std::free(start);
    return error;
  }
  sim.pinned += size;
  *memory = start;
  return error;
}
inline simulatedError_t simulatedFreeHost(void *memory) {
  using namespace m7emu::gpu;
  Simulation &sim = Simulation::get();
  const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
  SIMULATED_CONTEXT;
  if (!memory)
    return no_error;
  const auto found = sim.memory.find(static_cast<char *>(memory));
  if (found == sim.memory.end())
    return failed(simulatedErrorInvalidValue);
  sim.pinned -= found->second.size;
  sim.memory.erase(found);
  --sim.live;
  std::free(memory);
  return no_error;
}
inline simulatedError_t simulatedPointerGetAttributes(simulatedPointerAttributes *attributes,
                                                      const void *pointer) {
  using namespace m7emu::gpu;
  SIMULATED_CALL(simulatedErrorInvalidValue);
  const Simulation::Memory *const piece = sim.find(pointer);
  attributes->type = !piece              ? simulatedMemoryTypeUnregistered
                     : piece->device < 0 ? simulatedMemoryTypeHost
                                         : simulatedMemoryTypeDevice;
  attributes->device = piece && piece->device >= 0 ? piece->device : 0;
  return no_error;
}

inline simulatedError_t simulatedStreamCreateWithFlags(m7emu::gpu::Stream *stream, unsigned) {
  using namespace m7emu::gpu;
  SIMULATED_CALL(simulatedErrorMemoryAllocation);
  *stream = new SimulatedStream{Simulation::device(), {}, 0};
  ++sim.live;
  return no_error;
}
inline simulatedError_t simulatedStreamDestroy(m7emu::gpu::Stream stream) {
  using namespace m7emu::gpu;
  Simulation &sim = Simulation::get();
  const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
  SIMULATED_CONTEXT;
  sim.run(*stream);
  delete stream;
  --sim.live;
  return no_error;
}
inline simulatedError_t simulatedStreamSynchronize(m7emu::gpu::Stream stream) {
  using namespace m7emu::gpu;
  SIMULATED_CALL(simulatedErrorInvalidValue);
  sim.run(sim.stream(stream));
  return no_error;
}
inline simulatedError_t simulatedEventCreateWithFlags(m7emu::gpu::Event *event, unsigned) {
  using namespace m7emu::gpu;
  SIMULATED_CALL(simulatedErrorMemoryAllocation);
  *event = new SimulatedEvent;
  ++sim.live;
  return no_error;
}
inline simulatedError_t simulatedEventDestroy(m7emu::gpu::Event event) {
  using namespace m7emu::gpu;
  Simulation &sim = Simulation::get();
  const std::lock_guard<std::recursive_mutex> lock(sim.mutex);
  SIMULATED_CONTEXT;
  delete event;
  --sim.live;
  return no_error;
}
inline simulatedError_t simulatedEventRecord(m7emu::gpu::Event event, m7emu::gpu::Stream given) {
  using namespace m7emu::gpu;
  SIMULATED_CALL(simulatedErrorInvalidValue);
  SimulatedStream &stream = sim.stream(given);
  *event = {&stream, stream.done + stream.queue.size()};
  return no_error;
}
inline simulatedError_t simulatedEventSynchronize(m7emu::gpu::Event event) {
  using namespace m7emu::gpu;
  SIMULATED_CALL(simulatedErrorInvalidValue);
  if (event->stream)
    sim.run(*event->stream, event->until);
  return no_error;
}

inline simulatedError_t simulatedCopy(void *into, std::size_t into_pitch, const void *from,
                                      std::size_t from_pitch, std::size_t width, std::size_t height,
                                      simulatedMemcpyKind kind, m7emu::gpu::Stream stream,
                                      std::size_t max_pitch) {
  using namespace m7emu::gpu;
  SIMULATED_CALL(simulatedErrorInvalidValue);
  const void *const there = kind == simulatedMemcpyDeviceToHost ? from : into;
  const Simulation::Memory *const piece = sim.find(there);
  if (!piece || piece->device < 0 || width > into_pitch || width > from_pitch ||
      into_pitch > max_pitch || from_pitch > max_pitch)
    return failed(simulatedErrorInvalidValue);
  sim.stream(stream).queue.push_back([=] {
    for (std::size_t row = 0; row < height; ++row)
      std::memcpy(static_cast<char *>(into) + row * into_pitch,
                  static_cast<const char *>(from) + row * from_pitch, width);
  });
  return no_error;
}
inline simulatedError_t simulatedMemcpy2DAsync(void *into, std::size_t into_pitch, const void *from,
                                               std::size_t from_pitch, std::size_t width,
                                               std::size_t height, simulatedMemcpyKind kind,
                                               m7emu::gpu::Stream stream) {
  return simulatedCopy(into, into_pitch, from, from_pitch, width, height, kind, stream,
                       m7emu::gpu::Simulation::get().max_pitch);
}
inline simulatedError_t simulatedMemcpyAsync(void *into, const void *from, std::size_t size,
                                             simulatedMemcpyKind kind, m7emu::gpu::Stream stream) {
  return simulatedCopy(into, size, from, size, size, 1, kind, stream, size);
}
// From the host's pageable memory: returns when that is read, which is before the device has it.
inline simulatedError_t simulatedMemcpy(void *into, const void *from, std::size_t size,
                                        simulatedMemcpyKind kind) {
  using namespace m7emu::gpu;
  SIMULATED_CALL(simulatedErrorInvalidValue);
  const Simulation::Memory *const piece = sim.find(into);
  if (kind != simulatedMemcpyHostToDevice || !piece || piece->device < 0)
    return failed(simulatedErrorInvalidValue);
  const char *const bytes = static_cast<const char *>(from);
  const auto staged = std::make_shared<std::vector<char>>(bytes, bytes + size);
  sim.run(sim.stream(nullptr));
  sim.stream(nullptr).queue.push_back(
      [into, staged] { std::memcpy(into, staged->data(), staged->size()); });
  return no_error;
}
inline simulatedError_t simulatedMemsetAsync(void *memory, int value, std::size_t size,
                                             m7emu::gpu::Stream stream) {
  using namespace m7emu::gpu;
  SIMULATED_CALL(simulatedErrorInvalidValue);
  sim.stream(stream).queue.push_back([=] { std::memset(memory, value, size); });
  return no_error;
}

inline simulatedError_t simulatedGetLastError() {
  return std::exchange(m7emu::gpu::Simulation::last_error(), simulatedSuccess);
}
inline const char *simulatedGetErrorString(simulatedError_t error) {
  static const char *const text[] = {"no error", "invalid value", "out of memory", "invalid device",
                                     "no device"};
  return text[error];
}
