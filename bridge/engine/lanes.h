// Lanes: the type that every formula of the step is computed in.
//
// A pack<T> holds one number for each of `lanes` cells, a mask<T> one truth value. Operators act
// lane by lane, so a cell's bits depend neither on its neighbours nor on how many lanes there are.
// This header has the same few operations for four sets of instructions, each in a namespace of its
// own: AVX-512, AVX2 with FMA, vectors of 16 bytes as any processor has them, and plain scalars,
// the form that a GPU's threads compile. The build compiles set.cpp for each set.
//
// Products are fused with the sums that they are written into, here and not by the compiler
// (-ffp-contract=off): bits are the same for every compiler and every set that has fused
// multiply-adds.
#pragma once

#include <cstdint>
#include <cstring>

#include "macros.h"

#if !defined(M7EMU_SCALAR) && (defined(__x86_64__) || defined(__i386__))
#include <immintrin.h>
#elif !defined(M7EMU_SCALAR) && defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace m7emu {
namespace M7EMU_SET {

// Whole numbers of the size of a real, for its bits.
template <class T> struct bits_of;
template <> struct bits_of<float> {
  using type = std::uint32_t;
};
template <> struct bits_of<double> {
  using type = std::uint64_t;
};

#if defined(M7EMU_SCALAR)

constexpr int lanes = 1;
template <class T> using pack = T;
template <class T> using mask = bool;

template <class T> M7EMU_INLINE T select(bool m, T a, T b) {
  return m ? a : b;
}
template <class T> M7EMU_INLINE T only(bool m, T x) {
  return m ? x : T(0);
}
template <class T> M7EMU_INLINE T quotient(bool m, T x, T y) {
  return m ? x / y : T(0);
}
template <class T> M7EMU_INLINE T min(T a, T b) {
  return a < b ? a : b;
}
template <class T> M7EMU_INLINE T max(T a, T b) {
  return a > b ? a : b;
}
M7EMU_INLINE float sqrt(float x) {
  return __builtin_sqrtf(x);
}
M7EMU_INLINE double sqrt(double x) {
  return __builtin_sqrt(x);
}
M7EMU_INLINE bool any(bool m) {
  return m;
}
// Whether the highest bit of a real's bits is set in any lane.
template <class T> M7EMU_INLINE bool any_sign(typename bits_of<T>::type i) {
  return (i >> (8 * sizeof i - 1)) != 0;
}
template <class To, class From> M7EMU_INLINE To to(From x) {
  return static_cast<To>(x);
}
template <class T> M7EMU_INLINE typename bits_of<T>::type bits(T x) {
  typename bits_of<T>::type i;
  M7EMU_COPY(&i, &x, sizeof i);
  return i;
}
template <class T> M7EMU_INLINE T real(typename bits_of<T>::type i) {
  T x;
  M7EMU_COPY(&x, &i, sizeof x);
  return x;
}
M7EMU_INLINE float whole(std::uint32_t i) {
  return static_cast<float>(static_cast<std::int32_t>(i));
}
M7EMU_INLINE std::uint32_t round_down(float x) {
  return static_cast<std::uint32_t>(static_cast<std::int32_t>(x));
}
template <class T> M7EMU_INLINE T load(const T *p) {
  return *p;
}
template <class T> M7EMU_INLINE void store(T *p, T x) {
  *p = x;
}

#else

// Do something with each part of a pack, in a row and without a loop: arrays that one runs over
// stay in memory.
#define M7EMU_EACH(parts, what)                                                                    \
  do {                                                                                             \
    {                                                                                              \
      constexpr int i = 0;                                                                         \
      what;                                                                                        \
    }                                                                                              \
    if constexpr ((parts) > 1) {                                                                   \
      constexpr int i = 1;                                                                         \
      what;                                                                                        \
    }                                                                                              \
    if constexpr ((parts) > 2) {                                                                   \
      {                                                                                            \
        constexpr int i = 2;                                                                       \
        what;                                                                                      \
      }                                                                                            \
      constexpr int i = 3;                                                                         \
      what;                                                                                        \
    }                                                                                              \
  } while (false)

constexpr int lanes = M7EMU_VECTORS * M7EMU_WIDTH / sizeof(float);

// a b + c, rounded once where the set can.
template <class V> M7EMU_INLINE V fused(V a, V b, V c) {
#if M7EMU_WIDTH == 64
  if constexpr (sizeof a[0] == sizeof(float))
    return _mm512_fmadd_ps(a, b, c);
  else
    return _mm512_fmadd_pd(a, b, c);
#elif M7EMU_WIDTH == 32
  if constexpr (sizeof a[0] == sizeof(float))
    return _mm256_fmadd_ps(a, b, c);
  else
    return _mm256_fmadd_pd(a, b, c);
#elif defined(__aarch64__)
  if constexpr (sizeof a[0] == sizeof(float))
    return vfmaq_f32(c, a, b);
  else
    return vfmaq_f64(c, a, b);
#else
  return a * b + c;
#endif
}

template <class T> struct product;

template <class T> struct pack {
  typedef T vector __attribute__((vector_size(M7EMU_WIDTH)));
  typedef T unaligned __attribute__((vector_size(M7EMU_WIDTH), aligned(sizeof(T)), may_alias));
  static constexpr int per_vector = M7EMU_WIDTH / sizeof(T);
  static constexpr int parts = lanes / per_vector;
  static_assert(parts == 1 || parts == 2 || parts == 4);
  vector part[parts];

  pack() = default;
  M7EMU_INLINE pack(T x) {
    vector v;
#if M7EMU_WIDTH == 64
    if constexpr (per_vector == 16)
      v = vector{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
    else
      v = vector{x, x, x, x, x, x, x, x};
#elif M7EMU_WIDTH == 32
    if constexpr (per_vector == 8)
      v = vector{x, x, x, x, x, x, x, x};
    else
      v = vector{x, x, x, x};
#else
    if constexpr (per_vector == 4)
      v = vector{x, x, x, x};
    else
      v = vector{x, x};
#endif
    M7EMU_EACH(parts, part[i] = v);
  }

#define M7EMU_OPERATOR(op, operation)                                                              \
  friend M7EMU_INLINE pack operator op(pack a, pack b) {                                           \
    M7EMU_TALLY(T, operation);                                                                     \
    pack r;                                                                                        \
    M7EMU_EACH(parts, r.part[i] = a.part[i] op b.part[i]);                                         \
    return r;                                                                                      \
  }
  M7EMU_OPERATOR(+, add)
  M7EMU_OPERATOR(-, add)
  M7EMU_OPERATOR(/, divide)
  M7EMU_OPERATOR(&, other)
  M7EMU_OPERATOR(|, other)
#undef M7EMU_OPERATOR
  friend M7EMU_INLINE product<T> operator*(pack a, pack b) {
    M7EMU_TALLY(T, multiply);
    product<T> r;
    M7EMU_EACH(parts, r.part[i] = a.part[i] * b.part[i]);
    r.first = a;
    r.second = b;
    return r;
  }
#define M7EMU_SHIFT(op)                                                                            \
  friend M7EMU_INLINE pack operator op(pack a, int count) {                                        \
    pack r;                                                                                        \
    M7EMU_EACH(parts, r.part[i] = a.part[i] op count);                                             \
    return r;                                                                                      \
  }
  M7EMU_SHIFT(<<)
  M7EMU_SHIFT(>>)
#undef M7EMU_SHIFT
  friend M7EMU_INLINE pack operator-(pack a) {
    M7EMU_EACH(parts, a.part[i] = -a.part[i]);
    return a;
  }
};

// What a product is until it is used: rounded, or, as a term of a sum, its factors. Of two products
// the first is fused with the second, rounded.
template <class T> struct product : pack<T> {
  pack<T> first, second;

  friend M7EMU_INLINE pack<T> operator+(product a, pack<T> b) {
    M7EMU_TALLY(T, add);
    M7EMU_EACH(pack<T>::parts, b.part[i] = fused(a.first.part[i], a.second.part[i], b.part[i]));
    return b;
  }
  friend M7EMU_INLINE pack<T> operator+(pack<T> a, product b) { return b + a; }
  friend M7EMU_INLINE pack<T> operator+(product a, product b) {
    return a + static_cast<const pack<T> &>(b);
  }
  friend M7EMU_INLINE pack<T> operator-(pack<T> a, product b) {
    M7EMU_TALLY(T, add);
    M7EMU_EACH(pack<T>::parts, a.part[i] = fused(-b.first.part[i], b.second.part[i], a.part[i]));
    return a;
  }
  friend M7EMU_INLINE pack<T> operator-(product a, pack<T> b) {
    M7EMU_TALLY(T, add);
    M7EMU_EACH(pack<T>::parts, b.part[i] = fused(a.first.part[i], a.second.part[i], -b.part[i]));
    return b;
  }
  friend M7EMU_INLINE pack<T> operator-(product a, product b) {
    return a - static_cast<const pack<T> &>(b);
  }
};

// Truth values: bits of a mask register with AVX-512, else whole numbers 0 or -1 of T's size.
template <class T> struct mask {
#if M7EMU_WIDTH == 64
  unsigned part[pack<T>::parts];
#else
  decltype(typename pack<T>::vector{} > typename pack<T>::vector{}) part[pack<T>::parts];
#endif
  friend M7EMU_INLINE mask operator&(mask a, mask b) {
    M7EMU_EACH(pack<T>::parts, a.part[i] = a.part[i] & b.part[i]);
    return a;
  }
  friend M7EMU_INLINE mask operator|(mask a, mask b) {
    M7EMU_EACH(pack<T>::parts, a.part[i] = a.part[i] | b.part[i]);
    return a;
  }
  friend M7EMU_INLINE mask operator!(mask a) {
#if M7EMU_WIDTH == 64
    constexpr unsigned all = (1u << pack<T>::per_vector) - 1u;
    M7EMU_EACH(pack<T>::parts, a.part[i] = a.part[i] ^ all);
#else
    M7EMU_EACH(pack<T>::parts, a.part[i] = ~a.part[i]);
#endif
    return a;
  }
};

#if M7EMU_WIDTH == 64
template <int which> M7EMU_INLINE unsigned compare(__m512 a, __m512 b) {
  return _mm512_cmp_ps_mask(a, b, which);
}
template <int which> M7EMU_INLINE unsigned compare(__m512d a, __m512d b) {
  return _mm512_cmp_pd_mask(a, b, which);
}
M7EMU_INLINE __m512 choose(unsigned m, __m512 a, __m512 b) {
  return _mm512_mask_blend_ps(static_cast<__mmask16>(m), b, a);
}
M7EMU_INLINE __m512d choose(unsigned m, __m512d a, __m512d b) {
  return _mm512_mask_blend_pd(static_cast<__mmask8>(m), b, a);
}
M7EMU_INLINE __m512 kept(unsigned m, __m512 a) {
  return _mm512_maskz_mov_ps(static_cast<__mmask16>(m), a);
}
M7EMU_INLINE __m512d kept(unsigned m, __m512d a) {
  return _mm512_maskz_mov_pd(static_cast<__mmask8>(m), a);
}
M7EMU_INLINE __m512 divided(unsigned m, __m512 a, __m512 b) {
  return _mm512_maskz_div_ps(static_cast<__mmask16>(m), a, b);
}
M7EMU_INLINE __m512d divided(unsigned m, __m512d a, __m512d b) {
  return _mm512_maskz_div_pd(static_cast<__mmask8>(m), a, b);
}
M7EMU_INLINE __m512 smaller(__m512 a, __m512 b) {
  return _mm512_min_ps(a, b);
}
M7EMU_INLINE __m512d smaller(__m512d a, __m512d b) {
  return _mm512_min_pd(a, b);
}
M7EMU_INLINE __m512 larger(__m512 a, __m512 b) {
  return _mm512_max_ps(a, b);
}
M7EMU_INLINE __m512d larger(__m512d a, __m512d b) {
  return _mm512_max_pd(a, b);
}
M7EMU_INLINE __m512 root(__m512 a) {
  return _mm512_sqrt_ps(a);
}
M7EMU_INLINE __m512d root(__m512d a) {
  return _mm512_sqrt_pd(a);
}
#define M7EMU_COMPARISON(op, which)                                                                \
  template <class T> M7EMU_INLINE mask<T> operator op(pack<T> a, pack<T> b) {                      \
    M7EMU_TALLY(T, other);                                                                         \
    mask<T> r;                                                                                     \
    M7EMU_EACH(pack<T>::parts, r.part[i] = compare<which>(a.part[i], b.part[i]));                  \
    return r;                                                                                      \
  }
#else
template <class M, class V> M7EMU_INLINE V choose(M m, V a, V b) {
  return m ? a : b;
}
template <class M, class V> M7EMU_INLINE V kept(M m, V a) {
  return reinterpret_cast<V>(reinterpret_cast<M>(a) & m);
}
#if M7EMU_WIDTH == 32
M7EMU_INLINE __m256 smaller(__m256 a, __m256 b) {
  return _mm256_min_ps(a, b);
}
M7EMU_INLINE __m256d smaller(__m256d a, __m256d b) {
  return _mm256_min_pd(a, b);
}
M7EMU_INLINE __m256 larger(__m256 a, __m256 b) {
  return _mm256_max_ps(a, b);
}
M7EMU_INLINE __m256d larger(__m256d a, __m256d b) {
  return _mm256_max_pd(a, b);
}
M7EMU_INLINE __m256 root(__m256 a) {
  return _mm256_sqrt_ps(a);
}
M7EMU_INLINE __m256d root(__m256d a) {
  return _mm256_sqrt_pd(a);
}
#elif defined(__SSE2__)
M7EMU_INLINE __m128 smaller(__m128 a, __m128 b) {
  return _mm_min_ps(a, b);
}
M7EMU_INLINE __m128d smaller(__m128d a, __m128d b) {
  return _mm_min_pd(a, b);
}
M7EMU_INLINE __m128 larger(__m128 a, __m128 b) {
  return _mm_max_ps(a, b);
}
M7EMU_INLINE __m128d larger(__m128d a, __m128d b) {
  return _mm_max_pd(a, b);
}
M7EMU_INLINE __m128 root(__m128 a) {
  return _mm_sqrt_ps(a);
}
M7EMU_INLINE __m128d root(__m128d a) {
  return _mm_sqrt_pd(a);
}
#else
template <class V> M7EMU_INLINE V smaller(V a, V b) {
  return a < b ? a : b;
}
template <class V> M7EMU_INLINE V larger(V a, V b) {
  return a > b ? a : b;
}
template <class V> M7EMU_INLINE V root(V a) {
  for (unsigned i = 0; i < sizeof a / sizeof a[0]; ++i)
    a[i] = sizeof a[0] == 4 ? __builtin_sqrtf(static_cast<float>(a[i])) : __builtin_sqrt(a[i]);
  return a;
}
#endif
#define M7EMU_COMPARISON(op, which)                                                                \
  template <class T> M7EMU_INLINE mask<T> operator op(pack<T> a, pack<T> b) {                      \
    M7EMU_TALLY(T, other);                                                                         \
    mask<T> r;                                                                                     \
    M7EMU_EACH(pack<T>::parts, r.part[i] = a.part[i] op b.part[i]);                                \
    return r;                                                                                      \
  }
#endif
M7EMU_COMPARISON(<, _CMP_LT_OQ)
M7EMU_COMPARISON(<=, _CMP_LE_OQ)
M7EMU_COMPARISON(>, _CMP_GT_OQ)
M7EMU_COMPARISON(>=, _CMP_GE_OQ)
#undef M7EMU_COMPARISON

template <class T> M7EMU_INLINE pack<T> select(mask<T> m, pack<T> a, pack<T> b) {
  M7EMU_TALLY(T, other);
  pack<T> r;
  M7EMU_EACH(pack<T>::parts, r.part[i] = choose(m.part[i], a.part[i], b.part[i]));
  return r;
}

// x in the lanes of m, 0 in others.
template <class T> M7EMU_INLINE pack<T> only(mask<T> m, pack<T> x) {
  M7EMU_TALLY(T, other);
  M7EMU_EACH(pack<T>::parts, x.part[i] = kept(m.part[i], x.part[i]));
  return x;
}
// x/y in the lanes of m, 0 in others, where nothing is divided.
template <class T> M7EMU_INLINE pack<T> quotient(mask<T> m, pack<T> x, pack<T> y) {
#if M7EMU_WIDTH == 64
  M7EMU_TALLY(T, divide);
  M7EMU_EACH(pack<T>::parts, x.part[i] = divided(m.part[i], x.part[i], y.part[i]));
  return x;
#else
  return only(m, x / select(m, y, pack<T>(T(1))));
#endif
}

template <class T> M7EMU_INLINE bool any(mask<T> m) {
#if M7EMU_WIDTH == 64
  unsigned all = 0;
  M7EMU_EACH(pack<T>::parts, all |= m.part[i]);
  return all != 0;
#else
  auto all = m.part[0];
  M7EMU_EACH(pack<T>::parts, all = all | m.part[i]);
#if M7EMU_WIDTH == 32
  return !_mm256_testz_si256(reinterpret_cast<__m256i>(all), reinterpret_cast<__m256i>(all));
#elif defined(__SSE2__)
  return _mm_movemask_epi8(reinterpret_cast<__m128i>(all)) != 0;
#else
  std::int64_t half[2];
  std::memcpy(half, &all, sizeof half);
  return (half[0] | half[1]) != 0;
#endif
#endif
}

#define M7EMU_PARTWISE(name, of, first, second, operation)                                         \
  template <class T> M7EMU_INLINE pack<T> name first {                                             \
    M7EMU_TALLY(T, operation);                                                                     \
    pack<T> r;                                                                                     \
    M7EMU_EACH(pack<T>::parts, r.part[i] = of second(i));                                          \
    return r;                                                                                      \
  }
#define M7EMU_ONE(i) (a.part[i])
#define M7EMU_TWO(i) (a.part[i], b.part[i])
M7EMU_PARTWISE(min, smaller, (pack<T> a, pack<T> b), M7EMU_TWO, other)
M7EMU_PARTWISE(max, larger, (pack<T> a, pack<T> b), M7EMU_TWO, other)
M7EMU_PARTWISE(sqrt, root, (pack<T> a), M7EMU_ONE, root)
#undef M7EMU_PARTWISE
#undef M7EMU_ONE
#undef M7EMU_TWO

// Vector by vector: a copy of the bytes of a whole pack would go through memory.
template <class T> M7EMU_INLINE pack<typename bits_of<T>::type> bits(pack<T> x) {
  using I = pack<typename bits_of<T>::type>;
  I r;
  M7EMU_EACH(I::parts, r.part[i] = reinterpret_cast<typename I::vector>(x.part[i]));
  return r;
}
template <class T> M7EMU_INLINE pack<T> real(pack<typename bits_of<T>::type> x) {
  using R = pack<T>;
  R r;
  M7EMU_EACH(R::parts, r.part[i] = reinterpret_cast<typename R::vector>(x.part[i]));
  return r;
}
// Whether the highest bit of a real's bits is set in any lane.
template <class T> M7EMU_INLINE bool any_sign(pack<typename bits_of<T>::type> x) {
  auto all = x.part[0];
  M7EMU_EACH(pack<T>::parts, all = all | x.part[i]);
#if M7EMU_WIDTH == 64
  return sizeof(T) == 8 ? _mm512_movepi64_mask(reinterpret_cast<__m512i>(all)) != 0
                        : _mm512_movepi32_mask(reinterpret_cast<__m512i>(all)) != 0;
#elif M7EMU_WIDTH == 32
  return sizeof(T) == 8 ? _mm256_movemask_pd(reinterpret_cast<__m256d>(all)) != 0
                        : _mm256_movemask_ps(reinterpret_cast<__m256>(all)) != 0;
#elif defined(__SSE2__)
  return sizeof(T) == 8 ? _mm_movemask_pd(reinterpret_cast<__m128d>(all)) != 0
                        : _mm_movemask_ps(reinterpret_cast<__m128>(all)) != 0;
#else
  bool sign = false;
  for (unsigned k = 0; k < sizeof all / sizeof all[0]; ++k)
    sign |= (all[k] >> (8 * sizeof all[0] - 1)) != 0;
  return sign;
#endif
}
#if M7EMU_WIDTH == 64
// The larger of whole numbers, which other sets do not have of 64 bits.
#define M7EMU_LARGER_BITS
template <class I> M7EMU_INLINE pack<I> larger_bits(pack<I> a, pack<I> b) {
  const auto larger = [](__m512i x, __m512i y) {
    return sizeof(I) == 8 ? _mm512_max_epu64(x, y) : _mm512_max_epu32(x, y);
  };
  using V = typename pack<I>::vector;
  M7EMU_EACH(pack<I>::parts,
             a.part[i] = reinterpret_cast<V>(larger(reinterpret_cast<__m512i>(a.part[i]),
                                                    reinterpret_cast<__m512i>(b.part[i]))));
  return a;
}
#endif
// Reals of whole numbers below 2**31, and back.
M7EMU_INLINE pack<float> whole(pack<std::uint32_t> x) {
  using I = pack<std::int32_t>::vector;
  using R = pack<float>;
  R r;
  M7EMU_EACH(R::parts,
             r.part[i] = __builtin_convertvector(reinterpret_cast<I>(x.part[i]), R::vector));
  return r;
}
M7EMU_INLINE pack<std::uint32_t> round_down(pack<float> x) {
  using I = pack<std::uint32_t>;
  using Signed = pack<std::int32_t>::vector;
  I r;
  M7EMU_EACH(I::parts,
             r.part[i] = reinterpret_cast<I::vector>(__builtin_convertvector(x.part[i], Signed)));
  return r;
}

template <class T> M7EMU_INLINE pack<T> load(const T *p) {
  using R = pack<T>;
  R x;
  M7EMU_EACH(R::parts,
             x.part[i] = *reinterpret_cast<const typename R::unaligned *>(p + i * R::per_vector));
  return x;
}
template <class T> M7EMU_INLINE void store(T *p, pack<T> x) {
  using R = pack<T>;
  M7EMU_EACH(R::parts,
             *reinterpret_cast<typename R::unaligned *>(p + i * R::per_vector) = x.part[i]);
}

// Conversion to another kind of real.
M7EMU_INLINE pack<float>::vector narrow(pack<double>::vector low, pack<double>::vector high) {
#if M7EMU_WIDTH == 64
  return reinterpret_cast<__m512>(
      _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_castps_pd(_mm512_cvtpd_ps(low))),
                         _mm256_castps_pd(_mm512_cvtpd_ps(high)), 1));
#elif M7EMU_WIDTH == 32
  return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
#elif defined(__SSE2__)
  return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
#else
  pack<float>::vector r;
  for (int i = 0; i < pack<double>::per_vector; ++i) {
    r[i] = static_cast<float>(low[i]);
    r[i + pack<double>::per_vector] = static_cast<float>(high[i]);
  }
  return r;
#endif
}
template <int half> M7EMU_INLINE pack<double>::vector widen(pack<float>::vector x) {
#if M7EMU_WIDTH == 64
  return _mm512_cvtps_pd(half ? _mm512_extractf32x8_ps(x, 1) : _mm512_castps512_ps256(x));
#elif M7EMU_WIDTH == 32
  return _mm256_cvtps_pd(half ? _mm256_extractf128_ps(x, 1) : _mm256_castps256_ps128(x));
#elif defined(__SSE2__)
  return _mm_cvtps_pd(half ? _mm_movehl_ps(x, x) : x);
#else
  pack<double>::vector r;
  for (int i = 0; i < pack<double>::per_vector; ++i)
    r[i] = x[i + half * pack<double>::per_vector];
  return r;
#endif
}
M7EMU_INLINE pack<float> narrow(pack<double> x) {
  pack<float> r;
  M7EMU_EACH(pack<float>::parts, r.part[i] = narrow(x.part[2 * i], x.part[2 * i + 1]));
  return r;
}
M7EMU_INLINE pack<double> widen(pack<float> x) {
  pack<double> r;
  M7EMU_EACH(pack<float>::parts,
             (r.part[2 * i] = widen<0>(x.part[i]), r.part[2 * i + 1] = widen<1>(x.part[i])));
  return r;
}
template <class To> M7EMU_INLINE pack<To> to(pack<float> x) {
  if constexpr (sizeof(To) == sizeof(float))
    return x;
  else
    return widen(x);
}
template <class To> M7EMU_INLINE pack<To> to(pack<double> x) {
  if constexpr (sizeof(To) == sizeof(double))
    return x;
  else
    return narrow(x);
}

#endif

} // namespace M7EMU_SET
} // namespace m7emu
