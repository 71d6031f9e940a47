module host_emissions
  !! Sources: maps drawn at the start and scaled to the world's totals, times season and wind.
  use host_calendar, only: clock_type
  use host_constants, only: degree, earth_radius, molar_so2, molar_so4, pi, wp, year_length
  use host_grid, only: grid_type
  use host_ledger, only: enter
  use host_meteorology, only: meteorology_type
  use host_surface, only: spots, surface_type
  use host_tracers, only: dms, first_number, n_budget, n_tracer, so2
  use m7_modes, only: ai, as, bc, bc_ki, ci, cs, du, du_ai, du_ci, ki, ks, mean_to_median, oc, &
    oc_ki, oc_ks, so4, so4_as, so4_ks, ss, ss_as, ss_cs
  implicit none (type, external)
  private
  public :: sources_type, set_up_sources
  public :: emit, particles_per_mass

  integer, parameter :: industry = 1, ships = 2, volcanoes = 3, plankton = 4, fossil = 5
  integer, parameter :: fire = 6, plants = 7, spray = 8, desert = 9, n_source = 9
  real(wp), parameter :: total(n_source) = 1.0e9_wp*[real(wp) :: &
    90, 8, 20, 36, 15, 40, 19, 5000, 1100]/year_length
  !! SO2 thrice, DMS, BC and OC twice, OC, sea salt, dust [kg s-1]
  integer, parameter :: surface_layer = 1, stacks = 2, plume = 3, crater = 4
  integer, parameter :: n_profile = 4
  real(wp), parameter :: bottom(n_profile) = [real(wp) :: 0, 0, 0, 2000]
  real(wp), parameter :: ceiling_height(n_profile) = [real(wp) :: 1, 400, 2500, 6000]
  !! Between which heights a source mixes at once [m]
  integer, parameter :: profile(n_source) = [stacks, surface_layer, crater, surface_layer, &
    surface_layer, plume, surface_layer, surface_layer, surface_layer]

  real(wp), parameter :: primary = 0.025_wp
  !! Share of sulfur emitted as sulfate
  real(wp), parameter :: black = 1.0_wp/3.0_wp, smoke_black = 0.08_wp
  !! Share of BC in BC and OC of fossil fuels and of fires
  real(wp), parameter :: soluble = 0.65_wp
  !! Of emitted OC
  real(wp), parameter :: fine_salt = 0.025_wp, fine_dust = 0.08_wp
  !! Mass in the accumulation mode

  real(wp), parameter, public :: density(5) = [real(wp) :: 1841, 2000, 2000, 2165, 2650]
  !! Of SO4, BC, OC, SS, DU [kg m-3]

  ! Centre, half axes [degrees], strength.
  real(wp), parameter :: factories(5, 8) = reshape([real(wp) :: &
    20, 50, 17, 7, 1.0, -83, 38, 11, 7, 0.7, 113, 33, 11, 8, 1.6, 80, 24, 9, 7, 0.9, &
    50, 32, 12, 6, 0.4, 28, -26, 6, 5, 0.4, -100, 20, 7, 5, 0.3, -60, -25, 14, 10, 0.15], [5, 8])
  real(wp), parameter :: vents(5, 7) = reshape([real(wp) :: &
    120, -3, 14, 6, 1.0, -78, 0, 7, 9, 0.6, 15, 38, 6, 4, 0.5, 158, 53, 9, 6, 0.5, &
    -155, 19, 6, 5, 0.4, 130, 33, 8, 6, 0.4, -90, 14, 6, 5, 0.5], [5, 7])
  real(wp), parameter :: burning(5, 7) = reshape([real(wp) :: &
    15, 8, 22, 5, 1.0, 23, -11, 13, 8, 1.2, -57, -11, 11, 8, 0.9, 100, 17, 8, 7, 0.5, &
    110, 58, 32, 6, 0.4, -108, 58, 22, 6, 0.3, 133, -15, 10, 5, 0.3], [5, 7])
  real(wp), parameter :: lanes(4, 2) = reshape([real(wp) :: -35, 42, 40, 14, 170, 38, 50, 14], &
    [4, 2])

  type :: sources_type
    real(wp), allocatable :: flux(:, :, :)
    !! Annual mean [kg m-2 s-1] (nproma, n_source, nblocks)
  end type sources_type

