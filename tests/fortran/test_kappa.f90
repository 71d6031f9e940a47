program test_kappa
  !! Water uptake by kappa-Koehler: section 8.4 of the contract.
  use m7_config, only: m7_config_type, profile_ham2, water_kappa
  use m7_kappa, only: growth_factor
  use m7_kinds, only: lanes, wp
  use m7_modes, only: as, bc_ks, du_as, ks, ln_sigma, n_mass, n_mode, n_soluble, oc_as, so4_as, &
    so4_ks, ss_as
  use m7_properties, only: particle_properties
  use m7_water, only: n_solution, solution_terms
  use test_cells, only: defaults
  use test_support, only: near, tests_type
  implicit none (type, external)

  type(tests_type) :: tests
  type(m7_config_type) :: config
  real(wp) :: mass(lanes, n_mass), number(lanes, n_mode)
  real(wp) :: wet(lanes, n_mode), dry(lanes, n_soluble), density(lanes, n_mode)
  real(wp) :: water(lanes, n_soluble)
  real(wp), parameter :: sulfate = 96.0631_wp/6.02214e23_wp/1.841_wp
  !! Volume of a molecule as the kappa routine has it [cm3]

  config = defaults(profile_ham2)
  config%water = water_kappa
  call check_grid()
  call check_limits()
  call check_sulfate()
  call check_soot()
  call check_mixture()
  call check_tiny()
  call tests%finish()

