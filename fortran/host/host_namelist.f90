module host_namelist
  !! The namelist file: its groups, members, defaults and allowed values.
  use host_constants, only: day_length, wp
  use host_fields, only: field_type, find, name_length, set_up_fields
  use host_microphysics, only: slot_settings_type
  implicit none (type, external)
  private
  public :: settings_type
  public :: read_namelist

  integer, parameter :: n_names = 128, line_length = 1024
  character(8), parameter :: groups(4) = [character(8) :: 'run', 'grid', 'physics', 'output']

  type :: settings_type
    ! &run
    integer :: start_day = 80
    !! Day of the year
    real(wp) :: days = 5.0_wp
    real(wp) :: timestep = 1800.0_wp
    !! [s]
    integer :: threads = 0
    !! 0: as OpenMP decides
    character(16) :: initial = 'analytic'
    character(512) :: restart = '', restart_from = ''
    !! Files; '': none
    real(wp) :: restart_interval = 0.0_wp
    !! [h]; 0: at the end only
    logical :: branch = .false.
    !! Whether what goes on from a restart may differ in its physics
    ! &grid
    integer :: nlon = 48, nlat = 24, nlev = 19, nproma = 64
    ! &physics
    type(slot_settings_type) :: slot
    real(wp) :: warming = 0.0_wp
    !! [K]
    real(wp) :: emission_scale = 1.0_wp
    !! Of what people emit [1]
    logical :: transport = .true.
    ! &output
    character(512) :: file = 'host.nc'
    real(wp) :: interval = 24.0_wp
    !! [h]
    character(name_length) :: mean(n_names) = ''
    character(name_length) :: instant(n_names) = ''
    character(16) :: precision = 'single'
    integer :: compression = 1
    character(512) :: records = ''
    real(wp) :: record_fraction = 0.01_wp
  end type settings_type

