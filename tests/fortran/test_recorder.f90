program test_recorder
  !! The recorder as hosts use it that the host here is not: with blocks that are never stepped, a
  !! file a month, many ranks; and what goes wrong is a status.
  use, intrinsic :: iso_fortran_env, only: real64
  use m7emu_recorder, only: delete_file, recorder_type
  use microphysics, only: n_mass, n_mode, n_soluble
  use netcdf, only: nf90_close, nf90_get_var, nf90_inq_dimid, nf90_inq_varid, &
    nf90_inquire_dimension, nf90_noerr, nf90_nowrite, nf90_open
  use test_support, only: tests_type
  implicit none (type, external)

  integer, parameter :: columns = 3, kbdim = 4, klev = 5, blocks = 3
  type(tests_type) :: tests

  call test_blocks_without_use()
  call test_halves_of_records()
  call test_file_a_month()
  call test_failed_open()
  call test_open_twice()
  call test_names_of_ranks()
  call test_block_beyond()
  call tests%finish()

contains

  subroutine start(recorder, path, status, rank)
    type(recorder_type), intent(inout) :: recorder
    character(*), intent(in) :: path
    integer, intent(out) :: status
    integer, intent(in), optional :: rank
    character(:), allocatable :: message

    if (present(rank)) then
      call recorder%open(path, blocks, 1.0_real64, 1800.0_real64, 'ham2', '', '', '', status, &
        message, rank=rank, ranks=20000)
    else
      call recorder%open(path, blocks, 1.0_real64, 1800.0_real64, 'ham2', '', '', '', status, &
        message)
    end if
    call tests%that(path // ': a message tells of an error', (status == 0) .eqv. (message == ''))
    if (status /= 0) call tests%that('it names the file', index(message, path) == 1)
  end subroutine start

  subroutine record(recorder, block, levels)
    !! A step of a block whose cells know where they are, by their pressures and gas.
    type(recorder_type), intent(inout) :: recorder
    integer, intent(in) :: block, levels

    call begin(recorder, block, levels)
    call finish(recorder, block, levels)
  end subroutine record

  subroutine begin(recorder, block, levels)
    !! Before the microphysics
    type(recorder_type), intent(inout) :: recorder
    integer, intent(in) :: block, levels
    real(real64), dimension(kbdim, levels) :: place, nothing

    nothing = 0.0_real64
    place = places(block, levels)
    call recorder%before(block, 1, 1, columns, kbdim, levels, place, nothing, nothing, nothing, &
      nothing, nothing, spread(nothing, 3, n_mass), spread(nothing, 3, n_mode))
  end subroutine begin

  subroutine finish(recorder, block, levels)
    !! After the microphysics
    type(recorder_type), intent(inout) :: recorder
    integer, intent(in) :: block, levels
    real(real64), dimension(kbdim, levels) :: nothing

    nothing = 0.0_real64
    call recorder%after(block, columns, kbdim, levels, -places(block, levels), &
      spread(nothing, 3, n_mass), spread(nothing, 3, n_mode), spread(nothing, 3, n_mode), &
      spread(nothing, 3, n_soluble), spread(nothing, 3, n_mode), spread(nothing, 3, n_soluble))
  end subroutine finish

  pure function places(block, levels)
    integer, intent(in) :: block, levels
    real(real64) :: places(kbdim, levels)
    integer :: i, k

    do k = 1, levels
      places(:, k) = [(place_of(i, k, block), i=1, kbdim)]
    end do
  end function places

  elemental real(real64) function place_of(column, level, block)
    integer, intent(in) :: column, level, block

    place_of = real(10000*level + 100*block + column, real64)
  end function place_of

  subroutine expect(name, path, expected)
    !! Is a file what was recorded, level by level and column by column? It is deleted.
    character(*), intent(in) :: name, path
    real(real64), intent(in) :: expected(:)
    integer :: cell, found, id, k, status
    real(real64) :: first(size(expected)), second(size(expected))

    status = nf90_open(path, nf90_nowrite, id)
    call tests%that(name // ': ' // path, status == nf90_noerr)
    if (status /= nf90_noerr) return
    status = nf90_inq_dimid(id, 'cell', cell)
    status = nf90_inquire_dimension(id, cell, len=found)
    call tests%that(name // ': cells', found == size(expected))
    if (found == size(expected) .and. found > 0) then
      status = nf90_inq_varid(id, 'pressure', k)
      status = nf90_get_var(id, k, first)
      call tests%that(name // ': before', all(abs(first - expected) <= 0.0_real64))
      status = nf90_inq_varid(id, 'h2so4_after', k)
      status = nf90_get_var(id, k, second)
      call tests%that(name // ': after', all(abs(second + expected) <= 0.0_real64))
    end if
    status = nf90_close(id)
    call delete_file(path, status)
  end subroutine expect

  subroutine write_and_close(recorder, name)
    type(recorder_type), intent(inout) :: recorder
    character(*), intent(in) :: name
    integer :: status
    character(:), allocatable :: message

    call recorder%write(status)
    call tests%that(name // ' is written', status == 0)
    call recorder%close(status, message)
    call tests%that(name // ' is closed', status == 0 .and. message == '')
  end subroutine write_and_close

  subroutine test_blocks_without_use()
    !! ICON's blocks begin above 1; a nest has fewer levels.
    type(recorder_type) :: recorder
    integer :: i, k, status

    call start(recorder, 'second.nc', status)
    call record(recorder, 2, klev)
    call write_and_close(recorder, 'block 2 alone')
    call expect('block 2 alone', 'second.nc', &
      [((place_of(i, k, 2), i=1, columns), k=1, klev)])

    call start(recorder, 'levels.nc', status)
    call record(recorder, 1, 2)
    call record(recorder, 3, 3)
    call write_and_close(recorder, 'blocks of different levels')
    call expect('blocks of different levels', 'levels.nc', [ &
      ([(place_of(i, k, 1), i=1, columns), (place_of(i, k, 3), i=1, columns)], k=1, 2), &
      (place_of(i, 3, 3), i=1, columns)])
  end subroutine test_blocks_without_use

  subroutine test_halves_of_records()
    type(recorder_type) :: recorder
    integer :: i, k, status

    call start(recorder, 'halves.nc', status)
    call finish(recorder, 1, klev)
    call begin(recorder, 2, klev)
    call record(recorder, 3, klev)
    call write_and_close(recorder, 'halves')
    call expect('halves', 'halves.nc', &
      [((place_of(i, k, 3), i=1, columns), k=1, klev)])
  end subroutine test_halves_of_records

  subroutine test_block_beyond()
    type(recorder_type) :: recorder
    integer :: status
    character(:), allocatable :: message

    call start(recorder, 'beyond.nc', status)
    call record(recorder, blocks + 1, klev)
    call record(recorder, 1, klev)
    call recorder%write(status)
    call tests%that('a block beyond the last is a status', status == 1)
    call recorder%discard()
    call recorder%open('other.nc', blocks, 1.0_real64, 1800.0_real64, 'ham3', '', '', '', status, &
      message)
    call tests%that('no such profile', status == 1 .and. index(message, 'ham3') > 0)
  end subroutine test_block_beyond

  subroutine test_file_a_month()
    !! Each file begins anew, also with what had not been written of the one before.
    type(recorder_type) :: recorder
    integer :: i, k, status
    character(:), allocatable :: message

    call start(recorder, 'january.nc', status)
    call record(recorder, 1, klev)
    call write_and_close(recorder, 'January')
    call start(recorder, 'february.nc', status)
    call record(recorder, 2, klev)
    call recorder%close(status, message)
    call start(recorder, 'march.nc', status)
    call record(recorder, 1, 2)
    call write_and_close(recorder, 'March')
    call expect('January', 'january.nc', [((place_of(i, k, 1), i=1, columns), k=1, klev)])
    call expect('February', 'february.nc', [real(real64) ::])
    call expect('March', 'march.nc', [((place_of(i, k, 1), i=1, columns), k=1, 2)])
    call start(recorder, 'given_up.nc', status)
    call recorder%discard()
    call start(recorder, 'april.nc', status)
    call record(recorder, 1, klev)
    call write_and_close(recorder, 'April')
    call expect('April', 'april.nc', [((place_of(i, k, 1), i=1, columns), k=1, klev)])
  end subroutine test_file_a_month

  subroutine test_failed_open()
    !! A host may try another name.
    type(recorder_type) :: recorder
    integer :: i, k, status

    call start(recorder, 'no_such_folder/records.nc', status)
    call tests%that('no folder', status /= 0 .and. .not. recorder%active)
    call start(recorder, '.', status)
    call tests%that('a folder', status /= 0 .and. .not. recorder%active)
    call start(recorder, 'retry.nc', status)
    call record(recorder, 1, klev)
    call write_and_close(recorder, 'another name')
    call expect('another name', 'retry.nc', [((place_of(i, k, 1), i=1, columns), k=1, klev)])
  end subroutine test_failed_open

  subroutine test_open_twice()
    !! The second open is refused; the first goes on.
    type(recorder_type) :: recorder
    integer :: i, k, status

    call start(recorder, 'one.nc', status)
    call record(recorder, 1, klev)
    call start(recorder, 'other.nc', status)
    call tests%that('open twice', status /= 0 .and. recorder%active)
    call write_and_close(recorder, 'the first')
    call expect('the first', 'one.nc', [((place_of(i, k, 1), i=1, columns), k=1, klev)])
  end subroutine test_open_twice

  subroutine test_names_of_ranks()
    type(recorder_type) :: recorder
    integer :: status
    character(:), allocatable :: message

    call start(recorder, 'rank.nc', status, rank=3)
    call recorder%close(status, message)
    call expect('rank 3', 'rank.0003.nc', [real(real64) ::])
    call start(recorder, 'rank.nc', status, rank=12345)
    call recorder%close(status, message)
    call expect('rank 12345', 'rank.12345.nc', [real(real64) ::])
  end subroutine test_names_of_ranks
end program test_recorder
