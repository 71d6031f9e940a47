module host_mixing
  !! Vertical diffusion, implicit in time: conserves mass, keeps tracers positive.
  use host_constants, only: wp
  use host_ledger, only: column_sum, enter
  use host_meteorology, only: meteorology_type
  use host_tracers, only: advance, n_budget, n_tracer
  implicit none (type, external)
  private
  public :: mix

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
end module host_mixing
