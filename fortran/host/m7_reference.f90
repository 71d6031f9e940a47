module m7_reference
  !! The M7 reference in the form that a host's microphysics slot takes.
  use, intrinsic :: iso_fortran_env, only: int32, real64
  use m7_config, only: m7_config_type
  use m7_step, only: m7_step_columns => step
  use microphysics, only: microphysics_type, n_mass, n_mode, n_soluble
  implicit none (type, external)
  private
  public :: m7_type

  type, extends(microphysics_type) :: m7_type
    type(m7_config_type) :: config
  contains
    procedure :: step
  end type m7_type

contains

  subroutine step(this, kproma, kbdim, klev, timestep, pressure, temperature, relative_humidity, &
    cloud_fraction, h2so4_production, h2so4, mass, number, wet_radius, dry_radius, density, water, &
    status)
    !! See `microphysics`; `status` is one of m7_step.
    class(m7_type), intent(in) :: this
    integer, intent(in) :: kproma, kbdim, klev
    real(real64), intent(in) :: timestep
    !! [s]
    real(real64), intent(in) :: pressure(kbdim, klev), temperature(kbdim, klev)
    !! Pa, K
    real(real64), intent(in) :: relative_humidity(kbdim, klev), cloud_fraction(kbdim, klev)
    !! Of the clear part, and cover [1]
    real(real64), intent(in) :: h2so4_production(kbdim, klev)
    !! [molecules cm-3 s-1]
    real(real64), intent(inout) :: h2so4(kbdim, klev), mass(kbdim, klev, n_mass)
    !! Molecules cm-3; other masses ug m-3
    real(real64), intent(inout) :: number(kbdim, klev, n_mode)
    !! [cm-3]
    real(real64), intent(inout) :: wet_radius(kbdim, klev, n_mode)
    real(real64), intent(inout) :: dry_radius(kbdim, klev, n_soluble)
    !! [cm]
    real(real64), intent(inout) :: density(kbdim, klev, n_mode), water(kbdim, klev, n_soluble)
    !! g cm-3, kg m-3
    integer(int32), intent(out) :: status
    integer :: code

    call m7_step_columns(this%config, kproma, kbdim, klev, timestep, pressure, temperature, &
      relative_humidity, cloud_fraction, h2so4_production, h2so4, mass, number, wet_radius, &
      dry_radius, density, water, code)
    status = int(code, int32)
  end subroutine step
end module m7_reference
