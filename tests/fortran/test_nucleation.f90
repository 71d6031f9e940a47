program test_nucleation
  !! Nucleation: sections 10.1 to 10.3 of the contract with the numbers of its section 18.4.
  use m7_config, only: m7_config_type, nucleation_none, nucleation_vehkamaki2002, &
    organic_activation, organic_kinetic, profile_ham2, profile_m7_2004
  use m7_kinds, only: lanes, wp
  use m7_nucleation, only: nucleate, vehkamaki
  use m7_split, only: n_split, nucleated_num, nucleated_so4
  use test_cells, only: defaults
  use test_support, only: tests_type, value, word
  implicit none (type, external)

  ! T, S, N -> rate, H2SO4 per new particle
  character(60), parameter :: lines(17) = [character(60) :: &
    '298.15 0.382 1e10 5.9296516e+00 9.3216531', &
    '298.15 0.523 1e10 2.7221931e+02 7.7100758', &
    '236.00 0.55 1e6 3.43288624e-03 4.36078020', &
    '236.00 0.55 1e7 1.66812653e+02 2.75751168', &
    '236.00 0.55 1e8 4.06727810e+05 1.81634564', &
    '236.00 0.55 1e9 0', &
    '220.00 0.10 1e7 2.09096547e+03 1.90222197', &
    '220.00 0.55 1e7 9.98005060e+03 1.47511125', &
    '220.00 0.55 1e8 0', &
    '250.00 0.55 1e8 7.43895676e+03 3.10424095', &
    '250.00 0.90 1e9 5.67793191e+07 1.78813169', &
    '250.00 0.55 1e10 1e10 (cap) 1.30003285', &
    '273.15 0.55 1e8 7.65828220e-05 8.87657413', &
    '273.15 0.55 1e9 6.15221281e+03 4.78214748', &
    '273.15 0.90 1e10 6.84807374e+08 2.43075272', &
    '298.15 0.55 1e10 4.89230025e+02 7.47969164', &
    '298.15 0.90 1e9 1.57146470e-04 10.2241071']

  type :: air_type
    !! A cell before nucleation.
    real(wp) :: cloud = 0.0_wp, forest = 0.0_wp, boundary_layer = 1.0_wp, sink = 0.0_wp
    real(wp) :: timestep = 1.0e3_wp
  end type air_type

  type(tests_type) :: tests
  type(m7_config_type) :: older, later
  integer :: i
  real(wp) :: gas, molecules, new, rate, sulfate

  older = defaults(profile_m7_2004)
  later = defaults(profile_ham2)
  do i = 1, size(lines)
    call check_line(later, lines(i))
    call check_line(older, lines(i))
  end do
  call check_cold()
  call check_range()
  ! Over a timestep, with the rate at 236 K, S 0.55 and N 1e7.
  rate = value(word(lines(4), 4))
  molecules = value(word(lines(4), 5))
  call check_older_step()
  call check_later_step()
  call check_organic()
  call tests%finish()

