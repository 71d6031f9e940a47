module m7_kappa
  !! Water uptake by kappa-Koehler theory (Petters and Kreidenweis 2007; section 8.4 of the
  !! physics contract). HAM looks the growth factor up in a table; here the equation is solved.
  use m7_kinds, only: lanes, wp
  implicit none (type, external)
  private
  public :: growth_factor

  real(wp), parameter :: kelvin = 2.0_wp*0.072_wp*0.018_wp/(8.314_wp*1.0e3_wp)*1.0e2_wp
  !! 2 sigma M_w/(R rho_w): the Kelvin radius is this over temperature [cm K]
  integer, parameter :: iterations = 40

contains

  pure subroutine growth_factor(temperature, relative_humidity, dry_radius, kappa, growth)
    !! Solve RH exp(-A/(r G)) = (G**3 - 1)/(G**3 - 1 + kappa) for G >= 1, where A is the Kelvin
    !! radius. The difference of the two sides is positive at G = 1 and has one sign change below
    !! the critical size; Newton steps on it, kept inside a shrinking bracket.
    real(wp), intent(in) :: temperature(lanes), relative_humidity(lanes)
    !! K, 1
    real(wp), intent(in) :: dry_radius(lanes)
    !! Positive [cm]
    real(wp), intent(in) :: kappa(lanes)
    !! Not negative [1]
    real(wp), intent(out) :: growth(lanes)
    !! Wet over dry radius [1]
    integer :: i, iteration
    real(wp) :: activity, excess, g, high(lanes), left, low(lanes), reach(lanes), slope, volume

    do i = 1, lanes
      reach(i) = kelvin/(temperature(i)*dry_radius(i))
      low(i) = 1.0_wp
      ! Beyond either bound the droplet is larger than its equilibrium: without the Kelvin effect
      ! below saturation, and at the critical size, G**2 = 3 kappa/reach, in any case.
      volume = kappa(i)*relative_humidity(i)/max(1.0_wp - relative_humidity(i), 1.0e-12_wp)
      high(i) = min(1.0_wp + volume, 1.0_wp + sqrt(3.0_wp*kappa(i)/reach(i)))
      growth(i) = 1.0_wp
    end do
    do iteration = 1, iterations
      do i = 1, lanes
        g = growth(i)
        volume = g*g*g - 1.0_wp
        activity = relative_humidity(i)*exp(-reach(i)/g)
        excess = activity*(volume + kappa(i)) - volume
        slope = activity*(reach(i)/(g*g)*(volume + kappa(i)) + 3.0_wp*g*g) - 3.0_wp*g*g
        low(i) = merge(g, low(i), excess > 0.0_wp)
        high(i) = merge(high(i), g, excess > 0.0_wp)
        left = g - excess/merge(slope, -1.0_wp, slope < 0.0_wp)
        g = merge(left, 0.5_wp*(low(i) + high(i)), &
          slope < 0.0_wp .and. left >= low(i) .and. left <= high(i))
        growth(i) = g
      end do
    end do
  end subroutine growth_factor
end module m7_kappa
