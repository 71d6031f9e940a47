// What GPUs and their compilers differ in: CUDA, HIP, and a simulation on the host by which tests
// run kernels and driver where there is no GPU (simulation.h). Nothing else here names CUDA.
//
// A kernel is a struct with `phases` and a function
//     M7EMU_INLINE static void run<phase>(const Task &, char *shared, unsigned thread,
//                                         unsigned threads, unsigned block, unsigned blocks)
// Between two phases all threads of a block wait for each other, and only there: so a loop over
// threads is a legal way to run it, unless it has `in_warps`: then the 32 threads of a warp also
// wait for each other in its last phase, and use tensor cores, by the functions at the end of this
// file. `kernel` is the `__global__` of it, `launch` starts it.
#pragma once

#include <cstddef>

#include "../engine/macros.h"

namespace m7emu {
namespace gpu {

constexpr int threads_per_block = 128, warp_lanes = 32;
// Memory that a warp shares: 8 rows of floats, so far apart that lanes reach 4 rows at once.
constexpr int warp_rows = 8, warp_pitch = 40;
constexpr int warps = threads_per_block / warp_lanes, warp_floats = warp_rows * warp_pitch;

} // namespace gpu
} // namespace m7emu

#if defined(M7EMU_SIMULATED)

#include "simulation.h"
#define GPU_ALLOCATE_PINNED(memory, size)                                                          \
  simulatedHostAlloc(memory, size, simulatedHostAllocPortable)
#define GPU_FREE_PINNED simulatedFreeHost
#define GPU_POINTER_TYPE type
#define GPU_MANAGED simulatedMemoryTypeManaged
#define GPU_POINTER_ATTRIBUTES simulatedPointerAttributes
#define GPU_ATOMIC_ADD(to, value) (*(to) += (value))

#elif defined(__HIPCC__) || defined(__HIP_PLATFORM_AMD__)

#include <hip/hip_runtime.h>
#define GPU(name) hip##name
#define GPU_CONSTANT const
#define GPU_ALLOCATE_PINNED(memory, size) hipHostMalloc(memory, size, hipHostMallocPortable)
#define GPU_FREE_PINNED hipHostFree
#if HIP_VERSION_MAJOR >= 6
#define GPU_POINTER_TYPE type
#define GPU_MANAGED hipMemoryTypeManaged
#else
#define GPU_POINTER_TYPE memoryType
#define GPU_MANAGED hipMemoryTypeUnified
#endif
#define GPU_ATOMIC_ADD(to, value) atomicAdd(to, value)
#define GPU_POINTER_ATTRIBUTES hipPointerAttribute_t
#define GPU_FUNCTION_ATTRIBUTES hipFuncAttributes
#define GPU_OPT_IN_SHARED hipDeviceAttributeSharedMemPerBlockOptin
#define GPU_PROCESSORS hipDeviceAttributeMultiprocessorCount
#define GPU_READS_HOST hipDeviceAttributePageableMemoryAccess
#define GPU_HAS_TENSOR false
#define GPU_CAPABILITY hipDeviceAttributeComputeCapabilityMajor
#define GPU_MAX_PITCH hipDeviceAttributeMaxPitch
#define GPU_OCCUPANCY hipOccupancyMaxActiveBlocksPerMultiprocessor

#else

#include <cuda_runtime.h>
#define GPU(name) cuda##name
#define GPU_ALLOCATE_PINNED(memory, size) cudaHostAlloc(memory, size, cudaHostAllocPortable)
#define GPU_FREE_PINNED cudaFreeHost
#define GPU_POINTER_TYPE type
#define GPU_MANAGED cudaMemoryTypeManaged
#define GPU_CONSTANT const __grid_constant__
#define GPU_ATOMIC_ADD(to, value) atomicAdd(to, value)
#define GPU_POINTER_ATTRIBUTES cudaPointerAttributes
#define GPU_FUNCTION_ATTRIBUTES cudaFuncAttributes
#define GPU_OPT_IN_SHARED cudaDevAttrMaxSharedMemoryPerBlockOptin
#define GPU_PROCESSORS cudaDevAttrMultiProcessorCount
#define GPU_READS_HOST cudaDevAttrPageableMemoryAccess
#define GPU_HAS_TENSOR true
#define GPU_CAPABILITY cudaDevAttrComputeCapabilityMajor // 8: its tensor cores take tf32 and bf16
#define GPU_MAX_PITCH cudaDevAttrMaxPitch
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
  GPU_FUNCTION_ATTRIBUTES attributes;
  Error error = GPU(FuncGetAttributes)(&attributes, function);
  // Never less than another model asked for.
  if (error == no_error && attributes.maxDynamicSharedSizeBytes < static_cast<int>(shared))
    error = GPU(FuncSetAttribute)(function, GPU(FuncAttributeMaxDynamicSharedMemorySize),
                                  static_cast<int>(shared));
  return error != no_error ? error : GPU_OCCUPANCY(blocks, kernel<Kernel>, Kernel::threads, shared);
}

// The launch's own status: the last error, all that <<< >>> leaves, may be of a call of the host's.
template <class Kernel>
Error launch(const typename Kernel::Task &task, unsigned blocks, std::size_t shared,
             Stream stream) {
  void *arguments[] = {const_cast<typename Kernel::Task *>(&task)};
  return GPU(LaunchKernel)(reinterpret_cast<const void *>(kernel<Kernel>), dim3(blocks),
                           dim3(Kernel::threads), arguments, shared, stream);
}
#endif

#if defined(__CUDACC__)
// Number of a thread in its warp; memory of its warp; all threads of the warp wait for each other.
__device__ inline unsigned lane() {
  return threadIdx.x % warp_lanes;
}
__device__ inline float *warp_room() {
  __shared__ float room[warps][warp_floats];
  return room[threadIdx.x / warp_lanes];
}
__device__ inline void sync_warp() {
  __syncwarp();
}

// Rounded as rounded.h does.
__device__ inline unsigned rounded_tf32(float x) {
  unsigned bits = 0;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#endif
  return bits;
}
__device__ inline unsigned rounded_bf16(float first, float second) {
  unsigned bits = 0;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(second), "f"(first));
#endif
  return bits;
}

// sum[4] += the products of 16 by 8 and 8 by 8 factors, of which each lane has some (PTX ISA,
// "Matrix fragments for mma.m16n8k8").
__device__ inline void multiply_tf32(float *sum, unsigned a0, unsigned a1, unsigned a2, unsigned a3,
                                     unsigned b0, unsigned b1) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, "
               "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#endif
}
__device__ inline void multiply_bf16(float *sum, unsigned a0, unsigned a1, unsigned b) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
               "{%4, %5}, {%6}, {%0, %1, %2, %3};"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a0), "r"(a1), "r"(b));
#endif
}
#elif defined(__HIPCC__)
// Waves of other widths, and no common tensor cores: there are no such kernels.
__device__ inline void sync_warp() {}
#endif

} // namespace gpu
} // namespace m7emu

#endif
