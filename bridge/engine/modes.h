// Modes, species and the order of the state: section 2 of the physics contract, as m7_modes.f90.
#pragma once

#include "macros.h"

namespace m7emu {

enum { ns, ks, as, cs, ki, ai, ci, n_mode };
constexpr int n_soluble = cs + 1, n_insoluble = n_mode - n_soluble;
enum { so4, bc, oc, ss, du, n_species };
enum {
  so4_ns,
  so4_ks,
  so4_as,
  so4_cs,
  bc_ks,
  bc_as,
  bc_cs,
  bc_ki,
  oc_ks,
  oc_as,
  oc_cs,
  oc_ki,
  ss_as,
  ss_cs,
  du_as,
  du_cs,
  du_ai,
  du_ci,
  n_mass
};

// Place of a species in the masses, -1 where the mode does not carry it.
M7EMU_TABLE int mass_index[n_mode][n_species] = {
    {so4_ns, -1, -1, -1, -1},
    {so4_ks, bc_ks, oc_ks, -1, -1},
    {so4_as, bc_as, oc_as, ss_as, du_as},
    {so4_cs, bc_cs, oc_cs, ss_cs, du_cs},
    {-1, bc_ki, oc_ki, -1, -1},
    {-1, -1, -1, -1, du_ai},
    {-1, -1, -1, -1, du_ci},
};

// ln 1.59, and ln 2 of the coarse modes
M7EMU_TABLE double ln_sigma[n_mode] = {0.4637340162321402, 0.4637340162321402, 0.4637340162321402,
                                       0.6931471805599453, 0.4637340162321402, 0.4637340162321402,
                                       0.6931471805599453};
// Lower edge of the dry count median radius of a soluble mode [cm]
M7EMU_TABLE double lower_radius[n_soluble] = {5.0e-8, 5.0e-7, 5.0e-6, 5.0e-5};
constexpr double molar_mass_h2so4 = 98.0734; // [g mol-1]

// The pairs that M7 lets collide, and their place among the kernels (-1: neglected).
constexpr int n_pair = 16;
M7EMU_TABLE int pair_first[n_pair] = {ns, ns, ns, ns, ns, ns, ns, ks,
                                      ks, ks, ks, ks, ks, as, as, ki};
M7EMU_TABLE int pair_second[n_pair] = {ns, ks, as, cs, ki, ai, ci, ks,
                                       as, cs, ki, ai, ci, as, ki, ki};
M7EMU_INLINE constexpr int pair_index(int a, int b) {
  for (int pair = 0; pair < n_pair; ++pair)
    if ((pair_first[pair] == a && pair_second[pair] == b) ||
        (pair_first[pair] == b && pair_second[pair] == a))
      return pair;
  return -1;
}

} // namespace m7emu
