program test_water
  !! Water uptake: sections 8.1 to 8.3 of the contract with the numbers of its section 18.3.
  use m7_config, only: m7_config_type, profile_ham2
  use m7_kinds, only: lanes, wp
  use m7_modes, only: as, cs, ks, n_mass, n_mode, n_soluble, so4_ks, ss_as
  use m7_properties, only: particle_properties
  use m7_water, only: binary_molality, molar_mass_h2so4, n_salt, n_solution, sea_salt_dry, &
    sea_salt_wet, solution_terms, sulfuric_solution
  use test_cells, only: defaults
  use test_support, only: near, tests_type, value, word
  implicit none (type, external)

  ! n, RH, T, p -> weight-%, density of the solution, dry and wet radius
  character(80), parameter :: sulfuric_lines(9) = [character(80) :: &
    '1e3 0.50 280 90000 48.06777047 1.39200970 2.00198406e-07 2.80530314e-07', &
    '1e5 0.50 280 90000 43.17199320 1.34567468 9.29238688e-07 1.36489053e-06', &
    '1e7 0.50 280 90000 42.53421689 1.33530709 4.31314392e-06 6.38320335e-06', &
    '1e7 0.20 280 90000 58.07961387 1.48116235 4.31314392e-06 5.55822877e-06', &
    '1e7 0.90 280 90000 14.73427024 1.10168431 4.31314392e-06 9.69058393e-06', &
    '1e7 0.50 250 50000 36.75132247 1.30554176 4.31314392e-06 6.75238659e-06', &
    '1e9 0.70 230 30000 20.81832314 1.17382061 2.00198406e-05 3.92460591e-05', &
    '1e7 0.01 280 90000 67.68628456 1.62116302 4.31314392e-06 5.12510488e-06', &
    '1e7 0.99 300 100000 17.36874058 1.10944609 4.31314392e-06 9.15209180e-06']
  ! Water activity -> NaCl, Na2SO4, H2SO4
  character(40), parameter :: molality_lines(9) = [character(40) :: &
    '0.45 13.18011207 6.41672676 8.78477643', &
    '0.50 11.49775776 13.06381959 8.00460340', &
    '0.60 8.84689348 8.48399410 6.46614572', &
    '0.70 7.01084811 6.31418448 5.07813364', &
    '0.80 5.13450006 4.79741956 3.79226459', &
    '0.90 2.86699553 3.21445592 2.26894889', &
    '0.95 1.45358628 1.70713589 1.35171602', &
    '0.98 0.62164445 0.64395216 0.80116035', &
    '1.00 0.19324816 0.13616100 0.47020506']
  ! Growth factor, (relative humidity)
  character(20), parameter :: growth_lines(6) = [character(20) :: &
    '1.0000 (0.44)', &
    '1.561947 (0.45)', &
    '2.405604 (0.90)', &
    '3.927687 (0.98)', &
    '4.591271 (0.99)', &
    '5.775947 (1.00)']

  type(tests_type) :: tests
  type(m7_config_type) :: config
  integer :: i
  real(wp) :: mass(lanes, n_mass), number(lanes, n_mode), solution(lanes, n_solution)
  real(wp) :: dry(lanes, n_soluble), wet(lanes, n_mode), ambient(lanes, n_mode)
  real(wp) :: humidity(lanes), water(lanes, n_soluble)

  config = defaults(profile_ham2)
  do i = 1, size(sulfuric_lines)
    call check_sulfuric(sulfuric_lines(i))
  end do
  do i = 1, size(molality_lines)
    call check_molality(molality_lines(i))
  end do
  do i = 1, size(growth_lines)
    call check_growth(growth_lines(i))
  end do
  call check_weight_percent_floor()
  call check_ion_pairs()
  call tests%finish()

