// What the compilers and the sets of instructions differ in; gpu/gpu.h has what GPUs differ in.
//
// M7EMU_SET names the namespace, M7EMU_SCALAR asks for plain scalars, M7EMU_WIDTH is the bytes of a
// vector, M7EMU_VECTORS how many of them make a pack of float. M7EMU_NARROW, where it is defined,
// is the namespace of the same set with packs of one: packs are of two then. M7EMU_INLINE marks
// small operations, M7EMU_FUNCTION formulas, M7EMU_OUTLINE those that a GPU shall call, as they
// keep arrays, M7EMU_TABLE constant arrays. M7EMU_PART begins a part of the step and M7EMU_TALLY
// counts an operation: both are nothing but in clock_set.cpp, which M7EMU_CLOCK gives a namespace
// of its own.
#pragma once

#if defined(M7EMU_NARROW)
#define M7EMU_WIDE(set) set##_wide
#define M7EMU_VECTORS 2
#else
#define M7EMU_WIDE(set) set
#define M7EMU_VECTORS 1
#endif

#if defined(__CUDACC__) || defined(__HIPCC__)
#define M7EMU_SCALAR 1
// CUDA's __forceinline__, which HIP lacks
#define M7EMU_INLINE __device__ inline __attribute__((always_inline))
#define M7EMU_FUNCTION M7EMU_INLINE
#define M7EMU_OUTLINE __device__ inline __attribute__((noinline))
#define M7EMU_TABLE __device__ constexpr
#else
#if !defined(__GNUC__) && !defined(M7EMU_SCALAR)
#define M7EMU_SCALAR 1
#endif
#if defined(M7EMU_SET)
#elif defined(M7EMU_SCALAR)
#define M7EMU_SET scalar
#elif defined(__AVX512F__)
#define M7EMU_SET M7EMU_WIDE(avx512)
#define M7EMU_WIDTH 64
#elif defined(__AVX2__)
#define M7EMU_SET M7EMU_WIDE(avx2)
#define M7EMU_WIDTH 32
#else
#define M7EMU_SET portable
#define M7EMU_WIDTH 16
#endif
#if defined(__GNUC__)
#define M7EMU_INLINE inline __attribute__((always_inline))
#else
#define M7EMU_INLINE inline
#endif
#define M7EMU_FUNCTION inline
#define M7EMU_OUTLINE inline
#define M7EMU_TABLE constexpr
#endif

// Before a loop over packs in registers: unrolled early, or they stay in memory.
#if defined(__CUDACC__) || defined(__clang__)
#define M7EMU_UNROLL(most) _Pragma("unroll")
#elif defined(__GNUC__)
#define M7EMU_UNROLL(most) _Pragma(M7EMU_TEXT(GCC unroll most))
#define M7EMU_TEXT(x) #x
#else
#define M7EMU_UNROLL(most)
#endif

// Before a loop over the whole state, which only a GPU keeps in registers: elsewhere it stays a
// loop, as fetching its code would take longer than its work.
#if defined(__CUDACC__) || defined(__HIPCC__)
#define M7EMU_ROLL M7EMU_UNROLL(32)
#elif defined(__clang__)
#define M7EMU_ROLL _Pragma("clang loop unroll(disable)")
#else
#define M7EMU_ROLL M7EMU_UNROLL(1)
#endif

// Copying of bytes, which HIP's std::memcpy does not do on a GPU.
#if defined(__HIPCC__)
#define M7EMU_COPY __builtin_memcpy
#else
#define M7EMU_COPY std::memcpy
#endif

#if defined(M7EMU_CLOCK)
#undef M7EMU_SET
#define M7EMU_SET M7EMU_CLOCK
#else
#define M7EMU_PART(part)
#define M7EMU_TALLY(T, operation)
#endif
