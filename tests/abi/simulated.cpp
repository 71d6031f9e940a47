#include "simulated.h"

#include "../../bridge/gpu/gpu.h"

using namespace m7emu::gpu;

// Whatever a thread's device is, and leaving it so.
struct On {
  const int before = Simulation::device();
  explicit On(int device) { Simulation::device() = device; }
  ~On() { Simulation::device() = before; }
};
static int device_of(const void *memory) {
  return Simulation::get().find(memory)->device;
}

void *simulated_malloc(int device, size_t size) {
  const On here(device);
  void *memory = nullptr;
  simulatedMalloc(&memory, size);
  return memory;
}
void simulated_free(void *memory) {
  const On here(device_of(memory));
  simulatedFree(memory);
}
void simulated_to_device(void *there, const void *here, size_t size) {
  const On device(device_of(there));
  simulatedMemcpyAsync(there, here, size, simulatedMemcpyHostToDevice, nullptr);
  simulatedStreamSynchronize(nullptr);
}
void simulated_from_device(void *here, const void *there, size_t size) {
  const On device(device_of(there));
  simulatedMemcpyAsync(here, there, size, simulatedMemcpyDeviceToHost, nullptr);
  simulatedStreamSynchronize(nullptr);
}
void *simulated_stream(int device) {
  const On here(device);
  Stream stream = nullptr;
  simulatedStreamCreateWithFlags(&stream, simulatedStreamNonBlocking);
  return stream;
}
void simulated_wait(void *stream) {
  const On here(static_cast<Stream>(stream)->device);
  simulatedStreamDestroy(static_cast<Stream>(stream));
}
long simulated_fail(long calls) {
  const long left = Simulation::get().calls_to_failure;
  Simulation::get().calls_to_failure = calls;
  return left;
}
long simulated_live(void) {
  return Simulation::get().live;
}
int simulated_device(void) {
  return Simulation::device();
}
void simulated_choose(int device) {
  Simulation::device() = device;
}
void simulated_capability(int major) {
  Simulation::get().capability = major;
}
void simulated_pitch(size_t most) {
  Simulation::get().max_pitch = most;
}
long simulated_pinned(void) {
  return static_cast<long>(Simulation::get().pinned);
}
void simulated_full(int device, int full) {
  Simulation::get().of[device].full = full != 0;
}
void simulated_memory(int device, size_t left) {
  Simulation::get().of[device].left = left;
  Simulation::get().of[device].has_stacks = false;
}
int simulated_error(void) {
  return simulatedGetLastError();
}
void simulated_leave(int error) {
  failed(static_cast<Error>(error));
}
