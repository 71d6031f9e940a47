// Mean particles of the modes and their sizes, dry and wet: sections 7 and 8 of the contract.
#pragma once

#include "cells.h"
#include "kappa.h"
#include "math.h"
#include "parameters.h"
#include "water.h"

namespace m7emu {
namespace M7EMU_SET {

// Sea salt and number above which a mode is treated as sea salt [ug m-3, cm-3]
constexpr double least_salt = 1.0e-15, least_salt_number = 1.0e-10;
// Below any volume that has a density: a divisor where there is none [um3].
constexpr double least_space = 1.0e-30;

// A mode that holds sea salt, per volume of air.
template <class T> struct Salt {
  bool any, all;        // lanes of the block
  mask<T> here;         // where the mode is treated as sea salt
  pack<T> ions[n_salt]; // NaCl, Na2SO4, H2SO4 [pmol cm-3]
  pack<T> mass, volume; // of the dry matter [pg cm-3], [um3 cm-3]
  pack<T> per_number;   // [cm3]
};

// Mean dry particle of a soluble mode.
template <class T> struct Dry {
  // Whether any lane of the block is not treated as sea salt; if none, only volume and salt are
  // known.
  bool acid;
  pack<T> volume;    // 0 where the mode has no size [um3]
  Salt<T> salt;      // of AS and CS
  pack<T> molecules; // H2SO4 [1]
  // BC, OC and DU, and sea salt for kappa water [pg], [um3]
  pack<T> core_mass, core_volume;
};

// 1/number, 0 where a mode has no mean particle (section 7).
template <class T> M7EMU_INLINE pack<T> per_particle(const Parameters<T> &p, pack<T> number) {
  using R = pack<T>;
  const auto some = number > R(p.number_min);
  return quotient(some, R(T(1)), number);
}

// Amount of a component per particle, 0 where it is below its threshold (section 7).
template <class T>
M7EMU_INLINE pack<T> mean_mass(const Parameters<T> &p, pack<T> mass, pack<T> each) {
  using R = pack<T>;
  return only(mass > R(p.mass_min), mass * each);
}

template <int k, int species, class T, class Held>
M7EMU_INLINE void add_core(const Parameters<T> &p, const Held &x, pack<T> each, pack<T> &mass,
                           pack<T> &volume) {
  if constexpr (mass_index[k][species] >= 0) {
    const pack<T> mean = mean_mass(p, x.mass[mass_index[k][species]], each);
    mass = mass + mean;
    volume = volume + mean * pack<T>(p.per_density[species]);
  }
}

// Molecules per NS particle, where the mode is empty too: there the 2004 generation takes 100, or
// what it took before in the same step if only one of number and mass is missing; ham2 takes as
// many as fill the mode's lower edge.
template <class T, class Held>
M7EMU_INLINE void virtual_particle(const Parameters<T> &p, const Switches &switches, const Held &x,
                                   pack<T> molecules, pack<T> &virtual_molecules) {
  using R = pack<T>;
  R kept = R(p.virtual_molecules);
  if (switches.older) {
    kept = select(x.mass[so4_ns] > R(p.mass_min), virtual_molecules, R(T(100)));
    kept = select(x.number[ns] > R(p.number_min), virtual_molecules, kept);
  }
  virtual_molecules = select(molecules > R(T(0)), molecules, kept);
}

// BC, OC and DU of a soluble mode, times `share`.
template <int k, class T, class Held>
M7EMU_INLINE void add_total(const Parameters<T> &p, const Held &x, pack<T> share, pack<T> &mass,
                            pack<T> &volume) {
  constexpr int core[] = {bc, oc, du};
  for (int i = 0; i < 3; ++i) {
    const pack<T> amount = share * x.mass[mass_index[k][core[i]]];
    mass = mass + amount;
    volume = volume + amount * pack<T>(p.per_density[core[i]]);
  }
}

// Ion pairs and dry matter of mode k per volume of air, as sea salt (section 8.3).
template <int k, class T, class Held>
M7EMU_FUNCTION void salt_particle(const Parameters<T> &p, const Switches &switches, const Held &x,
                                  Salt<T> &salt) {
  using R = pack<T>;
  const R zero = R(T(0)), one = R(T(1));
  const R number = x.number[k], sea_salt = x.mass[mass_index[k][ss]];
  salt.here = (sea_salt > R(T(least_salt))) & (number > R(T(least_salt_number)));
  salt.any = any(salt.here);
  salt.all = !any(!salt.here);
  if (!salt.any)
    return;
  salt.per_number = one / max(number, R(T(least_salt_number)));
  R mass = zero, volume = zero;
  if (k == cs && !switches.reset_seasalt_sums) {
    // What the 2012 code forgot to reset: the sums of an AS mode that held sea salt.
    const auto leaks =
        (x.mass[ss_as] > R(T(least_salt))) & (x.number[as] > R(T(least_salt_number)));
    add_total<as>(p, x, only(leaks, one), mass, volume);
  }
  add_total<k>(p, x, one, mass, volume);
  const R sodium = sea_salt * R(T(1.0 / molar_mass_nacl));
  const R sulfate = x.mass[mass_index[k][so4]] * R(p.pmol_per_molecule);
  salt.ions[na2so4] = min(R(T(0.5)) * sodium, sulfate);
  salt.ions[nacl] = max(sodium - R(T(2)) * salt.ions[na2so4], zero);
  salt.ions[h2so4] = sulfate - salt.ions[na2so4];
  salt.mass = salt.ions[nacl] * R(T(molar_mass_nacl)) +
              salt.ions[na2so4] * R(T(molar_mass_na2so4)) +
              salt.ions[h2so4] * R(T(molar_mass_h2so4)) + mass;
  salt.volume = salt.ions[nacl] * R(p.salt_volume[nacl]) +
                salt.ions[na2so4] * R(p.salt_volume[na2so4]) +
                salt.ions[h2so4] * R(p.salt_volume[h2so4]) + volume;
}

// Mean dry particle of soluble mode k.
template <int k, class T, class Held>
M7EMU_FUNCTION void dry_particle(const Parameters<T> &p, const Switches &switches, const Held &x,
                                 pack<T> &virtual_molecules, Dry<T> &dry) {
  using R = pack<T>;
  const R zero = R(T(0));
  dry.acid = true;
  if constexpr (k >= as)
    if (!switches.kappa_water) {
      salt_particle<k>(p, switches, x, dry.salt);
      if (dry.salt.all) { // as in most of a model's cells
        dry.acid = false;
        dry.volume = dry.salt.volume * dry.salt.per_number;
        return;
      }
    }
  const R each = per_particle(p, x.number[k]);
  R molecules = mean_mass(p, x.mass[mass_index[k][so4]], each);
  if constexpr (k == ns) {
    virtual_particle(p, switches, x, molecules, virtual_molecules);
    molecules = virtual_molecules;
  }
  R core_mass = zero, core_volume = zero;
  add_core<k, bc>(p, x, each, core_mass, core_volume);
  add_core<k, oc>(p, x, each, core_mass, core_volume);
  add_core<k, du>(p, x, each, core_mass, core_volume);
  if constexpr (k >= as)
    if (switches.kappa_water) {
      const R salt = mean_mass(p, x.mass[mass_index[k][ss]], each);
      core_mass = core_mass + salt;
      core_volume = core_volume + salt * R(p.per_density[ss]);
    }
  const auto some = core_mass > R(p.least_core);
  dry.molecules = molecules;
  dry.core_mass = only(some, core_mass);
  dry.core_volume = only(some, core_volume);
  R volume = molecules * R(p.dry_volume) + dry.core_volume;
  volume = only(molecules > R(p.least_acid), volume);
  if constexpr (k >= as)
    if (!switches.kappa_water && dry.salt.any)
      volume = select(dry.salt.here, dry.salt.volume * dry.salt.per_number, volume);
  dry.volume = volume;
}

// Count median radius [cm] of mode k from the volume of its mean particle [um3] (section 4).
template <class T>
M7EMU_INLINE pack<T> median_radius(const Parameters<T> &p, int k, pack<T> volume) {
  return scaled_cube_root(volume, p.radius_factor[k]);
}

// Water of AS or CS [kg m-3], in double where it is that of sea salt: it changes little in a step,
// and that little is what hosts look at. `acid` is the water of other lanes.
template <int k, class S, class T>
M7EMU_FUNCTION pack<double> salt_water(const Parameters<double> &p, const Solution<T> &solution,
                                       const State<S> &cells, pack<T> acid) {
  using R = pack<double>;
  const R sea_salt = to<double>(cells.mass[mass_index[k][ss]]);
  const auto here =
      (sea_salt > R(least_salt)) & (to<double>(cells.number[k]) > R(least_salt_number));
  if (!any(here))
    return to<double>(acid);
  const R sodium = sea_salt * R(1.0e-6 / molar_mass_nacl);
  const R sulfate = to<double>(cells.mass[mass_index[k][so4]]) * R(1.0e-6 * p.pmol_per_molecule);
  const R paired = min(R(0.5) * sodium, sulfate);
  const R taken = (sodium - R(2.0) * paired) * solution.exact_water_per_salt[nacl] +
                  paired * solution.exact_water_per_salt[na2so4] +
                  (sulfate - paired) * solution.exact_water_per_salt[h2so4];
  return select(here, taken, to<double>(acid));
}

// Sulfuric acid in water, around an insoluble core where there is one (section 8.2), or sea salt,
// whose water `salt_water` tells; `percent` and `solution_density` are known where there is `acid`.
template <int k, bool all, class T, class Held>
M7EMU_FUNCTION void wet_particle(const Parameters<T> &p, const Solution<T> &solution, const Held &x,
                                 const Dry<T> &dry, const pack<T> &percent,
                                 const pack<T> &solution_density, Sizes<T> &sizes) {
  using R = pack<T>;
  const R zero = R(T(0)), one = R(T(1));
  R volume = zero, mass = zero, space = zero, water = zero; // `space` is what `mass` fills
  if (dry.acid) {
    const R dissolved = dry.molecules * R(T(100) * p.molecule_mass);
    const R per_both = one / (percent * solution_density),
            per_percent = solution_density * per_both;
    const auto sized = dry.volume > zero;
    volume = space = only(sized, dissolved * per_both + dry.core_volume);
    mass = only(sized, dissolved * per_percent + dry.core_mass);
    // g cm-3 in kg m-3 is 1000, a pg 1e-12 g. The fit may give more than 100 % outside its range.
    water = dissolved * max(R(T(100)) - percent, zero) * per_percent * x.number[k] * R(T(1.0e-11));
  }
  if constexpr (k >= as) {
    const Salt<T> &salt = dry.salt;
    if (salt.any) {
      R taken = zero; // [1e-6 kg m-3]
      for (int i = 0; i < n_salt; ++i)
        taken = taken + salt.ions[i] * solution.water_per_salt[i];
      const R wet = salt.volume + taken * R(T(1000));
      volume = select(salt.here, wet * salt.per_number, volume);
      space = select(salt.here, wet, space);
      mass = select(salt.here, salt.mass + taken * R(T(1000)), mass);
    }
  }
  if constexpr (all)
    sizes.water[k] = water;
  sizes.wet_radius[k] = median_radius(p, k, volume);
  sizes.density[k] = mass / max(space, R(T(least_space)));
}

template <int k, int species, class T, class Held>
M7EMU_INLINE void add_hygroscopic(const Parameters<T> &p, const Held &x, pack<T> each,
                                  pack<T> &volume, pack<T> &weighted) {
  if constexpr (mass_index[k][species] >= 0) {
    const pack<T> some =
        mean_mass(p, x.mass[mass_index[k][species]], each) * pack<T>(p.takes_up[species]);
    volume = volume + some;
    weighted = weighted + some * pack<T>(p.kappa[species]);
  }
}

// Volume-weighted kappa of mode k's particle; 0 where it takes up nothing (section 8.4).
template <int k, class T, class Held>
M7EMU_FUNCTION pack<T> mean_kappa(const Parameters<T> &p, const Switches &switches, const Held &x,
                                  const Dry<T> &dry) {
  using R = pack<T>;
  const R each = per_particle(p, x.number[k]);
  R volume = dry.molecules * R(p.dry_volume), weighted = volume * R(p.kappa[so4]);
  add_hygroscopic<k, bc>(p, x, each, volume, weighted);
  add_hygroscopic<k, oc>(p, x, each, volume, weighted);
  add_hygroscopic<k, ss>(p, x, each, volume, weighted);
  add_hygroscopic<k, du>(p, x, each, volume, weighted);
  const auto some = volume > R(p.hygroscopic_volume_min);
  const R whole = switches.kappa_full_volume ? dry.volume : volume;
  return quotient(some, weighted, whole);
}

// The whole dry particle grows by its mean kappa (section 8.4).
template <int k, class T, class Held>
M7EMU_FUNCTION void wet_by_kappa(const Parameters<T> &p, const Switches &switches,
                                 const Moist<T> &air, const Held &x, const Dry<T> &dry,
                                 Sizes<T> &sizes) {
  using R = pack<T>;
  const R least = R(T(least_moist_radius));
  const R radius = median_radius(p, k, dry.volume);
  const auto sized = radius > least;
  const R kappa = mean_kappa<k>(p, switches, x, dry);
  const R growth =
      min(kappa * solve_growth(air, air.kelvin / max(radius, least), kappa), R(T(most_growth)));
  const R taken = only(sized, growth * dry.volume);
  const R volume = dry.volume + taken;
  const R mass = dry.molecules * R(p.dry_mass) + dry.core_mass + taken;
  sizes.dry_radius[k] = radius;
  sizes.wet_radius[k] = median_radius(p, k, volume);
  sizes.density[k] = select(sized, mass / select(sized, volume, R(T(1))), R(T(1)));
  sizes.water[k] = taken * x.number[k] * R(T(1.0e-9));
}

// Water of soluble mode k [kg m-3], in double as that of `salt_water`: one step from what float
// found.
template <int k, class T, class Held>
M7EMU_FUNCTION void kappa_water(const Parameters<double> &p, const Switches &switches,
                                const Moist<double> &air, const Held &x, const Sizes<T> &sizes,
                                pack<double> virtual_molecules, pack<double> &water) {
  using R = pack<double>;
  const R least = R(least_moist_radius);
  Dry<double> dry;
  dry_particle<k>(p, switches, x, virtual_molecules, dry);
  const R radius = median_radius(p, k, dry.volume);
  const R kappa = mean_kappa<k>(p, switches, x, dry);
  const R reach = air.kelvin / max(radius, least);
  const R whole = kappa * dry.volume * x.number[k] * R(1.0e-9);
  const auto grows = (radius > least) & (whole > R(1.0e-60));
  const R start = to<double>(sizes.water[k]) / select(grows, whole, R(1.0));
  water = only(grows, whole * newton(air, reach, kappa, start));
}

// Size and density of insoluble mode k, which takes up no water (section 7).
template <int k, class T, class Held>
M7EMU_FUNCTION void insoluble_particle(const Parameters<T> &p, const Held &x, Sizes<T> &sizes) {
  using R = pack<T>;
  R mass = R(T(0)), volume = R(T(0));
  const R each = per_particle(p, x.number[k]);
  add_core<k, bc>(p, x, each, mass, volume);
  add_core<k, oc>(p, x, each, mass, volume);
  add_core<k, du>(p, x, each, mass, volume);
  const auto sized = volume > R(p.insoluble_volume_min[k - ki]);
  volume = only(sized, volume);
  sizes.density[k] = only(sized, mass) / max(volume, R(T(least_space)));
  sizes.wet_radius[k] = median_radius(p, k, volume);
}

template <class T, class Held>
M7EMU_INLINE void insoluble_particles(const Parameters<T> &p, const Held &x, Sizes<T> &sizes) {
  insoluble_particle<ki>(p, x, sizes);
  insoluble_particle<ai>(p, x, sizes);
  insoluble_particle<ci>(p, x, sizes);
}

// Sizes, densities and water of some soluble modes side by side, as what is found of one of them
// waits for what was found before; wet radii and densities alone if not `all`. `dissolve` tells
// what solution a particle of so many molecules becomes: the exact fit, or a network's.
template <bool all, int... k, class T, class Dissolve, class Held>
M7EMU_INLINE void soluble_particles(const Parameters<T> &p, const Switches &switches,
                                    const Solution<T> &solution, const Held &x,
                                    const Dissolve &dissolve, pack<T> &virtual_molecules,
                                    Sizes<T> &sizes) {
  using R = pack<T>;
  constexpr int n = sizeof...(k), modes[] = {k...}, first = modes[0]; // in their order
  Dry<T> dry[n];
  (dry_particle<k>(p, switches, x, virtual_molecules, dry[k - first]), ...);
  if (switches.kappa_water) {
    (wet_by_kappa<k>(p, switches, solution.moist, x, dry[k - first], sizes), ...);
    return;
  }
  R percent[n], density[n];
  for (int i = 0; i < n; ++i)
    if (dry[i].acid)
      dissolve(dry[i].molecules, percent[i], density[i]);
  if constexpr (all)
    ((sizes.dry_radius[k] = median_radius(p, k, dry[k - first].volume)), ...);
  (wet_particle<k, all>(p, solution, x, dry[k - first], percent[k - first], density[k - first],
                        sizes),
   ...);
}

// Those of all modes. Packs of two vectors keep the processor busy with fewer modes at a time.
template <bool all, class T, class Dissolve, class Held>
M7EMU_FUNCTION void particle_properties(const Parameters<T> &p, const Switches &switches,
                                        const Solution<T> &solution, const Held &x,
                                        const Dissolve &dissolve, pack<T> &virtual_molecules,
                                        Sizes<T> &sizes) {
#if M7EMU_VECTORS == 1
  soluble_particles<all, ns, ks, as, cs>(p, switches, solution, x, dissolve, virtual_molecules,
                                         sizes);
#else
  soluble_particles<all, ns, ks>(p, switches, solution, x, dissolve, virtual_molecules, sizes);
  soluble_particles<all, as, cs>(p, switches, solution, x, dissolve, virtual_molecules, sizes);
#endif
  insoluble_particles(p, x, sizes);
}
} // namespace M7EMU_SET
} // namespace m7emu
