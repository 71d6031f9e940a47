module host_tracers
  !! The table of tracers and their budgets. Masses and gases are mass mixing ratios [kg kg-1],
  !! numbers are per mass of air [kg-1]. A process reads x(t-1) + tendency*timestep and adds to the
  !! tendency, as in ECHAM.
  use host_constants, only: molar_dms, molar_h2so4, molar_s, molar_so2, molar_so4, wp
  use m7_modes, only: mass_mode, mass_name, mass_species, mode_name, n_mass, n_mode, so4
  implicit none (type, external)
  private
  public :: advance, borrow

  integer, parameter, public :: n_tracer = n_mass + n_mode + 3
  integer, parameter, public :: first_number = n_mass + 1
  !! Tracers are the masses in M7's order, then the numbers, then gases
  integer, parameter, public :: h2so4 = n_mass + n_mode + 1, so2 = h2so4 + 1, dms = so2 + 1
  character(6), parameter, public :: tracer_name(n_tracer) = [character(6) :: &
    mass_name, 'num_' // mode_name, 'h2so4', 'so2', 'dms']
  integer, private :: i_
  integer, parameter, public :: tracer_mode(n_tracer) = &
    [mass_mode, [(i_, i_ = 1, n_mode)], 0, 0, 0]
  !! Mode, 0 for gases

  integer, parameter, public :: n_budget = 5
  character(6), parameter, public :: budget_name(n_budget) = &
    ['sulfur', 'bc    ', 'oc    ', 'ss    ', 'du    ']
  integer, parameter, public :: tracer_budget(n_tracer) = &
    [mass_species, [(0, i_ = 1, n_mode)], so4, so4, so4]
  !! Budget that a tracer belongs to, 0 for numbers
  real(wp), parameter, public :: budget_share(n_tracer) = [ &
    merge(molar_s/molar_so4, 1.0_wp, mass_species == so4), [(0.0_wp, i_ = 1, n_mode)], &
    molar_s/molar_h2so4, molar_s/molar_so2, molar_s/molar_dms]
  !! Mass of the budget's substance (sulfur, or the species itself) in a tracer's mass [1]

  real(wp), parameter :: round_off = 1.0e-13_wp
  !! A negative value below this share of the column's largest is the rounding of x(t-1) +
  !! tendency*timestep, left where a process takes all

contains

  pure subroutine advance(kproma, kbdim, klev, timestep, before, tendency, now)
    !! x(t-1) + tendency*timestep of one tracer
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: timestep
    !! [s]
    real(wp), intent(in) :: before(kbdim, klev), tendency(kbdim, klev)
    real(wp), intent(inout) :: now(kbdim, klev)
    integer :: i, k

    do k = 1, klev
      do i = 1, kproma
        now(i, k) = before(i, k) + tendency(i, k)*timestep
      end do
    end do
  end subroutine advance

  pure subroutine borrow(kproma, kbdim, klev, air_mass, before, now, added, negatives)
    !! Fill negative values of one tracer from the layer below; what the lowest layer still lacks is
    !! added, and told. Rounding is filled too, but not counted.
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: air_mass(kbdim, klev)
    !! [kg m-2]
    real(wp), intent(in) :: before(kbdim, klev)
    !! x(t-1), the measure of rounding
    real(wp), intent(inout) :: now(kbdim, klev)
    real(wp), intent(inout) :: added(kbdim)
    !! Per area; grows [kg m-2 or m-2]
    integer, intent(inout) :: negatives
    !! Grows by the values below zero
    integer :: i, k

    if (all(now(:kproma, :) >= 0.0_wp)) return
    do k = 1, klev
      do i = 1, kproma
        if (now(i, k) >= 0.0_wp) cycle
        if (-now(i, k) > round_off*maxval(before(i, :))) negatives = negatives + 1
        if (k < klev) then
          now(i, k + 1) = now(i, k + 1) + now(i, k)*air_mass(i, k)/air_mass(i, k + 1)
        else
          added(i) = added(i) - now(i, k)*air_mass(i, k)
        end if
        now(i, k) = 0.0_wp
      end do
    end do
  end subroutine borrow
end module host_tracers
