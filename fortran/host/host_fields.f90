module host_fields
  !! The table of fields that can be written, and their values in a block.
  use host_constants, only: wp
  use host_integrals, only: condensation_sink, number_above
  use host_ledger, only: column_sum
  use host_meteorology, only: meteorology_type
  use host_microphysics, only: aerosol_type
  use host_tracers, only: dms, first_number, n_tracer, so2, tracer_name
  use m7_modes, only: mass_mode, mass_species, mode_name, n_mass, n_mode, n_soluble, &
    n_species, ns, species_name
  implicit none (type, external)
  private
  public :: field_type, set_up_fields
  public :: find, select_fields, value_of

  integer, parameter, public :: name_length = 32

  integer, parameter :: tracer = 1, weather = 2, wet = 3, dry = 4, density = 5, water = 6
  integer, parameter :: burden = 7, number_column = 8, number_surface = 9, emitted = 10, map = 11
  integer, parameter :: integral = 12
  real(wp), parameter :: event = 0.01_wp
  !! Net rise of NS that counts as new particle formation [cm-3 s-1]

  type :: field_type
    character(name_length) :: name, unit
    character(64) :: long_name
    logical :: levels
    !! On levels; otherwise one value a column
    logical :: default
    !! Written when the namelist says 'default'
    integer :: group, place
    !! Where its value comes from
  end type field_type

  character(17), parameter :: weather_name(8) = [character(17) :: 'pressure', 'temperature', &
    'specific_humidity', 'relative_humidity', 'cloud_fraction', 'air_density', 'height', &
    'h2so4_production']
  character(8), parameter :: weather_unit(8) = [character(8) :: &
    'Pa', 'K', 'kg kg-1', '1', '1', 'kg m-3', 'm', 'cm-3 s-1']
  character(52), parameter :: weather_long(8) = [character(52) :: 'air pressure', &
    'air temperature', 'specific humidity', 'relative humidity over water, clear sky', &
    'cloud cover', 'density of moist air', 'height above the ground', &
    'rate of change of H2SO4 handed to the microphysics']
  character(21), parameter :: map_name(6) = [character(21) :: 'surface_pressure', &
    'land_fraction', 'desert_fraction', 'precipitation', 'wind_speed', 'boundary_layer_height']
  character(10), parameter :: map_unit(6) = [character(10) :: &
    'Pa', '1', '1', 'kg m-2 s-1', 'm s-1', 'm']

