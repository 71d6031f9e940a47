module host_initial
  !! A start near to what the sources will sustain, so that five days are worth looking at.
  use host_constants, only: day_length, wp
  use host_emissions, only: particles_per_mass, sources_type
  use host_grid, only: grid_type
  use host_meteorology, only: meteorology_type
  use host_tracers, only: dms, first_number, n_tracer, so2
  use m7_modes, only: ai, as, bc, bc_as, bc_ki, ci, cs, du, du_ai, du_ci, ki, ks, oc, oc_as, &
    oc_ks, so4, so4_as, so4_ks, ss, ss_as, ss_cs
  implicit none (type, external)
  private
  public :: initial_state

contains

  subroutine initial_state(grid, sources, air, block, state)
    !! Annual sources times a lifetime, decaying with height.
    type(grid_type), intent(in) :: grid
    type(sources_type), intent(in) :: sources
    type(meteorology_type), intent(in) :: air
    integer, intent(in) :: block
    real(wp), intent(inout) :: state(grid%nproma, grid%nlev, n_tracer)
    !! Mixing ratios, 0 on entry
    integer :: i
    real(wp) :: flux(size(sources%flux, 2))

    do i = 1, grid%kproma(block)
      flux = sources%flux(i, :, block)
      ! Sources in the order of host_emissions: SO2 of industry, ships and volcanoes, DMS, ...
      call put(so2, 0, 0, 0.0_wp, 1.0_wp, sum(flux(:3)) + flux(4), 2500.0_wp)
      call put(dms, 0, 0, 0.0_wp, 1.0_wp, flux(4), 1000.0_wp)
      call put(so4_as, so4, as, 0.07_wp, 2.5_wp, sum(flux(:3)) + flux(4), 3000.0_wp)
      call put(so4_ks, so4, ks, 0.02_wp, 0.1_wp, sum(flux(:3)) + flux(4), 7000.0_wp)
      call put(bc_ki, bc, ki, 0.04_wp, 0.5_wp, 0.33_wp*flux(5) + 0.08_wp*flux(6), 2000.0_wp)
      call put(bc_as, bc, as, 0.09_wp, 4.5_wp, 0.33_wp*flux(5) + 0.08_wp*flux(6), 2500.0_wp)
      call put(oc_ks, oc, ks, 0.04_wp, 0.5_wp, sum(flux(5:7)), 2000.0_wp)
      call put(oc_as, oc, as, 0.09_wp, 4.5_wp, sum(flux(5:7)), 2500.0_wp)
      call put(ss_as, ss, as, 0.09_wp, 1.0_wp, 0.025_wp*flux(8), 1200.0_wp)
      call put(ss_cs, ss, cs, 0.55_wp, 0.4_wp, 0.975_wp*flux(8), 900.0_wp)
      call put(du_ai, du, ai, 0.19_wp, 4.0_wp, 0.08_wp*flux(9), 2500.0_wp)
      call put(du_ci, du, ci, 0.35_wp, 3.0_wp, 0.92_wp*flux(9), 2200.0_wp)
    end do

  contains

    subroutine put(tracer, species, mode, radius, lifetime, source, scale)
      integer, intent(in) :: tracer, species, mode
      !! Mode 0: a gas
      real(wp), intent(in) :: radius, lifetime, source, scale
      !! um, days, kg m-2 s-1, m
      integer :: n
      real(wp) :: profile(grid%nlev)

      profile = exp(-air%height(i, :)/scale)
      profile = profile*(lifetime*day_length*source/sum(profile*air%air_mass(i, :)))
      state(i, :, tracer) = state(i, :, tracer) + profile
      if (mode == 0) return
      n = first_number + mode - 1
      state(i, :, n) = state(i, :, n) + profile*particles_per_mass(species, mode, radius)
    end subroutine put
  end subroutine initial_state
end module host_initial
