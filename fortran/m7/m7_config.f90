module m7_config
  !! What a user may set: generation, processes, densities, corrections, thresholds, sub-steps.
  use m7_kazil_lovejoy, only: nucleation_table_type
  use m7_kinds, only: wp
  use m7_modes, only: n_species
  implicit none (type, external)
  private
  public :: m7_config_type, set_profile
  public :: profile_m7_2004, profile_ham2
  public :: water_zsr, water_kappa
  public :: nucleation_none, nucleation_vehkamaki2002, nucleation_kazil_lovejoy2007
  public :: organic_none, organic_activation, organic_kinetic
  public :: thresholds_tm5, thresholds_messy, thresholds_ham2_2012, thresholds_icon_ham

  integer, parameter :: profile_m7_2004 = 1, profile_ham2 = 2
  integer, parameter :: water_zsr = 0, water_kappa = 1
  integer, parameter :: nucleation_none = 0, nucleation_vehkamaki2002 = 1
  integer, parameter :: nucleation_kazil_lovejoy2007 = 2
  integer, parameter :: organic_none = 0, organic_activation = 1, organic_kinetic = 2
  integer, parameter :: thresholds_tm5 = 1, thresholds_messy = 2
  integer, parameter :: thresholds_ham2_2012 = 3, thresholds_icon_ham = 4

  type :: m7_config_type
    !! Start from `set_profile`; every component may be changed before the first step.
    integer :: profile = profile_ham2
    integer :: water = water_zsr
    integer :: nucleation = nucleation_vehkamaki2002
    integer :: organic_nucleation = organic_none
    logical :: condensation = .true.
    logical :: coagulation = .true.
    real(wp) :: density(n_species) = [1.841_wp, 2.0_wp, 2.0_wp, 2.165_wp, 2.650_wp]
    !! Density of SO4, BC, OC, SS, DU [g cm-3]
    real(wp) :: kappa(n_species) = [0.60_wp, 0.0_wp, 0.06_wp, 1.12_wp, 0.0_wp]
    !! Hygroscopicity of SO4, BC, OC, SS, DU for water_kappa [1]

    logical :: production_in_gas = .false.
    !! The host has added the production to the gas before the call (section 1, the older
    !! generation): it is then not added again

    ! Corrections marked [R] in the contract. On by default: the first three.
    logical :: reset_seasalt_sums = .true.
    !! 8.3: BC, OC and DU of AS do not leak into the size of CS
    logical :: small_insoluble_volume = .true.
    !! 7: insoluble particles of any size have a radius; false: none below machine epsilon [cm3]
    logical :: limited_ageing = .true.
    !! 14: ageing moves no more mass than there is
    logical :: source_coagulation = .false.
    !! 12 iii: new particles coagulate among themselves when they alone populate the cell
    logical :: clip_weight_percent = .false.
    !! 8.1: solutions hold at least 5 weight-% H2SO4
    logical :: sulfate_free_radius = .false.
    !! 8.2: soluble modes without sulfate and sea salt keep the radius of their dry core
    logical :: kappa_full_volume = .false.
    !! 8.4: kappa is averaged over the whole dry volume, not over the hygroscopic species alone

    ! Thresholds of section 16, set by set_profile.
    real(wp) :: number_min = 1.0e-4_wp
    !! Number below which a mode has no mean particle [cm-3]
    real(wp) :: mass_min = 1.0e-23_wp
    !! Mass below which a component has no mean mass [cm-3 or ug m-3]
    real(wp) :: insoluble_volume_min = 1.0e-23_wp
    !! Mean particle volume below which an insoluble mode has no radius [cm3]
    real(wp) :: hygroscopic_volume_min = 5.0e-22_wp
    !! Hygroscopic volume per particle below which water_kappa takes up nothing [cm3]
    real(wp) :: kernel_number_min = 1.0e-10_wp
    !! Number below which a mode does not collide [cm-3]
    real(wp) :: kernel_radius_min = 1.0e-10_wp
    !! Ambient radius below which a mode does not collide [cm]
    real(wp) :: equation_number_min = 1.0e-10_wp
    !! Number below which the number equation is not solved [cm-3]
    real(wp) :: ageing_number_min = 1.0e-5_wp
    !! Number below which an insoluble mode does not age [cm-3]
    real(wp) :: merging_number_min = 1.0e-10_wp
    !! Number below which a mode does not merge upward [cm-3]
    real(wp) :: merging_radius_min = epsilon(1.0_wp)
    !! Dry radius below which a mode does not merge upward [cm]

    ! Constants of section 1: the older generation has fewer digits.
    real(wp) :: pi = 3.14159265358979324_wp
    real(wp) :: sqrt2 = 1.41421356237309505_wp
    real(wp) :: avogadro = 6.02214e23_wp
    !! [mol-1]

    type(nucleation_table_type) :: table
    !! For nucleation_kazil_lovejoy2007; see m7_kazil_lovejoy

    integer :: substeps = 1
    !! Equal parts of the timestep; 0: doubled for each cell until its tendencies stand still
    real(wp) :: tolerance = 1.0e-2_wp
    !! Relative change of a tendency that counts as standing still, for substeps = 0 [1]
    integer :: substeps_max = 1024
    !! Where the doubling ends, for substeps = 0
  end type m7_config_type

contains

  pure subroutine set_profile(config, profile, thresholds, status)
    !! Defaults of a generation; `thresholds` 0 takes the generation's own column of section 16.
    type(m7_config_type), intent(inout) :: config
    integer, intent(in) :: profile
    integer, intent(in) :: thresholds
    integer, intent(out) :: status
    !! 0, or 1 for an unknown profile or threshold set (config is then untouched)
    integer :: chosen

    status = 1
    if (profile /= profile_m7_2004 .and. profile /= profile_ham2) return
    chosen = thresholds
    if (chosen == 0) then
      chosen = merge(thresholds_tm5, thresholds_ham2_2012, profile == profile_m7_2004)
    end if
    if (chosen < thresholds_tm5 .or. chosen > thresholds_icon_ham) return
    status = 0
    config = m7_config_type()
    config%profile = profile
    select case (chosen)
    case (thresholds_tm5)
      config%number_min = 1.0e-10_wp
      config%mass_min = 1.0e-15_wp
      config%insoluble_volume_min = 1.0e-20_wp
    case (thresholds_messy)
      config%number_min = 1.0e-7_wp
      config%mass_min = 1.0e-12_wp
      config%insoluble_volume_min = 1.0e-20_wp
      config%equation_number_min = 1.0e-7_wp
    case (thresholds_icon_ham)
      config%number_min = 1.0e-10_wp
      config%mass_min = 1.0e-15_wp
      config%hygroscopic_volume_min = 1.0e-23_wp
      config%kernel_radius_min = 1.0e-8_wp
      config%ageing_number_min = 1.0e-10_wp
      config%merging_radius_min = 1.0e-8_wp
    case default
    end select
    if (profile == profile_m7_2004) then
      config%merging_number_min = epsilon(1.0_wp)
      config%merging_radius_min = 0.0_wp
      config%pi = 3.141592654_wp
      config%sqrt2 = 1.4142136_wp
      config%avogadro = 6.02217e23_wp
    end if
  end subroutine set_profile
end module m7_config
