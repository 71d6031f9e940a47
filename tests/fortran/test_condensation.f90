program test_condensation
  !! Condensation of H2SO4: section 9 of the contract, its limits (18.2) and its numbers (18.3).
  use, intrinsic :: iso_fortran_env, only: real128
  use m7_condensation, only: condensation_sink, condense
  use m7_config, only: m7_config_type, profile_ham2, profile_m7_2004
  use m7_kinds, only: lanes, wp
  use m7_modes, only: as, ci, cs, ki, ks, n_mode, ns
  use m7_split, only: condensed, n_split
  use test_cells, only: defaults
  use test_support, only: near, tests_type, value, word
  implicit none (type, external)

  ! Radius -> sink per particle at accommodation 1, at 0.3
  character(40), parameter :: sink_lines(4) = [character(40) :: &
    '1e-7 7.83434049e-10 / 2.35051503e-10', &
    '1e-6 7.74175466e-08 / 2.34211127e-08', &
    '1e-5 4.84088322e-06 / 1.98267386e-06', &
    '1e-4 8.00514908e-05 / 6.46415968e-05']

  type(tests_type) :: tests
  type(m7_config_type) :: older, later
  integer :: i

  older = defaults(profile_m7_2004)
  later = defaults(profile_ham2)
  do i = 1, size(sink_lines)
    call check_sink(sink_lines(i))
  end do
  call check_limits(later)
  call check_euler()
  call check_exact()
  call check_cloud()
  call tests%finish()

