module host_winds
  !! Prescribed winds as mass fluxes through the faces of cells: functions of place and time,
  !! without memory. Jets and trades that follow the season, an overturning circulation, the
  !! travelling waves of `host_meteorology` with ascent in their crests, a stream across the poles.
  !!
  !! Every part is a difference of a streamfunction at edges, so that what flows into a cell flows
  !! out of it to the last bits, and the mass of air in a cell never changes.
  use host_calendar, only: clock_type
  use host_constants, only: degree, earth_radius, gravity, pi, standard_pressure, wp
  use host_grid, only: grid_type
  use host_meteorology, only: waves
  implicit none (type, external)
  private
  public :: winds_type, set_up_winds
  public :: blow

  integer, parameter, public :: halo = 2
  !! Rows of the neighbours that a rank keeps

  real(wp), parameter :: wave_stream = 8.0e6_wp
  !! Streamfunction of the waves [m2 s-1]
  real(wp), parameter :: polar_wind = 5.0_wp
  !! [m s-1]
  real(wp), parameter :: ascent = 0.012_wp
  !! In crests [kg m-2 s-1]
  real(wp), parameter :: tropical_cell = 1.5e11_wp, polar_cell = 3.0e10_wp
  !! Overturning [kg s-1]

  type :: winds_type
    real(wp), allocatable :: mass(:, :, :)
    !! Air in a cell [kg] (nlon, nlev, 1-halo:rows+halo); row 1 is the rank's northernmost
    real(wp), allocatable :: east(:, :, :)
    !! Through the eastern face [kg s-1] (nlon, nlev, 1-halo:rows+halo)
    real(wp), allocatable :: south(:, :, :)
    !! Through the southern face of a row [kg s-1] (nlon, nlev, 0:rows)
    real(wp), allocatable :: down(:, :, :)
    !! Through the lower face [kg s-1] (nlon, 0:nlev, 1-halo:rows+halo)
    integer :: first, last
    !! Rows that there are: no halo beyond the poles
  end type winds_type

