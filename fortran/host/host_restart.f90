module host_restart
  !! Restart files: all that a run needs to go on bit for bit. The weather and the winds have no
  !! memory, so that is the tracers, the clock, the ledger and the blend's threshold.
  !!
  !! Rank 0 writes under a temporary name, which then replaces the last restart: whatever happens, a
  !! whole one is there. A restart names what made it, and a run that differs is refused.
  use, intrinsic :: iso_fortran_env, only: int8, int64
  use host_calendar, only: clock_type
  use host_constants, only: wp
  use host_grid, only: grid_type
  use host_ledger, only: ledger_type, n_process
  use host_microphysics, only: n_tally, slot_settings_type
  use host_parallel, only: add_up, agree
  use host_tracers, only: n_budget, n_tracer, tracer_name
  use m7emu_recorder, only: delete_file, is_folder, rename_file
  use netcdf, only: nf90_close, nf90_clobber, nf90_create, nf90_def_dim, nf90_def_var, &
    nf90_double, nf90_enddef, nf90_get_att, nf90_get_var, nf90_global, nf90_inq_dimid, &
    nf90_inq_varid, nf90_inquire_attribute, nf90_inquire_dimension, nf90_netcdf4, nf90_noerr, &
    nf90_nowrite, nf90_open, nf90_put_att, nf90_put_var, nf90_strerror
  implicit none (type, external)
  private
  public :: identity_type, set_up_identity
  public :: check_path, read_restart, write_restart

  character(*), parameter :: format_name = 'm7emu-host restart 1'
  !! To be raised when the file or the model's equations change
  integer, parameter :: n_fact = 10, n_kept = 2
  character(16), parameter :: fact_name(n_fact) = [character(16) :: 'format', 'timestep', &
    'microphysics', 'profile', 'water', 'nucleation', 'substeps', 'model', 'blend_share', &
    'scenario']
  !! Global attributes; a branch may differ in all but the first `n_kept`

  type :: identity_type
    character(96) :: fact(n_fact) = ''
  end type identity_type

