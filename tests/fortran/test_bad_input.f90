program test_bad_input
  !! Bad input has a status of its own and leaves all arrays as they were, bit for bit. Negative
  !! amounts are counted and taken as 0.
  use, intrinsic :: iso_fortran_env, only: int64
  use m7_config, only: m7_config_type, nucleation_kazil_lovejoy2007, profile_ham2
  use m7_kinds, only: wp
  use m7_modes, only: n_prognostic
  use m7_step, only: m7_bad_cloud_fraction, m7_bad_config, m7_bad_gas, m7_bad_humidity, &
    m7_bad_mass, m7_bad_number, m7_bad_option, m7_bad_pressure, m7_bad_production, m7_bad_shape, &
    m7_bad_temperature, m7_bad_timestep, m7_ok
  use test_cells, only: arranged, cells_type, cloud, defaults, gas, humidity, mass_1, &
    n_environment, number_1, pressure, random_cells, same, signalling, temperature
  use test_support, only: same_bits, tests_type
  implicit none (type, external)

  integer, parameter :: kproma = 20
  integer, parameter :: environment_status(n_environment) = [m7_bad_pressure, m7_bad_temperature, &
    m7_bad_humidity, m7_bad_cloud_fraction, m7_bad_production, m7_bad_option, m7_bad_option, &
    m7_bad_option]
  type(tests_type) :: tests
  type(m7_config_type) :: config
  type(cells_type) :: good
  integer :: i, place(kproma + 3, 2)
  real(wp) :: bad(3)

  ! Quiet and signalling NaN, and infinity, made of bits: no arithmetic makes them here.
  bad = [transfer(9221120237041090560_int64, 1.0_wp), signalling(), &
    transfer(9218868437227405312_int64, 1.0_wp)]
  place = 0
  place(:kproma, 1) = [(i, i=1, kproma)]
  place(:kproma, 2) = [(i, i=kproma + 1, 2*kproma)]
  config = defaults(profile_ham2)
  good = arranged(random_cells(2*kproma), place)
  call tests%that('statuses differ', all([m7_ok, m7_bad_config, m7_bad_shape, m7_bad_timestep, &
    m7_bad_pressure, m7_bad_temperature, m7_bad_humidity, m7_bad_cloud_fraction, &
    m7_bad_production, m7_bad_gas, m7_bad_mass, m7_bad_number, m7_bad_option] == [(i, i=0, 12)]))
  call check_not_finite()
  call check_range()
  call check_accepted()
  call check_negatives()
  call check_shape()
  call check_config()
  call check_timestep()
  call tests%finish()

