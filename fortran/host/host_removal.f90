module host_removal
  !! Sedimentation, dry deposition and scavenging by mode.
  use host_constants, only: gas_constant, gravity, pi, wp
  use host_ledger, only: enter
  use host_meteorology, only: meteorology_type
  use host_tracers, only: advance, dms, first_number, h2so4, n_budget, n_tracer, so2, tracer_mode
  use m7_modes, only: ai, as, ci, cs, ln_sigma, n_mode
  implicit none (type, external)
  private
  public :: deposit, rained_out, scavenge, settle

  ! NS KS AS CS KI AI CI, H2SO4, SO2, DMS.
  real(wp), parameter :: land_velocity(n_mode + 3) = &
    1.0e-3_wp*[real(wp) :: 8, 2, 0.8, 2, 2, 0.8, 2, 10, 6, 0]
  real(wp), parameter :: sea_velocity(n_mode + 3) = &
    1.0e-3_wp*[real(wp) :: 4, 0.7, 0.4, 4, 0.7, 0.4, 2, 10, 8, 0]
  !! Of dry deposition [m s-1]
  real(wp), parameter :: in_liquid(n_mode + 3) = &
    [real(wp) :: 0.10, 0.25, 0.85, 0.99, 0.20, 0.40, 0.40, 1, 0.2, 0]
  real(wp), parameter :: in_ice(n_mode + 3) = &
    [real(wp) :: 0.10, 0.10, 0.10, 0.10, 0.10, 0.10, 0.10, 0, 0, 0]
  !! Share that is inside cloud droplets or crystals [1] (Stier et al. 2005, table 3)
  real(wp), parameter :: washout(n_mode + 3) = &
    [real(wp) :: 0.02, 0.004, 0.003, 0.3, 0.004, 0.01, 0.3, 0.05, 0.02, 0]
  !! Collected below clouds per amount of rain [m2 kg-1]
  real(wp), parameter :: cloud_water = 7.0e-4_wp
  !! In the cloud, at temperatures of liquid water [kg kg-1]

