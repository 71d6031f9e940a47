module m7emu_recorder
  !! Records of what a host's microphysics is given and gives back, to train an emulator on: a
  !! netCDF-4 file of before/after pairs. Independent of the host: it links this module and netCDF.
  !!
  !! Open once; in each block `before` and `after` around the microphysics call, from any thread;
  !! `write` after all blocks of a step, from one thread; `close` at the end, which gives the file
  !! its name; then another may be opened. Which cells are taken depends on the column, level and
  !! step alone, and their order in the file on nothing else. While none is open all other calls do
  !! nothing.
  use, intrinsic :: iso_c_binding, only: c_char, c_int, c_null_char
  use, intrinsic :: iso_fortran_env, only: int64, real64
  use microphysics, only: n_mass, n_mode, n_soluble
  use netcdf, only: nf90_close, nf90_clobber, nf90_create, nf90_def_dim, nf90_def_var, &
    nf90_def_var_deflate, nf90_double, nf90_enddef, nf90_global, nf90_netcdf4, nf90_noerr, &
    nf90_put_att, nf90_put_var, nf90_strerror, nf90_unlimited
  implicit none (type, external)
  private
  public :: recorder_type
  public :: rename_file, delete_file, is_folder

  integer, parameter :: n_environment = 5, n_prognostic = 1 + n_mass + n_mode
  integer, parameter :: n_diagnostic = 2*n_mode + 2*n_soluble
  integer, parameter :: n_before = n_environment + n_prognostic
  integer, parameter :: n_after = n_prognostic + n_diagnostic
  character(2), parameter :: mode(n_mode) = ['ns', 'ks', 'as', 'cs', 'ki', 'ai', 'ci']
  character(17), parameter :: name(n_before + n_diagnostic) = [character(17) :: &
    'pressure', 'temperature', 'relative_humidity', 'cloud_fraction', 'h2so4_production', 'h2so4', &
    'so4_ns', 'so4_ks', 'so4_as', 'so4_cs', 'bc_ks', 'bc_as', 'bc_cs', 'bc_ki', 'oc_ks', 'oc_as', &
    'oc_cs', 'oc_ki', 'ss_as', 'ss_cs', 'du_as', 'du_cs', 'du_ai', 'du_ci', 'num_' // mode, &
    'wet_radius_' // mode, 'dry_radius_' // mode(:n_soluble), 'density_' // mode, &
    'water_' // mode(:n_soluble)]
  integer, private :: i_
  character(8), parameter :: unit(n_before + n_diagnostic) = [character(8) :: &
    'Pa', 'K', '1', '1', 'cm-3 s-1', ('cm-3', i_ = 1, 5), ('ug m-3', i_ = 1, n_mass - 4), &
    ('cm-3', i_ = 1, n_mode), ('cm', i_ = 1, n_mode + n_soluble), ('g cm-3', i_ = 1, n_mode), &
    ('kg m-3', i_ = 1, n_soluble)]
  !! As in pyemu.variables; a test compares the two

  type :: buffer_type
    !! What a block recorded in this step.
    integer :: count = 0
    logical :: whole = .false.
    !! `after` followed `before`: what one of them alone tells of is no record
    integer, allocatable :: column(:), level(:)
    !! Of a record in the block (records)
    integer, allocatable :: first(:)
    !! First record of a level (levels + 1)
    real(real64), allocatable :: pair(:, :)
    !! (n_before + n_after, records)
  end type buffer_type

  type :: recorder_type
    private
    logical, public :: active = .false.
    character(:), allocatable :: path, part
    !! File, and its name while it is written
    real(real64) :: fraction = 1.0_real64
    type(buffer_type), allocatable :: buffer(:)
    logical :: beyond = .false.
    !! A block was none of them
    real(real64), allocatable :: sheet(:, :)
    integer :: id = -1, variable(n_before + n_after) = -1
    integer, public :: records = 0
    !! Written so far
  contains
    procedure :: open => open_records
    procedure :: before
    procedure :: after
    procedure :: write => write_records
    procedure :: close => close_records
    procedure :: discard
  end type recorder_type

  interface
    integer(c_int) function c_rename(old, new) bind(c, name='rename')
      import :: c_char, c_int
      implicit none (type, external)
      ! allow(assumed-size)
      character(kind=c_char), intent(in) :: old(*), new(*)
    end function c_rename

    integer(c_int) function c_remove(path) bind(c, name='remove')
      import :: c_char, c_int
      implicit none (type, external)
      ! allow(assumed-size)
      character(kind=c_char), intent(in) :: path(*)
    end function c_remove
  end interface

contains

  subroutine open_records(this, path, blocks, fraction, timestep, profile, title, source, history, &
    status, message, rank, ranks)
    !! Start a file; the one before has been closed. With more than one rank each writes its own:
    !! records.nc becomes records.0003.nc.
    class(recorder_type), intent(inout) :: this
    character(*), intent(in) :: path
    integer, intent(in) :: blocks
    !! Blocks that the host's columns come in
    real(real64), intent(in) :: fraction
    !! Of the cells that is recorded [1]
    real(real64), intent(in) :: timestep
    !! [s]
    character(*), intent(in) :: profile, title, source, history
    !! Global attributes; profile is 'ham2' or 'm7_2004'
    integer, intent(out) :: status
    character(:), allocatable, intent(out) :: message
    integer, intent(in), optional :: rank, ranks
    integer :: cell, k, n
    character(12) :: number

    if (this%active) then
      status = 1
      message = trim(path) // ': ' // this%path // ' is still open'
      return
    end if
    this%path = trim(path)
    if (all(profile /= [character(7) :: 'ham2', 'm7_2004'])) then
      status = 1
      message = this%path // ": profile '" // trim(profile) // "'; it is 'ham2' or 'm7_2004'"
      return
    end if
    if (present(rank) .and. present(ranks)) then
      if (ranks > 1) then
        write (number, '(i0.4)') rank
        k = index(this%path, '.nc', back=.true.)
        if (k == 0) k = len(this%path) + 1
        this%path = this%path(:k - 1) // '.' // trim(number) // this%path(k:)
      end if
    end if
    this%part = this%path // '.part'
    this%fraction = fraction
    this%records = 0
    this%beyond = .false.
    if (is_folder(this%path)) then
      status = 1
      message = this%path // ': is a folder'
      return
    end if
    status = nf90_create(this%part, ior(nf90_netcdf4, nf90_clobber), this%id)
    if (status /= nf90_noerr) then
      message = this%path // ': ' // trim(nf90_strerror(status))
      return
    end if
    call check(nf90_def_dim(this%id, 'cell', nf90_unlimited, cell), status)
    call check(nf90_put_att(this%id, nf90_global, 'Conventions', 'CF-1.8'), status)
    call check(nf90_put_att(this%id, nf90_global, 'title', title), status)
    call check(nf90_put_att(this%id, nf90_global, 'source', source), status)
    call check(nf90_put_att(this%id, nf90_global, 'history', history), status)
    call check(nf90_put_att(this%id, nf90_global, 'profile', profile), status)
    call check(nf90_put_att(this%id, nf90_global, 'timestep', timestep), status)
    do n = 1, n_before + n_after
      k = merge(n, n - n_prognostic, n <= n_before)
      if (n <= n_before) then
        call define(trim(name(k)), trim(unit(k)))
      else
        call define(trim(name(k)) // '_after', trim(unit(k)))
      end if
    end do
    call check(nf90_enddef(this%id), status)
    if (status /= nf90_noerr) then
      message = this%path // ': ' // trim(nf90_strerror(status))
      k = nf90_close(this%id)
      call delete_file(this%part, k)
      return
    end if
    allocate (this%buffer(blocks))
    this%active = .true.
    message = ''

  contains

    subroutine define(variable_name, variable_unit)
      character(*), intent(in) :: variable_name, variable_unit

      call check(nf90_def_var(this%id, variable_name, nf90_double, [cell], this%variable(n), &
        chunksizes=[4096]), status)
      call check(nf90_def_var_deflate(this%id, this%variable(n), 1, 1, 1), status)
      call check(nf90_put_att(this%id, this%variable(n), 'units', variable_unit), status)
    end subroutine define
  end subroutine open_records

  subroutine before(this, block, first, step, kproma, kbdim, klev, pressure, temperature, &
    relative_humidity, cloud_fraction, h2so4_production, h2so4, mass, number)
    !! Choose cells of a block and keep the state that the microphysics is given.
    class(recorder_type), intent(inout) :: this
    integer, intent(in) :: block
    !! From 1 to the number given to `open`; each is used once a step
    integer, intent(in) :: first, step
    !! Number of the block's first column on the globe, and of the step
    integer, intent(in) :: kproma, kbdim, klev
    real(real64), intent(in) :: pressure(kbdim, klev), temperature(kbdim, klev)
    !! Pa, K
    real(real64), intent(in) :: relative_humidity(kbdim, klev), cloud_fraction(kbdim, klev)
    !! [1]
    real(real64), intent(in) :: h2so4_production(kbdim, klev), h2so4(kbdim, klev)
    !! Molecules cm-3 s-1, molecules cm-3
    real(real64), intent(in) :: mass(kbdim, klev, n_mass), number(kbdim, klev, n_mode)
    !! Molecules cm-3 or ug m-3; cm-3
    integer :: i, k, n

    if (.not. this%active) return
    if (block < 1 .or. block > size(this%buffer)) then
      this%beyond = .true.
      return
    end if
    associate (buffer => this%buffer(block))
      call make_room(buffer, klev, kproma*klev, this%fraction)
      n = 0
      do k = 1, klev
        buffer%first(k) = n + 1
        do i = 1, kproma
          if (.not. chosen(first + i - 1, k, step, this%fraction)) cycle
          n = n + 1
          if (n > size(buffer%column)) call grow(buffer)
          buffer%column(n) = i
          buffer%level(n) = k
          buffer%pair(:n_before, n) = [pressure(i, k), temperature(i, k), &
            relative_humidity(i, k), cloud_fraction(i, k), h2so4_production(i, k), h2so4(i, k), &
            mass(i, k, :), number(i, k, :)]
        end do
      end do
      buffer%first(klev + 1) = n + 1
      buffer%count = n
      buffer%whole = .false.
    end associate
  end subroutine before

  subroutine after(this, block, kproma, kbdim, klev, h2so4, mass, number, wet_radius, dry_radius, &
    density, water)
    !! Keep what became of the cells that `before` chose.
    class(recorder_type), intent(inout) :: this
    integer, intent(in) :: block, kproma, kbdim, klev
    real(real64), intent(in) :: h2so4(kbdim, klev), mass(kbdim, klev, n_mass)
    real(real64), intent(in) :: number(kbdim, klev, n_mode)
    !! As in `before`
    real(real64), intent(in) :: wet_radius(kbdim, klev, n_mode), dry_radius(kbdim, klev, n_soluble)
    !! [cm]
    real(real64), intent(in) :: density(kbdim, klev, n_mode), water(kbdim, klev, n_soluble)
    !! g cm-3, kg m-3
    integer :: i, k, n

    if (.not. this%active) return
    if (block < 1 .or. block > size(this%buffer)) return
    associate (buffer => this%buffer(block))
      do n = 1, buffer%count
        i = buffer%column(n)
        k = buffer%level(n)
        if (i > kproma .or. k > klev) return
        buffer%pair(n_before + 1:, n) = [h2so4(i, k), mass(i, k, :), number(i, k, :), &
          wet_radius(i, k, :), dry_radius(i, k, :), density(i, k, :), water(i, k, :)]
      end do
      buffer%whole = .true.
    end associate
  end subroutine after

  subroutine write_records(this, status)
    !! Append the records of a step to the file: level by level, column by column.
    class(recorder_type), intent(inout) :: this
    integer, intent(out) :: status
    !! 0, netCDF's, or 1: a block's number was not among those that `open` was told of
    integer :: b, count, k, levels, n

    status = nf90_noerr
    if (.not. this%active) return
    if (this%beyond) then
      status = 1
      return
    end if
    count = 0
    levels = 0
    do b = 1, size(this%buffer)
      if (.not. this%buffer(b)%whole) this%buffer(b)%count = 0
      if (this%buffer(b)%count == 0) cycle
      count = count + this%buffer(b)%count
      levels = max(levels, size(this%buffer(b)%first) - 1)
    end do
    if (count == 0) return
    if (allocated(this%sheet)) then
      if (size(this%sheet, 1) < count) deallocate (this%sheet)
    end if
    if (.not. allocated(this%sheet)) allocate (this%sheet(count + count/4, n_before + n_after))
    n = 0
    do k = 1, levels
      do b = 1, size(this%buffer)
        if (this%buffer(b)%count > 0) call take(this%buffer(b))
      end do
    end do
    do k = 1, n_before + n_after
      call check(nf90_put_var(this%id, this%variable(k), this%sheet(:count, k), &
        start=[this%records + 1]), status)
    end do
    this%records = this%records + count
    do b = 1, size(this%buffer)
      this%buffer(b)%count = 0
    end do

  contains

    subroutine take(buffer)
      type(buffer_type), intent(in) :: buffer
      integer :: i

      if (k >= size(buffer%first)) return
      do i = buffer%first(k), buffer%first(k + 1) - 1
        n = n + 1
        this%sheet(n, :) = buffer%pair(:, i)
      end do
    end subroutine take
  end subroutine write_records

  subroutine close_records(this, status, message)
    !! Finish the file and give it its name.
    class(recorder_type), intent(inout) :: this
    integer, intent(out) :: status
    character(:), allocatable, intent(out) :: message

    status = 0
    message = ''
    if (.not. this%active) return
    this%active = .false.
    call release(this)
    status = nf90_close(this%id)
    if (status == nf90_noerr) call rename_file(this%part, this%path, status)
    if (status /= 0) message = this%path // ': could not be finished'
  end subroutine close_records

  subroutine discard(this)
    !! Give up: nothing half-written stays.
    class(recorder_type), intent(inout) :: this
    integer :: status

    if (.not. this%active) return
    this%active = .false.
    call release(this)
    status = nf90_close(this%id)
    call delete_file(this%part, status)
  end subroutine discard

  pure subroutine release(this)
    !! Give the memory back.
    type(recorder_type), intent(inout) :: this

    if (allocated(this%buffer)) deallocate (this%buffer)
    if (allocated(this%sheet)) deallocate (this%sheet)
  end subroutine release

  pure subroutine make_room(buffer, klev, cells, fraction)
    type(buffer_type), intent(inout) :: buffer
    integer, intent(in) :: klev, cells
    real(real64), intent(in) :: fraction
    integer :: room

    if (allocated(buffer%column)) return
    room = max(8, min(cells, ceiling(1.2_real64*fraction*cells)))
    allocate (buffer%column(room), buffer%level(room), buffer%first(klev + 1))
    allocate (buffer%pair(n_before + n_after, room))
  end subroutine make_room

  pure subroutine grow(buffer)
    !! Twice the room; seldom, as the number of chosen cells hardly varies.
    type(buffer_type), intent(inout) :: buffer
    real(real64), allocatable :: pair(:, :)
    integer :: room

    room = size(buffer%column)
    buffer%column = [buffer%column, buffer%column]
    buffer%level = [buffer%level, buffer%level]
    allocate (pair(n_before + n_after, 2*room))
    pair(:, :room) = buffer%pair
    call move_alloc(pair, buffer%pair)
  end subroutine grow

  elemental logical function chosen(column, level, step, fraction)
    !! Whether a cell is recorded: a hash of its place and time below the
    !! fraction. In 32-bit pieces, so that no product overflows.
    integer, intent(in) :: column, level, step
    real(real64), intent(in) :: fraction
    integer(int64), parameter :: mask = int(z'FFFFFFFF', int64)
    integer(int64) :: key

    key = scramble(int(step, int64))
    key = scramble(iand(key + int(column, int64), mask))
    key = scramble(iand(key + int(level, int64), mask))
    chosen = real(key, real64) < fraction*real(mask + 1, real64)
  contains
    elemental integer(int64) function scramble(number)
      !! A 32-bit integer hash (xor, shift and multiply)
      integer(int64), intent(in) :: number

      scramble = iand(ieor(number, shiftr(number, 16)), mask)
      scramble = times(scramble, int(z'45D9F3B', int64))
      scramble = ieor(scramble, shiftr(scramble, 16))
      scramble = times(scramble, int(z'45D9F3B', int64))
      scramble = ieor(scramble, shiftr(scramble, 16))
    end function scramble

    elemental integer(int64) function times(one, other)
      !! Product modulo 2**32; `other` is below 2**27
      integer(int64), intent(in) :: one, other

      times = iand(iand(one, 65535_int64)*other &
        + shiftl(iand(shiftr(one, 16)*other, 65535_int64), 16), mask)
    end function times
  end function chosen

  subroutine rename_file(old, new, status)
    !! Replace `new`, if it is there, by `old`: whole or not at all.
    character(*), intent(in) :: old, new
    integer, intent(out) :: status
    !! 0 when all is well

    status = int(c_rename(c_text(old), c_text(new)))
  end subroutine rename_file

  logical function is_folder(path)
    !! Whether a name is taken by a folder, so that no file can have it
    character(*), intent(in) :: path

    inquire (file=trim(path) // '/.', exist=is_folder)
  end function is_folder

  subroutine delete_file(path, status)
    character(*), intent(in) :: path
    integer, intent(out) :: status
    !! 0 when all is well

    status = int(c_remove(c_text(path)))
  end subroutine delete_file

  pure function c_text(text)
    character(*), intent(in) :: text
    character(kind=c_char) :: c_text(len_trim(text) + 1)
    integer :: i

    do i = 1, len_trim(text)
      c_text(i) = text(i:i)
    end do
    c_text(len_trim(text) + 1) = c_null_char
  end function c_text

  subroutine check(code, status)
    !! Keep the first error.
    integer, intent(in) :: code
    integer, intent(inout) :: status

    if (status == nf90_noerr) status = code
  end subroutine check
end module m7emu_recorder
