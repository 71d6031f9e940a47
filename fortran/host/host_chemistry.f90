module host_chemistry
  !! DMS to SO2 to H2SO4 by OH that follows the sun, and SO2 to sulfate in clouds.
  use host_constants, only: boltzmann, molar_dms, molar_h2so4, molar_so2, molar_so4, wp
  use host_ledger, only: column_sum, enter
  use host_meteorology, only: meteorology_type
  use host_tracers, only: dms, first_number, h2so4, n_budget, n_tracer, so2
  use m7_modes, only: as, cs, so4_as, so4_cs
  implicit none (type, external)
  private
  public :: react

  real(wp), parameter :: noon_oh = 7.0e6_wp
  !! [cm-3]
  real(wp), parameter :: night = 2.0e-6_wp
  !! Loss of DMS to NO3 [s-1]
  real(wp), parameter :: cloud_rate = 1.0_wp/7200.0_wp
  !! Loss of SO2 in warm clouds [s-1]

contains

  pure subroutine react(kproma, kbdim, klev, timestep, air, before, tendency, entry)
    !! Add the sulfur chemistry of a block to the tendencies.
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: timestep
    !! [s]
    type(meteorology_type), intent(in) :: air
    real(wp), intent(in) :: before(kbdim, klev, n_tracer)
    !! x(t-1)
    real(wp), intent(inout) :: tendency(kbdim, klev, n_tracer)
    real(wp), intent(inout) :: entry(kbdim, n_budget)
    !! Sulfur not conserved [kg m-2]
    integer, parameter :: touched(*) = [dms, so2, h2so4, so4_as, so4_cs]
    integer :: i, k, n
    real(wp) :: change(kbdim, klev, size(touched)), column(kbdim)
    real(wp) :: coarse, from_dms, gas_rate, high, liquid, lost, low, molecules, number_as, number_cs
    real(wp) :: oh, ratio, rate, sulfate, there, wet_rate

    do k = 1, klev
      do i = 1, kproma
        molecules = 1.0e-6_wp*air%pressure(i, k)/(boltzmann*air%temperature(i, k))
        oh = noon_oh*air%sunlight(i)*(0.4_wp + 0.6_wp*min(air%humidity(i, k)/0.004_wp, 1.0_wp))

        rate = 1.6e-11_wp*exp(-234.0_wp/air%temperature(i, k))*oh &
          + night*merge(1.0_wp, 0.0_wp, air%sunlight(i) <= 0.0_wp)
        from_dms = now(dms)*(1.0_wp - exp(-rate*timestep))
        there = now(so2) + from_dms*(molar_so2/molar_dms)

        ! SO2 + OH + M (JPL).
        low = 3.3e-31_wp*(300.0_wp/air%temperature(i, k))**4.3_wp*molecules
        high = 1.6e-12_wp
        ratio = low/high
        gas_rate = oh*low/(1.0_wp + ratio)*0.6_wp**(1.0_wp/(1.0_wp + log10(ratio)**2))
        liquid = min(max((air%temperature(i, k) - 253.0_wp)/15.0_wp, 0.0_wp), 1.0_wp)
        wet_rate = cloud_rate*air%cloud_fraction(i, k)*liquid
        number_as = max(now(first_number + as - 1), 0.0_wp)
        number_cs = max(now(first_number + cs - 1), 0.0_wp)
        if (number_as + number_cs <= 0.0_wp) wet_rate = 0.0_wp
        coarse = number_cs/max(number_as + number_cs, tiny(1.0_wp))

        lost = there*(1.0_wp - exp(-(gas_rate + wet_rate)*timestep))
        sulfate = lost*wet_rate/max(gas_rate + wet_rate, tiny(1.0_wp))
        change(i, k, 1) = -from_dms
        change(i, k, 2) = from_dms*(molar_so2/molar_dms) - lost
        change(i, k, 3) = (lost - sulfate)*(molar_h2so4/molar_so2)
        change(i, k, 4) = sulfate*(molar_so4/molar_so2)*(1.0_wp - coarse)
        change(i, k, 5) = sulfate*(molar_so4/molar_so2)*coarse
      end do
    end do

    do n = 1, size(touched)
      do k = 1, klev
        do i = 1, kproma
          tendency(i, k, touched(n)) = tendency(i, k, touched(n)) + change(i, k, n)/timestep
        end do
      end do
      call column_sum(kproma, kbdim, klev, air%air_mass, change(:, :, n), column)
      call enter(kproma, kbdim, touched(n), column, entry)
    end do

  contains

    pure real(wp) function now(tracer)
      integer, intent(in) :: tracer

      now = before(i, k, tracer) + tendency(i, k, tracer)*timestep
    end function now
  end subroutine react
end module host_chemistry
