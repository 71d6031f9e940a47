// Cells of a block of columns: packs them into lanes, checks them, steps them, and puts the results
// back. Built once for each set of instructions (set.cpp), and for GPUs (gpu/step.cpp).
//
// Nothing here may use the standard library's templates: an instance of them that is compiled for
// AVX-512 could be the one that the linker keeps for all.
#pragma once

#include "step.h"

#include <cstddef>

namespace m7emu {
namespace M7EMU_SET {

// Inputs outside are flagged M7EMU_FLAG_INVALID. Amounts are bounded by 2**64, so that float can
// hold all that is computed of them.
constexpr double pressure_low = 1.0e-3, pressure_high = 1.0e6;      // [Pa]
constexpr double temperature_low = 50.0, temperature_high = 1000.0; // [K]
constexpr double humidity_slack = 1.0e-6;                           // [1]
constexpr double extrapolating = 0.0, outside = 0.5; // of the range of a network's feature [1]

template <class S> struct limit_bits;
template <> struct limit_bits<double> {
  static constexpr std::uint64_t exponent = 0x7ff0000000000000ull;
  static constexpr std::uint64_t overflow =
      0x8000000000000000ull - (std::uint64_t(1023 + 64) << 52);
  static constexpr int sign = 63;
};
template <> struct limit_bits<float> {
  static constexpr std::uint32_t exponent = 0x7f800000u;
  static constexpr std::uint32_t overflow = 0x80000000u - (std::uint32_t(127 + 64) << 23);
  static constexpr int sign = 31;
};

enum {
  pressure,
  temperature,
  relative_humidity,
  cloud_fraction,
  production,
  forest_fraction,
  boundary_layer,
  ion_pair_production,
  gas,
  mass,
  number = mass + n_mass,
  n_input = number + n_mode
};

// A number that does no harm in each input, for lanes that are not to be used.
M7EMU_INLINE constexpr double harmless(int input) {
  return input == pressure ? 1.0e5 : input == temperature ? 280.0 : 0.0;
}

template <class S> struct Lanes {
  alignas(64) S value[n_input][lanes];
  bool valid[lanes];
  bool all_valid;

  M7EMU_INLINE void refuse(int lane) {
    valid[lane] = all_valid = false;
    for (int i = 0; i < n_input; ++i)
      value[i][lane] = S(harmless(i));
  }
};

// Columns of a field; the lanes beyond the last repeat it. A missing field is 0.
template <class S> M7EMU_INLINE void gather(const S *field, std::size_t at, int count, S *lane) {
  if (!field) {
    store(lane, pack<S>(S(0)));
  } else if (count == lanes) {
    store(lane, load(field + at));
  } else {
    for (int i = 0; i < lanes; ++i)
      lane[i] = field[at + static_cast<std::size_t>(i < count ? i : count - 1)];
  }
}

template <class S>
M7EMU_INLINE void scatter(const Lanes<S> &in, int count, pack<S> x, S *field, std::size_t at) {
  if (!field)
    return;
  if (count == lanes && in.all_valid) {
    store(field + at, x);
    return;
  }
  alignas(64) S lane[lanes];
  store(lane, x);
  for (int i = 0; i < count; ++i)
    if (in.valid[i])
      field[at + static_cast<std::size_t>(i)] = lane[i];
}

// Set cells of a field that may be missing to 0.
template <class T> M7EMU_INLINE void clear(T *field, std::size_t at, int count) {
  if (!field)
    return;
  if constexpr (lanes == 1)
    field[at] = T(0);
  else
    std::memset(field + at, 0, static_cast<std::size_t>(count) * sizeof *field);
}

// Find lanes with an input that is not finite or out of its range, looking at bits before values: a
// comparison with a NaN could raise a host's floating-point trap.
template <class S> M7EMU_INLINE void check(Lanes<S> &in) {
  using R = pack<S>;
  using I = decltype(bits<S>(R()));
  using limit = limit_bits<S>;
  in.all_valid = true;
  for (int i = 0; i < lanes; ++i)
    in.valid[i] = true;
  I signs = I(0);
  for (int i = 0; i < n_input; ++i)
    signs = signs | ((bits<S>(load(in.value[i])) & I(limit::exponent)) + I(limit::overflow));
  typename bits_of<S>::type sign[lanes];
  std::memcpy(sign, &signs, sizeof sign);
  typename bits_of<S>::type together = 0;
  for (int i = 0; i < lanes; ++i)
    together |= sign[i];
  if (together >> limit::sign)
    for (int i = 0; i < lanes; ++i)
      if (sign[i] >> limit::sign)
        in.refuse(i);
  const R p = load(in.value[pressure]), t = load(in.value[temperature]);
  const R h = load(in.value[relative_humidity]);
  const R p_off = max(R(S(pressure_low)) - p, p - R(S(pressure_high)));
  const R t_off = max(R(S(temperature_low)) - t, t - R(S(temperature_high)));
  const R h_off = max(R(S(0)) - h, h - R(S(1)));
  if (any((p_off > R(S(0))) | (t_off > R(S(0))) | (h_off > R(S(humidity_slack))))) {
    alignas(64) S off[3][lanes];
    store(off[0], p_off);
    store(off[1], t_off);
    store(off[2], h_off);
    for (int i = 0; i < lanes; ++i)
      if (off[0][i] > S(0) || off[1][i] > S(0) || off[2][i] > S(humidity_slack))
        in.refuse(i);
  }
}

template <class S> M7EMU_INLINE pack<double> within(const Lanes<S> &in, int input) {
  using D = pack<double>;
  return min(max(to<double>(load(in.value[input])), D(0.0)), D(1.0));
}

// Take negative amounts as 0 and count them.
template <class S> M7EMU_INLINE pack<S> clip(const S *lane, pack<S> &negatives) {
  using R = pack<S>;
  const R x = load(lane), zero = R(S(0));
  negatives = negatives + select(x < zero, R(S(1)), zero);
  return max(x, zero);
}

template <class S, class Block>
M7EMU_INLINE void step_lanes(const Program &program, const Block &block, std::size_t at,
                             int count) {
  using R = pack<S>;
  const std::size_t plane =
      static_cast<std::size_t>(block.kbdim) * static_cast<std::size_t>(block.klev);
  Lanes<S> in;
  gather(block.pressure, at, count, in.value[pressure]);
  gather(block.temperature, at, count, in.value[temperature]);
  gather(block.relative_humidity, at, count, in.value[relative_humidity]);
  gather(block.cloud_fraction, at, count, in.value[cloud_fraction]);
  gather(block.h2so4_production, at, count, in.value[production]);
  gather(block.forest_fraction, at, count, in.value[forest_fraction]);
  gather(block.boundary_layer, at, count, in.value[boundary_layer]);
  gather(block.ion_pair_production, at, count, in.value[ion_pair_production]);
  gather<S>(block.h2so4, at, count, in.value[gas]);
  for (int i = 0; i < n_mass; ++i)
    gather<S>(block.mass + i * plane, at, count, in.value[mass + i]);
  for (int i = 0; i < n_mode; ++i)
    gather<S>(block.number + i * plane, at, count, in.value[number + i]);
  check(in);

  Air air;
  air.pressure = to<double>(load(in.value[pressure]));
  air.temperature = to<double>(load(in.value[temperature]));
  air.relative_humidity = within(in, relative_humidity);
  air.cloud_fraction = within(in, cloud_fraction);
  air.production = to<double>(load(in.value[production]));
  air.forest_fraction = to<double>(load(in.value[forest_fraction]));
  air.boundary_layer = to<double>(load(in.value[boundary_layer]));
  State<S> cells;
  R negatives = R(S(0));
  cells.gas = clip(in.value[gas], negatives);
  for (int i = 0; i < n_mass; ++i)
    cells.mass[i] = clip(in.value[mass + i], negatives);
  for (int i = 0; i < n_mode; ++i)
    cells.number[i] = clip(in.value[number + i], negatives);

  Sizes<Precision::size> sizes;
  pack<double> water[n_soluble]; // [kg m-3]
  Guard guard;
  advance<S>(program, block.timestep, air, cells, sizes, water, guard);

  scatter(in, count, cells.gas, block.h2so4, at);
  for (int i = 0; i < n_mass; ++i)
    scatter(in, count, cells.mass[i], block.mass + i * plane, at);
  for (int k = 0; k < n_mode; ++k)
    scatter(in, count, cells.number[k], block.number + k * plane, at);
  if (block.wet_radius)
    for (int k = 0; k < n_mode; ++k)
      scatter(in, count, to<S>(sizes.wet_radius[k]), block.wet_radius + k * plane, at);
  if (block.dry_radius)
    for (int k = 0; k < n_soluble; ++k)
      scatter(in, count, to<S>(sizes.dry_radius[k]), block.dry_radius + k * plane, at);
  if (block.density)
    for (int k = 0; k < n_mode; ++k)
      scatter(in, count, to<S>(sizes.density[k]), block.density + k * plane, at);
  if (block.water)
    for (int k = 0; k < n_soluble; ++k)
      scatter(in, count, to<S>(water[k]), block.water + k * plane, at);

  // Most blocks are fine throughout.
  if (in.all_valid && !any(guard.excess > pack<float>(0.0f)) && !any(negatives > R(S(0)))) {
    static_assert(M7EMU_FLAG_FINE == 0);
    clear(block.flag, at, count);
    clear(block.uncertainty, at, count);
    clear(block.negatives, at, count);
    return;
  }
  alignas(64) S counted[lanes];
  alignas(64) float excess[lanes];
  store(counted, negatives);
  store(excess, guard.excess);
  for (int i = 0; i < count; ++i) {
    const std::size_t cell = at + static_cast<std::size_t>(i);
    if (block.flag)
      block.flag[cell] = !in.valid[i]                       ? M7EMU_FLAG_INVALID
                         : excess[i] > float(outside)       ? M7EMU_FLAG_OUTSIDE
                         : excess[i] > float(extrapolating) ? M7EMU_FLAG_EXTRAPOLATING
                                                            : M7EMU_FLAG_FINE;
    if (block.uncertainty)
      block.uncertainty[cell] = in.valid[i] ? S(0) : S(1);
    if (block.negatives)
      block.negatives[cell] = in.valid[i] ? static_cast<std::int32_t>(counted[i]) : 0;
  }
}

} // namespace M7EMU_SET
} // namespace m7emu
