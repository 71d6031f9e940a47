module microphysics
  !! What a host may hold in its microphysics slot: M7 itself, its emulator, or both. The host
  !! declares `class(microphysics_type), allocatable` and calls `step` in place of M7.
  use, intrinsic :: iso_fortran_env, only: int32, real64
  implicit none (type, external)
  private
  public :: microphysics_type
  public :: n_mass, n_mode, n_soluble

  integer, parameter :: n_mass = 18, n_mode = 7, n_soluble = 4
  !! Masses in HAM's order (SO4 NS-CS, BC KS-KI, OC KS-KI, SS AS CS, DU AS CS AI CI); modes NS KS AS
  !! CS KI AI CI, the first four soluble

  type, abstract :: microphysics_type
  contains
    procedure(step_interface), deferred :: step
  end type microphysics_type

  abstract interface
    subroutine step_interface(this, kproma, kbdim, klev, timestep, pressure, temperature, &
      relative_humidity, cloud_fraction, h2so4_production, h2so4, mass, number, wet_radius, &
      dry_radius, density, water, status)
      !! Advance columns 1 to kproma of all levels by one timestep; columns beyond are neither read
      !! nor written. Safe to call from several threads on different blocks.
      import :: int32, microphysics_type, n_mass, n_mode, n_soluble, real64
      implicit none (type, external)
      class(microphysics_type), intent(in) :: this
      integer, intent(in) :: kproma, kbdim, klev
      !! Columns in use, leading dimension, levels
      real(real64), intent(in) :: timestep
      !! [s]
      real(real64), intent(in) :: pressure(kbdim, klev), temperature(kbdim, klev)
      !! Pa, K
      real(real64), intent(in) :: relative_humidity(kbdim, klev), cloud_fraction(kbdim, klev)
      !! Over liquid water, of the clear part [1], and 1
      real(real64), intent(in) :: h2so4_production(kbdim, klev)
      !! [molecules cm-3 s-1]
      real(real64), intent(inout) :: h2so4(kbdim, klev)
      !! At the start of the step, before production [molecules cm-3]
      real(real64), intent(inout) :: mass(kbdim, klev, n_mass)
      !! Sulfate: molecules cm-3, other species: ug m-3
      real(real64), intent(inout) :: number(kbdim, klev, n_mode)
      !! [cm-3]
      real(real64), intent(inout) :: wet_radius(kbdim, klev, n_mode)
      real(real64), intent(inout) :: dry_radius(kbdim, klev, n_soluble)
      !! Count median radii after the step [cm]
      real(real64), intent(inout) :: density(kbdim, klev, n_mode)
      !! Ambient, after the step [g cm-3]
      real(real64), intent(inout) :: water(kbdim, klev, n_soluble)
      !! After the step [kg m-3]
      integer(int32), intent(out) :: status
      !! 0 when all is well; otherwise nothing was written
    end subroutine step_interface
  end interface
end module microphysics
