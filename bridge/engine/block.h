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

// Where the fields of the first of `lanes` columns are; those of the air, and what comes after the
// step, may be missing.
template <class S> struct Columns {
  const S *air[gas];
  S *h2so4, *mass, *number, *wet_radius, *dry_radius, *density, *water;
  std::size_t plane; // reals from one field of an array to the next
};

// Bits of S of which the highest is set where a number is not finite or out of its range: looked at
// before its value, as a comparison with a NaN could raise a host's floating-point trap.
template <class S> M7EMU_INLINE auto out_of_range(pack<S> x) {
  using I = decltype(bits<S>(x));
  using limit = limit_bits<S>;
  return (bits<S>(x) & I(limit::exponent)) + I(limit::overflow);
}
// Of many numbers: whether any is out of its range, or has a sign.
template <class S> struct Inspection {
  using I = decltype(bits<S>(pack<S>()));
  I worst = I(0);

  M7EMU_INLINE void see(pack<S> x) {
#if defined(M7EMU_LARGER_BITS)
    worst = larger_bits(worst, bits<S>(x));
#else
    worst = worst | bits<S>(x) | (bits<S>(x) + I(limit_bits<S>::overflow));
#endif
  }
  M7EMU_INLINE bool finds() const {
#if defined(M7EMU_LARGER_BITS)
    return any_sign<S>(worst | (worst + I(limit_bits<S>::overflow)));
#else
    return any_sign<S>(worst);
#endif
  }
};
// By how much pressure, temperature and humidity are out of theirs.
template <class S> M7EMU_INLINE auto out_of_bounds(pack<S> p, pack<S> t, pack<S> h) {
  using R = pack<S>;
  const R p_off = max(R(S(pressure_low)) - p, p - R(S(pressure_high)));
  const R t_off = max(R(S(temperature_low)) - t, t - R(S(temperature_high)));
  const R h_off = max(R(S(0)) - h, h - R(S(1)));
  return (p_off > R(S(0))) | (t_off > R(S(0))) | (h_off > R(S(humidity_slack)));
}

template <class S> M7EMU_INLINE void read(const S *field, pack<S> &x) {
  x = field ? load(field) : pack<S>(S(0));
}

// Each amount of the state, and where it is in the host's arrays.
template <class S, class Cells, class Visit>
M7EMU_INLINE void each_amount(const Columns<S> &at, Cells &cells, const Visit &visit) {
  visit(at.h2so4, cells.gas);
  S *field = at.mass;
  M7EMU_ROLL
  for (int i = 0; i < n_mass; ++i, field += at.plane)
    visit(field, cells.mass[i]);
  field = at.number;
  M7EMU_ROLL
  for (int k = 0; k < n_mode; ++k, field += at.plane)
    visit(field, cells.number[k]);
}

// Choose where the state is stepped; tells whether it is a copy. Fields that are a multiple of this
// apart fall on so few sets of a cache (of 4 KiB a way) that they would drive each other out.
#if defined(M7EMU_SCALAR)
template <class S> M7EMU_INLINE constexpr bool place(const Columns<S> &, Passage<S> &) {
  return true;
}
#else
constexpr std::size_t crowded = 1024; // [byte]
template <class S> M7EMU_INLINE bool place(const Columns<S> &at, Passage<S> &passage) {
  const bool copies = at.plane * sizeof(S) % crowded == 0;
  S *const copy = passage.copy[0];
  passage.cells =
      copies ? State<S>{{copy}, {copy + lanes, lanes}, {copy + (1 + n_mass) * lanes, lanes}}
             : State<S>{{at.h2so4}, {at.mass, at.plane}, {at.number, at.plane}};
  return copies;
}
#endif

