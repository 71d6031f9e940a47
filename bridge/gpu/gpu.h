// What GPUs and their compilers differ in: CUDA, HIP, and a simulation on the host by which tests
// run kernels and driver where there is no GPU (simulation.h). Nothing else here names CUDA.
//
// A kernel is a struct with `phases` and a function
//     M7EMU_INLINE static void run<phase>(const Task &, char *shared, unsigned thread,
//                                         unsigned threads, unsigned block, unsigned blocks)
// Between two phases all threads of a block wait for each other, and only there: so a loop over
// threads is a legal way to run it. GPU_KERNEL makes a `__global__` of it, `launch` starts it.
#pragma once

#include <cstddef>

#include "../engine/macros.h"

#if defined(M7EMU_SIMULATED)

#include "simulation.h"
#define GPU_POINTER_ATTRIBUTES simulatedPointerAttributes
#define GPU_ATOMIC_ADD(to, value) (*(to) += (value))

#elif defined(__HIPCC__)

#include <hip/hip_runtime.h>
#define GPU(name) hip##name
#define GPU_CONSTANT const
#define GPU_ATOMIC_ADD(to, value) atomicAdd(to, value)
#define GPU_POINTER_ATTRIBUTES hipPointerAttribute_t
#define GPU_OPT_IN_SHARED hipDeviceAttributeSharedMemPerBlockOptin
#define GPU_PROCESSORS hipDeviceAttributeMultiprocessorCount
#define GPU_READS_HOST hipDeviceAttributePageableMemoryAccess
#define GPU_OCCUPANCY hipOccupancyMaxActiveBlocksPerMultiprocessor

#else

#include <cuda_runtime.h>
#define GPU(name) cuda##name
#define GPU_CONSTANT const __grid_constant__
#define GPU_ATOMIC_ADD(to, value) atomicAdd(to, value)
#define GPU_POINTER_ATTRIBUTES cudaPointerAttributes
#define GPU_OPT_IN_SHARED cudaDevAttrMaxSharedMemoryPerBlockOptin
#define GPU_PROCESSORS cudaDevAttrMultiProcessorCount
#define GPU_READS_HOST cudaDevAttrPageableMemoryAccess
#define GPU_OCCUPANCY cudaOccupancyMaxActiveBlocksPerMultiprocessor

#endif

#if !defined(M7EMU_SIMULATED)

namespace m7emu {
namespace gpu {

using Error = GPU(Error_t);
using Stream = GPU(Stream_t);
using Event = GPU(Event_t);
constexpr Error no_error = GPU(Success);

#if defined(__CUDACC__) || defined(__HIPCC__)
template <class Kernel, int phase>
M7EMU_INLINE void run_phases(const typename Kernel::Task &task, char *shared) {
  Kernel::template run<phase>(task, shared, threadIdx.x, blockDim.x, blockIdx.x, gridDim.x);
  if constexpr (phase + 1 < Kernel::phases) {
    __syncthreads();
    run_phases<Kernel, phase + 1>(task, shared);
  }
}

template <class Kernel>
__global__ void __launch_bounds__(Kernel::threads, Kernel::blocks_at_once)
    kernel(GPU_CONSTANT typename Kernel::Task task) {
  extern __shared__ __align__(16) char shared[];
  run_phases<Kernel, 0>(task, shared);
}

// Blocks of a kernel that a multiprocessor runs at once; makes room for `shared` bytes of each.
template <class Kernel> Error prepare(std::size_t shared, int *blocks) {
  const void *const function = reinterpret_cast<const void *>(kernel<Kernel>);
  const Error error = GPU(FuncSetAttribute)(function, GPU(FuncAttributeMaxDynamicSharedMemorySize),
                                            static_cast<int>(shared));
  return error != no_error ? error : GPU_OCCUPANCY(blocks, kernel<Kernel>, Kernel::threads, shared);
}

template <class Kernel>
Error launch(const typename Kernel::Task &task, unsigned blocks, std::size_t shared,
             Stream stream) {
  kernel<Kernel><<<blocks, Kernel::threads, shared, stream>>>(task);
  return GPU(GetLastError)();
}
#endif

} // namespace gpu
} // namespace m7emu

#endif
