module host_mixing
  !! Vertical diffusion, implicit in time, and deep convection with the rain that it forms: both
  !! keep tracers positive, and what nothing washes out is conserved.
  use host_constants, only: wp
  use host_ledger, only: column_sum, enter
  use host_meteorology, only: meteorology_type
  use host_removal, only: rained_out
  use host_tracers, only: advance, n_budget, n_tracer
  implicit none (type, external)
  private
  public :: convect, mix

  real(wp), parameter :: air_per_rain = 200.0_wp
  !! Mass of air that leaves the boundary layer upwards for one of convective rain [1]
  real(wp), parameter :: coldest = 225.0_wp
  !! At the top of the updraught [K]
  real(wp), parameter :: most = 0.5_wp
  !! Of a layer that may leave it in a timestep

contains

  pure subroutine mix(kproma, kbdim, klev, timestep, air, before, tendency, entry)
    !! Mix all tracers of a block by the diffusivity of the air.
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: timestep
    !! [s]
    type(meteorology_type), intent(in) :: air
    real(wp), intent(in) :: before(kbdim, klev, n_tracer)
    !! x(t-1)
    real(wp), intent(inout) :: tendency(kbdim, klev, n_tracer)
    real(wp), intent(inout) :: entry(kbdim, n_budget)
    !! What mixing failed to conserve [kg m-2]
    integer :: i, k, n
    real(wp) :: above(kbdim), now(kbdim, klev), new(kbdim, klev), change(kbdim)
    real(wp) :: exchange(kbdim, klev), pivot(kbdim, klev), up(kbdim, klev)

    ! exchange: air that layers k and k+1 swap in a timestep [kg m-2].
    exchange(:, klev) = 0.0_wp
    do k = 1, klev - 1
      do i = 1, kproma
        exchange(i, k) = timestep*air%diffusivity(i, k) &
          *0.5_wp*(air%density(i, k) + air%density(i, k + 1)) &
          /(air%height(i, k) - air%height(i, k + 1))
      end do
    end do
    ! Elimination from the top (Thomas); the matrix is the same for all tracers.
    above(:kproma) = 0.0_wp
    do k = 1, klev
      do i = 1, kproma
        pivot(i, k) = 1.0_wp/(air%air_mass(i, k) + exchange(i, k) + above(i))
        up(i, k) = exchange(i, k)*pivot(i, k)
        above(i) = exchange(i, k)*(1.0_wp - up(i, k))
      end do
    end do

    do n = 1, n_tracer
      call advance(kproma, kbdim, klev, timestep, before(:, :, n), tendency(:, :, n), now)
      do i = 1, kproma
        new(i, 1) = now(i, 1)*air%air_mass(i, 1)*pivot(i, 1)
      end do
      do k = 2, klev
        do i = 1, kproma
          new(i, k) = (now(i, k)*air%air_mass(i, k) + exchange(i, k - 1)*new(i, k - 1))*pivot(i, k)
        end do
      end do
      do k = klev - 1, 1, -1
        do i = 1, kproma
          new(i, k) = new(i, k) + up(i, k)*new(i, k + 1)
        end do
      end do
      do k = 1, klev
        do i = 1, kproma
          now(i, k) = new(i, k) - now(i, k)
          tendency(i, k, n) = tendency(i, k, n) + now(i, k)/timestep
        end do
      end do
      call column_sum(kproma, kbdim, klev, air%air_mass, now, change)
      call enter(kproma, kbdim, n, change, entry)
    end do
  end subroutine mix

  pure subroutine convect(kproma, kbdim, klev, timestep, air, before, tendency, entry, wet_entry)
    !! An updraught in proportion to its rain takes air of the boundary layer and leaves it, evenly
    !! by mass, in all layers above that are warm enough; between them the air sinks (explicit and
    !! upstream). What is in its droplets rains out.
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: timestep
    !! [s]
    type(meteorology_type), intent(in) :: air
    real(wp), intent(in) :: before(kbdim, klev, n_tracer)
    !! x(t-1)
    real(wp), intent(inout) :: tendency(kbdim, klev, n_tracer)
    real(wp), intent(inout) :: entry(kbdim, n_budget), wet_entry(kbdim, n_budget)
    !! What convection failed to conserve, and what it rained out [kg m-2]
    integer :: i, k, n
    real(wp) :: left
    real(wp), dimension(kbdim) :: aloft, below, change, inflow, lift, limit, updraught
    real(wp), dimension(kbdim, klev) :: now, given, sinking, taken

    ! Shares of the updraught that a layer takes and gives; what sinks through its lower side.
    aloft(:kproma) = 0.0_wp
    below(:kproma) = 0.0_wp
    do k = 1, klev
      do i = 1, kproma
        taken(i, k) = merge(air%air_mass(i, k), 0.0_wp, k == klev &
          .or. air%height(i, k) < air%boundary_layer_height(i))
        given(i, k) = merge(air%air_mass(i, k), 0.0_wp, taken(i, k) <= 0.0_wp &
          .and. air%temperature(i, k) > coldest .and. air%pressure(i, k) > 1.0e4_wp)
        below(i) = below(i) + taken(i, k)
        aloft(i) = aloft(i) + given(i, k)
      end do
    end do
    lift(:kproma) = 0.0_wp
    limit(:kproma) = huge(1.0_wp)
    do k = 1, klev
      do i = 1, kproma
        taken(i, k) = taken(i, k)/below(i)
        given(i, k) = given(i, k)/max(aloft(i), tiny(1.0_wp))
        lift(i) = lift(i) + given(i, k) - taken(i, k)
        sinking(i, k) = max(lift(i), 0.0_wp)
        limit(i) = min(limit(i), &
          most*air%air_mass(i, k)/max(sinking(i, k) + taken(i, k), 1.0e-9_wp))
      end do
    end do
    do i = 1, kproma
      sinking(i, klev) = 0.0_wp
      lift(i) = min(timestep*air_per_rain*air%convective(i)*air%precipitation(i), limit(i)) &
        *merge(1.0_wp, 0.0_wp, aloft(i) > 0.0_wp)
    end do

    do n = 1, n_tracer
      call advance(kproma, kbdim, klev, timestep, before(:, :, n), tendency(:, :, n), now)
      updraught(:kproma) = 0.0_wp
      inflow(:kproma) = 0.0_wp
      do k = 1, klev
        do i = 1, kproma
          updraught(i) = updraught(i) + taken(i, k)*now(i, k)
        end do
      end do
      left = 1.0_wp - rained_out(n)
      do k = 1, klev
        do i = 1, kproma
          below(i) = sinking(i, k)*now(i, k)
          now(i, k) = lift(i)*(given(i, k)*left*updraught(i) - taken(i, k)*now(i, k) + inflow(i) &
            - below(i))/air%air_mass(i, k)
          inflow(i) = below(i)
          tendency(i, k, n) = tendency(i, k, n) + now(i, k)/timestep
        end do
      end do
      updraught(:kproma) = -lift(:kproma)*rained_out(n)*updraught(:kproma)
      call enter(kproma, kbdim, n, updraught, wet_entry)
      call column_sum(kproma, kbdim, klev, air%air_mass, now, change)
      change(:kproma) = change(:kproma) - updraught(:kproma)
      call enter(kproma, kbdim, n, change, entry)
    end do
  end subroutine convect
end module host_mixing