contains

  elemental logical function solves(growth, temperature, humidity, radius, kappa)
    !! RH exp(-A/(r G)) = (G3 - 1)/(G3 - 1 + kappa) with A = 2 sigma M/(R T rho), to 1e-10.
    real(wp), intent(in) :: growth, temperature, humidity, radius, kappa
    real(wp) :: left, volume

    volume = growth**3 - 1.0_wp
    left = humidity*exp(-2.0_wp*0.072_wp*0.018_wp*100.0_wp &
      /(8.314_wp*temperature*1000.0_wp*radius*growth))
    solves = growth >= 1.0_wp .and. &
      abs(left*(volume + kappa) - volume) <= 1.0e-10_wp*(volume + kappa)
  end function solves

  subroutine check_grid()
    integer :: ih, ik, ir, it
    logical :: good, grows
    real(wp), dimension(lanes) :: growth, humidity, kappa, last, radius, temperature

    good = .true.
    grows = .true.
    do it = 180, 320, 70
      do ir = 0, 16
        do ik = 0, 12
          last = 1.0_wp
          do ih = 0, 110
            ! In steps of 1 % up to 99 %, then finer up to saturation.
            humidity = merge(0.01_wp*ih, 1.0_wp - 0.01_wp*0.25_wp**(ih - 99), ih <= 99)
            if (ih == 110) humidity = 1.0_wp
            temperature = real(it, wp)
            radius = 1.0e-7_wp*10.0_wp**(0.25_wp*ir)
            kappa = 0.1_wp*ik
            call growth_factor(temperature, humidity, radius, kappa, growth)
            good = good .and. all(solves(growth, temperature, humidity, radius, kappa))
            grows = grows .and. all(growth >= last)
            last = growth
          end do
        end do
      end do
    end do
    call tests%that('the equation holds', good)
    call tests%that('particles grow with humidity', grows)
  end subroutine check_grid

  subroutine check_limits()
    real(wp), dimension(lanes) :: growth, humidity, kappa, radius, temperature

    temperature = 280.0_wp
    radius = 1.0e-5_wp
    kappa = 0.6_wp
    humidity = 0.0_wp
    call growth_factor(temperature, humidity, radius, kappa, growth)
    call tests%that('dry air', all(near(growth, 1.0_wp, 0.0_wp)))
    humidity = 1.0_wp
    kappa = 0.0_wp
    call growth_factor(temperature, humidity, radius, kappa, growth)
    call tests%that('insoluble', all(near(growth, 1.0_wp, 0.0_wp)))
    ! Without curvature G3 - 1 = kappa RH/(1 - RH).
    humidity = 0.75_wp
    kappa = 0.6_wp
    radius = 1.0e6_wp
    call growth_factor(temperature, humidity, radius, kappa, growth)
    call tests%that('flat', all(near(growth, 2.8_wp**(1.0_wp/3.0_wp), 1.0e-11_wp)))
  end subroutine check_limits

  subroutine properties()
    !! Of what is in `mass` and `number`, at 280 K and RH 0.8.
    real(wp), dimension(lanes) :: humidity, pressure, temperature, virtual
    real(wp) :: solution(lanes, n_solution)

    humidity = 0.8_wp
    temperature = 280.0_wp
    pressure = 9.0e4_wp
    virtual = 0.0_wp
    call solution_terms(pressure, temperature, humidity, solution)
    call particle_properties(config, temperature, humidity, solution, mass, number, virtual, wet, &
      dry, density, water)
  end subroutine properties

  subroutine check_mode(k, volume, grams, kappa)
    !! Mode k of one particle per cm3 of a dry volume [cm3] and mass [g].
    integer, intent(in) :: k
    real(wp), intent(in) :: volume, grams, kappa
    real(wp) :: growth, moist

    call properties()
    call tests%close('dry radius', dry(lanes, k), &
      (0.75_wp*volume/acos(-1.0_wp))**(1.0_wp/3.0_wp)/exp(1.5_wp*ln_sigma(k)**2), 1.0e-14_wp)
    growth = wet(lanes, k)/dry(lanes, k)
    call tests%that('growth', solves(growth, 280.0_wp, 0.8_wp, dry(lanes, k), kappa))
    moist = (growth**3 - 1.0_wp)*volume
    call tests%that('water', abs(water(lanes, k) - 1.0e3_wp*moist) <= 1.0e-10_wp*volume)
    call tests%close('density', density(lanes, k), (grams + moist)/(volume + moist), 1.0e-13_wp)
  end subroutine check_mode

  subroutine check_sulfate()
    mass = 0.0_wp
    number = 0.0_wp
    number(:, ks) = 1.0_wp
    mass(:, so4_ks) = 1.0e6_wp
    call check_mode(ks, 1.0e6_wp*sulfate, 1.841e6_wp*sulfate, 0.6_wp)
  end subroutine check_sulfate

  subroutine check_soot()
    !! Soot counts in the mean kappa if the option says so; alone it stays dry.
    real(wp) :: grams, volume

    mass(:, bc_ks) = 4.0e-4_wp
    volume = 1.0e6_wp*sulfate + 2.0e-16_wp
    grams = 1.841e6_wp*sulfate + 4.0e-16_wp
    call check_mode(ks, volume, grams, 0.6_wp)
    config%kappa_full_volume = .true.
    call check_mode(ks, volume, grams, 0.6e6_wp*sulfate/volume)
    mass(:, so4_ks) = 0.0_wp
    call check_mode(ks, 2.0e-16_wp, 4.0e-16_wp, 0.0_wp)
    config%kappa_full_volume = .false.
    call check_mode(ks, 2.0e-16_wp, 4.0e-16_wp, 0.0_wp)
  end subroutine check_soot

  subroutine check_mixture()
    real(wp) :: acid, kappa

    mass = 0.0_wp
    number = 0.0_wp
    number(:, as) = 1.0_wp
    acid = 1.0e-15_wp
    mass(:, so4_as) = acid/sulfate
    mass(:, oc_as) = 4.0e-3_wp
    mass(:, ss_as) = 2.165e-3_wp
    mass(:, du_as) = 7.95e-3_wp
    kappa = (0.6_wp*1.0_wp + 0.06_wp*2.0_wp + 1.12_wp*1.0_wp)/4.0_wp
    call check_mode(as, 7.0e-15_wp, 1.841e-15_wp + 4.0e-15_wp + 2.165e-15_wp + 7.95e-15_wp, kappa)
    config%kappa_full_volume = .true.
    call check_mode(as, 7.0e-15_wp, 1.841e-15_wp + 4.0e-15_wp + 2.165e-15_wp + 7.95e-15_wp, &
      kappa*4.0_wp/7.0_wp)
    config%kappa_full_volume = .false.
  end subroutine check_mixture

  subroutine check_tiny()
    !! Too little to take up water, and too small to have a density.
    mass = 0.0_wp
    number = 0.0_wp
    number(:, ks) = 1.0_wp
    mass(:, so4_ks) = 4.99e-22_wp/sulfate
    call check_mode(ks, 4.99e-22_wp, 1.841_wp*4.99e-22_wp, 0.0_wp)
    mass(:, so4_ks) = 5.01e-22_wp/sulfate
    call check_mode(ks, 5.01e-22_wp, 1.841_wp*5.01e-22_wp, 0.6_wp)
    mass(:, so4_ks) = 1.0e-24_wp/sulfate
    call properties()
    call tests%that('below 1e-8 cm', all(near(wet(:, ks), dry(lanes, ks), 0.0_wp)) &
      .and. all(near(density(:, ks), 1.0_wp, 0.0_wp)) .and. all(water(:, ks) <= 0.0_wp))
  end subroutine check_tiny
end program test_kappa
