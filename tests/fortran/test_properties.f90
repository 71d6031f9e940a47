program test_properties
  !! Mean particles of the modes: sections 7, 8.2 and 8.3 of the contract; virtual ones: 3, 16.
  use m7_config, only: m7_config_type, profile_ham2, profile_m7_2004
  use m7_kinds, only: lanes, wp
  use m7_modes, only: ai, as, bc_ki, bc_ks, ci, cs, du_ai, du_as, du_ci, ki, ks, ln_sigma, n_mass, &
    n_mode, n_soluble, ns, oc_ki, oc_ks, so4_as, so4_ks, so4_ns, ss_as, ss_cs
  use m7_properties, only: particle_properties
  use m7_water, only: n_solution, solution_terms
  use test_cells, only: defaults
  use test_support, only: tests_type, value, word
  implicit none (type, external)

  ! n, RH, T, p -> weight-%, density of the solution, ...: from test_water
  character(*), parameter :: sulfuric_line = &
    '1e5 0.50 280 90000 43.17199320 1.34567468 9.29238688e-07 1.36489053e-06'

  type(tests_type) :: tests
  type(m7_config_type) :: older, later
  real(wp) :: mass(lanes, n_mass), number(lanes, n_mode), virtual(lanes)
  real(wp) :: wet(lanes, n_mode), dry(lanes, n_soluble), density(lanes, n_mode)
  real(wp) :: water(lanes, n_soluble)

  older = defaults(profile_m7_2004)
  later = defaults(profile_ham2)
  call check_virtual()
  call check_core(later)
  call check_core(older)
  call check_sulfate_free(later)
  call check_sea_salt(later)
  call check_leak(later)
  call check_insoluble(later)
  call check_insoluble(older)
  call check_quirk(later)
  call check_thresholds()
  call tests%finish()