contains

  function sink_of(config, radius, number, pressure) result(sink)
    !! At 288.15 K, all modes alike.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: radius, number, pressure
    real(wp) :: radii(lanes, n_mode), numbers(lanes, n_mode), sinks(lanes, n_mode), sink(n_mode)

    radii = radius
    numbers = number
    call condensation_sink(config, spread(pressure, 1, lanes), spread(288.15_wp, 1, lanes), radii, &
      numbers, sinks)
    sink = sinks(lanes, :)
  end function sink_of

  subroutine check_sink(line)
    character(*), intent(in) :: line
    real(wp) :: sink(n_mode)
    integer :: k

    sink = sink_of(later, value(word(line, 1)), 1.0_wp, 101325.0_wp)
    do k = ns, ci
      call tests%printed('sink at radius '//trim(line), sink(k), word(line, merge(2, 3, k <= cs)))
    end do
    call tests%that('twice the particles, twice the sink', all(near( &
      sink_of(later, value(word(line, 1)), 2.0_wp, 101325.0_wp), 2.0_wp*sink, 1.0e-15_wp)))
  end subroutine check_sink

  subroutine check_limits(config)
    !! pi r2 c alpha N where molecules fly freely, 4 pi D r N in the continuum.
    type(m7_config_type), intent(in) :: config
    real(wp), parameter :: pi = acos(-1.0_wp)
    real(wp), parameter :: alpha(n_mode) = [1.0_wp, 1.0_wp, 1.0_wp, 1.0_wp, 0.3_wp, 0.3_wp, 0.3_wp]
    real(wp) :: diffusivity, speed

    speed = sqrt(8.0_wp*8.314e7_wp*288.15_wp/(pi*98.0734_wp))
    call tests%that('free molecules', all(near(sink_of(config, 1.0e-6_wp, 1.0e3_wp, 10.0_wp), &
      pi*1.0e-12_wp*speed*alpha*1.0e3_wp, 1.0e-8_wp)))
    diffusivity = 0.073_wp*(1000.0_wp/1013.25_wp)*(288.15_wp/298.15_wp)**1.5_wp
    call tests%that('continuum', all(near(sink_of(config, 1.0e3_wp, 1.0e-6_wp, 101325.0_wp), &
      4.0_wp*pi*diffusivity*1.0e3_wp*1.0e-6_wp, 1.0e-6_wp)))
    call tests%that('no particle, no sink', &
      all(abs(sink_of(config, 1.0e-6_wp, 0.0_wp, 1.0e5_wp)) <= 0.0_wp))
    call tests%that('no radius, no sink', &
      all(abs(sink_of(config, 0.0_wp, 1.0e3_wp, 1.0e5_wp)) <= 0.0_wp))
  end subroutine check_limits

  subroutine condense_on(config, timestep, cloud_fraction, production, sink, gas, amount)
    !! One cell in all lanes.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep, cloud_fraction, production, sink(n_mode)
    real(wp), intent(inout) :: gas
    real(wp), intent(out) :: amount(n_mode)
    real(wp) :: gases(lanes), moved(lanes, n_split), total(lanes)

    gases = gas
    moved = 0.0_wp
    call condense(config, timestep, spread(cloud_fraction, 1, lanes), &
      spread(production, 1, lanes), spread(sink, 1, lanes), gases, total, moved)
    gas = gases(lanes)
    amount = moved(lanes, condensed + 1:condensed + n_mode)
    call tests%close('total sink', total(1), sum(sink), 1.0e-15_wp)
  end subroutine condense_on

  subroutine check_euler()
    !! m7_2004: min(CS G dt, 0.95 G), shared by the sinks.
    real(wp), parameter :: sink(n_mode) = &
      [1.0e-5_wp, 2.0e-5_wp, 3.0e-5_wp, 4.0e-5_wp, 5.0e-5_wp, 6.0e-5_wp, 7.0e-5_wp]
    real(wp) :: amount(n_mode), gas

    gas = 1.0e7_wp
    call condense_on(older, 100.0_wp, 0.5_wp, 0.0_wp, sink, gas, amount)
    call tests%that('a short step', all(near(amount, 1.0e9_wp*sink, 1.0e-14_wp)))
    call tests%close('leaves the rest', gas, 1.0e7_wp - 1.0e9_wp*sum(sink), 1.0e-14_wp)
    gas = 1.0e7_wp
    call condense_on(older, 1.0e4_wp, 0.5_wp, 0.0_wp, sink, gas, amount)
    call tests%that('a long step takes 95 %', &
      all(near(amount, 9.5e6_wp*sink/sum(sink), 1.0e-14_wp)))
    call tests%close('and leaves 5 %', gas, 5.0e5_wp, 1.0e-14_wp)
    gas = 1.0e-10_wp
    call condense_on(older, 100.0_wp, 0.0_wp, 0.0_wp, sink, gas, amount)
    call tests%that('hardly any gas stays', all(abs(amount) <= 0.0_wp))
    call tests%close('as it is', gas, 1.0e-10_wp, 0.0_wp)
  end subroutine check_euler

  subroutine check_exact()
    !! ham2: dG/dt = P - CS G, whatever the step, also where other processes remove gas.
    real(wp), parameter :: share(n_mode) = &
      [0.1_wp, 0.0_wp, 0.2_wp, 0.25_wp, 0.15_wp, 0.0_wp, 0.3_wp]
    real(wp), parameter :: production(5) = [0.0_wp, 1.0_wp, 1.0e4_wp, 1.0e6_wp, -2.0e3_wp]
    integer :: i, j
    real(wp) :: amount(n_mode), cs, gas, half
    real(real128) :: exact, gone, q

    do i = -36, 4
      cs = 10.0_wp**(0.25_wp*i)
      do j = 1, size(production)
        gas = 1.0e7_wp
        call condense_on(later, 1800.0_wp, 0.0_wp, production(j), cs*share, gas, amount)
        q = real(production(j), real128)/sum(real(cs*share, real128))
        exact = q + (1.0e7_real128 - q)*exp(-sum(real(cs*share, real128))*1800)
        gone = 1.0e7_real128 + 1800*real(production(j), real128) - exact
        if (exact > 0) then
          call tests%close('gas', gas, real(exact, wp), 1.0e-12_wp)
          call tests%that('condensed', all(near(amount, real(gone, wp)*share, 1.0e-12_wp)))
          half = 1.0e7_wp
          call condense_on(later, 900.0_wp, 0.0_wp, production(j), cs*share, half, amount)
          call condense_on(later, 900.0_wp, 0.0_wp, production(j), cs*share, half, amount)
          call tests%close('two halves make a step', half, gas, 1.0e-12_wp)
        else
          call tests%close('gas that others use up', gas, 0.0_wp, 0.0_wp)
          call tests%close('what is left condenses', sum(amount), &
            1.0e7_wp + 1800.0_wp*production(j), 1.0e-12_wp)
        end if
      end do
    end do
    gas = 1.0e7_wp
    call condense_on(later, 1800.0_wp, 0.5_wp, 1.0e4_wp, 1.0e-10_wp*share, gas, amount)
    call tests%that('no sink to speak of', all(abs(amount) <= 0.0_wp))
    call tests%close('is production alone', gas, 2.8e7_wp, 1.0e-15_wp)
  end subroutine check_exact

  subroutine check_cloud()
    !! ham2: the cloudy share, with what is produced in it, joins the largest soluble mode there is,
    !! the largest insoluble one where there is none.
    integer, parameter :: order(n_mode) = [cs, as, ks, ns, ci, 6, ki]
    integer :: i
    real(wp) :: amount(n_mode), clear(n_mode), clear_gas, gas, sink(n_mode)

    sink = [1.0e-5_wp, 2.0e-5_wp, 3.0e-5_wp, 4.0e-5_wp, 5.0e-5_wp, 6.0e-5_wp, 7.0e-5_wp]
    do i = 1, n_mode
      clear_gas = 1.0e7_wp
      call condense_on(later, 1800.0_wp, 0.0_wp, 1.0e3_wp, sink, clear_gas, clear)
      gas = 1.0e7_wp
      call condense_on(later, 1800.0_wp, 0.4_wp, 1.0e3_wp, sink, gas, amount)
      clear = 0.6_wp*clear
      clear(order(i)) = clear(order(i)) + 0.4_wp*(1.0e7_wp + 1.8e6_wp)
      call tests%that('clear and cloudy part', all(near(amount, clear, 1.0e-14_wp)))
      call tests%close('gas of the clear part', gas, 0.6_wp*clear_gas, 1.0e-14_wp)
      sink(order(i)) = 0.0_wp
    end do
  end subroutine check_cloud
end program test_condensation