// Take amounts below 0, and -0, as 0: a host's transport leaves them here and there. Tells whether
// all are in their range, else nothing is changed.
template <class S> M7EMU_FUNCTION bool lift(const Columns<S> &at, Passage<S> &passage) {
  using R = pack<S>;
  const R zero = R(S(0));
  auto wrong = bits<S>(zero);
  each_amount(at, passage.cells,
              [&](const S *, auto &&amount) { wrong = wrong | out_of_range<S>(amount); });
  if (any_sign<S>(wrong))
    return false;
  each_amount(at, passage.cells, [&](const S *, auto &&amount) {
    const R given = amount;
    passage.negatives = passage.negatives + to<float>(only(given < zero, R(S(1))));
    amount = max(given, zero);
  });
  return true;
}

// Read `lanes` columns; tells whether all numbers are in their range, else nothing has been
// changed.
template <class S> M7EMU_FUNCTION bool take(const Columns<S> &at, Passage<S> &passage) {
  M7EMU_PART(reading);
  using R = pack<S>;
  R given[gas];
  for (int i = 0; i < gas; ++i)
    read(at.air[i], given[i]);
  auto wrong = out_of_range<S>(given[0]);
  for (int i = 1; i < gas; ++i)
    wrong = wrong | out_of_range<S>(given[i]);
  if (any_sign<S>(wrong) ||
      any(out_of_bounds<S>(given[pressure], given[temperature], given[relative_humidity])))
    return false;
  const bool copies = place(at, passage);
  Inspection<S> inspection;
  each_amount(at, passage.cells, [&](const S *field, auto &&amount) {
    const R x = load(field);
    if (copies)
      amount = x;
    inspection.see(x);
  });
  passage.negatives = pack<float>(0.0f);
  // A GPU's thread has but one cell to look for: it goes no other way than its neighbours.
  if ((lanes == 1 || inspection.finds()) && !lift(at, passage))
    return false;
  M7EMU_ROLL
  for (int k = 0; k < n_mode; ++k)
    passage.number[k] = Seen<Real, S>(passage.cells).number[k];

  Air &air = passage.air;
  const auto within = [](R x) { return to<double>(min(max(x, R(S(0))), R(S(1)))); };
  air.pressure = to<Real>(given[pressure]);
  air.temperature = to<double>(given[temperature]);
  air.seen_temperature = to<Real>(given[temperature]);
  air.relative_humidity = within(given[relative_humidity]);
  air.seen_humidity = to<Real>(air.relative_humidity);
  air.cloud_fraction = within(given[cloud_fraction]);
  air.production = to<double>(given[production]);
  air.forest_fraction = to<Real>(within(given[forest_fraction]));
  air.boundary_layer = to<Real>(given[boundary_layer]);
  passage.guard = Guard();
  return true;
}

template <class S> M7EMU_FUNCTION void put(const Passage<S> &passage, const Columns<S> &at) {
  M7EMU_PART(writing);
#if !defined(M7EMU_SCALAR)
  if (passage.cells.gas.at != at.h2so4)
#endif
    each_amount(at, passage.cells, [](S *field, const pack<S> &amount) { store(field, amount); });
  const Sizes<Real> &sizes = passage.particles.sizes;
  const auto put_if_wanted = [&at](S *field, const auto &found) {
    if (!field)
      return;
    M7EMU_ROLL
    for (int k = 0; k < int(sizeof found / sizeof found[0]); ++k, field += at.plane)
      store(field, to<S>(found[k]));
  };
  put_if_wanted(at.wet_radius, sizes.wet_radius);
  put_if_wanted(at.dry_radius, sizes.dry_radius);
  put_if_wanted(at.density, sizes.density);
  put_if_wanted(at.water, passage.water);
}

// What was found of columns that had something to mend.
struct Findings {
  bool valid[lanes];
  std::int32_t negatives[lanes];
};

