// Numbers as tensor cores take them: rounded from float to fewer bits.
#pragma once

#include <cstdint>
#include <cstring>

namespace m7emu {
namespace gpu {

inline std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
inline float float_of(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
inline bool finite(std::uint32_t bits) {
  return (bits & 0x7f800000u) != 0x7f800000u;
}

// tf32: ten bits after the first, in the upper bits of a float; the nearest, ties away from 0 (PTX
// cvt.rna.tf32.f32).
inline std::uint32_t to_tf32(float x) {
  const std::uint32_t bits = bits_of(x);
  return finite(bits) ? (bits + 0x1000u) & 0xffffe000u : bits;
}

// bf16: the upper half of a float; the nearest, ties to even (PTX cvt.rn.bf16.f32).
inline std::uint32_t to_bf16(float x) {
  const std::uint32_t bits = bits_of(x);
  if (!finite(bits))
    return x != x ? 0x7fffu : bits >> 16;
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
// Two of them in a word, the first in its lower half.
inline std::uint32_t to_bf16(float first, float second) {
  return to_bf16(first) | to_bf16(second) << 16;
}

} // namespace gpu
} // namespace m7emu
