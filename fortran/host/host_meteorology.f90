module host_meteorology
  !! The weather of a block of columns: analytic functions of place and time, without memory, so
  !! that a restart needs none of it. Plausible, not true.
  use host_calendar, only: clock_type, sun
  use host_constants, only: day_length, degree, gas_constant, gravity, pi, standard_pressure, wp
  use host_grid, only: grid_type
  use host_surface, only: surface_type
  implicit none (type, external)
  private
  public :: meteorology_type, set_up_meteorology
  public :: weather
  public :: saturation_ice, saturation_water, waves

  real(wp), parameter :: scale_height = 7400.0_wp
  !! Of the height coordinate in which temperature is given [m]
  real(wp), parameter :: melting = 273.15_wp
  !! [K]
  real(wp), parameter :: least_humidity = 2.5e-6_wp
  !! Of the stratosphere [kg kg-1]
  real(wp), parameter :: mm_per_day = 1.0_wp/day_length
  !! [kg m-2 s-1]

  real(wp), parameter :: convective_share = 0.6_wp, warmest = 290.0_wp
  !! Of rain [1] where the lowest layer is warmer [K]

  type :: meteorology_type
    !! A block: levels are (nproma, nlev) from the top, interfaces (nproma, nlev + 1)
    real(wp), allocatable :: pressure(:, :), half_pressure(:, :)
    !! [Pa]
    real(wp), allocatable :: temperature(:, :)
    !! [K]
    real(wp), allocatable :: humidity(:, :), saturation(:, :)
    !! Specific humidity, and that of saturated air over liquid water [kg kg-1]
    real(wp), allocatable :: cloud_fraction(:, :)
    !! [1]
    real(wp), allocatable :: density(:, :)
    !! Of moist air [kg m-3]
    real(wp), allocatable :: air_mass(:, :)
    !! Of a layer [kg m-2]
    real(wp), allocatable :: thickness(:, :), height(:, :), half_height(:, :)
    !! Of layers; heights above the ground [m]
    real(wp), allocatable :: diffusivity(:, :)
    !! At the lower interface of a layer [m2 s-1]
    real(wp), allocatable :: rain_formation(:, :), rain(:, :)
    !! In a layer, and through its upper interface [kg m-2 s-1]
    real(wp), allocatable :: wind(:), gust(:)
    !! At 10 m, and of the gusts that raise dust [m s-1] (nproma)
    real(wp), allocatable :: boundary_layer_height(:)
    !! [m] (nproma)
    real(wp), allocatable :: sunlight(:)
    !! Cosine of the zenith angle, 0 at night [1] (nproma)
    real(wp), allocatable :: precipitation(:)
    !! At the surface [kg m-2 s-1] (nproma)
    real(wp), allocatable :: convective(:)
    !! Share of it that forms in updraughts [1] (nproma)
  end type meteorology_type