// Columns with something to mend: too few of them, numbers out of range. They are copied, the lanes
// beyond the last repeating it, and what is wrong replaced.
template <class S> struct Mended {
  enum { n_output = n_input + 2 * (n_mode + n_soluble) };
  alignas(64) S value[n_output][lanes];
  Findings findings;
  Columns<S> columns;

  M7EMU_INLINE void gather(const S *field, int input, int count) {
    for (int i = 0; i < lanes; ++i)
      value[input][i] = field ? field[i < count ? i : count - 1] : S(0);
  }

  M7EMU_INLINE Mended(const Columns<S> &at, int count) {
    for (int i = 0; i < gas; ++i) {
      gather(at.air[i], i, count);
      columns.air[i] = value[i];
    }
    gather(at.h2so4, gas, count);
    for (int i = 0; i < n_mass; ++i)
      gather(at.mass + i * at.plane, mass + i, count);
    for (int i = 0; i < n_mode; ++i)
      gather(at.number + i * at.plane, number + i, count);
    columns.h2so4 = value[gas];
    columns.mass = value[mass];
    columns.number = value[number];
    columns.wet_radius = value[n_input];
    columns.dry_radius = columns.wet_radius + n_mode * lanes;
    columns.density = columns.dry_radius + n_soluble * lanes;
    columns.water = columns.density + n_mode * lanes;
    columns.plane = lanes;
    for (int i = 0; i < lanes; ++i)
      mend(i);
  }

  M7EMU_INLINE void mend(int lane) {
    using limit = limit_bits<S>;
    typename bits_of<S>::type wrong = 0;
    for (int i = 0; i < n_input; ++i) {
      typename bits_of<S>::type number_bits;
      M7EMU_COPY(&number_bits, &value[i][lane], sizeof number_bits);
      wrong |= (number_bits & limit::exponent) + limit::overflow;
    }
    const S p = value[pressure][lane], t = value[temperature][lane];
    const S h = value[relative_humidity][lane];
    findings.valid[lane] = !(wrong >> limit::sign) && p >= S(pressure_low) &&
                           p <= S(pressure_high) && t >= S(temperature_low) &&
                           t <= S(temperature_high) && h >= S(-humidity_slack) &&
                           h - S(1) <= S(humidity_slack);
    findings.negatives[lane] = 0;
    for (int i = 0; i < n_input; ++i) {
      S &x = value[i][lane];
      if (!findings.valid[lane]) {
        x = S(harmless(i));
      } else if (i >= gas && !(x > S(0))) {
        findings.negatives[lane] += x < S(0);
        x = S(0);
      }
    }
  }

  M7EMU_INLINE void scatter(const S *lane, S *field, int count) const {
    for (int i = 0; i < count; ++i)
      if (findings.valid[i])
        field[i] = lane[i];
  }
  M7EMU_INLINE void scatter(const S *from, S *array, int n, std::size_t plane, int count) const {
    for (int i = 0; array && i < n; ++i)
      scatter(from + i * lanes, array + i * plane, count);
  }
  M7EMU_INLINE void put_back(const Columns<S> &at, int count) const {
    scatter(columns.h2so4, at.h2so4, count);
    scatter(columns.mass, at.mass, n_mass, at.plane, count);
    scatter(columns.number, at.number, n_mode, at.plane, count);
    scatter(columns.wet_radius, at.wet_radius, n_mode, at.plane, count);
    scatter(columns.dry_radius, at.dry_radius, n_soluble, at.plane, count);
    scatter(columns.density, at.density, n_mode, at.plane, count);
    scatter(columns.water, at.water, n_soluble, at.plane, count);
  }
};

// Set cells of a field that may be missing to 0.
template <class T> M7EMU_INLINE void clear(T *field, std::size_t at, int count) {
  if (!field)
    return;
  if constexpr (lanes == 1)
    field[at] = T(0);
  else
    std::memset(field + at, 0, static_cast<std::size_t>(count) * sizeof *field);
}

