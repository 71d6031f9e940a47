program test_coagulation
  !! Coagulation kernels: section 11 of the contract, limits (18.2) and numbers (18.3).
  use m7_coagulation, only: coagulation_kernels, n_pair, pair_first, pair_index, pair_second
  use m7_config, only: m7_config_type, profile_ham2, profile_m7_2004
  use m7_kinds, only: lanes, wp
  use m7_modes, only: as, ks, n_mode, ns
  use test_cells, only: defaults
  use test_support, only: tests_type, word
  implicit none (type, external)

  ! Pair -> kernel of m7_2004, of ham2
  character(40), parameter :: lines(8) = [character(40) :: &
    'NS-NS 7.13290063e-10 / 7.13331667e-10', &
    'NS-KS 1.51094392e-08 / 1.51514298e-08', &
    'NS-AS 8.83247267e-07 / 9.27796677e-07', &
    'NS-CS 1.49449859e-05 / 1.53412928e-05', &
    'KS-KS 1.97840102e-09 / 2.02719355e-09', &
    'KS-AS 1.51732475e-08 / 1.58587226e-08', &
    'KS-CS 1.64482642e-07 / 1.65961577e-07', &
    'AS-AS 9.88980113e-10 / 1.00594558e-09']
  character(2), parameter :: name(n_mode) = ['NS', 'KS', 'AS', 'CS', 'KI', 'AI', 'CI']
  ! The pairs that collide, a row per mode
  integer, parameter :: collides(n_mode, n_mode) = reshape([ &
    1, 1, 1, 1, 1, 1, 1, &
    1, 1, 1, 1, 1, 1, 1, &
    1, 1, 1, 0, 1, 0, 0, &
    1, 1, 0, 0, 0, 0, 0, &
    1, 1, 1, 0, 1, 0, 0, &
    1, 1, 0, 0, 0, 0, 0, &
    1, 1, 0, 0, 0, 0, 0], [n_mode, n_mode])

  type(tests_type) :: tests
  type(m7_config_type) :: config(2)
  integer :: i
  real(wp), dimension(n_mode) :: density, number, radius

  config = [defaults(profile_m7_2004), defaults(profile_ham2)]
  call check_pairs()
  do i = 1, 2
    radius = [1.0e-7_wp, 1.0e-6_wp, 1.0e-5_wp, 1.0e-4_wp, 1.0e-6_wp, 1.0e-5_wp, 1.0e-4_wp]
    density = 1.5_wp
    number = 1.0_wp
    call check_numbers(config(i), i + 1)
    call check_empty(config(i))
    call check_symmetry(config(i))
    call check_continuum(config(i))
  end do
  call tests%finish()