contains

  subroutine set_up_sources(grid, surface, sources)
    type(grid_type), intent(in) :: grid
    type(surface_type), intent(in) :: surface
    type(sources_type), intent(out) :: sources
    integer :: k
    real(wp) :: map(grid%nproma, grid%nblocks), ocean(grid%nproma, grid%nblocks), scale

    allocate (sources%flux(grid%nproma, n_source, grid%nblocks), source=0.0_wp)
    ocean = 1.0_wp - surface%land
    do k = 1, n_source
      select case (k)
      case (industry, fossil)
        map = surface%land*spots(grid, factories)
      case (ships)
        map = ocean*(0.05_wp*cos(grid%lat)**2 + spots(grid, lanes))
      case (volcanoes)
        map = spots(grid, vents)
      case (plankton)
        map = ocean*cos(grid%lat)**0.5_wp*(0.6_wp + sin(grid%lat)**2)
      case (fire)
        map = (0.05_wp + surface%land)*spots(grid, burning)
      case (plants)
        map = surface%forest
      case (spray)
        map = ocean
      case default
        map = surface%desert**2
      end select
      scale = total(k)/(4.0_wp*pi*earth_radius**2*max(grid%global_mean(map), tiny(1.0_wp)))
      sources%flux(:, k, :) = scale*map
    end do
  end subroutine set_up_sources

  pure subroutine emit(grid, sources, clock, air, block, scale, tendency, emitted, entry)
    !! Add the emissions of a block to the tendencies.
    type(grid_type), intent(in) :: grid
    type(sources_type), intent(in) :: sources
    type(clock_type), intent(in) :: clock
    type(meteorology_type), intent(in) :: air
    integer, intent(in) :: block
    real(wp), intent(in) :: scale
    !! Of what people emit: industry, ships, fossil fuels [1]
    real(wp), intent(inout) :: tendency(grid%nproma, grid%nlev, n_tracer)
    !! [kg kg-1 s-1], numbers [kg-1 s-1]
    real(wp), intent(inout) :: emitted(grid%nproma, n_tracer)
    !! Emission flux [kg m-2 s-1], numbers [m-2 s-1]
    real(wp), intent(inout) :: entry(grid%nproma, n_budget)
    integer :: i, k, kproma, n, p
    logical :: released(n_tracer)
    real(wp) :: flux(n_tracer, n_profile, grid%nproma), phi, strength, summer
    real(wp) :: share(grid%nproma, grid%nlev), whole(grid%nproma)

    kproma = grid%kproma(block)
    flux = 0.0_wp
    released = .false.
    do k = 1, n_source
      do i = 1, kproma
        phi = grid%lat(i, block)
        strength = 1.0_wp
        select case (k)
        case (industry, ships, fossil)
          strength = scale
        case (plankton)
          summer = sin(phi)*clock%season(190.0_wp)
          strength = (0.125_wp*air%wind(i))**1.6_wp*(1.0_wp + 0.9_wp*summer)
        case (fire)
          strength = fire_season(clock, phi)
        case (plants)
          strength = max(1.0_wp + 1.3_wp*sin(phi)*clock%season(195.0_wp), 0.05_wp)
        case (spray)
          strength = (air%wind(i)/8.4_wp)**3.41_wp
        case (desert)
          ! Quiet below 6.5 m/s; the constant makes the mean about one.
          strength = max(air%gust(i) - 6.5_wp, 0.0_wp)*air%gust(i)**2/52.0_wp
        case default
        end select
        call release(k, profile(k), strength*sources%flux(i, k, block), flux(:, :, i))
      end do
    end do

    do p = 1, n_profile
      do k = 1, grid%nlev
        do i = 1, kproma
          share(i, k) = max(min(air%half_height(i, k), ceiling_height(p)) &
            - max(air%half_height(i, k + 1), bottom(p)), 0.0_wp)*air%density(i, k)
        end do
      end do
      whole(:kproma) = sum(share(:kproma, :), dim=2)
      do n = 1, n_tracer
        if (all(flux(n, p, :kproma) <= 0.0_wp)) cycle
        released(n) = .true.
        do k = 1, grid%nlev
          do i = 1, kproma
            tendency(i, k, n) = tendency(i, k, n) &
              + flux(n, p, i)*share(i, k)/(whole(i)*air%air_mass(i, k))
          end do
        end do
      end do
    end do
    do n = 1, n_tracer
      emitted(:kproma, n) = sum(flux(n, :, :kproma), dim=1)
      if (released(n)) then
        call enter(kproma, grid%nproma, n, clock%timestep*emitted(:, n), entry)
      end if
    end do
  end subroutine emit

  elemental real(wp) function fire_season(clock, lat)
    !! Dry season of the tropics, summer of the north; about one in the mean [1]
    type(clock_type), intent(in) :: clock
    real(wp), intent(in) :: lat
    real(wp) :: peak

    if (lat > 35.0_wp*degree) then
      peak = 200.0_wp
    else
      peak = merge(30.0_wp, 240.0_wp, lat > 0.0_wp)
    end if
    fire_season = 0.08_wp + 3.3_wp*max(clock%season(peak), 0.0_wp)**1.5_wp
  end function fire_season

  pure subroutine release(source, level, amount, flux)
    !! Species, modes and sizes of a source (count median radii in um as in AeroCom and HAM).
    integer, intent(in) :: source, level
    real(wp), intent(in) :: amount
    !! [kg m-2 s-1]
    real(wp), intent(inout) :: flux(n_tracer, n_profile)
    real(wp) :: organic

    select case (source)
    case (industry, ships, volcanoes)
      flux(so2, level) = flux(so2, level) + (1.0_wp - primary)*amount
      organic = 0.5_wp*primary*amount*molar_so4/molar_so2
      call add(flux(:, level), so4_ks, so4, ks, 0.03_wp, organic)
      call add(flux(:, level), so4_as, so4, as, 0.075_wp, organic)
    case (plankton)
      flux(dms, level) = flux(dms, level) + amount
    case (fossil)
      call add(flux(:, level), bc_ki, bc, ki, 0.03_wp, black*amount)
      organic = (1.0_wp - black)*amount
      call add(flux(:, level), oc_ks, oc, ks, 0.03_wp, soluble*organic)
      call add(flux(:, level), oc_ki, oc, ki, 0.03_wp, (1.0_wp - soluble)*organic)
    case (fire)
      call add(flux(:, level), bc_ki, bc, ki, 0.075_wp, smoke_black*amount)
      organic = (1.0_wp - smoke_black)*amount
      call add(flux(:, level), oc_ks, oc, ks, 0.075_wp, soluble*organic)
      call add(flux(:, level), oc_ki, oc, ki, 0.075_wp, (1.0_wp - soluble)*organic)
    case (plants)
      call add(flux(:, level), oc_ks, oc, ks, 0.03_wp, soluble*amount)
      call add(flux(:, level), oc_ki, oc, ki, 0.03_wp, (1.0_wp - soluble)*amount)
    case (spray)
      call add(flux(:, level), ss_as, ss, as, 0.079_wp, fine_salt*amount)
      call add(flux(:, level), ss_cs, ss, cs, 0.63_wp, (1.0_wp - fine_salt)*amount)
    case (desert)
      call add(flux(:, level), du_ai, du, ai, 0.194_wp, fine_dust*amount)
      call add(flux(:, level), du_ci, du, ci, 0.414_wp, (1.0_wp - fine_dust)*amount)
    case default
    end select

  contains

    pure subroutine add(flux, tracer, species, mode, radius, mass)
      real(wp), intent(inout) :: flux(n_tracer)
      integer, intent(in) :: tracer, species, mode
      real(wp), intent(in) :: radius, mass
      integer :: n

      n = first_number + mode - 1
      flux(tracer) = flux(tracer) + mass
      flux(n) = flux(n) + mass*particles_per_mass(species, mode, radius)
    end subroutine add
  end subroutine release

  elemental real(wp) function particles_per_mass(species, mode, radius)
    !! Hatch-Choate [kg-1]
    integer, intent(in) :: species, mode
    real(wp), intent(in) :: radius
    !! Dry count median radius [um]

    particles_per_mass = 1.0_wp &
      /(4.0_wp/3.0_wp*pi*(radius*1.0e-6_wp/mean_to_median(mode))**3*density(species))
  end function particles_per_mass
end module host_emissions