contains

  pure subroutine settle(kproma, kbdim, klev, timestep, air, wet_radius, density, before, &
    tendency, entry)
    !! Gravitational settling of the larger modes, implicit and upstream: conserves, stays positive.
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: timestep
    !! [s]
    type(meteorology_type), intent(in) :: air
    real(wp), intent(in) :: wet_radius(kbdim, klev, n_mode), density(kbdim, klev, n_mode)
    !! Of particles [m], [kg m-3]
    real(wp), intent(in) :: before(kbdim, klev, n_tracer)
    real(wp), intent(inout) :: tendency(kbdim, klev, n_tracer)
    real(wp), intent(inout) :: entry(kbdim, n_budget)
    integer, parameter :: modes(*) = [as, cs, ai, ci]
    integer :: i, k, m, mode, n
    real(wp) :: by_mass(kbdim, klev), by_number(kbdim, klev), inflow(kbdim), new, outflow
    real(wp) :: free_path, now(kbdim, klev), stokes, viscosity

    do m = 1, size(modes)
      mode = modes(m)
      do k = 1, klev
        do i = 1, kproma
          viscosity = 1.458e-6_wp*air%temperature(i, k)*sqrt(air%temperature(i, k)) &
            /(air%temperature(i, k) + 110.4_wp)
          free_path = viscosity/air%pressure(i, k) &
            *sqrt(0.5_wp*pi*gas_constant*air%temperature(i, k))
          stokes = 2.0_wp/9.0_wp*gravity*density(i, k, mode)/viscosity
          by_number(i, k) = fall(wet_radius(i, k, mode)*exp(ln_sigma(mode)**2))
          by_mass(i, k) = fall(wet_radius(i, k, mode)*exp(3.0_wp*ln_sigma(mode)**2))
        end do
      end do
      do n = 1, n_tracer
        if (tracer_mode(n) /= mode) cycle
        call advance(kproma, kbdim, klev, timestep, before(:, :, n), tendency(:, :, n), now)
        inflow(:kproma) = 0.0_wp
        do k = 1, klev
          do i = 1, kproma
            new = (now(i, k)*air%air_mass(i, k) + inflow(i))
            if (n >= first_number) then
              outflow = new*by_number(i, k)/(1.0_wp + by_number(i, k))
            else
              outflow = new*by_mass(i, k)/(1.0_wp + by_mass(i, k))
            end if
            tendency(i, k, n) = tendency(i, k, n) &
              + (inflow(i) - outflow)/(air%air_mass(i, k)*timestep)
            inflow(i) = outflow
          end do
        end do
        inflow(:kproma) = -inflow(:kproma)
        call enter(kproma, kbdim, n, inflow, entry)
      end do
    end do

  contains

    pure real(wp) function fall(radius)
      !! Layers fallen through in a timestep; Stokes' law with slip [1]
      real(wp), intent(in) :: radius

      fall = timestep/air%thickness(i, k)*stokes*(radius**2 + 1.246_wp*free_path*radius)
    end function fall
  end subroutine settle

  pure subroutine deposit(kproma, kbdim, klev, timestep, land, air, before, tendency, entry)
    !! Dry deposition from the lowest layer.
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: timestep
    !! [s]
    real(wp), intent(in) :: land(kbdim)
    !! [1]
    type(meteorology_type), intent(in) :: air
    real(wp), intent(in) :: before(kbdim, klev, n_tracer)
    real(wp), intent(inout) :: tendency(kbdim, klev, n_tracer)
    real(wp), intent(inout) :: entry(kbdim, n_budget)
    integer :: i, kind, n
    real(wp) :: lost(kbdim), now, share, velocity

    do n = 1, n_tracer
      kind = class_of(n)
      do i = 1, kproma
        now = before(i, klev, n) + tendency(i, klev, n)*timestep
        velocity = land(i)*land_velocity(kind) + (1.0_wp - land(i))*sea_velocity(kind)
        share = velocity*timestep/air%thickness(i, klev)
        share = share/(1.0_wp + share)
        tendency(i, klev, n) = tendency(i, klev, n) - share*now/timestep
        lost(i) = -share*now*air%air_mass(i, klev)
      end do
      call enter(kproma, kbdim, n, lost, entry)
    end do
  end subroutine deposit

  pure subroutine scavenge(kproma, kbdim, klev, timestep, air, before, tendency, entry)
    !! In-cloud scavenging as rain forms, and washout below. Rain does not evaporate; that of
    !! updraughts has taken its share in `convect`.
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: timestep
    !! [s]
    type(meteorology_type), intent(in) :: air
    real(wp), intent(in) :: before(kbdim, klev, n_tracer)
    real(wp), intent(inout) :: tendency(kbdim, klev, n_tracer)
    real(wp), intent(inout) :: entry(kbdim, n_budget)
    integer :: i, k, kind, n
    real(wp) :: in_cloud(kbdim, klev), liquid(kbdim, klev), lost(kbdim), below, formed, now, share

    do k = 1, klev
      do i = 1, kproma
        liquid(i, k) = min(max((air%temperature(i, k) - 238.0_wp)/35.0_wp, 0.0_wp), 1.0_wp)
        ! Share of the cloudy part whose water rains out; thin cold clouds hold less of it.
        formed = timestep*(1.0_wp - air%convective(i))*air%rain_formation(i, k)
        in_cloud(i, k) = air%cloud_fraction(i, k)*(1.0_wp - exp(-min( &
          formed/(air%air_mass(i, k)*cloud_water*(0.1_wp + 0.9_wp*liquid(i, k)) &
          *max(air%cloud_fraction(i, k), 1.0e-3_wp)), 100.0_wp)))
      end do
    end do
    do n = 1, n_tracer
      kind = class_of(n)
      if (n == dms) cycle
      lost(:kproma) = 0.0_wp
      do k = 1, klev
        do i = 1, kproma
          now = before(i, k, n) + tendency(i, k, n)*timestep
          share = in_cloud(i, k)*(liquid(i, k)*in_liquid(kind) &
            + (1.0_wp - liquid(i, k))*in_ice(kind))
          below = washout(kind)*air%rain(i, k)*timestep*liquid(i, k)
          below = below/(1.0_wp + below)
          share = share + (1.0_wp - air%cloud_fraction(i, k))*below
          tendency(i, k, n) = tendency(i, k, n) - share*now/timestep
          lost(i) = lost(i) - share*now*air%air_mass(i, k)
        end do
      end do
      call enter(kproma, kbdim, n, lost, entry)
    end do
  end subroutine scavenge

  elemental real(wp) function rained_out(tracer)
    !! Share that does not come out of an updraught [1]; of SO2 most is oxidised in its droplets
    integer, intent(in) :: tracer

    rained_out = merge(0.6_wp, 0.95_wp*in_liquid(class_of(tracer)), tracer == so2)
  end function rained_out

  elemental integer function class_of(tracer)
    !! Place of a tracer in the tables above: its mode, or gases after the modes
    integer, intent(in) :: tracer

    select case (tracer)
    case (h2so4)
      class_of = n_mode + 1
    case (so2)
      class_of = n_mode + 2
    case (dms)
      class_of = n_mode + 3
    case default
      class_of = tracer_mode(tracer)
    end select
  end function class_of
end module host_removal
