module host_integrals
  !! What climate feels of an aerosol, from what the microphysics left in a block: the Fortran of
  !! `pyemu.integrals`.
  use host_constants, only: molar_h2so4, molar_so4, pi, wp
  use host_emissions, only: density
  use host_tracers, only: first_number, n_tracer
  use m7_modes, only: ln_sigma, mass_mode, mass_species, mean_to_median, n_mass, n_mode, so4
  implicit none (type, external)
  private
  public :: condensation_sink, number_above

  integer, parameter :: n_node = 7
  real(wp), parameter :: node(n_node) = [ &
    -3.750439717725742_wp, -2.366759410734541_wp, -1.154405394739968_wp, 0.0_wp, &
    1.154405394739968_wp, 2.366759410734541_wp, 3.750439717725742_wp]
  real(wp), parameter :: weight(n_node) = [ &
    5.482688559722179e-4_wp, 3.075712396758651e-2_wp, 2.401231786050127e-1_wp, &
    4.571428571428571e-1_wp, 2.401231786050127e-1_wp, 3.075712396758651e-2_wp, &
    5.482688559722179e-4_wp]
  !! Gauss-Hermite, for the normal distribution
  real(wp), parameter :: molar_gas_constant = 8.31446_wp, vapour = 0.098079_wp
  !! [J mol-1 K-1], of H2SO4 [kg mol-1]
  real(wp), parameter :: volume_per_mass(n_mass) = merge(molar_h2so4/molar_so4, 1.0_wp, &
    mass_species == so4)/density(mass_species)
  !! Sulfate is sulfuric acid to M7 [m3 kg-1]

contains

  pure subroutine number_above(kproma, kbdim, klev, limit, air_density, state, above)
    !! Particles of all modes above a dry radius: tails of log-normal modes, whose radii follow from
    !! masses and numbers (M7's own dry radii of salts are of other substances).
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: limit
    !! [m]
    real(wp), intent(in) :: air_density(kbdim, klev), state(kbdim, klev, n_tracer)
    !! [kg m-3]; see `host_tracers`
    real(wp), intent(inout) :: above(kbdim, klev)
    !! [cm-3]
    real(wp), parameter :: far = 6.0_wp
    !! erfc is 0 or 2 beyond it to the last bits
    integer :: i, k, mode, n
    real(wp) :: edge, place, width
    real(wp) :: volume(kbdim, klev)
    !! Of a mode [m3 kg-1]

    above(:kproma, :) = 0.0_wp
    do mode = 1, n_mode
      volume(:kproma, :) = 0.0_wp
      do n = 1, n_mass
        if (mass_mode(n) /= mode) cycle
        volume(:kproma, :) = volume(:kproma, :) + state(:kproma, :, n)*volume_per_mass(n)
      end do
      ! place = ln(limit/radius)/width with radius = (3/(4 pi) volume/number)**(1/3) mean_to_median
      width = sqrt(2.0_wp)*ln_sigma(mode)
      edge = log(4.0_wp/3.0_wp*pi*(limit/mean_to_median(mode))**3)
      do k = 1, klev
        do i = 1, kproma
          associate (number => state(i, k, first_number + mode - 1))
            if (.not. (number > 0.0_wp .and. volume(i, k) > 0.0_wp)) cycle
            place = (edge - log(volume(i, k)/number))/(3.0_wp*width)
            if (place > far) cycle
            above(i, k) = above(i, k) + 1.0e-6_wp*air_density(i, k)*number*0.5_wp &
              *erfc(max(place, -far))
          end associate
        end do
      end do
    end do
  end subroutine number_above

  pure subroutine condensation_sink(kproma, kbdim, klev, pressure, temperature, number, &
    wet_radius, sink)
    !! Rate at which H2SO4 vapour meets particles: Fuchs and Sutugin (1971), accommodation 1.
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: pressure(kbdim, klev), temperature(kbdim, klev)
    !! Pa, K
    real(wp), intent(in) :: number(kbdim, klev, n_mode), wet_radius(kbdim, klev, n_mode)
    !! [cm-3]; ambient count median radius [m]
    real(wp), intent(inout) :: sink(kbdim, klev)
    !! [s-1]
    integer :: i, k, mode, n
    real(wp) :: diffusivity, free_path, part, radius

    do k = 1, klev
      do i = 1, kproma
        ! 0.094 cm2 s-1 at 298 K and 1013.25 hPa (Hanson and Eisele, 2000), in cm as radii below.
        diffusivity = 0.094_wp*(temperature(i, k)/298.0_wp)**1.75_wp*(101325.0_wp/pressure(i, k))
        free_path = 3.0_wp*diffusivity/(100.0_wp*sqrt(8.0_wp*molar_gas_constant &
          *temperature(i, k)/(pi*vapour)))
        sink(i, k) = 0.0_wp
        do mode = 1, n_mode
          if (.not. wet_radius(i, k, mode) > 0.0_wp) cycle
          part = 0.0_wp
          do n = 1, n_node
            radius = 100.0_wp*wet_radius(i, k, mode)*exp(ln_sigma(mode)*node(n))
            ! (1 + Kn)/(1 + (4/3 + 0.377) Kn + 4/3 Kn**2) with Kn = path/radius
            part = part + weight(n)*radius**2*(radius + free_path)/(radius**2 &
              + (4.0_wp/3.0_wp + 0.377_wp)*free_path*radius + 4.0_wp/3.0_wp*free_path**2)
          end do
          sink(i, k) = sink(i, k) + 4.0_wp*pi*diffusivity*number(i, k, mode)*part
        end do
      end do
    end do
  end subroutine condensation_sink
end module host_integrals