contains

  subroutine properties(temperature, pressure)
    !! Of the modes in `mass` and `number` at `humidity`.
    real(wp), intent(in) :: temperature, pressure
    real(wp) :: everywhere(lanes), virtual(lanes)

    everywhere = temperature
    virtual = 0.0_wp
    call solution_terms(spread(pressure, 1, lanes), everywhere, humidity, solution)
    call particle_properties(config, everywhere, humidity, solution, mass, number, virtual, wet, &
      dry, ambient, water)
  end subroutine properties

  subroutine check_sulfuric(line)
    !! The solution, and a KS mode of such particles.
    character(*), intent(in) :: line
    real(wp) :: molecules, percent(lanes), density(lanes)

    molecules = value(word(line, 1))
    humidity = value(word(line, 2))
    number = 0.0_wp
    number(:, ks) = 2.0_wp
    mass = 0.0_wp
    mass(:, so4_ks) = 2.0_wp*molecules
    call properties(value(word(line, 3)), value(word(line, 4)))
    call sulfuric_solution(solution, spread(molecules, 1, lanes), 0.0_wp, percent, density)
    call tests%printed(trim(line)//': weight-%', percent(lanes), word(line, 5))
    call tests%printed(trim(line)//': density', density(lanes), word(line, 6))
    call tests%printed(trim(line)//': dry radius', dry(lanes, ks), word(line, 7))
    call tests%printed(trim(line)//': wet radius', wet(lanes, ks), word(line, 8))
    call tests%printed(trim(line)//': ambient density', ambient(lanes, ks), word(line, 6))
    ! 1e3 kg m-3 per g cm-3
    call tests%close(trim(line)//': water', water(lanes, ks), &
      (100.0_wp/value(word(line, 5)) - 1.0_wp)*molecules*2.0e3_wp*98.0734_wp/6.02214e23_wp, &
      1.0e-8_wp)
  end subroutine check_sulfuric

  subroutine check_molality(line)
    character(*), intent(in) :: line
    real(wp) :: molality(lanes, n_salt)

    call binary_molality(spread(value(word(line, 1)), 1, lanes), molality)
    call tests%printed(trim(line)//': NaCl', molality(lanes, 1), word(line, 2))
    call tests%printed(trim(line)//': Na2SO4', molality(lanes, 2), word(line, 3))
    call tests%printed(trim(line)//': H2SO4', molality(lanes, 3), word(line, 4))
  end subroutine check_molality

  subroutine check_growth(line)
    !! Pure sea salt in AS.
    character(*), intent(in) :: line

    humidity = value(line(index(line, '(') + 1:index(line, ')') - 1))
    number = 0.0_wp
    number(:, as) = 100.0_wp
    mass = 0.0_wp
    mass(:, ss_as) = 1.0_wp
    call properties(280.0_wp, 9.0e4_wp)
    call tests%printed('growth of sea salt: '//line, wet(lanes, as)/dry(lanes, as), word(line, 1))
  end subroutine check_growth

  subroutine check_weight_percent_floor()
    !! Section 8.1: 0.53 % at 240 K, or 5 % where the option says so.
    humidity = 0.9_wp
    number = 0.0_wp
    number(:, ks) = 1.0_wp
    mass = 0.0_wp
    mass(:, so4_ks) = 1.0e8_wp
    call properties(240.0_wp, 3.0e4_wp)
    call tests%that('a dilute solution of 0.53 %', abs(weight_percent() - 0.53_wp) < 0.005_wp)
    config%clip_weight_percent = .true.
    call properties(240.0_wp, 3.0e4_wp)
    call tests%close('clipped to 5 %', weight_percent(), 5.0_wp, 1.0e-12_wp)
    config%clip_weight_percent = .false.
  end subroutine check_weight_percent_floor

  real(wp) function weight_percent()
    !! Of the one KS particle per cm3, from its water.
    real(wp) :: acid

    acid = mass(lanes, so4_ks)*molar_mass_h2so4/config%avogadro*1.0e3_wp
    weight_percent = 100.0_wp*acid/(acid + water(lanes, ks))
  end function weight_percent

  subroutine check_ion_pairs()
    !! Sodium is neutralised by sulfate first; what is in excess stays NaCl or H2SO4.
    real(wp) :: core(lanes), dry_mass(lanes), ions(lanes, n_salt), molality(lanes, n_salt)
    real(wp) :: moles(lanes), salt(lanes), sulfate(lanes), volume(lanes)

    core = 0.0_wp
    salt = 58.443_wp
    moles = 1.0e-6_wp
    sulfate = 0.2_wp*moles*config%avogadro*1.0e-6_wp
    call sea_salt_dry(config, sulfate, salt, core, core, ions, dry_mass, volume)
    call tests%that('little sulfate: NaCl and Na2SO4', &
      all(near(ions(:, 1), 0.6e-6_wp, 1.0e-14_wp)) &
      .and. all(near(ions(:, 2), 0.2e-6_wp, 1.0e-14_wp)) .and. all(abs(ions(:, 3)) < 1.0e-20_wp))
    call tests%that('its volume', all(near(volume, &
      0.6e-6_wp*58.443_wp/2.165_wp + 0.2e-6_wp*142.0376_wp/2.68_wp, 1.0e-14_wp)))

    sulfate = 0.7_wp*moles*config%avogadro*1.0e-6_wp
    core = 1.0e-6_wp
    call sea_salt_dry(config, sulfate, salt, 3.0_wp*core, core, ions, dry_mass, volume)
    call tests%that('much sulfate: Na2SO4 and H2SO4', all(abs(ions(:, 1)) < 1.0e-20_wp) &
      .and. all(near(ions(:, 2), 0.5e-6_wp, 1.0e-14_wp)) &
      .and. all(near(ions(:, 3), 0.2e-6_wp, 1.0e-14_wp)))
    call tests%that('its volume and that of its core', all(near(volume, 1.0e-6_wp &
      + 0.5e-6_wp*142.0376_wp/2.68_wp + 0.2e-6_wp*98.0734_wp/1.841_wp, 1.0e-14_wp)))
    call tests%that('their mass', all(near(dry_mass, &
      3.0e-6_wp + 0.5e-6_wp*142.0376_wp + 0.2e-6_wp*98.0734_wp, 1.0e-14_wp)))

    ! The rule of ZSR: each salt holds its own water.
    humidity = 0.7_wp
    call solution_terms(spread(9.0e4_wp, 1, lanes), spread(280.0_wp, 1, lanes), humidity, solution)
    call binary_molality(humidity, molality)
    call sea_salt_wet(solution, humidity, ions, water(:, cs))
    call tests%that('waters add up', &
      all(near(water(:, cs), sum(ions/molality, dim=2), 1.0e-14_wp)))
    humidity = 0.4499_wp
    call sea_salt_wet(solution, humidity, ions, water(:, cs))
    call tests%that('no water below RH 0.45', all(abs(water(:, cs)) <= 0.0_wp))
  end subroutine check_ion_pairs
end program test_water