contains

  pure subroutine set_up_meteorology(nproma, nlev, air)
    integer, intent(in) :: nproma, nlev
    type(meteorology_type), intent(out) :: air

    allocate (air%pressure(nproma, nlev), air%temperature(nproma, nlev), &
      air%humidity(nproma, nlev), air%saturation(nproma, nlev), air%cloud_fraction(nproma, nlev), &
      air%density(nproma, nlev), air%air_mass(nproma, nlev), air%thickness(nproma, nlev), &
      air%height(nproma, nlev), air%diffusivity(nproma, nlev), air%rain_formation(nproma, nlev), &
      air%rain(nproma, nlev), source=0.0_wp)
    allocate (air%half_pressure(nproma, nlev + 1), air%half_height(nproma, nlev + 1), source=0.0_wp)
    allocate (air%wind(nproma), air%gust(nproma), air%boundary_layer_height(nproma), &
      air%sunlight(nproma), air%precipitation(nproma), air%convective(nproma), source=0.0_wp)
  end subroutine set_up_meteorology

  pure subroutine weather(grid, surface, clock, warming, block, air)
    !! Weather of a block at the clock's time.
    type(grid_type), intent(in) :: grid
    type(surface_type), intent(in) :: surface
    type(clock_type), intent(in) :: clock
    real(wp), intent(in) :: warming
    !! Added to all temperatures [K]
    integer, intent(in) :: block
    type(meteorology_type), intent(inout) :: air
    integer :: i, k, kproma, nlev
    real(wp) :: above, aloft, convection, crest, critical, eddy, equator, excess, friction, latitude
    real(wp) :: lapse, near, noon, phi, polar, rh, s, season, share, storm, tropopause, water, z
    real(wp), dimension(grid%nproma) :: afternoon, deep, summer, surface_temperature, top, wave
    real(wp), dimension(grid%nproma) :: mid, moisture, sinking, wet

    kproma = grid%kproma(block)
    nlev = grid%nlev
    season = clock%season(200.0_wp)
    equator = 8.0_wp*season

    do i = 1, kproma
      phi = grid%lat(i, block)
      latitude = phi/degree
      wave(i) = waves(clock, grid%lon(i, block), phi)
      air%sunlight(i) = max(sun(clock, grid%lon(i, block), phi, 0.0_wp), 0.0_wp)
      afternoon(i) = sun(clock, grid%lon(i, block), phi, 7200.0_wp)
      noon = cos(phi - clock%declination())
      summer(i) = season*sin(phi)
      polar = sin(phi)**2
      surface_temperature(i) = 300.5_wp - 30.0_wp*polar - 17.0_wp*polar**2 &
        + (4.0_wp + 15.0_wp*surface%land(i, block))*summer(i) + 2.5_wp*wave(i)*polar + warming
      top(i) = 9000.0_wp + 7500.0_wp/(1.0_wp + (abs(latitude)/32.0_wp)**6)
      storm = exp(-((abs(latitude) - 48.0_wp)/13.0_wp)**2)
      deep(i) = exp(-((latitude - equator)/12.0_wp)**2)
      sinking(i) = exp(-((abs(latitude - 0.5_wp*equator) - 23.0_wp)/9.0_wp)**2)
      mid(i) = 0.66_wp - 0.20_wp*sinking(i)
      moisture(i) = 0.80_wp - 0.12_wp*surface%land(i, block) - 0.33_wp*surface%desert(i, block)
      crest = max(wave(i), 0.0_wp)**2
      wet(i) = 6.5_wp*crest*(1.5_wp + 5.5_wp*deep(i) + 4.5_wp*storm) &
        *(1.0_wp - 0.85_wp*surface%desert(i, block))*mm_per_day
      air%wind(i) = (5.5_wp + 4.5_wp*exp(-((abs(latitude) - 50.0_wp)/12.0_wp)**2) &
        + 1.8_wp*exp(-((abs(latitude) - 15.0_wp)/8.0_wp)**2))*(1.0_wp + 0.4_wp*wave(i)) &
        *(1.0_wp - 0.4_wp*surface%land(i, block))
      air%gust(i) = 5.5_wp + 2.5_wp*wave(i) + 3.5_wp*max(afternoon(i), 0.0_wp) + 2.0_wp*summer(i)
      air%boundary_layer_height(i) = 300.0_wp + 350.0_wp*(1.0_wp - surface%land(i, block)) &
        *(1.0_wp + 0.3_wp*wave(i)) + surface%land(i, block)*max(afternoon(i), 0.0_wp) &
        *(1300.0_wp + 900.0_wp*surface%desert(i, block))*max(noon, 0.0_wp)
      air%half_pressure(i, 1) = grid%hyai(1)
    end do

    do k = 1, nlev
      do i = 1, kproma
        air%half_pressure(i, k + 1) = grid%hyai(k + 1) + grid%hybi(k + 1)*surface%pressure(i, block)
        air%pressure(i, k) = 0.5_wp*(air%half_pressure(i, k) + air%half_pressure(i, k + 1))
        air%air_mass(i, k) = (air%half_pressure(i, k + 1) - air%half_pressure(i, k))/gravity
        ! Height in an isothermal atmosphere: true ones follow from the temperature.
        z = -scale_height*log(air%pressure(i, k)/standard_pressure)
        above = -scale_height*log(air%pressure(i, k)/surface%pressure(i, block))
        polar = sin(grid%lat(i, block))**2
        lapse = (6.5_wp - 2.3_wp*polar)*1.0e-3_wp
        s = 1000.0_wp*log(1.0_wp + exp(min((z - top(i))/1000.0_wp, 30.0_wp)))
        near = exp(-above/800.0_wp)
        air%temperature(i, k) = surface_temperature(i) - lapse*(z - s) &
          + (2.2_wp - 1.9_wp*polar)*1.0e-3_wp*s &
          + 5.0_wp*surface%land(i, block)*afternoon(i)*near &
          - 15.0_wp*surface%land(i, block)*summer(i)*(1.0_wp - exp(-above/3500.0_wp))*0.6_wp

        air%saturation(i, k) = saturation_water(air%temperature(i, k), air%pressure(i, k))
        water = min(max((air%temperature(i, k) - 248.0_wp)/25.0_wp, 0.0_wp), 1.0_wp)
        excess = water*air%saturation(i, k) &
          + (1.0_wp - water)*saturation_ice(air%temperature(i, k), air%pressure(i, k))
        aloft = 1.0_wp - exp(-above/1800.0_wp)
        rh = moisture(i) + (mid(i) - moisture(i))*aloft &
          + 0.10_wp*(1.0_wp - surface%land(i, block))*exp(-((above - 900.0_wp)/500.0_wp)**2) &
          + wave(i)*(0.08_wp + 0.32_wp*aloft)
        rh = min(max(rh, 0.05_wp), 1.02_wp)/(1.0_wp + exp(min((z - top(i))/700.0_wp, 30.0_wp)))
        air%humidity(i, k) = max(rh*excess, min(least_humidity, 0.6_wp*excess))

        critical = 0.60_wp + 0.25_wp*exp(-above/1000.0_wp)
        share = min(max((air%humidity(i, k)/excess - critical)/(1.0_wp - critical), 0.0_wp), 1.0_wp)
        air%cloud_fraction(i, k) = 1.0_wp - sqrt(1.0_wp - share)
        air%density(i, k) = air%pressure(i, k) &
          /(gas_constant*air%temperature(i, k)*(1.0_wp + 0.608_wp*air%humidity(i, k)))
        air%thickness(i, k) = air%air_mass(i, k)/air%density(i, k)
      end do
    end do

    air%half_height(:kproma, nlev + 1) = 0.0_wp
    do k = nlev, 1, -1
      do i = 1, kproma
        air%half_height(i, k) = air%half_height(i, k + 1) + air%thickness(i, k)
        air%height(i, k) = 0.5_wp*(air%half_height(i, k) + air%half_height(i, k + 1))
      end do
    end do

    ! Rain forms where clouds hold most water; a column without clouds stays dry.
    air%precipitation(:kproma) = 0.0_wp
    do k = 1, nlev
      do i = 1, kproma
        air%rain_formation(i, k) = air%cloud_fraction(i, k)*air%saturation(i, k)*air%air_mass(i, k)
        air%precipitation(i) = air%precipitation(i) + air%rain_formation(i, k)
      end do
    end do
    do i = 1, kproma
      ! Thin clouds give little rain.
      wet(i) = wet(i)*air%precipitation(i)/(air%precipitation(i) + 0.5_wp)
      wet(i) = wet(i)/max(air%precipitation(i), tiny(1.0_wp))
      air%precipitation(i) = 0.0_wp
    end do
    do k = 1, nlev
      do i = 1, kproma
        air%rain(i, k) = air%precipitation(i)
        air%rain_formation(i, k) = air%rain_formation(i, k)*wet(i)
        air%precipitation(i) = air%precipitation(i) + air%rain_formation(i, k)
      end do
    end do

    do i = 1, kproma
      air%convective(i) = merge(convective_share, 0.0_wp, air%temperature(i, nlev) > warmest)
    end do

    ! Turbulence in the boundary layer; above it, what stands for shallow convection and weather.
    air%diffusivity(:kproma, nlev) = 0.0_wp
    do k = 1, nlev - 1
      do i = 1, kproma
        above = air%half_height(i, k + 1)
        s = min(above/air%boundary_layer_height(i), 1.0_wp)
        friction = 0.05_wp*air%wind(i) + 0.25_wp*surface%land(i, block)*max(afternoon(i), 0.0_wp)
        tropopause = min(above/top(i), 1.0_wp)
        convection = max(0.3_wp + wave(i), 0.0_wp)*(10.0_wp*deep(i) &
          + 5.0_wp*max(1.0_wp + 2.0_wp*surface%land(i, block)*summer(i), 0.0_wp))
        eddy = (4.0_wp + convection)*(1.0_wp - tropopause)*(1.0_wp - 0.75_wp*sinking(i))
        air%diffusivity(i, k) = 0.15_wp + eddy + 0.4_wp*friction*above*(1.0_wp - s)**2
      end do
    end do
  end subroutine weather

  elemental real(wp) function waves(clock, lon, lat)
    !! Synoptic waves that travel east and, in the tropics, west: between -1 and 1
    type(clock_type), intent(in) :: clock
    real(wp), intent(in) :: lon, lat
    !! [radians]
    real(wp) :: east, tropics, west

    tropics = exp(-(lat/(20.0_wp*degree))**2)
    east = 0.6_wp*cos(5.0_wp*lon + 2.0_wp*lat - 2.0_wp*pi*clock%days()/8.0_wp) &
      + 0.4_wp*cos(8.0_wp*lon - 3.0_wp*lat - 2.0_wp*pi*clock%days()/4.5_wp)
    west = 0.6_wp*cos(7.0_wp*lon + 2.0_wp*pi*clock%days()/5.0_wp) &
      + 0.4_wp*cos(3.0_wp*lon + 4.0_wp*lat - 2.0_wp*pi*clock%days()/12.0_wp)
    waves = (1.0_wp - tropics)*east + tropics*west
  end function waves

  elemental real(wp) function saturation_water(temperature, pressure)
    !! Specific humidity of air saturated over liquid water (Magnus formula) [kg kg-1]
    real(wp), intent(in) :: temperature, pressure
    !! K, Pa
    real(wp) :: vapour

    vapour = 610.94_wp*exp(17.625_wp*(temperature - melting)/(temperature - 30.11_wp))
    vapour = min(vapour, 0.3_wp*pressure)
    saturation_water = 0.622_wp*vapour/(pressure - 0.378_wp*vapour)
  end function saturation_water

  elemental real(wp) function saturation_ice(temperature, pressure)
    !! Specific humidity of air saturated over ice (Magnus formula) [kg kg-1]
    real(wp), intent(in) :: temperature, pressure
    !! K, Pa
    real(wp) :: vapour

    vapour = 611.21_wp*exp(22.587_wp*(temperature - melting)/(temperature + 0.7_wp))
    vapour = min(vapour, 0.3_wp*pressure)
    saturation_ice = 0.622_wp*vapour/(pressure - 0.378_wp*vapour)
  end function saturation_ice
end module host_meteorology