contains

  subroutine check_cold()
    !! At 200 K the critical cluster is too small, from 1e6 cm-3 on: in any air,
    !! says the contract;
    !! its polynomials say from about 0.5 % relative humidity on.
    integer :: i, j
    real(wp) :: rate, molecules

    do i = 6, 11
      do j = -2, 0
        call at(later, 200.0_wp, 10.0_wp**j, 10.0_wp**i, rate, molecules)
        call tests%that('none at 200 K', abs(rate) <= 0.0_wp .and. abs(molecules) <= 0.0_wp)
      end do
    end do
  end subroutine check_cold

  subroutine check_range()
    !! Outside the fit ham2 goes on as at its edge, m7_2004 stops, but not above S or N.
    real(wp), parameter :: outside(3, 6) = reshape([ &
      190.14_wp, 0.5_wp, 1.0e5_wp, 300.16_wp, 0.5_wp, 1.0e11_wp, 236.0_wp, 0.9e-4_wp, 1.0e9_wp, &
      195.0_wp, 0.9_wp, 0.9e4_wp, 270.0_wp, 1.1_wp, 1.0e9_wp, 290.0_wp, 0.7_wp, 2.0e11_wp], [3, 6])
    !! T, S and N
    logical, parameter :: stops(6) = [.true., .true., .true., .true., .false., .false.]
    integer :: i
    real(wp) :: expected, molecules, rate, t, s, n

    do i = 1, 6
      t = min(max(outside(1, i), 190.15_wp), 300.15_wp)
      s = min(max(outside(2, i), 1.0e-4_wp), 1.0_wp)
      n = min(max(outside(3, i), 1.0e4_wp), 1.0e11_wp)
      call at(later, t, s, n, expected, molecules)
      call at(later, outside(1, i), outside(2, i), outside(3, i), rate, molecules)
      call tests%close('ham2 outside the range', rate, expected, 0.0_wp)
      if (stops(i)) expected = 0.0_wp
      call at(older, outside(1, i), outside(2, i), outside(3, i), rate, molecules)
      call tests%close('m7_2004 outside the range', rate, expected, 0.0_wp)
    end do
  end subroutine check_range

  subroutine check_older_step()
    type(air_type) :: air

    air = air_type(timestep=1.0e3_wp)
    call form(older, air, 1.0e7_wp, gas, sulfate, new)
    call tests%close('m7_2004: sulfate', sulfate, rate*molecules*1.0e3_wp, 1.0e-8_wp)
    call tests%close('m7_2004: number', new, rate*1.0e3_wp, 1.0e-8_wp)
    call tests%close('m7_2004: gas', gas, 1.0e7_wp - sulfate, 1.0e-15_wp)
    air = air_type(timestep=1.0e5_wp, cloud=0.9_wp)
    call form(older, air, 1.0e7_wp, gas, sulfate, new)
    call tests%close('m7_2004: all gas at most', sulfate, 1.0e7_wp, 0.0_wp)
    call tests%close('m7_2004: in as many particles', new, 1.0e7_wp/molecules, 1.0e-8_wp)
    call tests%close('m7_2004: leaves nothing', gas, 0.0_wp, 0.0_wp)
  end subroutine check_older_step

  subroutine check_later_step()
    type(air_type) :: air

    air = air_type(timestep=1.0e3_wp, sink=2.0e-3_wp)
    call form(later, air, 1.0e7_wp, gas, sulfate, new)
    call tests%close('ham2: sulfate', sulfate, rate*molecules*1.0e3_wp/3.0_wp, 1.0e-8_wp)
    call tests%close('ham2: number', new, rate*1.0e3_wp/3.0_wp, 1.0e-8_wp)
    air = air_type(timestep=1.0e3_wp, cloud=0.75_wp)
    call form(later, air, 0.25e7_wp, gas, sulfate, new)
    call tests%close('ham2: clear part', sulfate, 0.25e3_wp*rate*molecules, 1.0e-8_wp)
    call tests%close('ham2: its gas', gas, 0.25e7_wp - sulfate, 1.0e-15_wp)
    air = air_type(timestep=1.0e5_wp, cloud=0.75_wp)
    call form(later, air, 0.25e7_wp, gas, sulfate, new)
    call tests%close('ham2: all gas at most', sulfate, 0.25e7_wp, 0.0_wp)
    call tests%close('ham2: leaves nothing', gas, 0.0_wp, 0.0_wp)
    air = air_type(cloud=1.0_wp)
    call form(later, air, 1.0e7_wp, gas, sulfate, new)
    call tests%that('ham2: not in clouds', abs(sulfate) + abs(new) <= 0.0_wp)
    call tests%close('ham2: gas stays in clouds', gas, 1.0e7_wp, 0.0_wp)
  end subroutine check_later_step

  subroutine check_organic()
    !! Organic vapours alone, then with sulfuric acid.
    type(air_type) :: air

    air = air_type(forest=0.5_wp)
    later%nucleation = nucleation_none
    call form(later, air, 1.0e7_wp, gas, sulfate, new)
    call tests%that('no nucleation', abs(sulfate) + abs(new) <= 0.0_wp)
    later%organic_nucleation = organic_activation
    call form(later, air, 1.0e7_wp, gas, sulfate, new)
    call tests%close('activation: sulfate', sulfate, 5.0_wp*1.0e3_wp, 1.0e-14_wp)
    call tests%close('activation: number', new, 5.0_wp*1.0e3_wp, 1.0e-14_wp)
    air%sink = 1.0e-3_wp
    call form(later, air, 1.0e7_wp, gas, sulfate, new)
    call tests%close('activation beside a sink', new, 2.5_wp*1.0e3_wp, 1.0e-14_wp)
    later%organic_nucleation = organic_kinetic
    air = air_type(forest=0.5_wp)
    call form(later, air, 1.0e7_wp, gas, sulfate, new)
    call tests%close('kinetic: sulfate', sulfate, 3.86e4_wp, 1.0e-14_wp)
    call tests%close('kinetic: number', new, 1.93e4_wp, 1.0e-14_wp)
    air = air_type(forest=0.5_wp, boundary_layer=0.0_wp)
    call form(later, air, 1.0e7_wp, gas, sulfate, new)
    call tests%that('none above the boundary layer', abs(sulfate) + abs(new) <= 0.0_wp)
    later%nucleation = nucleation_vehkamaki2002
    air = air_type(forest=0.5_wp)
    call form(later, air, 1.0e7_wp, gas, sulfate, new)
    call tests%close('both: sulfate', sulfate, 1.0e3_wp*(rate*molecules + 38.6_wp), 1.0e-8_wp)
    call tests%close('both: number', new, 1.0e3_wp*(rate + 19.3_wp), 1.0e-8_wp)
    older%organic_nucleation = organic_kinetic
    call form(older, air, 1.0e7_wp, gas, sulfate, new)
    call tests%close('m7_2004 knows no organic vapours', new, rate*1.0e3_wp, 1.0e-8_wp)
  end subroutine check_organic

  subroutine at(config, temperature, saturation, number, rate, molecules)
    !! One point of the fit.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: temperature, saturation, number
    real(wp), intent(out) :: rate, molecules
    real(wp) :: rates(lanes), many(lanes)

    call vehkamaki(config, spread(temperature, 1, lanes), spread(saturation, 1, lanes), &
      spread(number, 1, lanes), rates, many)
    rate = rates(lanes)
    molecules = many(lanes)
  end subroutine at

  subroutine check_line(config, line)
    type(m7_config_type), intent(in) :: config
    character(*), intent(in) :: line
    real(wp) :: rate, molecules

    call at(config, value(word(line, 1)), value(word(line, 2)), value(word(line, 3)), rate, &
      molecules)
    call tests%printed(trim(line)//': rate', rate, word(line, 4))
    if (word(line, 5) == '') then
      call tests%close(trim(line)//': molecules', molecules, 0.0_wp, 0.0_wp)
    else
      call tests%printed(trim(line)//': molecules', molecules, word(line, 5))
    end if
  end subroutine check_line

  subroutine form(config, air, gas_before, gas, sulfate, number)
    !! Nucleation in `air` at 236 K and S 0.55.
    type(m7_config_type), intent(in) :: config
    type(air_type), intent(in) :: air
    real(wp), intent(in) :: gas_before
    real(wp), intent(out) :: gas, sulfate, number
    real(wp) :: gases(lanes), moved(lanes, n_split)

    gases = gas_before
    moved = 0.0_wp
    call nucleate(config, air%timestep, spread(236.0_wp, 1, lanes), spread(0.55_wp, 1, lanes), &
      spread(air%cloud, 1, lanes), spread(0.0_wp, 1, lanes), spread(air%forest, 1, lanes), &
      spread(air%boundary_layer, 1, lanes), spread(air%sink, 1, lanes), gases, moved)
    gas = gases(lanes)
    sulfate = moved(lanes, nucleated_so4)
    number = moved(lanes, nucleated_num)
  end subroutine form
end program test_nucleation
