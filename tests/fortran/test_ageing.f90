program test_ageing
  !! Ageing of insoluble modes: section 14 of the contract with the numbers of its section 18.3.
  use m7_ageing, only: age, coating
  use m7_config, only: m7_config_type, profile_ham2, profile_m7_2004
  use m7_kinds, only: lanes, wp
  use m7_modes, only: as, bc_ki, bc_ks, ci, cs, du_ai, du_as, du_ci, du_cs, ki, ks, mode_name, &
    n_mass, n_mode, oc_ki, oc_ks
  use m7_split, only: aged_bc_ki, aged_du_ai, aged_du_ci, aged_num_ki, aged_oc_ki, n_split
  use test_cells, only: defaults
  use test_support, only: tests_type, value, word
  implicit none (type, external)

  ! Radius of KI, AI, CI, (sigma) -> molecules of a coating
  character(30), parameter :: lines(ki:ci) = [character(30) :: &
    '1e-6 (σ1.59) 8.08353564e3', &
    '1e-5 (1.59) 8.08353564e5', &
    '1e-4 (2.0) 1.37444748e8']
  integer, parameter :: from(4) = [bc_ki, oc_ki, du_ai, du_ci], to(4) = [bc_ks, oc_ks, du_as, du_cs]
  integer, parameter :: partner(ki:ci) = [ks, as, cs]
  integer, parameter :: split(4) = [aged_bc_ki, aged_oc_ki, aged_du_ai, aged_du_ci]

  type(tests_type) :: tests
  type(m7_config_type) :: older, later
  real(wp) :: coat(lanes, ki:ci), mass(lanes, n_mass), moved(lanes, n_split)
  real(wp) :: number(lanes, n_mode), radius(lanes, n_mode), start(lanes, n_mode)
  real(wp) :: start_mass(lanes, n_mass), sulfate(lanes, ki:ci)
  integer :: i, k

  older = defaults(profile_m7_2004)
  later = defaults(profile_ham2)
  radius = 0.0_wp
  call coating(later, radius, coat)
  call tests%that('nothing to coat', all(abs(coat) <= 0.0_wp))
  do k = ki, ci
    radius(:, k) = value(word(lines(k), 1))
  end do
  call coating(later, radius, coat)
  do k = ki, ci
    call tests%printed('coating at '//lines(k), coat(lanes, k), word(lines(k), 2))
  end do

  ! Sulfate for a share of the particles, from none to more than enough.
  do i = 0, 15
    call check_share(later, 0.1_wp*i)
    call check_share(older, 0.1_wp*i)
  end do
  call check_few(1.0e-5_wp, 1.0_wp)
  call check_few(0.99e-5_wp, 0.0_wp)
  call check_no_surface()
  call check_after_coagulation()
  call tests%finish()

contains

  subroutine prepare(each)
    !! As many particles in all modes, before and after coagulation.
    real(wp), intent(in) :: each
    integer :: i

    number = each
    mass = spread([(0.1_wp*each*i, i=1, n_mass)], 1, lanes)
    start = number
    start_mass = mass
    moved = 0.0_wp
  end subroutine prepare

  subroutine check_share(config, share)
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: share
    integer :: i, k
    real(wp) :: aged

    call prepare(10.0_wp)
    sulfate = share*number(:, ki:ci)*coat
    call age(config, coat, sulfate, start, start_mass, mass, number, moved)
    aged = min(share, 1.0_wp)
    do k = ki, ci
      call tests%close('aged '//mode_name(k), moved(lanes, aged_num_ki + k - ki), 10.0_wp*aged, &
        1.0e-14_wp)
      call tests%that('left '//mode_name(k), &
        abs(number(lanes, k) - 10.0_wp*(1.0_wp - aged)) <= 1.0e-14_wp)
      call tests%close('become '//mode_name(partner(k)), number(lanes, partner(k)), &
        10.0_wp*(1.0_wp + aged), 1.0e-14_wp)
      if (share > 1.0_wp) call tests%close('none left', number(lanes, k), 0.0_wp, 0.0_wp)
    end do
    do i = 1, size(from)
      call tests%close('mass aged', moved(lanes, split(i)), aged*start_mass(lanes, from(i)), &
        1.0e-14_wp)
      call tests%that('mass left', abs(mass(lanes, from(i)) &
        - (1.0_wp - aged)*start_mass(lanes, from(i))) <= 1.0e-14_wp*start_mass(lanes, from(i)))
      call tests%close('mass gained', mass(lanes, to(i)), &
        start_mass(lanes, to(i)) + aged*start_mass(lanes, from(i)), 1.0e-14_wp)
      if (share > 1.0_wp) call tests%close('no mass left', mass(lanes, from(i)), 0.0_wp, 0.0_wp)
    end do
  end subroutine check_share

  subroutine check_few(each, share)
    !! Below a threshold particles do not age.
    real(wp), intent(in) :: each, share

    call prepare(each)
    sulfate = 2.0_wp*number(:, ki:ci)*coat
    call age(later, coat, sulfate, start, start_mass, mass, number, moved)
    call tests%that('few particles', all(abs(number(:, ki:ci) - (1.0_wp - share)*each) <= 0.0_wp))
  end subroutine check_few

  subroutine check_no_surface()
    real(wp), parameter :: none(lanes, ki:ci) = 0.0_wp

    call prepare(10.0_wp)
    sulfate = 1.0e6_wp
    call age(later, none, sulfate, start, start_mass, mass, number, moved)
    call tests%that('no surface, no ageing', &
      all(abs(number - start) <= 0.0_wp) .and. all(abs(mass - start_mass) <= 0.0_wp))
  end subroutine check_no_surface

  subroutine check_after_coagulation()
    !! KI has lost two of ten particles with their mass; sulfate would coat nine. Eight age, with
    !! their mean mass before coagulation; m7_2004 moves the mass of nine, as far as there is any.
    real(wp) :: each

    call prepare(10.0_wp)
    each = start_mass(1, bc_ki)/10.0_wp
    number(:, ki) = 8.0_wp
    mass(:, bc_ki) = 8.5_wp*each
    sulfate = 0.9_wp*start(:, ki:ci)*coat
    call age(later, coat, sulfate, start, start_mass, mass, number, moved)
    call tests%close('all eight age', number(lanes, ki), 0.0_wp, 0.0_wp)
    call tests%close('with their mass', moved(lanes, aged_bc_ki), 8.0_wp*each, 1.0e-14_wp)
    call prepare(10.0_wp)
    number(:, ki) = 8.0_wp
    mass(:, bc_ki) = 8.5_wp*each
    call age(older, coat, sulfate, start, start_mass, mass, number, moved)
    call tests%close('all eight age in 2004', number(lanes, ki), 0.0_wp, 0.0_wp)
    call tests%close('with all mass', mass(lanes, bc_ki), 0.0_wp, 0.0_wp)
  end subroutine check_after_coagulation
end program test_ageing
