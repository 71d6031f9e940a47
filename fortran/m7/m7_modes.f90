module m7_modes
  !! Modes, species and the order of the state: section 2 of the physics contract.
  !! `pyemu.variables` is the same table with units; a test compares the two.
  use m7_kinds, only: wp
  implicit none (type, external)
  private

  integer, parameter, public :: n_mode = 7, n_soluble = 4, n_species = 5, n_mass = 18
  integer, parameter, public :: n_prognostic = 1 + n_mass + n_mode
  integer, parameter, public :: ns = 1, ks = 2, as = 3, cs = 4, ki = 5, ai = 6, ci = 7
  character(2), parameter, public :: mode_name(n_mode) = ['ns', 'ks', 'as', 'cs', 'ki', 'ai', 'ci']

  integer, parameter, public :: so4 = 1, bc = 2, oc = 3, ss = 4, du = 5
  character(3), parameter, public :: species_name(n_species) = ['so4', 'bc ', 'oc ', 'ss ', 'du ']

  integer, parameter, public :: so4_ns = 1, so4_ks = 2, so4_as = 3, so4_cs = 4
  integer, parameter, public :: bc_ks = 5, bc_as = 6, bc_cs = 7, bc_ki = 8
  integer, parameter, public :: oc_ks = 9, oc_as = 10, oc_cs = 11, oc_ki = 12
  integer, parameter, public :: ss_as = 13, ss_cs = 14
  integer, parameter, public :: du_as = 15, du_cs = 16, du_ai = 17, du_ci = 18
  character(6), parameter, public :: mass_name(n_mass) = [ &
    'so4_ns', 'so4_ks', 'so4_as', 'so4_cs', 'bc_ks ', 'bc_as ', 'bc_cs ', 'bc_ki ', 'oc_ks ', &
    'oc_as ', 'oc_cs ', 'oc_ki ', 'ss_as ', 'ss_cs ', 'du_as ', 'du_cs ', 'du_ai ', 'du_ci ']

  integer, parameter :: s_ = so4, b_ = bc, o_ = oc, x_ = ss, d_ = du
  integer, parameter, public :: mass_mode(n_mass) = &
    [ns, ks, as, cs, ks, as, cs, ki, ks, as, cs, ki, as, cs, as, cs, ai, ci]
  integer, parameter, public :: mass_species(n_mass) = &
    [s_, s_, s_, s_, b_, b_, b_, b_, o_, o_, o_, o_, x_, x_, d_, d_, d_, d_]
  integer, parameter, public :: mass_index(n_species, n_mode) = reshape([ &
    so4_ns, 0, 0, 0, 0, &
    so4_ks, bc_ks, oc_ks, 0, 0, &
    so4_as, bc_as, oc_as, ss_as, du_as, &
    so4_cs, bc_cs, oc_cs, ss_cs, du_cs, &
    0, bc_ki, oc_ki, 0, 0, &
    0, 0, 0, 0, du_ai, &
    0, 0, 0, 0, du_ci], [n_species, n_mode])
  !! Place of a species in `mass`, 0 where the mode does not carry it (species, mode)

  real(wp), parameter :: narrow = 0.4637340162321402_wp, wide = 0.6931471805599453_wp
  real(wp), parameter, public :: ln_sigma(n_mode) = &
    [narrow, narrow, narrow, wide, narrow, narrow, wide]
  !! Logarithm of the geometric standard deviation: ln 1.59, and ln 2 of the coarse modes [1]
  real(wp), parameter, public :: mean_to_median(n_mode) = exp(-1.5_wp*ln_sigma**2)
  !! Count median radius over radius of average mass (Hatch-Choate, section 4) [1]
  real(wp), parameter, public :: lower_radius(n_soluble) = &
    [5.0e-8_wp, 5.0e-7_wp, 5.0e-6_wp, 5.0e-5_wp]
  !! Lower edge of the dry count median radius of a soluble mode [cm]
end module m7_modes
