module host_output
  !! The netCDF output: time means and instantaneous fields (CF), ledger, comparison with a shadow.
  !! Rank 0 writes, under a temporary name, which becomes the file when the run has ended well.
  use host_constants, only: wp
  use host_fields, only: field_type, select_fields, set_up_fields, value_of
  use host_grid, only: grid_type
  use host_ledger, only: ledger_type, n_process, process_name
  use host_meteorology, only: meteorology_type
  use host_microphysics, only: aerosol_type, n_compared, n_tally
  use host_timer, only: component_name, n_component
  use host_tracers, only: budget_name, h2so4, n_budget, n_tracer, tracer_name
  use m7emu_recorder, only: delete_file, is_folder, rename_file
  use netcdf, only: nf90_char, nf90_close, nf90_clobber, nf90_create, nf90_def_dim, nf90_def_var, &
    nf90_def_var_deflate, nf90_double, nf90_enddef, nf90_float, nf90_global, nf90_int, &
    nf90_netcdf4, nf90_noerr, nf90_put_att, nf90_put_var, nf90_strerror, nf90_sync, nf90_unlimited
  implicit none (type, external)
  private
  public :: output_type

  type :: slot_type
    type(field_type) :: field
    integer :: first
    !! First level in the buffer
    integer :: variable
    !! netCDF's
  end type slot_type

  type :: output_type
    character(:), allocatable :: path
    character(:), allocatable :: part
    type(slot_type), allocatable :: mean(:), instant(:)
    real(wp), allocatable :: buffer(:, :, :)
    !! Sums over the interval, and instants (nproma, levels of all fields, nblocks)
    integer :: samples = 0
    !! In the sums
    integer :: records = 0
    !! Times written
    real(wp) :: from = 0.0_wp
    !! Beginning of the interval [days]
    integer :: id = -1, time = -1, time_bounds = -1, entry = -1, burden = -1, closure = -1
    integer :: negatives = -1, shadow = -1, seconds = -1, cells = -1, exchanged = -1
    logical :: root = .true., compares = .false.
    real(wp), allocatable :: map(:, :), cube(:, :, :)
  contains
    procedure :: open => open_output
    procedure :: sample
    procedure :: write => write_output
    procedure :: close => close_output
    procedure :: discard
  end type output_type