contains

  subroutine read_namelist(path, settings, status, message)
    !! Read and check a file; an empty path gives the defaults.
    character(*), intent(in) :: path
    type(settings_type), intent(out) :: settings
    integer, intent(out) :: status
    character(:), allocatable, intent(out) :: message
    !! Names file, group and member
    character(256) :: reason
    character(line_length), allocatable :: lines(:)
    logical :: there(size(groups))

    character(16) :: initial, microphysics, profile, water, nucleation, shadow_with, precision
    character(16) :: emulator_device, emulator_engine
    character(512) :: emulator_file, file, records, restart, restart_from
    character(name_length) :: mean(n_names), instant(n_names)
    integer :: start_day, threads, nlon, nlat, nlev, nproma, substeps, shadow_substeps, compression
    logical :: branch, transport
    real(wp) :: days, timestep, warming, emission_scale, interval, record_fraction, blend_share
    real(wp) :: restart_interval
    namelist /run/ start_day, days, timestep, threads, initial, restart, restart_interval, &
      restart_from, branch
    namelist /grid/ nlon, nlat, nlev, nproma
    namelist /physics/ microphysics, profile, water, nucleation, substeps, emulator_file, &
      emulator_device, emulator_engine, shadow_with, shadow_substeps, blend_share, warming, &
      emission_scale, transport
    namelist /output/ file, interval, mean, instant, precision, compression, records, &
      record_fraction

    message = ''
    status = 0
    if (len_trim(path) == 0) then
      settings%mean(1) = 'default'
      return
    end if
    call read_lines(path, lines, status, message)
    if (status == 0) call scan_groups(lines, path, there, status, message)
    if (status == 0 .and. there(1)) then
      start_day = settings%start_day
      days = settings%days
      timestep = settings%timestep
      threads = settings%threads
      initial = settings%initial
      restart = settings%restart
      restart_interval = settings%restart_interval
      restart_from = settings%restart_from
      branch = settings%branch
      read (lines, nml=run, iostat=status, iomsg=reason)
      if (status /= 0) call explain('run')
      settings%start_day = start_day
      settings%days = days
      settings%timestep = timestep
      settings%threads = threads
      settings%initial = initial
      settings%restart = restart
      settings%restart_interval = restart_interval
      settings%restart_from = restart_from
      settings%branch = branch
    end if
    if (status == 0 .and. there(2)) then
      nlon = settings%nlon
      nlat = settings%nlat
      nlev = settings%nlev
      nproma = settings%nproma
      read (lines, nml=grid, iostat=status, iomsg=reason)
      if (status /= 0) call explain('grid')
      settings%nlon = nlon
      settings%nlat = nlat
      settings%nlev = nlev
      settings%nproma = nproma
    end if
    if (status == 0 .and. there(3)) then
      microphysics = settings%slot%microphysics
      profile = settings%slot%profile
      water = settings%slot%water
      nucleation = settings%slot%nucleation
      substeps = settings%slot%substeps
      emulator_file = settings%slot%emulator_file
      emulator_device = settings%slot%emulator_device
      emulator_engine = settings%slot%emulator_engine
      shadow_with = settings%slot%shadow_with
      shadow_substeps = settings%slot%shadow_substeps
      warming = settings%warming
      emission_scale = settings%emission_scale
      blend_share = settings%slot%blend_share
      transport = settings%transport
      read (lines, nml=physics, iostat=status, iomsg=reason)
      if (status /= 0) call explain('physics')
      settings%slot = slot_settings_type(microphysics=microphysics, profile=profile, &
        water=water, nucleation=nucleation, substeps=substeps, emulator_file=emulator_file, &
        emulator_device=emulator_device, emulator_engine=emulator_engine, shadow_with=shadow_with, &
        shadow_substeps=shadow_substeps, blend_share=blend_share)
      settings%warming = warming
      settings%emission_scale = emission_scale
      settings%transport = transport
    end if
    if (status == 0 .and. there(4)) then
      file = settings%file
      interval = settings%interval
      mean = settings%mean
      instant = settings%instant
      precision = settings%precision
      compression = settings%compression
      records = settings%records
      record_fraction = settings%record_fraction
      read (lines, nml=output, iostat=status, iomsg=reason)
      if (status /= 0) call explain('output')
      settings%file = file
      settings%interval = interval
      settings%mean = mean
      settings%instant = instant
      settings%precision = precision
      settings%compression = compression
      settings%records = records
      settings%record_fraction = record_fraction
    end if
    if (status /= 0) return
    if (all(settings%mean == '')) settings%mean(1) = 'default'
    call check(path, settings, status, message)

  contains

    subroutine explain(group)
      !! Look for the line that cannot be read by itself.
      character(*), intent(in) :: group
      character(line_length) :: alone(3)
      integer :: code, k, n
      logical :: inside

      message = trim(path) // ': &' // group // ': ' // trim(reason)
      if (is_iostat_end(status)) message = trim(path) // ': &' // group // ': no closing /'
      inside = .false.
      do k = 1, size(lines)
        alone(2) = adjustl(lines(k))
        if (alone(2)(1:1) == '&') then
          n = len(group) + 1
          inside = lower(alone(2)(2:n)) == group
          alone(2) = alone(2)(n + 1:)
        end if
        if (.not. inside) cycle
        alone(1) = '&' // group
        alone(3) = '/'
        select case (group)
        case ('run')
          read (alone, nml=run, iostat=code, iomsg=reason)
        case ('grid')
          read (alone, nml=grid, iostat=code, iomsg=reason)
        case ('physics')
          read (alone, nml=physics, iostat=code, iomsg=reason)
        case default
          read (alone, nml=output, iostat=code, iomsg=reason)
        end select
        if (code == 0) cycle
        if (is_iostat_end(code)) reason = 'not a value for this member'
        message = trim(path) // ': &' // group // ': ' // trim(adjustl(lines(k))) // ': ' &
          // trim(reason)
        return
      end do
    end subroutine explain
  end subroutine read_namelist

  subroutine read_lines(path, lines, status, message)
    !! A file's lines. Namelists are read from these: gfortran overlooks a / without a newline.
    character(*), intent(in) :: path
    character(line_length), allocatable, intent(out) :: lines(:)
    integer, intent(out) :: status
    character(:), allocatable, intent(out) :: message
    character(line_length) :: line
    character(256) :: reason
    integer :: unit_number

    message = ''
    allocate (lines(0))
    open (newunit=unit_number, file=path, status='old', action='read', iostat=status, iomsg=reason)
    if (status == 0) then
      do
        read (unit_number, '(a)', iostat=status, iomsg=reason) line
        if (status /= 0) exit
        lines = [character(line_length) :: lines, line]
      end do
      close (unit_number)
      if (is_iostat_end(status)) status = 0
    end if
    if (status /= 0) message = trim(path) // ': ' // trim(reason)
  end subroutine read_lines

  subroutine scan_groups(lines, path, there, status, message)
    !! Find the groups in a file; a Fortran read would pass over those it does not know.
    character(*), intent(in) :: lines(:), path
    logical, intent(out) :: there(size(groups))
    integer, intent(out) :: status
    character(:), allocatable, intent(inout) :: message
    character(line_length) :: line
    character(:), allocatable :: name
    integer :: i, k, last

    there = .false.
    do i = 1, size(lines)
      line = adjustl(lines(i))
      if (line(1:1) /= '&') cycle
      last = scan(line, ' /!' // achar(9))
      name = lower(line(2:last - 1))
      do k = size(groups), 1, -1
        if (groups(k) == name) exit
      end do
      status = 1
      if (k == 0) then
        message = trim(path) // ': &' // name // ': no such group; there are &run, &grid, ' &
          // '&physics and &output'
        return
      end if
      if (there(k)) then
        message = trim(path) // ': &' // name // ' appears twice'
        return
      end if
      there(k) = .true.
    end do
    status = merge(0, 1, any(there))
    if (status /= 0) message = trim(path) // ': no namelist group in it'
  end subroutine scan_groups

  subroutine check(path, settings, status, message)
    !! Allowed values.
    character(*), intent(in) :: path
    type(settings_type), intent(in) :: settings
    integer, intent(out) :: status
    character(:), allocatable, intent(inout) :: message
    integer :: n
    real(wp) :: steps
    type(field_type), allocatable :: fields(:)

    status = 0
    call whole('run', 'start_day', settings%start_day, 1, 365)
    call real_number('run', 'timestep', settings%timestep, 1.0_wp, 86400.0_wp)
    call real_number('run', 'days', settings%days, 0.0_wp, 36500.0_wp)
    call whole('run', 'threads', settings%threads, 0, 1024)
    call real_number('run', 'restart_interval', settings%restart_interval, 0.0_wp, 87600.0_wp)
    call choice('run', 'initial', settings%initial, [character(16) :: 'analytic', 'empty'])
    call whole('grid', 'nlon', settings%nlon, 1, 4096)
    call whole('grid', 'nlat', settings%nlat, 1, 2048)
    call whole('grid', 'nlev', settings%nlev, 4, 200)
    call whole('grid', 'nproma', settings%nproma, 1, 1048576)
    call choice('physics', 'microphysics', settings%slot%microphysics, &
      [character(16) :: 'm7', 'emulator', 'shadow', 'blend'])
    call choice('physics', 'shadow_with', settings%slot%shadow_with, &
      [character(16) :: 'm7', 'emulator'])
    call choice('physics', 'profile', settings%slot%profile, [character(16) :: 'ham2', 'm7_2004'])
    call choice('physics', 'water', settings%slot%water, [character(16) :: 'zsr', 'kappa'])
    call choice('physics', 'nucleation', settings%slot%nucleation, &
      [character(16) :: 'none', 'vehkamaki2002'])
    call whole('physics', 'substeps', settings%slot%substeps, 0, 1024)
    call whole('physics', 'shadow_substeps', settings%slot%shadow_substeps, 0, 1024)
    call real_number('physics', 'warming', settings%warming, -20.0_wp, 20.0_wp)
    call real_number('physics', 'emission_scale', settings%emission_scale, 0.0_wp, 100.0_wp)
    call real_number('physics', 'blend_share', settings%slot%blend_share, 0.0_wp, 1.0_wp)
    if (settings%file == '' .and. status == 0) call refuse('output', 'file', "''", 'a file name')
    if (settings%records == settings%file .and. status == 0) then
      call refuse('output', 'records', "'" // trim(settings%records) // "'", 'another file')
    end if
    call real_number('output', 'interval', settings%interval, 0.0_wp, 8760.0_wp)
    call choice('output', 'precision', settings%precision, [character(16) :: 'single', 'double'])
    call whole('output', 'compression', settings%compression, 0, 9)
    call real_number('output', 'record_fraction', settings%record_fraction, 0.0_wp, 1.0_wp)
    if (status /= 0) return

    steps = settings%days*day_length/settings%timestep
    if (abs(steps - nint(steps)) > 1.0e-6_wp .or. nint(steps) < 1) then
      call refuse('run', 'days', number(settings%days), 'one or more whole timesteps')
    end if
    steps = settings%interval*3600.0_wp/settings%timestep
    if ((abs(steps - nint(steps)) > 1.0e-6_wp .or. nint(steps) < 1) .and. status == 0) then
      call refuse('output', 'interval', number(settings%interval), 'one or more whole timesteps')
    end if
    steps = settings%restart_interval/settings%interval
    if (abs(steps - nint(steps)) > 1.0e-6_wp .and. status == 0) then
      call refuse('run', 'restart_interval', number(settings%restart_interval), &
        'a multiple of &output interval')
    end if
    if (status == 0 .and. settings%restart /= '') then
      if (settings%restart == settings%file .or. settings%restart == settings%records) call &
        refuse('run', 'restart', "'" // trim(settings%restart) // "'", 'another file')
    end if
    call set_up_fields(fields)
    do n = 1, n_names
      call known('mean', settings%mean(n))
      call known('instant', settings%instant(n))
    end do

  contains

    subroutine known(member, name)
      character(*), intent(in) :: member, name
      character(*), parameter :: keywords(*) = [character(7) :: '', 'none', 'default', 'all']

      if (status /= 0 .or. any(keywords == name)) then
        return
      end if
      if (find(fields, name) == 0) call refuse('output', member, "'" // trim(name) // "'", &
        "the name of a field, or 'default', 'all' or 'none'")
    end subroutine known

    subroutine whole(group, member, value, least, most)
      character(*), intent(in) :: group, member
      integer, intent(in) :: value, least, most
      character(12) :: text(3)

      if (status /= 0 .or. (value >= least .and. value <= most)) return
      write (text, '(i0)') value, least, most
      call refuse(group, member, trim(text(1)), trim(text(2)) // ' to ' // trim(text(3)))
    end subroutine whole

    subroutine real_number(group, member, value, least, most)
      character(*), intent(in) :: group, member
      real(wp), intent(in) :: value, least, most

      if (status /= 0 .or. (value >= least .and. value <= most)) return
      call refuse(group, member, number(value), number(least) // ' to ' // number(most))
    end subroutine real_number

    subroutine choice(group, member, value, allowed)
      character(*), intent(in) :: group, member, value, allowed(:)
      character(:), allocatable :: text
      integer :: k

      if (status /= 0 .or. any(allowed == value)) return
      text = "'" // trim(allowed(1)) // "'"
      do k = 2, size(allowed)
        text = text // " or '" // trim(allowed(k)) // "'"
      end do
      call refuse(group, member, "'" // trim(value) // "'", text)
    end subroutine choice

    subroutine refuse(group, member, value, wanted)
      character(*), intent(in) :: group, member, value, wanted

      status = 1
      message = trim(path) // ': &' // group // ' ' // member // ' = ' // value // ': must be ' &
        // wanted
    end subroutine refuse
  end subroutine check

  pure function number(value) result(text)
    real(wp), intent(in) :: value
    character(:), allocatable :: text
    character(24) :: buffer

    write (buffer, '(g0.6)') value
    text = trim(adjustl(buffer))
  end function number

  pure function lower(text) result(small)
    character(*), intent(in) :: text
    character(len(text)) :: small
    integer :: i

    small = text
    do i = 1, len(text)
      if (text(i:i) >= 'A' .and. text(i:i) <= 'Z') small(i:i) = achar(iachar(text(i:i)) + 32)
    end do
  end function lower
end module host_namelist