contains

  subroutine set_up_identity(slot, timestep, warming, emission_scale, transport, identity)
    !! What a run is, as far as it shapes the state.
    type(slot_settings_type), intent(in) :: slot
    real(wp), intent(in) :: timestep, warming, emission_scale
    logical, intent(in) :: transport
    type(identity_type), intent(out) :: identity
    logical :: emulated

    emulated = slot%microphysics == 'emulator' .or. slot%microphysics == 'blend'
    identity%fact(:2) = [character(96) :: format_name, text(timestep) // ' s']
    identity%fact(3) = slot%microphysics
    if (slot%microphysics == 'shadow') identity%fact(3) = 'm7'
    identity%fact(4:6) = [character(96) :: slot%profile, slot%water, slot%nucleation]
    write (identity%fact(7), '(i0)') slot%substeps
    identity%fact(8) = 'none'
    if (emulated) identity%fact(8) = fingerprint(trim(slot%emulator_file))
    identity%fact(9) = text(slot%blend_share)
    identity%fact(10) = 'warming ' // text(warming) // ' K, emission scale ' &
      // text(emission_scale) // ', transport ' // merge('on ', 'off', transport)
    if (identity%fact(3) == 'emulator') identity%fact(4:7) = 'of the model'
  end subroutine set_up_identity

  pure function text(value)
    real(wp), intent(in) :: value
    character(:), allocatable :: text
    character(32) :: buffer

    write (buffer, '(g0)') value
    text = trim(adjustl(buffer))
  end function text

  function fingerprint(path) result(mark)
    !! Size and checksum of a file: another model file has another
    character(*), intent(in) :: path
    character(96) :: mark
    integer :: status, unit_number
    integer(int64) :: i, length, sums(2)
    integer(int8), allocatable :: bytes(:)

    length = -1
    inquire (file=path, size=length)
    allocate (bytes(max(length, 0_int64)))
    open (newunit=unit_number, file=path, access='stream', form='unformatted', status='old', &
      action='read', iostat=status)
    if (status == 0) read (unit_number, iostat=status) bytes
    if (status == 0) close (unit_number)
    sums = 1
    do i = 1, size(bytes, kind=int64)
      sums = modulo(sums*[257_int64, 65599_int64] + bytes(i), 2147483647_int64)
    end do
    write (mark, '(i0, a, 2z8.8)') length, ' bytes, ', sums
  end function fingerprint

  subroutine check_path(path, grid, status, message)
    !! Whether a restart can be written there; before any work.
    character(*), intent(in) :: path
    type(grid_type), intent(in) :: grid
    integer, intent(out) :: status
    character(:), allocatable, intent(out) :: message
    character(256) :: reason
    integer :: unit_number

    status = 0
    message = ''
    if (grid%parallel%rank == 0) then
      reason = 'is a folder'
      status = merge(1, 0, is_folder(path))
      if (status == 0) open (newunit=unit_number, file=trim(path) // '.try', status='replace', &
        action='write', iostat=status, iomsg=reason)
      if (status == 0) close (unit_number, status='delete', iostat=status, iomsg=reason)
      if (status /= 0) message = '&run restart: ' // trim(path) // ': ' // trim(reason)
    end if
    call agree(grid%parallel, status, message)
  end subroutine check_path

  subroutine write_restart(path, grid, clock, state, ledger, threshold, cells, identity, status, &
    message)
    !! All ranks call it; status and message are the same on all.
    character(*), intent(in) :: path
    type(grid_type), intent(in) :: grid
    type(clock_type), intent(in) :: clock
    real(wp), intent(in) :: state(:, :, :, :)
    !! (nproma, nlev, n_tracer, nblocks)
    type(ledger_type), intent(in) :: ledger
    real(wp), intent(in) :: threshold, cells(n_tally)
    !! Of `host_microphysics`
    type(identity_type), intent(in) :: identity
    integer, intent(out) :: status
    character(:), allocatable, intent(out) :: message
    character(:), allocatable :: part
    integer :: budget, entry, file, k, lat, lev, lon, n, negatives(1), process, start
    integer :: tracer(n_tracer)
    logical :: root
    real(wp), allocatable :: cube(:, :, :), maps(:, :, :)

    allocate (cube(grid%nlon, grid%nlat, grid%nlev), maps(grid%nlon, grid%nlat, n_budget))
    root = grid%parallel%rank == 0
    status = nf90_noerr
    message = ''
    part = trim(path) // '.part'
    negatives = sum(ledger%negatives)
    call add_up(grid%parallel, negatives)
    if (root) then
      call check(nf90_create(part, ior(nf90_netcdf4, nf90_clobber), file), status)
      do n = 1, n_fact
        call check(nf90_put_att(file, nf90_global, trim(fact_name(n)), trim(identity%fact(n))), &
          status)
      end do
      call check(nf90_put_att(file, nf90_global, 'start_day', clock%start_day), status)
      call check(nf90_put_att(file, nf90_global, 'step', clock%step), status)
      call check(nf90_put_att(file, nf90_global, 'negatives', negatives(1)), status)
      call check(nf90_put_att(file, nf90_global, 'threshold', threshold), status)
      call check(nf90_put_att(file, nf90_global, 'cells', cells), status)
      call check(nf90_def_dim(file, 'lon', grid%nlon, lon), status)
      call check(nf90_def_dim(file, 'lat', grid%nlat, lat), status)
      call check(nf90_def_dim(file, 'lev', grid%nlev, lev), status)
      call check(nf90_def_dim(file, 'budget', n_budget, budget), status)
      call check(nf90_def_dim(file, 'process', n_process, process), status)
      do n = 1, n_tracer
        call check(nf90_def_var(file, trim(tracer_name(n)), nf90_double, [lon, lat, lev], &
          tracer(n)), status)
      end do
      call check(nf90_def_var(file, 'ledger', nf90_double, [lon, lat, budget, process], entry), &
        status)
      call check(nf90_def_var(file, 'ledger_start', nf90_double, [lon, lat, budget], start), status)
      call check(nf90_enddef(file), status)
    end if
    do n = 1, n_tracer
      call grid%to_cube(state(:, :, n, :), cube)
      if (root) call check(nf90_put_var(file, tracer(n), cube), status)
    end do
    call grid%to_cube(ledger%start, maps)
    if (root) call check(nf90_put_var(file, start, maps), status)
    do k = 1, n_process
      call grid%to_cube(ledger%entry(:, :, k, :), maps)
      if (root) call check(nf90_put_var(file, entry, maps, start=[1, 1, 1, k]), status)
    end do
    if (root) then
      call check(nf90_close(file), status)
      if (status == nf90_noerr) then
        call rename_file(part, path, status)
        if (status /= 0) message = trim(path) // ': could not be given its name'
      else
        message = trim(path) // ': the restart could not be written: ' &
          // trim(nf90_strerror(status))
      end if
      if (status /= 0) call delete_file(part, n)
    end if
    call agree(grid%parallel, status, message)
  end subroutine write_restart

  subroutine read_restart(path, grid, branch, identity, clock, state, ledger, threshold, cells, &
    status, message)
    !! Every rank reads its rows. A branch takes state and clock only, and starts a new ledger.
    character(*), intent(in) :: path
    type(grid_type), intent(in) :: grid
    logical, intent(in) :: branch
    type(identity_type), intent(in) :: identity
    type(clock_type), intent(inout) :: clock
    real(wp), intent(inout) :: state(:, :, :, :)
    type(ledger_type), intent(inout) :: ledger
    real(wp), intent(inout) :: threshold, cells(n_tally)
    integer, intent(out) :: status
    character(:), allocatable, intent(out) :: message
    integer :: entry, file, k, n, negatives, start, variable
    real(wp) :: slab(grid%nlon, grid%rows, grid%nlev)

    message = ''
    status = nf90_open(trim(path), nf90_nowrite, file)
    if (status /= nf90_noerr) then
      message = '&run restart_from: ' // trim(path) // ': ' // trim(nf90_strerror(status))
      return
    end if
    call compare_facts(path, file, merge(n_kept, n_fact, branch), identity, status, message)
    if (status == 0) call compare_sizes(path, file, grid, status, message)
    if (status /= 0) return

    call check(nf90_get_att(file, nf90_global, 'start_day', clock%start_day), status)
    call check(nf90_get_att(file, nf90_global, 'step', clock%step), status)
    do n = 1, n_tracer
      call check(nf90_inq_varid(file, trim(tracer_name(n)), variable), status)
      call check(nf90_get_var(file, variable, slab, start=[1, grid%first_row, 1]), status)
      do k = 1, grid%nlev
        call from_rows(grid, slab(:, :, k), state(:, k, n, :))
      end do
    end do
    if (.not. branch) then
      call check(nf90_get_att(file, nf90_global, 'negatives', negatives), status)
      ledger%negatives = 0
      if (grid%parallel%rank == 0) ledger%negatives(1) = negatives
      call check(nf90_get_att(file, nf90_global, 'threshold', threshold), status)
      call check(nf90_get_att(file, nf90_global, 'cells', cells), status)
      call check(nf90_inq_varid(file, 'ledger_start', start), status)
      call check(nf90_inq_varid(file, 'ledger', entry), status)
      do n = 1, n_budget
        call check(nf90_get_var(file, start, slab(:, :, 1), start=[1, grid%first_row, n]), status)
        call from_rows(grid, slab(:, :, 1), ledger%start(:, n, :))
        do k = 1, n_process
          call check(nf90_get_var(file, entry, slab(:, :, 1), start=[1, grid%first_row, n, k]), &
            status)
          call from_rows(grid, slab(:, :, 1), ledger%entry(:, n, k, :))
        end do
      end do
    end if
    call check(nf90_close(file), status)
    if (status /= nf90_noerr) message = trim(path) // ': not a whole restart: ' &
      // trim(nf90_strerror(status))
  end subroutine read_restart

  subroutine compare_facts(path, file, kept, identity, status, message)
    character(*), intent(in) :: path
    integer, intent(in) :: file, kept
    type(identity_type), intent(in) :: identity
    integer, intent(out) :: status
    character(:), allocatable, intent(inout) :: message
    character(96) :: there
    integer :: length, n

    status = 0
    do n = 1, kept
      there = ''
      status = nf90_inquire_attribute(file, nf90_global, trim(fact_name(n)), len=length)
      if (status == nf90_noerr .and. length <= len(there)) then
        status = nf90_get_att(file, nf90_global, trim(fact_name(n)), there)
      end if
      if (status /= nf90_noerr) then
        message = trim(path) // ': no restart of m7emu-host: it has no attribute ' &
          // trim(fact_name(n))
        return
      end if
      if (there == identity%fact(n)) cycle
      status = 1
      message = trim(path) // ': the restart has ' // trim(fact_name(n)) // " '" // trim(there) &
        // "', this run '" // trim(identity%fact(n)) // "'"
      if (n > n_kept) message = message // '; &run branch = .true. would allow it'
      return
    end do
  end subroutine compare_facts

  subroutine compare_sizes(path, file, grid, status, message)
    character(*), intent(in) :: path
    integer, intent(in) :: file
    type(grid_type), intent(in) :: grid
    integer, intent(out) :: status
    character(:), allocatable, intent(inout) :: message
    character(3), parameter :: name(3) = ['lon', 'lat', 'lev']
    integer :: dimension, here(3), n, there(3)

    here = [grid%nlon, grid%nlat, grid%nlev]
    status = nf90_noerr
    do n = 1, size(name)
      call check(nf90_inq_dimid(file, name(n), dimension), status)
      call check(nf90_inquire_dimension(file, dimension, len=there(n)), status)
    end do
    if (status /= nf90_noerr) then
      message = trim(path) // ': no restart of m7emu-host: ' // trim(nf90_strerror(status))
    else if (any(here /= there)) then
      status = 1
      message = trim(path) // ': the restart has ' // cells(there) // ', this run ' // cells(here)
    end if

  contains

    pure function cells(sizes) result(words)
      integer, intent(in) :: sizes(3)
      character(:), allocatable :: words
      character(48) :: buffer

      write (buffer, '(2(i0, a), i0, a)') sizes(1), ' x ', sizes(2), ' x ', sizes(3), ' cells'
      words = trim(buffer)
    end function cells
  end subroutine compare_sizes

  pure subroutine from_rows(grid, rows, field)
    !! To blocks.
    type(grid_type), intent(in) :: grid
    real(wp), intent(in) :: rows(:, :)
    !! (nlon, rows of this rank)
    real(wp), intent(inout) :: field(:, :)
    !! (nproma, nblocks)
    integer :: b, i, length, longitude, row

    do b = 1, grid%nblocks
      i = 1
      do while (i <= grid%kproma(b))
        call grid%runs(b, i, longitude, row, length)
        field(i:i + length - 1, b) = rows(longitude:longitude + length - 1, row)
        i = i + length
      end do
    end do
  end subroutine from_rows

  subroutine check(code, status)
    !! Keep the first error.
    integer, intent(in) :: code
    integer, intent(inout) :: status

    if (status == nf90_noerr) status = code
  end subroutine check
end module host_restart