contains

  subroutine set_up_winds(grid, pressure, winds)
    type(grid_type), intent(in) :: grid
    real(wp), intent(in) :: pressure(:, :)
    !! At the surface [Pa] (nproma, nblocks)
    type(winds_type), intent(out) :: winds
    integer :: j, k, r
    real(wp) :: area, map(grid%nlon, grid%nlat)

    winds%first = max(1 - halo, 2 - grid%first_row)
    winds%last = min(grid%rows + halo, grid%nlat + 1 - grid%first_row)
    allocate (winds%mass(grid%nlon, grid%nlev, 1 - halo:grid%rows + halo), source=1.0_wp)
    allocate (winds%east(grid%nlon, grid%nlev, 1 - halo:grid%rows + halo), source=0.0_wp)
    allocate (winds%south(grid%nlon, grid%nlev, 0:grid%rows), source=0.0_wp)
    allocate (winds%down(grid%nlon, 0:grid%nlev, 1 - halo:grid%rows + halo), source=0.0_wp)
    call grid%everywhere(pressure, map)
    do r = winds%first, winds%last
      j = grid%first_row - 1 + r
      area = 4.0_wp*pi*earth_radius**2*grid%row_weight(j)
      do k = 1, grid%nlev
        winds%mass(:, k, r) = area/gravity*(grid%hyai(k + 1) - grid%hyai(k) &
          + (grid%hybi(k + 1) - grid%hybi(k))*map(:, j))
      end do
    end do
  end subroutine set_up_winds

  pure subroutine blow(grid, clock, winds)
    !! Winds at the clock's time.
    type(grid_type), intent(in) :: grid
    type(clock_type), intent(in) :: clock
    type(winds_type), intent(inout) :: winds
    integer :: j, k, r
    real(wp) :: area, cell(0:grid%nlev, 2), depth(grid%nlev), jet(grid%nlev), lift(0:grid%nlev)
    real(wp) :: north, northern(grid%nlon), rise(grid%nlon), sigma(0:grid%nlev), south
    real(wp) :: southern(grid%nlon), turn(grid%nlon), wave(grid%nlev), width, zonal(grid%nlev)

    sigma = (grid%hyai + grid%hybi*standard_pressure)/standard_pressure
    depth = standard_pressure/gravity*(sigma(1:) - sigma(:grid%nlev - 1))
    jet = exp(-(log(0.5_wp*(sigma(1:) + sigma(:grid%nlev - 1))/0.22_wp)/1.1_wp)**2)
    wave = (0.35_wp + 0.65_wp*jet)*min(sigma(1:)/0.15_wp, 1.0_wp)
    lift = sin(pi*max(sigma - 0.1_wp, 0.0_wp)/0.9_wp)
    lift(grid%nlev) = 0.0_wp
    width = earth_radius*pi/grid%nlat

    do r = winds%first, winds%last
      j = grid%first_row - 1 + r
      north = 0.5_wp*pi*(1.0_wp - 2.0_wp*(j - 1)/grid%nlat)
      south = 0.5_wp*pi*(1.0_wp - 2.0_wp*j/grid%nlat)
      area = 4.0_wp*pi*earth_radius**2*grid%row_weight(j)
      northern = stream(grid, clock, north)
      southern = stream(grid, clock, south)
      cell(:, 1) = overturning(clock, north)*lift
      cell(:, 2) = overturning(clock, south)*lift
      zonal = westerly(clock, degree*grid%latitude(j), jet)

      ! Ascent in a row sums to nothing; `turn` is the flow along the row that feeds it.
      rise = waves(clock, degree*grid%longitude, degree*grid%latitude(j))
      rise = ascent*area*(rise - sum(rise)/grid%nlon)
      turn = running(rise)
      do k = 1, grid%nlev
        winds%east(:, k, r) = width*depth(k)*zonal(k) &
          + depth(k)*wave(k)*(southern - northern) + (lift(k) - lift(k - 1))*turn
        winds%down(:, k, r) = (cell(k, 1) - cell(k, 2))/grid%nlon - lift(k)*rise
      end do
      if (r < 0 .or. r > grid%rows .or. j == grid%nlat) cycle
      do k = 1, grid%nlev
        winds%south(:, k, r) = (cell(k, 2) - cell(k - 1, 2))/grid%nlon &
          + depth(k)*wave(k)*(cshift(southern, -1) - southern)
      end do
    end do
  end subroutine blow

  pure function stream(grid, clock, lat)
    !! Streamfunction of waves at the north-eastern or south-eastern corners of a row's cells
    !! [m2 s-1]
    type(grid_type), intent(in) :: grid
    type(clock_type), intent(in) :: clock
    real(wp), intent(in) :: lat
    real(wp) :: lon(grid%nlon), stream(grid%nlon)

    stream = 0.0_wp
    if (abs(lat) > 0.4999999_wp*pi) return
    lon = degree*grid%longitude + pi/grid%nlon
    stream = wave_stream*cos(lat)**2*waves(clock, lon, lat) + polar_wind*earth_radius &
      *cos(lat)*sin(lat)**2*cos(lon - 2.0_wp*pi*clock%days()/15.0_wp)
  end function stream

  elemental real(wp) function westerly(clock, lat, jet)
    !! Zonal mean wind [m s-1]
    type(clock_type), intent(in) :: clock
    real(wp), intent(in) :: lat, jet
    real(wp) :: latitude, winter

    latitude = lat/degree
    winter = -clock%season(200.0_wp)*tanh(latitude/15.0_wp)
    westerly = cos(lat)*(38.0_wp*jet*(1.0_wp + 0.4_wp*winter) &
      *exp(-((abs(latitude) - 40.0_wp + 6.0_wp*winter)/14.0_wp)**2) &
      + 7.0_wp*(1.0_wp - 0.6_wp*jet)*exp(-((abs(latitude) - 50.0_wp)/12.0_wp)**2) &
      - 7.0_wp*exp(-(latitude/18.0_wp)**2))
  end function westerly

  elemental real(wp) function overturning(clock, lat)
    !! Southward mass flux of the upper branch [kg s-1]
    type(clock_type), intent(in) :: clock
    real(wp), intent(in) :: lat
    real(wp) :: latitude, x

    overturning = 0.0_wp
    if (abs(lat) > 0.4999999_wp*pi) return
    latitude = lat/degree
    x = (8.0_wp*clock%season(200.0_wp) - latitude)/12.0_wp
    overturning = cos(lat)*(tropical_cell*x*exp(0.5_wp - 0.5_wp*x**2) &
      *(1.0_wp + 0.6_wp*clock%season(200.0_wp)*tanh(2.0_wp*x)) &
      + polar_cell*(exp(-((latitude - 52.0_wp)/10.0_wp)**2) &
      - exp(-((latitude + 52.0_wp)/10.0_wp)**2)))
  end function overturning

  pure function running(values)
    !! Sums from the first value on, less their mean
    real(wp), intent(in) :: values(:)
    integer :: i
    real(wp) :: running(size(values)), total

    total = 0.0_wp
    do i = 1, size(values)
      total = total + values(i)
      running(i) = total
    end do
    running = running - sum(running)/size(values)
  end function running
end module host_winds