// What became of the cells; `foreseen`, whether errors are; `mended` is null where nothing was.
template <class S, class Block>
M7EMU_FUNCTION void report(const Block &block, std::size_t at, int count, const Passage<S> &passage,
                           bool foreseen, const Findings *mended) {
  const Guard &guard = passage.guard;
  if (!mended && !foreseen &&
      !any(max(guard.excess, passage.negatives) > pack<float>(0.0f))) { // most blocks
    static_assert(M7EMU_FLAG_FINE == 0);
    clear(block.flag, at, count);
    clear(block.uncertainty, at, count);
    clear(block.negatives, at, count);
    return;
  }
  alignas(64) float excess[lanes], error[lanes], negatives[lanes];
  store(excess, guard.excess);
  store(error, guard.error);
  store(negatives, passage.negatives);
  for (int i = 0; i < count; ++i) {
    const std::size_t cell = at + static_cast<std::size_t>(i);
    const bool valid = !mended || mended->valid[i];
    if (block.flag)
      block.flag[cell] = !valid                             ? M7EMU_FLAG_INVALID
                         : excess[i] > float(outside)       ? M7EMU_FLAG_OUTSIDE
                         : excess[i] > float(extrapolating) ? M7EMU_FLAG_EXTRAPOLATING
                                                            : M7EMU_FLAG_FINE;
    if (block.uncertainty)
      block.uncertainty[cell] = valid ? S(error[i]) : S(1);
    if (block.negatives)
      block.negatives[cell] =
          mended ? mended->negatives[i] : static_cast<std::int32_t>(negatives[i]);
  }
}

template <class S, class Block>
M7EMU_INLINE Columns<S> columns_of(const Block &block, std::size_t at) {
  const auto here = [at](auto *field) { return field ? field + at : nullptr; };
  return {{here(block.pressure), here(block.temperature), here(block.relative_humidity),
           here(block.cloud_fraction), here(block.h2so4_production), here(block.forest_fraction),
           here(block.boundary_layer), here(block.ion_pair_production)},
          block.h2so4 + at,
          block.mass + at,
          block.number + at,
          here(block.wet_radius),
          here(block.dry_radius),
          here(block.density),
          here(block.water),
          static_cast<std::size_t>(block.kbdim) * static_cast<std::size_t>(block.klev)};
}

// The columns of a block from `first` on.
template <class Block> M7EMU_INLINE Block columns_from(Block block, int first) {
  const auto move = [first](auto *&...fields) {
    ((fields = fields ? fields + first : fields), ...);
  };
  move(block.pressure, block.temperature, block.relative_humidity, block.cloud_fraction,
       block.h2so4_production, block.forest_fraction, block.boundary_layer,
       block.ion_pair_production, block.h2so4, block.mass, block.number, block.wet_radius,
       block.dry_radius, block.density, block.water, block.flag, block.uncertainty,
       block.negatives);
  block.kproma -= first;
  return block;
}

template <class S, class Block>
M7EMU_FUNCTION void mend_and_step(const Program &program, const Block &block, std::size_t at,
                                  int count, const Columns<S> &columns, Passage<S> &passage) {
  Mended<S> mended(columns, count);
  take(mended.columns, passage);
  passage.guard.cells = count;
  advance(program, block.timestep, &passage, 1);
  put(passage, mended.columns);
  mended.put_back(columns, count);
  report<S>(block, at, count, passage, program.self_error != nullptr, &mended.findings);
}

// The step of `count` cells, `lanes` at most, by themselves.
template <class S, class Block>
M7EMU_FUNCTION void step_lanes(const Program &program, const Block &block, std::size_t at,
                               int count) {
  Passage<S> passage;
  const Columns<S> columns = columns_of<S>(block, at);
  if (count < lanes || !take(columns, passage)) {
    mend_and_step(program, block, at, count, columns, passage);
    return;
  }
  advance(program, block.timestep, &passage, 1);
  put(passage, columns);
  report<S>(block, at, count, passage, program.self_error != nullptr, nullptr);
}

} // namespace M7EMU_SET
} // namespace m7emu
