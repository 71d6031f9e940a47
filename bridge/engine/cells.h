// A block of cells, one in each lane: its air, its state, its sizes.
#pragma once

#include "lanes.h"
#include "modes.h"

#include <cstddef>

namespace m7emu {
namespace M7EMU_SET {

// The kind of real that sizes, rates and shares are computed in: chosen here, once.
using Real = float;

// In double that from which small differences are taken; what most formulas see of it beside it.
struct Air {
  pack<double> temperature, relative_humidity; // [K], [1]
  pack<double> cloud_fraction, production;     // [1], of H2SO4 [molecules cm-3 s-1]
  pack<Real> pressure;                         // [Pa]
  pack<Real> seen_temperature, seen_humidity;  // [K], [1]
  pack<Real> forest_fraction, boundary_layer;  // [1], 0 or 1
};

// In the host's precision: what is conserved, gas [molecules cm-3], mass [molecules or ug m-3] and
// number [cm-3]. T is float or double. A GPU's thread holds it in registers; elsewhere it is
// stepped where it lies, in the host's arrays as a rule: a copy would take much of the cache that
// all else is in.
#if defined(M7EMU_SCALAR)
template <class T> struct State {
  T gas, mass[n_mass], number[n_mode];
};
#else
template <class T> struct Amount {
  T *at;
  M7EMU_INLINE operator pack<T>() const { return load(at); }
  M7EMU_INLINE void operator=(pack<T> x) const { store(at, x); }
};
template <class T> struct Fields {
  T *first;
  std::size_t plane; // reals from one to the next
  M7EMU_INLINE Amount<T> operator[](int i) const {
    return {first + static_cast<std::size_t>(i) * plane};
  }
};
template <class T> struct State {
  Amount<T> gas;
  Fields<T> mass, number;
};
#endif

// The same as formulas see it: held, or found where it is asked for.
template <class T> struct Amounts {
  pack<T> mass[n_mass], number[n_mode];
};
template <class T, class S> struct Seen {
  template <class Held> struct Field {
    const Held &held;
    M7EMU_INLINE pack<T> operator[](int i) const {
      const pack<S> amount = held[i];
      return to<T>(amount);
    }
  };
  Field<decltype(State<S>::mass)> mass;
  Field<decltype(State<S>::number)> number;

  M7EMU_INLINE explicit Seen(const State<S> &cells) : mass{cells.mass}, number{cells.number} {}
};

template <class T> struct Sizes {
  pack<T> wet_radius[n_mode], dry_radius[n_soluble]; // count medians [cm]
  pack<T> density[n_mode], water[n_soluble];         // ambient [g cm-3], [kg m-3]
};

template <class To, class From, int n>
M7EMU_INLINE void convert(const pack<From> (&from)[n], pack<To> (&into)[n]) {
  M7EMU_UNROLL(32)
  for (int i = 0; i < n; ++i)
    into[i] = to<To>(from[i]);
}
template <class T, class S> M7EMU_INLINE void convert(const State<S> &cells, Amounts<T> &x) {
  const Seen<T, S> seen(cells);
  M7EMU_ROLL
  for (int i = 0; i < n_mass; ++i)
    x.mass[i] = seen.mass[i];
  M7EMU_ROLL
  for (int k = 0; k < n_mode; ++k)
    x.number[k] = seen.number[k];
}

// The same of a mode alone.
template <class T, class S> M7EMU_INLINE void convert(const State<S> &cells, int k, Amounts<T> &x) {
  const Seen<T, S> seen(cells);
  M7EMU_UNROLL(8)
  for (int species = so4; species < n_species; ++species)
    if (mass_index[k][species] >= 0)
      x.mass[mass_index[k][species]] = seen.mass[mass_index[k][species]];
  x.number[k] = seen.number[k];
}

// Scale shares of a whole, each right to float's or double's precision, so that they add up to 1 in
// the precision they are applied in. Their sum is 1 + e with a small e: 1/(1 + e) = 1 - e + e**2.
template <class T, int n> M7EMU_INLINE void normalise(pack<T> (&share)[n]) {
  using R = pack<T>;
  R sum = share[0];
  for (int i = 1; i < n; ++i)
    sum = sum + share[i];
  const R excess = sum - R(T(1));
  const R scale = R(T(1)) - (excess - excess * excess);
  for (int i = 0; i < n; ++i)
    share[i] = share[i] * scale;
}

// x/y, 0 where y is next to nothing.
template <class T> M7EMU_INLINE pack<T> quotient(pack<T> x, pack<T> y) {
  using R = pack<T>;
  const auto some = y > R(T(1.0e-30));
  return quotient(some, x, y);
}

} // namespace M7EMU_SET
} // namespace m7emu