contains

  subroutine check_refused(name, cells, config, status, timestep, columns)
    character(*), intent(in) :: name
    type(cells_type), intent(in) :: cells
    type(m7_config_type), intent(in) :: config
    integer, intent(in) :: status
    real(wp), intent(in), optional :: timestep
    integer, intent(in), optional :: columns
    type(cells_type) :: after
    integer :: last
    real(wp) :: seconds

    seconds = 1800.0_wp
    last = kproma
    if (present(timestep)) seconds = timestep
    if (present(columns)) last = columns
    after = cells
    call after%advance(config, seconds, last)
    call tests%that(name//': status', after%status == status)
    call tests%that(name//': arrays', same(after, cells))
  end subroutine check_refused

  subroutine check_environment(name, k, value)
    !! In the first and in the last column that counts.
    character(*), intent(in) :: name
    integer, intent(in) :: k
    real(wp), intent(in) :: value
    type(cells_type) :: cells

    cells = good
    cells%environment(1, 1, k) = value
    call check_refused(name, cells, config, environment_status(k))
    cells = good
    cells%environment(kproma, 2, k) = value
    call check_refused(name, cells, config, environment_status(k))
  end subroutine check_environment

  subroutine check_not_finite()
    type(cells_type) :: cells
    integer :: b, k, status

    do b = 1, size(bad)
      do k = 1, n_environment
        call check_environment('environment not finite', k, bad(b))
      end do
      do k = 1, n_prognostic
        status = m7_bad_gas
        if (k >= mass_1) status = m7_bad_mass
        if (k >= number_1) status = m7_bad_number
        cells = good
        cells%state(kproma, 2, k) = bad(b)
        call check_refused('state not finite', cells, config, status)
      end do
    end do
  end subroutine check_not_finite

  subroutine check_range()
    call check_environment('no pressure', pressure, 0.0_wp)
    call check_environment('negative pressure', pressure, -1.0e5_wp)
    call check_environment('absolute zero', temperature, 0.0_wp)
    call check_environment('degrees Celsius', temperature, -5.0_wp)
    call check_environment('supersaturated', humidity, 1.1_wp)
    call check_environment('per cent', humidity, 55.0_wp)
    call check_environment('just beyond round-off', humidity, 1.00001_wp)
    call check_environment('drier than dry', humidity, -0.1_wp)
  end subroutine check_range

  subroutine check_accepted()
    !! Round-off of a humidity, and any cloud fraction, are clipped.
    type(cells_type) :: at_edge, beyond

    beyond = good
    at_edge = good
    at_edge%environment(:kproma, 1, humidity) = 1.0_wp
    beyond%environment(:kproma, 1, humidity) = 1.0_wp + 1.0e-7_wp
    at_edge%environment(:kproma, 2, humidity) = 0.0_wp
    beyond%environment(:kproma, 2, humidity) = -1.0e-7_wp
    at_edge%environment(:kproma, 1, cloud) = 0.0_wp
    beyond%environment(:kproma, 1, cloud) = -0.5_wp
    at_edge%environment(:kproma, 2, cloud) = 1.0_wp
    beyond%environment(:kproma, 2, cloud) = 1.5_wp
    call at_edge%advance(config, 1800.0_wp, kproma)
    call beyond%advance(config, 1800.0_wp, kproma)
    call tests%that('round-off is accepted', beyond%status == m7_ok)
    call tests%that('and clipped', all(same_bits(beyond%state, at_edge%state)) &
      .and. all(same_bits(beyond%diagnostic, at_edge%diagnostic)))
  end subroutine check_accepted

  subroutine check_negatives()
    type(cells_type) :: negative, zero

    zero = good
    negative = good
    zero%state(2, 1, gas) = 0.0_wp
    negative%state(2, 1, gas) = -1.0e6_wp
    zero%state(3, 2, mass_1:mass_1 + 4) = 0.0_wp
    negative%state(3, 2, mass_1:mass_1 + 4) = -1.0e-9_wp
    zero%state(3, 2, number_1 + 1:number_1 + 2) = 0.0_wp
    negative%state(3, 2, number_1 + 1:number_1 + 2) = -1.0_wp
    call zero%advance(config, 1800.0_wp, kproma)
    call negative%advance(config, 1800.0_wp, kproma)
    call tests%that('negatives are accepted', negative%status == m7_ok)
    call tests%that('as zeros', all(same_bits(negative%state, zero%state)) &
      .and. all(same_bits(negative%diagnostic, zero%diagnostic)))
    call tests%that('and counted', negative%negatives(2, 1) == 1 .and. &
      negative%negatives(3, 2) == 7 .and. sum(negative%negatives(:kproma, :)) == 8)
    call tests%that('zeros are not', all(zero%negatives(:kproma, :) == 0))
  end subroutine check_negatives

  subroutine check_shape()
    type(cells_type) :: none

    call check_refused('more columns than there are', good, config, m7_bad_shape, &
      columns=kproma + 4)
    call check_refused('no columns', good, config, m7_ok, columns=0)
    none = arranged(random_cells(1), reshape([integer :: ], [3, 0]))
    call none%advance(config, 1800.0_wp)
    call tests%that('no levels', none%status == m7_ok)
  end subroutine check_shape

  subroutine check_config()
    integer :: i
    type(m7_config_type) :: other

    do i = -1, 3, 4
      other = config
      other%profile = i
      call check_refused('profile', good, other, m7_bad_config)
      other = config
      other%water = i
      call check_refused('water', good, other, m7_bad_config)
      other = config
      other%nucleation = i
      call check_refused('nucleation', good, other, m7_bad_config)
      other = config
      other%organic_nucleation = i
      call check_refused('organic nucleation', good, other, m7_bad_config)
    end do
    other = config
    other%nucleation = nucleation_kazil_lovejoy2007
    call check_refused('Kazil and Lovejoy without a table', good, other, m7_bad_config)
    other = config
    other%substeps = -1
    call check_refused('sub-steps', good, other, m7_bad_config)
    other = config
    other%substeps_max = 0
    call check_refused('most sub-steps', good, other, m7_bad_config)
    other = config
    other%tolerance = 0.0_wp
    call check_refused('tolerance', good, other, m7_bad_config)
    other%tolerance = bad(1)
    call check_refused('tolerance not a number', good, other, m7_bad_config)
    other = config
    other%density(2) = 0.0_wp
    call check_refused('density', good, other, m7_bad_config)
    other%density(2) = bad(1)
    call check_refused('density not a number', good, other, m7_bad_config)
    other = config
    other%kappa(5) = -0.1_wp
    call check_refused('kappa', good, other, m7_bad_config)
    other%kappa(5) = bad(1)
    call check_refused('kappa not a number', good, other, m7_bad_config)
  end subroutine check_config

  subroutine check_timestep()
    integer :: b

    call check_refused('no time', good, config, m7_bad_timestep, 0.0_wp)
    call check_refused('back in time', good, config, m7_bad_timestep, -1800.0_wp)
    do b = size(bad), 1, -1
      call check_refused('timestep not finite', good, config, m7_bad_timestep, bad(b))
    end do
  end subroutine check_timestep
end program test_bad_input
