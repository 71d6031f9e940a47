#include "simulated.h"

#include "../../bridge/gpu/gpu.h"

using namespace m7emu::gpu;

void *simulated_malloc(int device, size_t size) {
  const int before = Simulation::device();
  void *memory = nullptr;
  Simulation::device() = device;
  simulatedMalloc(&memory, size);
  Simulation::device() = before;
  return memory;
}
void simulated_free(void *memory) {
  simulatedFree(memory);
}
void simulated_to_device(void *there, const void *here, size_t size) {
  simulatedMemcpyAsync(there, here, size, simulatedMemcpyHostToDevice, nullptr);
  simulatedStreamSynchronize(nullptr);
}
void simulated_from_device(void *here, const void *there, size_t size) {
  simulatedMemcpyAsync(here, there, size, simulatedMemcpyDeviceToHost, nullptr);
  simulatedStreamSynchronize(nullptr);
}
void *simulated_stream(int device) {
  const int before = Simulation::device();
  Stream stream = nullptr;
  Simulation::device() = device;
  simulatedStreamCreateWithFlags(&stream, simulatedStreamNonBlocking);
  Simulation::device() = before;
  return stream;
}
void simulated_wait(void *stream) {
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
