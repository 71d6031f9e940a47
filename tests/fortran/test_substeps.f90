program test_substeps
  !! Sub-steps: equal parts of a timestep, and as many of them as it takes.
  use m7_config, only: m7_config_type, nucleation_none, profile_ham2, profile_m7_2004, water_kappa
  use m7_kinds, only: wp
  use m7_modes, only: as, ks
  use m7_step, only: m7_ok
  use test_cells, only: arranged, cells_type, defaults, gas, humidity, mass_1, number_1, pressure, &
    production, random_cells, temperature
  use test_support, only: same_bits, tests_type
  implicit none (type, external)

  integer, parameter :: n = 400, number_0 = number_1 - 1, so4_0 = mass_1 - 1
  real(wp), parameter :: timestep = 1800.0_wp
  type(tests_type) :: tests
  type(m7_config_type) :: config
  type(cells_type) :: before
  integer :: i

  before = random_cells(n)
  call check_chain(defaults(profile_m7_2004), 'm7_2004')
  call check_chain(defaults(profile_ham2), 'ham2')
  config = defaults(profile_ham2)
  config%water = water_kappa
  call check_chain(config, 'ham2 with kappa-Koehler')
  call check_converged(defaults(profile_m7_2004))
  call check_converged(defaults(profile_ham2))
  call check_order(defaults(profile_m7_2004))
  call check_order(defaults(profile_ham2))
  call check_small_gas(defaults(profile_m7_2004))
  call check_small_gas(defaults(profile_ham2))
  call tests%finish()

contains

  subroutine check_chain(config, name)
    !! Four sub-steps are four steps of a quarter of the time; what moved is their sum.
    type(m7_config_type), intent(in) :: config
    character(*), intent(in) :: name
    type(m7_config_type) :: four
    type(cells_type) :: chain, whole
    real(wp), allocatable :: moved(:, :, :)

    whole = before
    four = config
    four%substeps = 4
    call whole%advance(four, timestep)
    chain = before
    allocate (moved, mold=chain%split)
    do i = 1, 4
      call chain%advance(config, timestep/4)
      if (i == 1) moved = chain%split
      if (i > 1) moved = moved + chain%split
    end do
    call tests%that(name//': state', all(same_bits(whole%state, chain%state)))
    call tests%that(name//': diagnostics', all(same_bits(whole%diagnostic, chain%diagnostic)))
    call tests%that(name//': split', all(same_bits(whole%split, moved)))
    call tests%that(name//': count', all(whole%substeps == 4))
  end subroutine check_chain

  subroutine check_converged(config)
    !! Each cell has the very result of the number of sub-steps that it says it took, and twice as
    !! many change its tendencies little.
    type(m7_config_type), intent(in) :: config
    type(m7_config_type) :: fixed
    type(cells_type) :: cells, converged
    integer :: taken
    logical, allocatable :: mine(:)

    fixed = config
    fixed%substeps = 0
    fixed%tolerance = 0.05_wp
    fixed%substeps_max = 64
    converged = before
    call converged%advance(fixed, timestep)
    call tests%that('converged', converged%status == m7_ok)
    call tests%that('some cells are', any(converged%substeps > 0))
    taken = 2
    do i = 1, 6
      mine = abs(converged%substeps(:, 1)) == taken
      cells = before
      fixed%substeps = taken
      call cells%advance(fixed, timestep)
      call tests%that('as with as many sub-steps', &
        all(spread(.not. mine, 2, number_1 + 6) .or. &
        same_bits(converged%state(:, 1, :), cells%state(:, 1, :))))
      taken = 2*taken
    end do
    call tests%that('no other count', all(abs(converged%substeps) <= 64) &
      .and. all(popcnt(abs(converged%substeps)) == 1) .and. all(abs(converged%substeps) > 1))
    call tests%that('unconverged ones took the most', &
      all(converged%substeps > 0 .or. converged%substeps == -64))
  end subroutine check_converged

  subroutine check_order(config)
    !! Halving the sub-step halves the error, where no threshold is crossed: here gas condenses on
    !! KS and AS particles that collide.
    type(m7_config_type), intent(in) :: config
    integer, parameter :: watched(5) = [gas, so4_0 + ks, so4_0 + as, number_0 + ks, number_0 + as]
    type(m7_config_type) :: finer
    type(cells_type) :: cells(3)
    integer :: k
    real(wp) :: ratio

    finer = config
    finer%nucleation = nucleation_none
    do i = 1, 3
      finer%substeps = 16*2**i
      cells(i) = arranged(before, reshape([1], [1, 1]))
      associate (e => cells(i)%environment(1, 1, :), x => cells(i)%state(1, 1, :))
        e(:) = 0.0_wp
        e(pressure) = 9.0e4_wp
        e(temperature) = 280.0_wp
        e(humidity) = 0.5_wp
        e(production) = 1.0e4_wp
        x(:) = 0.0_wp
        x(gas) = 1.0e8_wp
        x(number_0 + ks) = 1.0e3_wp
        x(so4_0 + ks) = 1.0e8_wp
        x(number_0 + as) = 50.0_wp
        x(so4_0 + as) = 5.0e9_wp
      end associate
      call cells(i)%advance(finer, 3600.0_wp)
    end do
    do k = 1, size(watched)
      ratio = (cells(2)%state(1, 1, watched(k)) - cells(1)%state(1, 1, watched(k))) &
        /(cells(3)%state(1, 1, watched(k)) - cells(2)%state(1, 1, watched(k)))
      call tests%close('first order', ratio, 2.0_wp, 0.03_wp)
    end do
  end subroutine check_order

  subroutine check_small_gas(config)
    !! Other processes take no more gas than there is, in however many sub-steps.
    type(m7_config_type), intent(in) :: config
    type(m7_config_type) :: finer
    type(cells_type) :: cells
    integer :: k

    finer = config
    do k = 0, 3
      finer%substeps = 2**k
      cells = before
      cells%environment(:, 1, production) = -cells%state(:, 1, gas) &
        *[(10.0_wp**(modulo(i, 9) - 7), i=1, n)]
      call cells%advance(finer, timestep)
      call tests%that('nothing negative', cells%status == m7_ok .and. all(cells%state >= 0.0_wp))
    end do
  end subroutine check_small_gas
end program test_substeps
