module m7_water
  !! Water uptake of sulfuric acid and of sea salt: sections 8.1 and 8.3 of the physics contract.
  use m7_config, only: m7_config_type
  use m7_kinds, only: lanes, wp
  use m7_modes, only: so4, ss
  implicit none (type, external)
  private
  public :: binary_molality, sea_salt_dry, sea_salt_wet, solution_terms, sulfuric_solution
  public :: deliquescence_rh, molar_mass_h2so4, n_salt, n_solution

  real(wp), parameter :: molar_mass_h2so4 = 98.0734_wp
  !! [g mol-1]
  real(wp), parameter :: molar_mass_nacl = 58.443_wp, molar_mass_na2so4 = 142.0376_wp
  real(wp), parameter :: density_na2so4 = 2.68_wp
  real(wp), parameter :: deliquescence_rh = 0.45_wp
  !! Relative humidity below which sea salt particles are dry [1]

  integer, parameter :: n_salt = 3
  integer, parameter :: nacl = 1, na2so4 = 2, h2so4 = 3
  real(wp), parameter :: molality_polynomial(0:7, n_salt) = reshape([ &
    -1.918004e2_wp, 2.001540e3_wp, -8.557205e3_wp, 1.987670e4_wp, &
    -2.717192e4_wp, 2.187103e4_wp, -9.591577e3_wp, 1.763672e3_wp, &
    -3.295311e3_wp, 3.188349e4_wp, -1.305168e5_wp, 2.935608e5_wp, &
    -3.920423e5_wp, 3.109519e5_wp, -1.356439e5_wp, 2.510249e4_wp, &
    5.611895_wp, -1.387446e1_wp, 1.750682e1_wp, 7.138146e1_wp, &
    -3.109173e2_wp, 4.662288e2_wp, -3.128612e2_wp, 7.76097e1_wp], [8, n_salt])
  !! Square root of the binary molality over powers of the water activity (Jacobson et al. 1996)

  real(wp), parameter :: w(17) = [95.80188_wp, -28.5257_wp, -1.082153_wp, 0.1466501_wp, &
    -20627.51_wp, 0.0461242_wp, -0.003935_wp, -3.36115_wp, -0.00024137_wp, 0.067938345_wp, &
    0.00000649899_wp, 8616124.373_wp, 1.168155578_wp, -0.021317481_wp, 0.000270358_wp, &
    -1353332314.0_wp, -0.002403805_wp]
  !! Weight-% of H2SO4 (Wilson's regression)
  real(wp), parameter :: g(9) = [1.036391467_wp, 0.00728531_wp, -0.011013887_wp, -0.068887407_wp, &
    0.001047842_wp, 0.001049607_wp, 0.000740534_wp, -1.081202685_wp, -0.0000029113_wp]
  !! Density of the solution (Wilson's regression)

  ! What both regressions need of temperature, pressure and humidity, and the water held per mole
  ! of each salt; the same for every mode of a cell and every evaluation within a step.
  integer, parameter :: w0 = 1, w1 = 2, w2 = 3, d0 = 4, d1 = 5
  integer, parameter :: water_per_salt = 5
  integer, parameter :: n_solution = water_per_salt + n_salt

contains

  pure subroutine binary_molality(water_activity, molality)
    !! Molality of NaCl, Na2SO4 and H2SO4 in binary solution (Jacobson et al. 1996) [mol kg-1]
    real(wp), intent(in) :: water_activity(lanes)
    !! [1]
    real(wp), intent(out) :: molality(lanes, n_salt)
    integer :: i, q, salt
    real(wp) :: root

    do salt = 1, n_salt
      do i = 1, lanes
        root = molality_polynomial(7, salt)
        do q = 6, 0, -1
          root = root*water_activity(i) + molality_polynomial(q, salt)
        end do
        molality(i, salt) = root*root
      end do
    end do
  end subroutine binary_molality

  pure subroutine solution_terms(pressure, temperature, relative_humidity, solution)
    !! The terms of section 8.1 that do not depend on the particle, as coefficients of ln n, and the
    !! water per mole of salt of section 8.3 [kg mol-1].
    real(wp), intent(in) :: pressure(lanes), temperature(lanes), relative_humidity(lanes)
    !! Pa, K, 1
    real(wp), intent(out) :: solution(lanes, n_solution)
    integer :: i, salt
    real(wp) :: h, ratio, t
    real(wp) :: molality(lanes, n_salt), water_activity(lanes)

    do i = 1, lanes
      t = max(temperature(i), 240.0_wp)
      h = min(max(relative_humidity(i), 0.05_wp), 0.90_wp)
      ratio = h/t
      solution(i, w0) = w(1) + w(5)*ratio + w(12)*ratio*ratio + w(16)*ratio*ratio*ratio &
        + w(17)*log(h*t/pressure(i))
      solution(i, w1) = w(2) + w(3)*h + w(4)*t + w(8)*h*h + w(9)*t*t
      solution(i, w2) = w(6)*h + w(7)*t + w(10)*h*h + w(11)*t*t + w(13)
      solution(i, d0) = g(1) + g(4)*h + g(5)*t + g(9)*t*t
      solution(i, d1) = (g(3) + g(7)/h + g(8)/t)/3.0_wp
      water_activity(i) = min(max(relative_humidity(i), deliquescence_rh), 1.0_wp)
    end do
    call binary_molality(water_activity, molality)
    do salt = 1, n_salt
      do i = 1, lanes
        solution(i, water_per_salt + salt) = 1.0_wp/molality(i, salt)
      end do
    end do
  end subroutine solution_terms

  pure subroutine sulfuric_solution(solution, molecules, floor_percent, weight_percent, density)
    !! Strength and density of the droplet that a particle of H2SO4 becomes (section 8.1).
    real(wp), intent(in) :: solution(lanes, n_solution)
    real(wp), intent(in) :: molecules(lanes)
    !! H2SO4 molecules per particle, positive [1]
    real(wp), intent(in) :: floor_percent
    !! Weight-% below which a solution is not diluted; the fit itself stays above 0.2 in its range
    real(wp), intent(out) :: weight_percent(lanes)
    !! H2SO4 in the solution [%]
    real(wp), intent(out) :: density(lanes)
    !! [g cm-3]
    integer :: i
    real(wp) :: percent, x

    do i = 1, lanes
      x = log(molecules(i))
      percent = solution(i, w0) &
        + x*(solution(i, w1) + x*(solution(i, w2) + x*(w(14) + x*w(15))))
      percent = max(percent, floor_percent)
      weight_percent(i) = percent
      density(i) = solution(i, d0) + g(2)*percent + x*(solution(i, d1) + x*(g(6)/9.0_wp))
      density(i) = min(max(density(i), 1.0_wp), 1.841_wp)
    end do
  end subroutine sulfuric_solution

  pure subroutine sea_salt_dry(config, sulfate, sea_salt, core_mass, core_volume, ions, mass, &
    volume)
    !! Ion pairs, mass and volume of the dry matter of a mode that holds sea salt (section 8.3).
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: sulfate(lanes), sea_salt(lanes)
    !! molecules cm-3, ug m-3
    real(wp), intent(in) :: core_mass(lanes), core_volume(lanes)
    !! BC, OC and DU [g m-3, cm3 m-3]
    real(wp), intent(out) :: ions(lanes, n_salt)
    !! NaCl, Na2SO4, H2SO4 [mol m-3]
    real(wp), intent(out) :: mass(lanes), volume(lanes)
    !! [g m-3, cm3 m-3]
    integer :: i
    real(wp) :: mole_na, mole_s

    do i = 1, lanes
      mole_na = sea_salt(i)*1.0e-6_wp/molar_mass_nacl
      mole_s = sulfate(i)*1.0e6_wp/config%avogadro
      ions(i, na2so4) = min(0.5_wp*mole_na, mole_s)
      ions(i, nacl) = max(mole_na - 2.0_wp*ions(i, na2so4), 0.0_wp)
      ions(i, h2so4) = mole_s - ions(i, na2so4)
      mass(i) = ions(i, nacl)*molar_mass_nacl + ions(i, na2so4)*molar_mass_na2so4 &
        + ions(i, h2so4)*molar_mass_h2so4 + core_mass(i)
      volume(i) = ions(i, nacl)*(molar_mass_nacl/config%density(ss)) &
        + ions(i, na2so4)*(molar_mass_na2so4/density_na2so4) &
        + ions(i, h2so4)*(molar_mass_h2so4/config%density(so4)) + core_volume(i)
    end do
  end subroutine sea_salt_dry

  pure subroutine sea_salt_wet(solution, relative_humidity, ions, water)
    !! Water of a mode that holds sea salt, by the ZSR rule (section 8.3).
    real(wp), intent(in) :: solution(lanes, n_solution)
    real(wp), intent(in) :: relative_humidity(lanes)
    !! [1]
    real(wp), intent(in) :: ions(lanes, n_salt)
    !! NaCl, Na2SO4, H2SO4 [mol m-3]
    real(wp), intent(out) :: water(lanes)
    !! [kg m-3]
    integer :: i

    do i = 1, lanes
      water(i) = ions(i, nacl)*solution(i, water_per_salt + nacl) &
        + ions(i, na2so4)*solution(i, water_per_salt + na2so4) &
        + ions(i, h2so4)*solution(i, water_per_salt + h2so4)
      water(i) = merge(0.0_wp, water(i), relative_humidity(i) < deliquescence_rh)
    end do
  end subroutine sea_salt_wet
end module m7_water
