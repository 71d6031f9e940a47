// Elementary functions over lanes: branch-free polynomials of our own, so that a cell's bits depend
// neither on a mathematical library nor on the width of the processor's vectors. About 1e-15
// relative in double, 3e-7 in float; erfc, whose exp(-x**2) magnifies rounding, ten times that.
//
// Coefficients: interpolation of the stated function at the Chebyshev nodes of the stated interval.
#pragma once

#include "lanes.h"

namespace m7emu {
namespace M7EMU_SET {

// What differs between the two kinds of reals.
template <class T> struct real_traits;

template <> struct real_traits<double> {
  static constexpr int mantissa_bits = 52;
  static constexpr std::uint64_t mantissa_mask = 0xfffffffffffffull;
  static constexpr std::uint64_t one = 0x3ff0000000000000ull;
  static constexpr std::uint64_t root_half = 0x3fe6a09e00000000ull; // about sqrt(1/2)
  static constexpr double round =
      6755399441055744.0; // 1.5 2**52: adding it rounds to whole numbers
  static constexpr double least = 2.2250738585072014e-308;
  static constexpr double epsilon = 2.220446049250313e-16;
  static constexpr double exp_low = -708.0, exp_high = 709.0;
  // ln 2 in two parts, of which the first has few enough bits to be multiplied exactly
  static constexpr double ln2_high = 6.93147180369123816490e-01,
                          ln2_low = 1.90821492927058770002e-10;
  static constexpr double erfc_centre = 4.0;
};

template <> struct real_traits<float> {
  static constexpr int mantissa_bits = 23;
  static constexpr std::uint32_t mantissa_mask = 0x7fffff;
  static constexpr std::uint32_t one = 0x3f800000;
  static constexpr std::uint32_t root_half = 0x3f3504f3;
  static constexpr float round = 12582912.0f; // 1.5 2**23
  static constexpr float least = 1.17549435e-38f;
  static constexpr float epsilon = 1.1920929e-7f;
  static constexpr float exp_low = -87.0f, exp_high = 88.0f;
  static constexpr float ln2_high = 6.9314575195e-01f, ln2_low = 1.4286067653e-06f;
  static constexpr float erfc_centre = 2.0f;
};

// Series of the functions below.
M7EMU_TABLE double exp_series_double[] = {
    0.5000000000000001,    0.16666666666666667,   0.041666666666624128,  8.3333333333300618e-3,
    1.3888888917213717e-3, 1.9841269863053617e-4, 2.4801521295954375e-5, 2.7557268459997065e-6,
    2.7620088445409748e-7, 2.5100385495510319e-8};
M7EMU_TABLE double log_series_double[] = {
    0.66666666666666697, 0.39999999999899382, 0.28571428626031067, 0.22222211125722809,
    0.18182889786191042, 0.15331699633543859, 0.14616721179861816};
M7EMU_TABLE double erfc_series_double[] = {
    1.2329951186255525,     -0.13962111684056252,   0.015379652102619558,   0.068097054254693236,
    -0.10103906603629459,   0.093732834998330223,   -0.066330365812409509,  0.037167515537770254,
    -0.016197734055994488,  5.0319699757531763e-3,  -7.5777329736691464e-4, -1.9925668432389152e-4,
    1.5062169704678354e-4,  -2.4399244283129877e-5, -1.1222046316669004e-5, 5.7097847609665056e-6,
    2.9377854943443787e-7,  -8.2546997448711614e-7, 7.471952780500971e-8,   1.1005996198640058e-7,
    -1.7999475459031421e-8, -1.4091982822555755e-8, 1.8684873854735191e-9,  1.2637828580421369e-9};
M7EMU_TABLE float exp_series_float[] = {0.5f, 0.16666577f, 0.0416665546f, 8.36317905e-3f,
                                        1.39261836e-3f};
M7EMU_TABLE float power_series[] = {1.00000007f,    0.693146967f,  0.240221197f, 0.0555071327f,
                                    0.00967554133f, 0.00132764719f}; // 2**x, -1/2 to 1/2
M7EMU_TABLE float log_series_float[] = {0.666666851f, 0.39988776f, 0.295801567f};
M7EMU_TABLE float erfc_series_float[] = {
    1.27697838f,     -0.0927639492f, -0.16603042f,   0.164054921f,    -0.0542142665f,
    -8.06082511e-3f, 8.66425515e-3f, 1.32779028e-3f, -1.26411949e-3f, -4.24122529e-4f};

// The one for a kind of real, chosen by a value of it.
M7EMU_INLINE constexpr const auto &exp_series(double) {
  return exp_series_double;
}
M7EMU_INLINE constexpr const auto &exp_series(float) {
  return exp_series_float;
}
M7EMU_INLINE constexpr const auto &log_series(double) {
  return log_series_double;
}
M7EMU_INLINE constexpr const auto &log_series(float) {
  return log_series_float;
}
M7EMU_INLINE constexpr const auto &erfc_series(double) {
  return erfc_series_double;
}
M7EMU_INLINE constexpr const auto &erfc_series(float) {
  return erfc_series_float;
}

template <class T> M7EMU_INLINE pack<T> absolute(pack<T> x) {
  using I = typename bits_of<T>::type;
  return real<T>(bits<T>(x) & pack<I>(~(I(1) << (8 * sizeof(I) - 1))));
}

// c[0] + c[1] x + ... by Horner's rule.
template <class R, class T, int n> M7EMU_INLINE R polynomial(R x, const T (&c)[n]) {
  R sum = R(c[n - 1]);
  M7EMU_UNROLL(32)
  for (int i = n - 2; i >= 0; --i)
    sum = sum * x + R(c[i]);
  return sum;
}

// exp(x) = 2**k (1 + q) with q of an argument between -ln(2)/2 and ln(2)/2.
template <class T> struct exponential {
  pack<T> power, rest; // 2**k and q
};
template <class T> M7EMU_INLINE exponential<T> exponential_parts(pack<T> x) {
  using R = pack<T>;
  using traits = real_traits<T>;
  const R shifted = x * R(T(1.44269504088896340736)) + R(traits::round);
  const R k = shifted - R(traits::round);
  const R r = (x - k * R(traits::ln2_high)) - k * R(traits::ln2_low);
  const auto power =
      (bits<T>(shifted) << traits::mantissa_bits) + decltype(bits<T>(x))(traits::one);
  // (exp(r) - 1 - r)/r**2
  return {real<T>(power), r + r * r * polynomial(r, exp_series(T()))};
}

// Of an argument in the range of the result; beyond it, 0 or the result at the range's upper end.
template <class T> M7EMU_INLINE pack<T> exp_of(pack<T> x) {
  using R = pack<T>;
  using traits = real_traits<T>;
  const R inside = min(max(x, R(traits::exp_low)), R(traits::exp_high));
  const exponential<T> e = exponential_parts<T>(inside);
  return select(x < R(traits::exp_low), R(T(0)), e.power + e.power * e.rest);
}

// exp(-x) and 1 - exp(-x) for x >= 0, neither with cancellation.
template <class T> M7EMU_INLINE void decay(pack<T> x, pack<T> &left, pack<T> &lost) {
  using R = pack<T>;
  using traits = real_traits<T>;
  const exponential<T> e = exponential_parts<T>(max(R(T(0)) - x, R(traits::exp_low)));
  left = select(x > R(-traits::exp_low), R(T(0)), e.power + e.power * e.rest);
  lost = (R(T(1)) - e.power) - e.power * e.rest;
}

// 2**x from -126 to 126, times the factor that the series has, as a product that a sum can take in;
// for more than a few, to 1e-7 of x.
template <int n> M7EMU_INLINE auto power_of_two(pack<float> x, const float (&series)[n]) {
  using R = pack<float>;
  using traits = real_traits<float>;
  using I = decltype(bits<float>(x));
  const R shifted = x + R(traits::round);
  const R f = x - (shifted - R(traits::round));
  const I power = (bits<float>(shifted) << traits::mantissa_bits) + I(traits::one);
  return real<float>(power) * polynomial(f, series);
}
M7EMU_INLINE pack<float> power_of_two(pack<float> x) {
  return power_of_two(x, power_series);
}

// Natural logarithm of a positive normal number; that of the least one for all below.
template <class T> M7EMU_INLINE pack<T> log_of(pack<T> x) {
  using R = pack<T>;
  using traits = real_traits<T>;
  using I = decltype(bits<T>(x));
  // x = 2**k m with m from sqrt(1/2) to sqrt(2)
  const I shifted = bits<T>(max(x, R(traits::least))) + I(traits::one - traits::root_half);
  const R m = real<T>((shifted & I(traits::mantissa_mask)) + I(traits::root_half));
  // The exponent as a real: its bits become the mantissa of 1.5 2**(mantissa bits), less the bias.
  const I biased = (shifted >> traits::mantissa_bits) + bits<T>(R(traits::round));
  const R k = real<T>(biased) - R(traits::round + T(traits::one >> traits::mantissa_bits));
  const R f = m - R(T(1));
  const R s = f / (R(T(2)) + f);
  const R z = s * s;
  // ln((1 + s)/(1 - s)) = 2 s + s z series(z), and 2 s = f - s f
  const R tail = s * (f - z * polynomial(z, log_series(T())));
  return k * R(traits::ln2_high) + (f - (tail - k * R(traits::ln2_low)));
}

// Cube root of a non-negative number without a division; 0 below about the least normal number. A
// guess from the exponent bits (4 %) is mended by series of the inverse root g: with e = 1 - x
// g**3, x**(-1/3) = g (1 - e)**(-1/3).
M7EMU_INLINE pack<double> cube_root(pack<double> x) {
  using R = pack<double>;
  using I = decltype(bits<double>(x));
  const R a = max(x, R(1.0e-250));
  // The upper 32 bits as a real, a third of them taken from those of the guess' constant.
  const I magic = bits<double>(R(4503599627370496.0)); // 2**52
  const R upper = real<double>((bits<double>(a) >> 32) | magic) - R(4503599627370496.0);
  const R guess = (R(1430186664.0) - upper * R(1.0 / 3.0)) + R(4503599627370496.0);
  R g = real<double>(bits<double>(guess) << 32);
  R e = R(1.0) - a * g * g * g;
  g = g + g * e * (R(1.0 / 3.0) + e * (R(2.0 / 9.0) + e * R(14.0 / 81.0)));
  e = R(1.0) - a * g * g * g;
  g = g + g * e * (R(1.0 / 3.0) + e * (R(2.0 / 9.0) + e * R(14.0 / 81.0)));
  return only(x > R(1.0e-250), a * g * g);
}
// In float the guess is mended by a minimax polynomial q of c = x g**3, and the root once more:
// with r = x (g q)**2, x**(1/3) = r (5/3 - 2/3 r g q). That of 0 is 0, of numbers below the least
// normal one a rough one. Times a factor, as that costs nothing here.
M7EMU_INLINE pack<float> scaled_cube_root(pack<float> x, float factor) {
  using R = pack<float>;
  const R g = real<float>(round_down(R(1419924000.0f) - whole(bits<float>(x)) * R(1.0f / 3.0f)));
  const R square = x * (g * g), c = square * g;
  const R q = R(1.55577324f) + c * (R(-0.776832036f) + c * R(0.221063701f));
  const R q2 = q * q;
  return square * q2 * (R(factor * (5.0f / 3.0f)) - c * (q2 * q) * R(factor * (2.0f / 3.0f)));
}
M7EMU_INLINE pack<double> scaled_cube_root(pack<double> x, double factor) {
  return cube_root(x) * pack<double>(factor);
}
M7EMU_INLINE pack<float> cube_root(pack<float> x) {
  return scaled_cube_root(x, 1.0f);
}

// x**(-1/3) of a positive normal number.
M7EMU_INLINE pack<double> inverse_cube_root(pack<double> x) {
  return pack<double>(1.0) / cube_root(x);
}

// x**(-1/3) to about 1e-4, for sizes that need no more; of a positive normal number.
M7EMU_INLINE pack<float> rough_inverse_cube_root(pack<float> x) {
  using R = pack<float>;
  using I = decltype(bits<float>(x));
  const I guess = I(1419902954u) - round_down(whole(bits<float>(x)) * R(1.0f / 3.0f));
  const R g = real<float>(guess);
  const R e = R(1.0f) - x * g * g * g;
  return g + g * e * (R(1.0f / 3.0f) + e * (R(2.0f / 9.0f) + e * R(14.0f / 81.0f)));
}

M7EMU_INLINE pack<float> inverse_cube_root(pack<float> x) {
  using R = pack<float>;
  const R g = rough_inverse_cube_root(x);
  return g + g * (R(1.0f) - x * g * g * g) * R(1.0f / 3.0f);
}

// The complementary error function of a non-negative number: (1 + 2 x) exp(x**2) erfc(x) is a
// polynomial in (x - c)/(x + c).
template <class T> M7EMU_INLINE pack<T> erfc_of(pack<T> x) {
  using R = pack<T>;
  using traits = real_traits<T>;
  const R centre = R(traits::erfc_centre);
  const R t = (x - centre) / (x + centre);
  return polynomial(t, erfc_series(T())) * exp_of<T>(R(T(0)) - x * x) / (R(T(1)) + R(T(2)) * x);
}

} // namespace M7EMU_SET
} // namespace m7emu