contains

  function kernels(config) result(kernel)
    !! Of modes of `radius`, `density` and `number` at 288.15 K and 101325 Pa.
    type(m7_config_type), intent(in) :: config
    real(wp) :: blocks(lanes, n_pair), kernel(n_pair)

    call coagulation_kernels(config, spread(101325.0_wp, 1, lanes), spread(288.15_wp, 1, lanes), &
      spread(radius, 1, lanes), spread(density, 1, lanes), spread(number, 1, lanes), blocks)
    kernel = blocks(lanes, :)
  end function kernels

  subroutine check_pairs()
    integer :: pair

    call tests%that('these pairs collide, no others', all((pair_index > 0) .eqv. (collides == 1)))
    do pair = 1, n_pair
      call tests%that('each has its place', &
        pair_index(pair_first(pair), pair_second(pair)) == pair .and. &
        pair_index(pair_second(pair), pair_first(pair)) == pair)
    end do
  end subroutine check_pairs

  subroutine check_numbers(config, column)
    type(m7_config_type), intent(in) :: config
    integer, intent(in) :: column
    !! Of the profile
    character(5), parameter :: pair(7) = &
      ['NS-KI', 'NS-AI', 'NS-CI', 'KS-AI', 'AS-KI', 'KS-KI', 'KI-KI']
    character(5), parameter :: equal(7) = &
      ['NS-KS', 'NS-AS', 'NS-CS', 'KS-AS', 'KS-AS', 'KS-KS', 'KS-KS']
    integer :: i
    real(wp) :: kernel(n_pair)

    kernel = kernels(config)
    do i = 1, size(lines)
      call tests%printed(trim(lines(i)), kernel(place(word(lines(i), 1))), word(lines(i), column))
    end do
    do i = 1, size(pair)
      call tests%close(pair(i)//' is as '//equal(i), kernel(place(pair(i))), &
        kernel(place(equal(i))), 1.0e-15_wp)
    end do
  end subroutine check_numbers

  integer function place(pair)
    !! Among the kernels.
    character(*), intent(in) :: pair

    place = pair_index(findloc(name, pair(1:2), 1), findloc(name, pair(4:5), 1))
  end function place

  subroutine check_empty(config)
    !! A mode without number, radius or density does not collide.
    type(m7_config_type), intent(in) :: config
    integer :: k
    real(wp) :: kernel(n_pair)
    logical :: involved(n_pair)

    do k = 1, n_mode
      involved = pair_first == k .or. pair_second == k
      number(k) = 1.0e-10_wp
      kernel = kernels(config)
      number(k) = 1.0_wp
      call tests%that('no number', all((abs(kernel) <= 0.0_wp) .eqv. involved))
      density(k) = 1.0e-10_wp
      kernel = kernels(config)
      density(k) = 1.5_wp
      call tests%that('no density', all((abs(kernel) <= 0.0_wp) .eqv. involved))
    end do
    radius(ns) = 1.0e-10_wp
    kernel = kernels(config)
    call tests%that('no radius', all((abs(kernel) <= 0.0_wp) .eqv. (pair_first == ns)))
    radius(ns) = 1.0e-7_wp
  end subroutine check_empty

  subroutine check_symmetry(config)
    !! Particles do not know their mode; the larger one of them grows, the faster they collide.
    type(m7_config_type), intent(in) :: config
    integer :: i
    real(wp) :: kernel, last, own

    radius = 1.0e-6_wp
    radius(as) = 3.0e-5_wp
    density(as) = 1.1_wp
    kernel = one(config, ks, as)
    radius = 3.0e-5_wp
    density = 1.1_wp
    radius(as) = 1.0e-6_wp
    density(as) = 1.5_wp
    call tests%close('symmetric', one(config, ks, as), kernel, 1.0e-15_wp)

    density = 1.5_wp
    radius = 1.0e-6_wp
    last = one(config, ks, ks)
    do i = 1, 20
      radius(as) = 1.0e-6_wp*10.0_wp**(0.1_wp*i)
      kernel = one(config, ks, as)
      own = one(config, as, as)
      call tests%that('unlike collide more often than like', kernel > last .and. kernel > own)
      last = kernel
    end do
  end subroutine check_symmetry

  subroutine check_continuum(config)
    !! Large equal particles: 8 k T/(3 eta) times the slip correction, whatever the density.
    type(m7_config_type), intent(in) :: config
    integer :: i
    real(wp) :: knudsen, viscosity

    viscosity = 1.827e-4_wp*(288.15_wp/291.15_wp)**0.74_wp
    do i = 5, 6
      radius = 10.0_wp**i
      knudsen = 6.6e-6_wp*(288.15_wp/293.15_wp)/1.01325_wp/(2.0_wp*radius(1))
      call tests%close('continuum', one(config, ks, ks), &
        8.0_wp*1.38e-16_wp*288.15_wp/(3.0_wp*viscosity)*(1.0_wp + 2.492_wp*knudsen), 1.0e-5_wp)
    end do
  end subroutine check_continuum

  real(wp) function one(config, j, k)
    type(m7_config_type), intent(in) :: config
    integer, intent(in) :: j, k
    real(wp) :: kernel(n_pair)

    kernel = kernels(config)
    one = kernel(pair_index(j, k))
  end function one
end program test_coagulation
