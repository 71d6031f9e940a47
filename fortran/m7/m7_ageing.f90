module m7_ageing
  !! Ageing of insoluble modes by a coating of sulfate: section 14 of the physics contract.
  use m7_config, only: m7_config_type, profile_m7_2004
  use m7_kinds, only: lanes, wp
  use m7_modes, only: ai, as, bc_ki, bc_ks, ci, cs, du_ai, du_as, du_ci, du_cs, ki, ks, ln_sigma, &
    n_mass, n_mode, oc_ki, oc_ks
  use m7_split, only: aged_bc_ki, aged_du_ai, aged_du_ci, aged_num_ki, aged_oc_ki, n_split
  implicit none (type, external)
  private
  public :: age, coating

  real(wp), parameter :: layers = 1.0_wp
  !! Monolayers that make a particle soluble [1]
  real(wp), parameter :: cross_section = 2.39e-15_wp
  !! Of an H2SO4 molecule [cm2]
  real(wp), parameter :: coating_min = 2.2e-16_wp

  real(wp), parameter :: surface_factor(n_mode) = exp(2.0_wp*ln_sigma**2)
  !! Square of radius of average surface over count median radius (section 4) [1]

  integer, parameter :: n_aged = 4
  integer, parameter :: aged_mode(n_aged) = [ki, ki, ai, ci]
  integer, parameter :: aged_from(n_aged) = [bc_ki, oc_ki, du_ai, du_ci]
  integer, parameter :: aged_to(n_aged) = [bc_ks, oc_ks, du_as, du_cs]
  integer, parameter :: aged_split(n_aged) = [aged_bc_ki, aged_oc_ki, aged_du_ai, aged_du_ci]
  integer, parameter :: soluble_partner(ki:ci) = [ks, as, cs]

contains

  pure subroutine coating(config, radius, coat)
    !! H2SO4 molecules that coat the mean insoluble particle of each mode.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: radius(lanes, n_mode)
    !! [cm]
    real(wp), intent(out) :: coat(lanes, ki:ci)
    !! [1]
    integer :: i, k
    real(wp) :: surface

    do k = ki, ci
      surface = layers*4.0_wp*config%pi*surface_factor(k)/cross_section
      do i = 1, lanes
        coat(i, k) = surface*radius(i, k)*radius(i, k)
      end do
    end do
  end subroutine coating

  pure subroutine age(config, coat, sulfate, start, start_mass, mass, number, moved)
    !! Particles whose coating is complete join the soluble mode of their size. Nothing is
    !! remembered of a coating that is not.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: coat(lanes, ki:ci)
    !! [1]
    real(wp), intent(in) :: sulfate(lanes, ki:ci)
    !! Condensed on and collected by each mode during the step [molecules cm-3]
    real(wp), intent(in) :: start(lanes, n_mode), start_mass(lanes, n_mass)
    !! Before coagulation: the mean particle that ages [cm-3, ug m-3]
    real(wp), intent(inout) :: mass(lanes, n_mass), number(lanes, n_mode)
    real(wp), intent(inout) :: moved(lanes, n_split)
    integer :: i, j, k, to
    logical :: ages, generous
    real(wp) :: coated(lanes, ki:ci), limit, old

    ! The limited m7_2004 moves the mass of all that could be coated, as far as there is any.
    generous = config%limited_ageing .and. config%profile == profile_m7_2004
    do k = ki, ci
      to = soluble_partner(k)
      do i = 1, lanes
        ages = number(i, k) >= config%ageing_number_min .and. coat(i, k) > coating_min
        coated(i, k) = merge(sulfate(i, k)/merge(coat(i, k), 1.0_wp, ages), 0.0_wp, ages)
        old = min(number(i, k), coated(i, k))
        if (.not. generous) coated(i, k) = old
        moved(i, aged_num_ki + k - ki) = old
        number(i, k) = number(i, k) - old
        number(i, to) = number(i, to) + old
      end do
    end do
    do j = 1, n_aged
      k = aged_mode(j)
      do i = 1, lanes
        limit = merge(mass(i, aged_from(j)), huge(1.0_wp), config%limited_ageing)
        old = start_mass(i, aged_from(j)) &
          *(coated(i, k)/merge(start(i, k), 1.0_wp, coated(i, k) > 0.0_wp))
        old = min(old, limit)
        moved(i, aged_split(j)) = old
        mass(i, aged_from(j)) = mass(i, aged_from(j)) - old
        mass(i, aged_to(j)) = mass(i, aged_to(j)) + old
      end do
    end do
  end subroutine age
end module m7_ageing
