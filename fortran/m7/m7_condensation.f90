module m7_condensation
  !! Condensation of H2SO4: section 9 of the physics contract (Fuchs 1959; Vignati 1999).
  use m7_config, only: m7_config_type, profile_m7_2004
  use m7_kinds, only: lanes, wp
  use m7_math, only: decay
  use m7_modes, only: ai, as, ci, cs, ki, ks, n_mode, ns
  use m7_split, only: condensed, n_split
  use m7_water, only: molar_mass_h2so4
  implicit none (type, external)
  private
  public :: condensation_sink, condense

  real(wp), parameter :: accommodation(n_mode) = &
    [1.0_wp, 1.0_wp, 1.0_wp, 1.0_wp, 0.3_wp, 0.3_wp, 0.3_wp]
  !! Of H2SO4 on soluble and insoluble particles [1]
  real(wp), parameter :: gas_constant = 8.314e7_wp
  !! [erg K-1 mol-1]
  real(wp), parameter :: euler_limit = 0.95_wp
  !! Share of the gas that m7_2004 condenses at most in a step [1]
  integer, parameter :: cloud_order(n_mode) = [cs, as, ks, ns, ci, ai, ki]
  !! Cloud droplets form on the largest soluble mode there is

contains

  pure subroutine condensation_sink(config, pressure, temperature, radius, number, sink)
    !! Loss rate of H2SO4 to each mode by Fuchs' flux matching at the count median radius.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: pressure(lanes), temperature(lanes)
    !! Pa, K
    real(wp), intent(in) :: radius(lanes, n_mode), number(lanes, n_mode)
    !! Ambient radius, 0 for a mode without particles [cm]; [cm-3]
    real(wp), intent(out) :: sink(lanes, n_mode)
    !! [s-1]
    integer :: i, k
    real(wp) :: diffusivity(lanes), path(lanes), r, reach, root, speed(lanes), span, uptake

    do i = 1, lanes
      r = temperature(i)*(1.0_wp/298.15_wp)
      diffusivity(i) = 0.073_wp*1.0e5_wp/pressure(i)*r*sqrt(r)
      speed(i) = sqrt(8.0_wp*gas_constant/(config%pi*molar_mass_h2so4)*temperature(i))
      path(i) = 8.0_wp*diffusivity(i)/(config%pi*speed(i))
    end do
    do k = 1, n_mode
      do i = 1, lanes
        r = radius(i, k)
        ! r + Delta of the contract is reach/span: (r+l)**3 - (r**2+l**2)**1.5 factorises.
        root = sqrt(r*r + path(i)*path(i))
        span = r + path(i) + root
        reach = (2.0_wp/3.0_wp)*((r + path(i))*span + root*root)
        uptake = accommodation(k)*speed(i)*r
        sink(i, k) = number(i, k)*(4.0_wp*config%pi)*diffusivity(i)*r*uptake*reach &
          /(4.0_wp*diffusivity(i)*reach + uptake*r*span)
      end do
    end do
  end subroutine condensation_sink

  pure subroutine condense(config, timestep, cloud_fraction, production, sink, gas, total, moved)
    !! Move H2SO4 from the gas to the modes. The older generation takes an Euler step; the later one
    !! solves production and condensation together and gives the cloudy part to cloud droplets.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep
    !! [s]
    real(wp), intent(in) :: cloud_fraction(lanes), production(lanes)
    !! 1, molecules cm-3 s-1; production is 0 for m7_2004, whose hosts have added it to the gas
    real(wp), intent(in) :: sink(lanes, n_mode)
    !! [s-1]
    real(wp), intent(inout) :: gas(lanes)
    !! [molecules cm-3]
    real(wp), intent(out) :: total(lanes)
    !! Sum of the sinks [s-1]
    real(wp), intent(inout) :: moved(lanes, n_split)
    integer :: i, j, k
    logical :: acts
    real(wp) :: left, rate, supply, take, taken
    real(wp), dimension(lanes) :: amount, clear, cloudy, kept, late, lost, times

    total = sum(sink, dim=2)
    if (config%profile == profile_m7_2004) then
      do i = 1, lanes
        acts = total(i) > 0.0_wp .and. gas(i) > 1.0e-10_wp
        take = min(total(i)*gas(i)*timestep, euler_limit*gas(i))
        clear(i) = merge(take, 0.0_wp, acts)
        cloudy(i) = 0.0_wp
        gas(i) = gas(i) - clear(i)
      end do
    else
      times = total*timestep
      call decay(times, kept, lost, late)
      do i = 1, lanes
        acts = total(i) > 1.0e-10_wp
        rate = merge(total(i), 1.0_wp, acts)
        supply = max(gas(i) + production(i)*timestep, 0.0_wp)
        left = gas(i)*kept(i) + production(i)*lost(i)/rate
        taken = merge(gas(i)*lost(i) + production(i)*late(i)/rate, supply, left > 0.0_wp)
        left = max(left, 0.0_wp)
        clear(i) = merge((1.0_wp - cloud_fraction(i))*max(taken, 0.0_wp), 0.0_wp, acts)
        cloudy(i) = merge(cloud_fraction(i)*supply, 0.0_wp, acts)
        gas(i) = merge((1.0_wp - cloud_fraction(i))*left, supply, acts)
      end do
    end if
    do i = 1, lanes
      amount(i) = clear(i)/merge(total(i), 1.0_wp, total(i) > 0.0_wp)
    end do
    do j = 1, n_mode
      k = cloud_order(j)
      do i = 1, lanes
        take = merge(cloudy(i), 0.0_wp, sink(i, k) > 0.0_wp)
        cloudy(i) = cloudy(i) - take
        moved(i, condensed + k) = sink(i, k)*amount(i) + take
      end do
    end do
  end subroutine condense
end module m7_condensation
