// What the formulas need of a model's settings, worked out once when a model is opened.
//
// Radii are in cm as everywhere in M7. Volumes and masses of single particles are in um3 and pg
// (1 ug m-3 per cm-3 is 1 pg per particle), so that float can hold them.
#pragma once

#include "modes.h"

namespace m7emu {

// That HAM's routine for kappa water gives to sulfate [g mol-1]
constexpr double molar_mass_so4_kappa = 96.0631;

// The settings of a model file, by the names of m7_config.f90. Switches are chosen as in the file.
struct Settings {
  enum Profile { m7_2004, ham2 } profile;
  enum Water { zsr, kappa_koehler } water;
  enum Nucleation { no_nucleation, vehkamaki2002 } nucleation;
  enum Organic { no_organic, activation, kinetic } organic_nucleation;
  bool condensation, coagulation;
  double density[n_species], kappa[n_species];
  bool reset_seasalt_sums, small_insoluble_volume, limited_ageing, source_coagulation;
  bool clip_weight_percent, sulfate_free_radius, kappa_full_volume;
  bool production_in_gas; // the host has added it before the step
  double number_min, mass_min, insoluble_volume_min, hygroscopic_volume_min;
  double kernel_number_min, kernel_radius_min;
  double equation_number_min, ageing_number_min, merging_number_min, merging_radius_min;
  double pi, sqrt2, avogadro;
};

template <class T> struct Parameters {
  // properties
  T number_min, mass_min;
  T per_density[n_species];            // [cm3 g-1]
  T molecule_volume, molecule_mass;    // of H2SO4 [um3], [pg]
  T dry_volume, dry_mass;              // of such a molecule in a dry particle [um3], [pg]
  T virtual_molecules;                 // in an NS particle of the mode's lower edge [1]
  T least_acid;                        // molecules above which a soluble mode has a size [1]
  T least_core;                        // of a particle, above which it has a core [pg]
  T insoluble_volume_min[n_insoluble]; // [um3]
  T radius_factor[n_mode];             // count median radius over cube root of volume [cm um-1]
  T salt_volume[3];                    // of NaCl, Na2SO4, H2SO4 [um3 pmol-1]
  T pmol_per_molecule;                 // [pmol]
  T floor_percent;                     // weight-% below which a solution is not diluted
  T kappa[n_species];                  // hygroscopicity [1]
  T takes_up[n_species];               // 1/density of what has any, else 0 [cm3 g-1]
  T hygroscopic_volume_min;            // of a particle that takes up water [um3]
  // condensation
  T pi, speed2_per_kelvin; // of H2SO4 [cm2 s-2 K-1]
  // coagulation
  T path_per_kelvin, stokes, energy, shrink, grain, sqrt2;
  T kernel_number_min, kernel_radius_min;
  // transfer and ageing
  T equation_number_min, few_insoluble, ageing_number_min;
  T coat_factor[n_insoluble]; // molecules that coat a particle over radius squared [cm-2]
  // merging
  T merging_number_min, merging_radius_min, least_merged;
  T middle[as + 1], edge[as + 1], per_edge[as + 1]; // [um3], [um-3]
  T upper_radius[as + 1], per_ln_sigma[as + 1];
  // Of the mean particle whose median radius is the upper one: 1/volume [um-3], and below what
  // share of it there is no merging [1].
  T per_upper_volume[as + 1], least_size[as + 1];
};

// Switches that a whole block has in common.
struct Switches {
  bool older; // the 2004 generation
  bool kappa_water, kappa_full_volume;
  bool condensation, coagulation, vehkamaki;
  Settings::Organic organic;
  bool reset_seasalt_sums, limited_ageing, source_coagulation;
  bool production_in_gas;
};

} // namespace m7emu