contains

  subroutine properties(config, humidity, temperature, pressure)
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: humidity, temperature, pressure
    real(wp), dimension(lanes) :: h, p, t
    real(wp) :: solution(lanes, n_solution)

    h = humidity
    t = temperature
    p = pressure
    call solution_terms(p, t, h, solution)
    call particle_properties(config, t, h, solution, mass, number, virtual, wet, dry, density, &
      water)
  end subroutine properties

  subroutine empty()
    mass = 0.0_wp
    number = 0.0_wp
    virtual = 0.0_wp
  end subroutine empty

  pure real(wp) function median(volume, k)
    !! Count median radius of particles of a mean volume [cm]
    real(wp), intent(in) :: volume
    integer, intent(in) :: k

    median = (0.75_wp*volume/acos(-1.0_wp))**(1.0_wp/3.0_wp)/exp(1.5_wp*ln_sigma(k)**2)
  end function median

  subroutine check_virtual()
    !! NS has a radius even when empty: of 100 molecules, or of its lower edge; no other mode has.
    call empty()
    call properties(older, 0.7_wp, 280.0_wp, 9.0e4_wp)
    call tests%printed('virtual NS of m7_2004', wet(lanes, ns), '1.304e-7')
    call tests%that('nothing else', all(wet(:, ks:) <= 0.0_wp) .and. all(dry(:, ks:) <= 0.0_wp) &
      .and. all(density(:, ks:) <= 0.0_wp) .and. all(water <= 0.0_wp))
    call empty()
    call properties(later, 0.7_wp, 280.0_wp, 9.0e4_wp)
    call tests%printed('virtual NS of ham2', wet(lanes, ns), '4.51e-8')
    call tests%printed('its molecules', virtual(lanes), '5.91905')
    call tests%close('its dry radius', dry(lanes, ns), 5.0e-8_wp/exp(1.5_wp*ln_sigma(ns)**2), &
      1.0e-14_wp)
  end subroutine check_virtual

  subroutine check_core(config)
    !! BC and OC in a drop of sulfuric acid: water as if the acid were alone.
    type(m7_config_type), intent(in) :: config
    real(wp), parameter :: bc_core = 1.0e-17_wp, oc_core = 3.0e-17_wp
    !! [g]
    real(wp), parameter :: volume = 0.5_wp*(bc_core + oc_core)
    real(wp) :: acid, drop, drop_volume

    call empty()
    number(:, ks) = 2.0_wp
    mass(:, so4_ks) = 2.0_wp*value(word(sulfuric_line, 1))
    mass(:, bc_ks) = 2.0e12_wp*bc_core
    mass(:, oc_ks) = 2.0e12_wp*oc_core
    call properties(config, value(word(sulfuric_line, 2)), value(word(sulfuric_line, 3)), &
      value(word(sulfuric_line, 4)))
    acid = value(word(sulfuric_line, 1))*98.0734_wp/config%avogadro
    drop = acid*100.0_wp/value(word(sulfuric_line, 5))
    drop_volume = drop/value(word(sulfuric_line, 6))
    call tests%close('dry radius', dry(lanes, ks), median(acid/1.841_wp + volume, ks), 1.0e-8_wp)
    call tests%close('wet radius', wet(lanes, ks), median(drop_volume + volume, ks), 1.0e-8_wp)
    call tests%close('density', density(lanes, ks), &
      (drop + bc_core + oc_core)/(drop_volume + volume), 1.0e-8_wp)
    call tests%close('water', water(lanes, ks), 2.0e3_wp*(drop - acid), 1.0e-8_wp)
  end subroutine check_core

  subroutine check_sulfate_free(config)
    !! Soot alone in a soluble mode has no size, unless one asks for it.
    type(m7_config_type), intent(in) :: config
    type(m7_config_type) :: other

    call empty()
    number(:, ks) = 2.0_wp
    mass(:, bc_ks) = 2.0e-5_wp
    call properties(config, 0.7_wp, 280.0_wp, 9.0e4_wp)
    call tests%that('no sulfate, no size', all(wet(:, ks) <= 0.0_wp) &
      .and. all(dry(:, ks) <= 0.0_wp) .and. all(density(:, ks) <= 0.0_wp))
    other = config
    other%sulfate_free_radius = .true.
    call properties(other, 0.7_wp, 280.0_wp, 9.0e4_wp)
    call tests%close('no sulfate, but a dry size', dry(lanes, ks), median(0.5e-17_wp, ks), &
      1.0e-14_wp)
    call tests%close('no water', wet(lanes, ks), dry(lanes, ks), 1.0e-14_wp)
    call tests%close('its density', density(lanes, ks), 2.0_wp, 1.0e-14_wp)
    call tests%that('nothing dissolved', all(water(:, ks) <= 0.0_wp))
  end subroutine check_sulfate_free

  subroutine check_sea_salt(config)
    !! AS with sea salt, sulfate and dust, dry at RH 0.44.
    type(m7_config_type), intent(in) :: config
    real(wp) :: core, dry_mass, moles, volume

    call empty()
    number(:, as) = 50.0_wp
    mass(:, ss_as) = 2.0_wp*58.443_wp
    mass(:, du_as) = 30.0_wp
    ! Per m3: 2e-6 mol NaCl, of which 1e-6 mol sulfate make 1e-6 mol Na2SO4.
    moles = 1.0e-6_wp
    mass(:, so4_as) = moles*config%avogadro*1.0e-6_wp
    core = 30.0e-6_wp
    call properties(config, 0.44_wp, 280.0_wp, 9.0e4_wp)
    volume = moles*142.0376_wp/2.68_wp + core/2.65_wp
    dry_mass = moles*142.0376_wp + core
    call tests%close('dry sea salt', dry(lanes, as), median(volume*1.0e-6_wp/50.0_wp, as), &
      1.0e-14_wp)
    call tests%close('stays dry', wet(lanes, as), dry(lanes, as), 1.0e-15_wp)
    call tests%close('its density', density(lanes, as), dry_mass/volume, 1.0e-14_wp)
    call tests%that('no water', all(water(:, as) <= 0.0_wp))
    ! Na2SO4 alone holds the water: 8.48399410 mol kg-1 at RH 0.6.
    call properties(config, 0.6_wp, 280.0_wp, 9.0e4_wp)
    call tests%close('water of Na2SO4', water(lanes, as), moles/8.48399410_wp, 1.0e-8_wp)
    volume = volume + moles/8.48399410_wp*1.0e3_wp
    dry_mass = dry_mass + moles/8.48399410_wp*1.0e3_wp
    call tests%close('wet radius', wet(lanes, as), median(volume*1.0e-6_wp/50.0_wp, as), 1.0e-8_wp)
    call tests%close('wet density', density(lanes, as), dry_mass/volume, 1.0e-8_wp)
  end subroutine check_sea_salt

  subroutine check_leak(config)
    !! The 2012 code adds the dust of an AS mode with sea salt to a CS mode with sea salt.
    type(m7_config_type), intent(in) :: config
    type(m7_config_type) :: other
    real(wp) :: volume

    call empty()
    number(:, as) = 50.0_wp
    number(:, cs) = 1.0_wp
    mass(:, ss_as) = 1.0_wp
    mass(:, du_as) = 2.65_wp
    mass(:, ss_cs) = 21.65_wp
    volume = 1.0e-5_wp
    call properties(config, 0.4_wp, 280.0_wp, 9.0e4_wp)
    call tests%close('CS by itself', dry(lanes, cs), median(volume*1.0e-6_wp, cs), 1.0e-14_wp)
    other = config
    other%reset_seasalt_sums = .false.
    call properties(other, 0.4_wp, 280.0_wp, 9.0e4_wp)
    call tests%close('CS and the dust of AS', dry(lanes, cs), &
      median((volume + 1.0e-6_wp)*1.0e-6_wp, cs), 1.0e-14_wp)
    mass(:, ss_as) = 0.0_wp
    call properties(other, 0.4_wp, 280.0_wp, 9.0e4_wp)
    call tests%close('no leak without sea salt', dry(lanes, cs), median(volume*1.0e-6_wp, cs), &
      1.0e-14_wp)
  end subroutine check_leak

  subroutine check_insoluble(config)
    type(m7_config_type), intent(in) :: config

    call empty()
    number(:, ki:ci) = 10.0_wp
    mass(:, bc_ki) = 1.0e-4_wp
    mass(:, oc_ki) = 3.0e-4_wp
    mass(:, du_ai) = 2.65_wp
    mass(:, du_ci) = 2650.0_wp
    call properties(config, 0.7_wp, 280.0_wp, 9.0e4_wp)
    call tests%close('KI', wet(lanes, ki), median(2.0e-17_wp, ki), 1.0e-9_wp)
    call tests%close('AI', wet(lanes, ai), median(1.0e-13_wp, ai), 1.0e-9_wp)
    call tests%close('CI', wet(lanes, ci), median(1.0e-10_wp, ci), 1.0e-9_wp)
    call tests%close('density of KI', density(lanes, ki), 2.0_wp, 1.0e-14_wp)
    call tests%close('density of AI', density(lanes, ai), 2.65_wp, 1.0e-14_wp)
    call tests%close('density of CI', density(lanes, ci), 2.65_wp, 1.0e-14_wp)
  end subroutine check_insoluble

  subroutine check_quirk(config)
    !! The old code saw no insoluble particles below 0.027 um.
    type(m7_config_type), intent(in) :: config
    type(m7_config_type) :: other
    integer :: i
    real(wp) :: radius

    other = config
    other%small_insoluble_volume = .false.
    do i = 2, 3
      radius = i*1.0e-6_wp
      call empty()
      number(:, ki) = 10.0_wp
      mass(:, bc_ki) = 10.0e12_wp*2.0_wp*4.0_wp*config%pi/3.0_wp &
        *(radius*exp(1.5_wp*ln_sigma(ki)**2))**3
      call properties(config, 0.7_wp, 280.0_wp, 9.0e4_wp)
      call tests%close('small KI', wet(lanes, ki), radius, 1.0e-14_wp)
      call properties(other, 0.7_wp, 280.0_wp, 9.0e4_wp)
      call tests%close('small KI of old', wet(lanes, ki), merge(radius, 0.0_wp, i == 3), 1.0e-14_wp)
    end do
  end subroutine check_quirk

  subroutine check_thresholds()
    !! Too few particles have no mean; an NS mode below either threshold is virtual.
    call empty()
    number(:, ks) = 1.0e-4_wp
    mass(:, so4_ks) = 10.0_wp
    call properties(later, 0.7_wp, 280.0_wp, 9.0e4_wp)
    call tests%that('too few for ham2', all(wet(:, ks) <= 0.0_wp))
    call properties(older, 0.7_wp, 280.0_wp, 9.0e4_wp)
    call tests%that('enough for m7_2004', all(wet(:, ks) > 0.0_wp))
    call empty()
    number(:, ns) = 1.0e3_wp
    call properties(later, 0.7_wp, 280.0_wp, 9.0e4_wp)
    call tests%printed('NS without mass', virtual(lanes), '5.91905')
    mass(:, so4_ns) = 2.0e4_wp
    call properties(later, 0.7_wp, 280.0_wp, 9.0e4_wp)
    call tests%close('NS with mass', virtual(lanes), 20.0_wp, 1.0e-15_wp)
  end subroutine check_thresholds
end program test_properties