contains

  subroutine open_output(this, path, grid, mean, instant, precision, compression, shadow, &
    emulated, history, settings, from, status, message)
    !! Create the file, before any work.
    class(output_type), intent(inout) :: this
    character(*), intent(in) :: path
    type(grid_type), intent(in) :: grid
    character(*), intent(in) :: mean(:), instant(:)
    !! Names of fields
    character(*), intent(in) :: precision
    !! 'single' or 'double'
    integer, intent(in) :: compression
    logical, intent(in) :: shadow, emulated
    !! A shadow to compare with; an emulator that flags cells
    character(*), intent(in) :: history, settings
    !! Global attributes
    real(wp), intent(in) :: from
    !! Start of the run [days]
    integer, intent(out) :: status
    character(:), allocatable, intent(out) :: message
    integer :: bounds, budget, component, height, interfaces, latitude, levels, longitude, process
    integer :: letters, total
    integer :: budget_names, component_names, compared, compared_names, process_names, tallies
    integer :: tally_names
    integer :: hyai, hybi, hyam, hybm, lat, lat_bounds, lev, lon, time

    this%path = trim(path)
    this%part = this%path // '.part'
    this%from = from
    this%root = grid%parallel%rank == 0
    this%compares = shadow
    total = 0
    call claim(mean, this%mean)
    call claim(instant, this%instant)
    allocate (this%buffer(grid%nproma, total, grid%nblocks), source=0.0_wp)
    allocate (this%map(grid%nlon, grid%nlat), this%cube(grid%nlon, grid%nlat, grid%nlev))
    status = nf90_noerr
    message = ''
    if (.not. this%root) return

    if (is_folder(this%path)) then
      status = 1
      message = this%path // ': is a folder'
      return
    end if
    status = nf90_create(this%part, ior(nf90_netcdf4, nf90_clobber), this%id)
    if (status /= nf90_noerr) then
      this%id = -1
      message = this%path // ': ' // trim(nf90_strerror(status))
      return
    end if
    call check(nf90_put_att(this%id, nf90_global, 'Conventions', 'CF-1.8'), status)
    call check(nf90_put_att(this%id, nf90_global, 'title', 'M7 aerosol in the m7emu host'), status)
    call check(nf90_put_att(this%id, nf90_global, 'source', 'm7emu-host'), status)
    call check(nf90_put_att(this%id, nf90_global, 'history', history), status)
    call check(nf90_put_att(this%id, nf90_global, 'settings', settings), status)

    call check(nf90_def_dim(this%id, 'time', nf90_unlimited, time), status)
    call check(nf90_def_dim(this%id, 'lev', grid%nlev, levels), status)
    call check(nf90_def_dim(this%id, 'ilev', grid%nlev + 1, interfaces), status)
    call check(nf90_def_dim(this%id, 'lat', grid%nlat, latitude), status)
    call check(nf90_def_dim(this%id, 'lon', grid%nlon, longitude), status)
    call check(nf90_def_dim(this%id, 'bounds', 2, bounds), status)
    call check(nf90_def_dim(this%id, 'budget', n_budget, budget), status)
    call check(nf90_def_dim(this%id, 'process', n_process, process), status)
    call check(nf90_def_dim(this%id, 'component', n_component, component), status)
    call check(nf90_def_dim(this%id, 'letters', 16, letters), status)

    call define('time', nf90_double, [time], 'time', 'days since 2001-01-01 00:00:00', this%time)
    call note(this%time, 'calendar', 'noleap')
    call note(this%time, 'standard_name', 'time')
    call note(this%time, 'bounds', 'time_bounds')
    call note(this%time, 'axis', 'T')
    call check(nf90_def_var(this%id, 'time_bounds', nf90_double, [bounds, time], &
      this%time_bounds), status)
    call define('lon', nf90_double, [longitude], 'longitude', 'degrees_east', lon)
    call note(lon, 'standard_name', 'longitude')
    call define('lat', nf90_double, [latitude], 'latitude', 'degrees_north', lat)
    call note(lat, 'standard_name', 'latitude')
    call note(lat, 'bounds', 'lat_bounds')
    call check(nf90_def_var(this%id, 'lat_bounds', nf90_double, [bounds, latitude], lat_bounds), &
      status)
    call define('lev', nf90_double, [levels], 'hybrid level', '1', lev)
    call note(lev, 'standard_name', 'atmosphere_hybrid_sigma_pressure_coordinate')
    call note(lev, 'formula_terms', 'ap: hyam b: hybm ps: surface_pressure')
    call note(lev, 'positive', 'down')
    call note(lev, 'axis', 'Z')
    call define('hyam', nf90_double, [levels], 'pressure part of levels', 'Pa', hyam)
    call define('hybm', nf90_double, [levels], 'sigma part of levels', '1', hybm)
    call define('hyai', nf90_double, [interfaces], 'pressure part of interfaces', 'Pa', hyai)
    call define('hybi', nf90_double, [interfaces], 'sigma part of interfaces', '1', hybi)

    call define_fields(this%mean, '', 'time: mean', 'mean')
    call define_fields(this%instant, '_instant', 'time: point', 'instant')

    call define('process_name', nf90_char, [letters, process], 'processes of the ledger', '1', &
      process_names)
    call define('budget_name', nf90_char, [letters, budget], 'budgets of the ledger', '1', &
      budget_names)
    call define('ledger', nf90_double, [budget, process, time], &
      'global mean change by process since the start', 'kg m-2', this%entry)
    call define('ledger_burden', nf90_double, [budget, time], 'global mean burden', 'kg m-2', &
      this%burden)
    call define('ledger_closure', nf90_double, [budget, time], &
      'change of burden that the ledger does not account for, relative', '1', this%closure)
    call define('negatives', nf90_int, [time], &
      'negative values left by processes, since the start', '1', this%negatives)
    call define('component_name', nf90_char, [letters, component], 'components of the host', '1', &
      component_names)
    call define('component_seconds', nf90_double, [component], &
      'time spent in a component, summed over threads', 's', this%seconds)
    call define('exchanged_bytes', nf90_double, [integer ::], &
      'sent between ranks by transport, in all', '1', this%exchanged)
    if (emulated) then
      call check(nf90_def_dim(this%id, 'tally', n_tally, tallies), status)
      call define('tally_name', nf90_char, [letters, tallies], &
        'flag of the emulator, and why a cell went to M7', '1', tally_names)
      call define('cells', nf90_double, [tallies, time], &
        'cells by flag, and cells handed back to M7, since the start', '1', this%cells)
    end if
    if (shadow) then
      call check(nf90_def_dim(this%id, 'compared', n_compared, compared), status)
      call define('compared_name', nf90_char, [letters, compared], 'compared variables', '1', &
        compared_names)
      call define('shadow_rms', nf90_double, [compared, time], &
        'RMS difference of tendencies, shadow and scheme, over cells and the interval', '1', &
        this%shadow)
      call note(this%shadow, 'comment', 'h2so4, so4: cm-3 s-1; others: ug m-3 s-1; num: cm-3 s-1')
    end if
    call check(nf90_enddef(this%id), status)

    call check(nf90_put_var(this%id, lon, grid%longitude), status)
    call check(nf90_put_var(this%id, lat, grid%latitude), status)
    do height = 1, grid%nlat
      call check(nf90_put_var(this%id, lat_bounds, 90.0_wp - 180.0_wp &
        *[real(height - 1, wp), real(height, wp)]/grid%nlat, start=[1, height]), status)
    end do
    associate (n => grid%nlev)
      call check(nf90_put_var(this%id, lev, 0.5_wp*(grid%hyai(:n) + grid%hyai(2:) + 1.01325e5_wp &
        *(grid%hybi(:n) + grid%hybi(2:)))/1.01325e5_wp), status)
      call check(nf90_put_var(this%id, hyam, 0.5_wp*(grid%hyai(:n) + grid%hyai(2:))), status)
      call check(nf90_put_var(this%id, hybm, 0.5_wp*(grid%hybi(:n) + grid%hybi(2:))), status)
    end associate
    call check(nf90_put_var(this%id, hyai, grid%hyai), status)
    call check(nf90_put_var(this%id, hybi, grid%hybi), status)
    call check(nf90_put_var(this%id, process_names, padded(process_name)), status)
    call check(nf90_put_var(this%id, budget_names, padded(budget_name)), status)
    call check(nf90_put_var(this%id, component_names, padded(component_name)), status)
    if (emulated) call check(nf90_put_var(this%id, tally_names, [character(16) :: 'fine', &
      'extrapolating', 'outside', 'invalid', 'm7_flagged', 'm7_uncertain']), status)
    if (shadow) call check(nf90_put_var(this%id, compared_names, &
      padded([tracer_name(h2so4), tracer_name(:h2so4 - 1)])), status)
    message = ''
    if (status /= nf90_noerr) message = this%path // ': ' // trim(nf90_strerror(status))

  contains

    subroutine claim(names, slots)
      !! Give each chosen field its place in the buffer.
      character(*), intent(in) :: names(:)
      type(slot_type), allocatable, intent(out) :: slots(:)
      integer, allocatable :: chosen(:)
      integer :: n
      type(field_type), allocatable :: fields(:)

      call set_up_fields(fields)
      call select_fields(fields, names, chosen)
      allocate (slots(size(chosen)))
      do n = 1, size(chosen)
        slots(n)%field = fields(chosen(n))
        slots(n)%first = total + 1
        slots(n)%variable = -1
        total = total + merge(grid%nlev, 1, slots(n)%field%levels)
      end do
    end subroutine claim

    subroutine define(name, kind, dimensions, long_name, unit, variable)
      character(*), intent(in) :: name, long_name, unit
      integer, intent(in) :: kind, dimensions(:)
      integer, intent(out) :: variable

      variable = -1
      call check(nf90_def_var(this%id, name, kind, dimensions, variable), status)
      call note(variable, 'long_name', long_name)
      if (kind /= nf90_char) call note(variable, 'units', unit)
    end subroutine define

    subroutine note(variable, name, text)
      integer, intent(in) :: variable
      character(*), intent(in) :: name, text

      call check(nf90_put_att(this%id, variable, name, text), status)
    end subroutine note

    subroutine define_fields(slots, suffix, method, word)
      type(slot_type), intent(inout) :: slots(:)
      character(*), intent(in) :: suffix, method, word
      integer :: n, kind

      kind = merge(nf90_double, nf90_float, precision == 'double')
      do n = 1, size(slots)
        associate (field => slots(n)%field, variable => slots(n)%variable)
          if (field%levels) then
            call define(trim(field%name) // suffix, kind, [longitude, latitude, levels, time], &
              trim(field%long_name) // ', ' // word, trim(field%unit), variable)
          else
            call define(trim(field%name) // suffix, kind, [longitude, latitude, time], &
              trim(field%long_name) // ', ' // word, trim(field%unit), variable)
          end if
          call note(variable, 'cell_methods', method)
          if (compression > 0) call check(nf90_def_var_deflate(this%id, variable, 1, 1, &
            compression), status)
        end associate
      end do
    end subroutine define_fields
  end subroutine open_output

  pure subroutine sample(this, last, block, kproma, kbdim, klev, timestep, air, aerosol, state, &
    flux, maps, values)
    !! Add a block's fields to the sums, and at the end of the interval keep the instants.
    class(output_type), intent(inout) :: this
    logical, intent(in) :: last
    !! Step of the interval
    integer, intent(in) :: block, kproma, kbdim, klev
    real(wp), intent(in) :: timestep
    !! [s]
    type(meteorology_type), intent(in) :: air
    type(aerosol_type), intent(in) :: aerosol
    real(wp), intent(in) :: state(kbdim, klev, n_tracer), flux(kbdim, n_tracer), maps(kbdim, 3)
    !! See `value_of`
    real(wp), intent(inout) :: values(kbdim, klev)
    !! Room
    integer :: k, n, levels

    do n = 1, size(this%mean)
      call value_of(this%mean(n)%field, kproma, kbdim, klev, timestep, air, aerosol, state, flux, &
        maps, values)
      levels = merge(klev, 1, this%mean(n)%field%levels)
      do k = 1, levels
        associate (sum => this%buffer(:, this%mean(n)%first + k - 1, block))
          sum(:kproma) = sum(:kproma) + values(:kproma, k)
        end associate
      end do
    end do
    if (.not. last) return
    do n = 1, size(this%instant)
      call value_of(this%instant(n)%field, kproma, kbdim, klev, timestep, air, aerosol, state, &
        flux, maps, values)
      levels = merge(klev, 1, this%instant(n)%field%levels)
      do k = 1, levels
        this%buffer(:kproma, this%instant(n)%first + k - 1, block) = values(:kproma, k)
      end do
    end do
  end subroutine sample

  subroutine write_output(this, grid, days, ledger, squares, negatives, cells, status, message)
    !! Write the interval that ends now, and begin the next.
    class(output_type), intent(inout) :: this
    type(grid_type), intent(in) :: grid
    real(wp), intent(in) :: days
    !! Since 1 January
    type(ledger_type), intent(in) :: ledger
    real(wp), intent(inout) :: squares(:, :, :)
    !! Of the shadow's differences, summed over the interval (nproma, n_compared, nblocks)
    integer, intent(in) :: negatives
    !! Of all ranks
    real(wp), intent(in) :: cells(n_tally)
    !! By flag, of all ranks
    integer, intent(out) :: status
    !! On rank 0
    character(:), allocatable, intent(out) :: message
    integer :: n
    real(wp) :: burden(n_budget), closure(n_budget), rms(n_compared), whole(n_budget, n_process)

    status = nf90_noerr
    this%records = this%records + 1
    whole = ledger%totals(grid)
    closure = ledger%closure(grid)
    burden = grid%global_means(ledger%burden)
    call put_all(this%mean, 1.0_wp/max(this%samples, 1))
    call put_all(this%instant, 1.0_wp)
    if (this%compares) then
      rms = sums(squares)
      squares = 0.0_wp
    end if
    this%buffer = 0.0_wp
    n = this%samples
    this%samples = 0
    message = ''
    if (.not. this%root) return
    call check(nf90_put_var(this%id, this%time, days, start=[this%records]), status)
    call check(nf90_put_var(this%id, this%time_bounds, [this%from, days], &
      start=[1, this%records]), status)
    this%from = days
    call check(nf90_put_var(this%id, this%closure, closure, start=[1, this%records]), status)
    call check(nf90_put_var(this%id, this%burden, burden, start=[1, this%records]), status)
    call check(nf90_put_var(this%id, this%entry, whole, start=[1, 1, this%records]), status)
    call check(nf90_put_var(this%id, this%negatives, negatives, start=[this%records]), status)
    if (this%cells >= 0) call check(nf90_put_var(this%id, this%cells, cells, &
      start=[1, this%records]), status)
    if (this%shadow >= 0) then
      rms = sqrt(rms/(real(grid%nlon, wp)*grid%nlat*grid%nlev*max(n, 1)))
      call check(nf90_put_var(this%id, this%shadow, rms, start=[1, this%records]), status)
    end if
    call check(nf90_sync(this%id), status)
    if (status /= nf90_noerr) message = this%path // ': ' // trim(nf90_strerror(status))

  contains

    subroutine put_all(slots, factor)
      !! Gathered from all ranks, level by level.
      type(slot_type), intent(in) :: slots(:)
      real(wp), intent(in) :: factor
      integer :: slot

      do slot = 1, size(slots)
        if (slots(slot)%field%levels) then
          associate (first => slots(slot)%first)
            call grid%to_cube(this%buffer(:, first:first + grid%nlev - 1, :), this%cube)
          end associate
          if (this%root) call check(nf90_put_var(this%id, slots(slot)%variable, &
            factor*this%cube, start=[1, 1, 1, this%records]), status)
        else
          call grid%to_map(this%buffer(:, slots(slot)%first, :), this%map)
          if (this%root) call check(nf90_put_var(this%id, slots(slot)%variable, factor*this%map, &
            start=[1, 1, this%records]), status)
        end if
      end do
    end subroutine put_all

    function sums(fields)
      !! Over columns, in the same order always; on rank 0
      real(wp), intent(in) :: fields(:, :, :)
      integer :: j, n
      real(wp) :: globe(grid%nlon, size(fields, 2), grid%nlat), sums(size(fields, 2))

      call grid%to_globe(fields, globe)
      sums = 0.0_wp
      if (.not. this%root) return
      do j = 1, grid%nlat
        do n = 1, size(sums)
          sums(n) = sums(n) + sum(globe(:, n, j))
        end do
      end do
    end function sums
  end subroutine write_output

  subroutine close_output(this, seconds, exchanged, status, message)
    !! Finish the file and give it its name.
    class(output_type), intent(inout) :: this
    real(wp), intent(in) :: seconds(n_component), exchanged
    !! [s], bytes; of all ranks
    integer, intent(out) :: status
    character(:), allocatable, intent(out) :: message
    integer :: n

    message = ''
    status = 0
    if (.not. this%root) return
    status = nf90_put_var(this%id, this%seconds, seconds)
    call check(nf90_put_var(this%id, this%exchanged, exchanged), status)
    call check(nf90_close(this%id), status)
    this%id = -1
    if (status == nf90_noerr) call rename_file(this%part, this%path, status)
    if (status /= 0) then
      message = this%path // ': could not be finished'
      call delete_file(this%part, n)
    end if
  end subroutine close_output

  subroutine discard(this)
    !! Give up: nothing half-written stays.
    class(output_type), intent(inout) :: this
    integer :: status

    if (this%id < 0) return
    status = nf90_close(this%id)
    this%id = -1
    call delete_file(this%part, status)
  end subroutine discard

  pure function padded(names)
    !! To the length of the dimension `letters`
    character(*), intent(in) :: names(:)
    character(16) :: padded(size(names))

    padded = names
  end function padded

  subroutine check(code, status)
    !! Keep the first error.
    integer, intent(in) :: code
    integer, intent(inout) :: status

    if (status == nf90_noerr) status = code
  end subroutine check
end module host_output