contains

  subroutine set_up_fields(fields)
    type(field_type), allocatable, intent(out) :: fields(:)
    character(40) :: what
    integer :: n

    allocate (fields(0))
    do n = 1, n_mass
      call add(tracer_name(n), 'kg kg-1', 'mass mixing ratio of ' &
        // trim(species_name(mass_species(n))) // ' in mode ' // mode_name(mass_mode(n)), &
        .true., .true., tracer, n)
    end do
    do n = 1, n_mode
      call add('num_' // mode_name(n), 'kg-1', 'particles of mode ' // mode_name(n), &
        .true., .true., tracer, first_number + n - 1)
    end do
    do n = first_number + n_mode, n_tracer
      call add(tracer_name(n), 'kg kg-1', 'mass mixing ratio of ' &
        // trim(tracer_name(n)) // ' gas', .true., .true., tracer, n)
    end do
    do n = 1, size(weather_name)
      call add(weather_name(n), weather_unit(n), weather_long(n), .true., n <= 7, weather, n)
    end do
    do n = 1, n_mode
      call add('wet_radius_' // mode_name(n), 'm', 'ambient count median radius of mode ' &
        // mode_name(n), .true., .false., wet, n)
      call add('density_' // mode_name(n), 'kg m-3', 'ambient particle density of mode ' &
        // mode_name(n), .true., .false., density, n)
      call add('num_column_' // mode_name(n), 'm-2', 'particles of mode ' // mode_name(n) &
        // ' in the column', .false., .true., number_column, n)
      call add('num_surface_' // mode_name(n), 'cm-3', 'particles of mode ' // mode_name(n) &
        // ' in the lowest layer', .false., .true., number_surface, n)
    end do
    do n = 1, n_soluble
      call add('dry_radius_' // mode_name(n), 'm', 'dry count median radius of mode ' &
        // mode_name(n), .true., .false., dry, n)
      call add('water_' // mode_name(n), 'kg kg-1', 'aerosol water of mode ' // mode_name(n), &
        .true., .false., water, n)
    end do
    do n = 1, n_species
      call add('burden_' // species_name(n), 'kg m-2', 'column burden of ' // species_name(n), &
        .false., .true., burden, n)
      call add('emission_' // species_name(n), 'kg m-2 s-1', 'emission of ' // species_name(n), &
        .false., .true., emitted, n)
    end do
    do n = first_number + n_mode, n_tracer
      call add('burden_' // tracer_name(n), 'kg m-2', 'column burden of ' &
        // trim(tracer_name(n)) // ' gas', .false., .true., burden, n)
    end do
    do n = so2, dms
      call add('emission_' // tracer_name(n), 'kg m-2 s-1', 'emission of ' // tracer_name(n), &
        .false., .true., emitted, n)
    end do
    call add('number_above_50nm', 'cm-3', 'particles of dry radius above 50 nm', .true., .false., &
      integral, 1)
    call add('number_above_100nm', 'cm-3', 'particles of dry radius above 100 nm', .true., &
      .false., integral, 2)
    call add('condensation_sink', 's-1', 'condensation sink of sulfuric acid', .true., .false., &
      integral, 3)
    call add('formation_rate', 'cm-3 s-1', 'net rise of NS in the microphysics', .true., &
      .false., integral, 4)
    call add('nucleation_event', '1', 'net rise of NS above 0.01 cm-3 s-1', .true., .false., &
      integral, 5)
    do n = 1, size(map_name)
      what = map_name(n)
      if (map_name(n) == 'precipitation') what = 'precipitation at the surface'
      if (map_name(n) == 'wind_speed') what = 'wind at 10 m'
      call add(map_name(n), map_unit(n), what, .false., .true., map, n)
    end do

  contains

    subroutine add(name, unit, long_name, levels, default, group, place)
      character(*), intent(in) :: name, unit, long_name
      logical, intent(in) :: levels, default
      integer, intent(in) :: group, place
      character(64) :: words
      integer :: i

      words = long_name
      do i = 1, len_trim(words)
        if (words(i:i) == '_') words(i:i) = ' '
      end do
      fields = [fields, field_type(name=name, unit=unit, long_name=words, levels=levels, &
        default=default, group=group, place=place)]
    end subroutine add
  end subroutine set_up_fields

  pure integer function find(fields, name)
    !! Place of a name in the table, 0 if it is not there
    type(field_type), intent(in) :: fields(:)
    character(*), intent(in) :: name

    do find = size(fields), 1, -1
      if (fields(find)%name == name) return
    end do
  end function find

  pure subroutine select_fields(fields, names, chosen)
    !! Places of the fields that a list of names asks for: 'none', 'default', 'all' or names, each
    !! of which is known
    type(field_type), intent(in) :: fields(:)
    character(*), intent(in) :: names(:)
    integer, allocatable, intent(out) :: chosen(:)
    integer :: n
    logical :: wanted(size(fields))

    wanted = .false.
    do n = 1, size(names)
      select case (names(n))
      case ('', 'none')
      case ('default')
        wanted = wanted .or. fields%default
      case ('all')
        wanted = .true.
      case default
        wanted(find(fields, names(n))) = .true.
      end select
    end do
    chosen = pack([(n, n = 1, size(fields))], wanted)
  end subroutine select_fields

  pure subroutine value_of(field, kproma, kbdim, klev, timestep, air, aerosol, state, flux, maps, &
    values)
    !! Values of a field in a block, after the step.
    type(field_type), intent(in) :: field
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: timestep
    !! [s]
    type(meteorology_type), intent(in) :: air
    type(aerosol_type), intent(in) :: aerosol
    real(wp), intent(in) :: state(kbdim, klev, n_tracer), flux(kbdim, n_tracer)
    !! Tracers, and their emission [kg m-2 s-1]
    real(wp), intent(in) :: maps(kbdim, 3)
    !! Surface pressure, land, desert
    real(wp), intent(inout) :: values(kbdim, klev)
    !! Without levels: the first one only
    integer :: n
    real(wp) :: amount(kbdim)

    n = field%place
    select case (field%group)
    case (tracer)
      values(:kproma, :) = state(:kproma, :, n)
    case (weather)
      select case (n)
      case (1)
        values(:kproma, :) = air%pressure(:kproma, :)
      case (2)
        values(:kproma, :) = air%temperature(:kproma, :)
      case (3)
        values(:kproma, :) = air%humidity(:kproma, :)
      case (4)
        values(:kproma, :) = aerosol%relative_humidity(:kproma, :)
      case (5)
        values(:kproma, :) = air%cloud_fraction(:kproma, :)
      case (6)
        values(:kproma, :) = air%density(:kproma, :)
      case (7)
        values(:kproma, :) = air%height(:kproma, :)
      case default
        values(:kproma, :) = aerosol%production(:kproma, :)
      end select
    case (wet)
      values(:kproma, :) = aerosol%wet_radius(:kproma, :, n)
    case (dry)
      values(:kproma, :) = aerosol%dry_radius(:kproma, :, n)
    case (density)
      values(:kproma, :) = aerosol%density(:kproma, :, n)
    case (water)
      values(:kproma, :) = aerosol%water(:kproma, :, n)
    case (integral)
      call value_of_integral(n, kproma, kbdim, klev, timestep, air, aerosol, state, values)
    case (number_column)
      call column_sum(kproma, kbdim, klev, air%air_mass, state(:, :, first_number + n - 1), amount)
      values(:kproma, 1) = amount(:kproma)
    case (number_surface)
      values(:kproma, 1) = 1.0e-6_wp*air%density(:kproma, klev) &
        *state(:kproma, klev, first_number + n - 1)
    case (burden)
      values(:kproma, 1) = 0.0_wp
      if (n >= first_number) then
        call column_sum(kproma, kbdim, klev, air%air_mass, state(:, :, n), amount)
        values(:kproma, 1) = amount(:kproma)
      else
        do n = 1, n_mass
          if (mass_species(n) /= field%place) cycle
          call column_sum(kproma, kbdim, klev, air%air_mass, state(:, :, n), amount)
          values(:kproma, 1) = values(:kproma, 1) + amount(:kproma)
        end do
      end if
    case (emitted)
      values(:kproma, 1) = 0.0_wp
      if (n >= first_number) then
        values(:kproma, 1) = flux(:kproma, n)
      else
        do n = 1, n_mass
          if (mass_species(n) == field%place) then
            values(:kproma, 1) = values(:kproma, 1) + flux(:kproma, n)
          end if
        end do
      end if
    case default
      select case (n)
      case (1:3)
        values(:kproma, 1) = maps(:kproma, n)
      case (4)
        values(:kproma, 1) = air%precipitation(:kproma)
      case (5)
        values(:kproma, 1) = air%wind(:kproma)
      case default
        values(:kproma, 1) = air%boundary_layer_height(:kproma)
      end select
    end select
  end subroutine value_of

  pure subroutine value_of_integral(which, kproma, kbdim, klev, timestep, air, aerosol, state, &
    values)
    !! Of the size distribution: tails after the step, the rest as the microphysics left it.
    integer, intent(in) :: which, kproma, kbdim, klev
    real(wp), intent(in) :: timestep
    type(meteorology_type), intent(in) :: air
    type(aerosol_type), intent(in) :: aerosol
    real(wp), intent(in) :: state(kbdim, klev, n_tracer)
    real(wp), intent(inout) :: values(kbdim, klev)

    select case (which)
    case (1, 2)
      call number_above(kproma, kbdim, klev, which*50.0e-9_wp, air%density, state, values)
    case (3)
      call condensation_sink(kproma, kbdim, klev, air%pressure, air%temperature, aerosol%number, &
        aerosol%wet_radius, values)
    case default
      values(:kproma, :) = max(aerosol%number(:kproma, :, ns) &
        - aerosol%number_before(:kproma, :, ns), 0.0_wp)/timestep
      if (which == 5) values(:kproma, :) = merge(1.0_wp, 0.0_wp, values(:kproma, :) > event)
    end select
  end subroutine value_of_integral
end module host_fields
