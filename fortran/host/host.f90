program host
  !! m7emu-host [NAMELIST]: an ECHAM-HAM-style aerosol model around a microphysics slot.
  use, intrinsic :: iso_fortran_env, only: error_unit, int64, output_unit
  use host_constants, only: wp
  use host_ledger, only: n_process, process_name
  use host_model, only: model_type
  use host_namelist, only: read_namelist, settings_type
  use host_parallel, only: agree, gather, parallel_type, start_parallel, stop_parallel
  use host_timer, only: component_name, in_microphysics, interval, n_component, now, seconds
  use host_tracers, only: budget_name, n_budget
  implicit none (type, external)

  character(:), allocatable :: message, path
  integer :: status
  logical :: root
  type(parallel_type) :: parallel
  type(settings_type) :: settings

  call argument(path)
  if (path == '--help' .or. path == '-h') then
    write (output_unit, '(a)') 'm7emu-host [NAMELIST]', &
      'An ECHAM-HAM-style aerosol model around a microphysics slot. Without a namelist: five', &
      'days with M7 on a coarse grid, into host.nc. Members: see fortran/host/host.nml.'
    stop
  end if
  call start_parallel(parallel)
  root = parallel%rank == 0
  call read_namelist(path, settings, status, message)
  call agree(parallel, status, message)
  if (status == 0) call run(settings, path)
  if (status /= 0 .and. root) write (error_unit, '(2a)') 'm7emu-host: ', message
  call stop_parallel()
  if (status /= 0) stop 1, quiet=.true.

contains

  subroutine argument(text)
    character(:), allocatable, intent(out) :: text
    integer :: length

    call get_command_argument(1, length=length)
    allocate (character(length) :: text)
    if (length > 0) call get_command_argument(1, text)
  end subroutine argument

  subroutine run(settings, path)
    type(settings_type), intent(in) :: settings
    character(*), intent(in) :: path
    integer :: i
    integer(int64) :: begin, start
    real(wp) :: exchanged, spent(n_component)
    type(model_type), allocatable :: model

    allocate (model)
    start = now()
    call model%set_up(settings, parallel, trim('m7emu-host ' // path), status, message)
    if (status /= 0) return
    if (root) then
      write (output_unit, '(a, 3(i0, a), 2(i0, a))') 'm7emu-host: ' &
        // trim(settings%slot%microphysics) // ', ', settings%nlon, ' x ', settings%nlat, ' x ', &
        settings%nlev, ' cells, ', parallel%ranks, ' ranks, ', model%threads, ' threads'
      write (output_unit, '(a)') '   day      to go [s]; burdens [mg m-2]: ' // heading()
    end if
    begin = now()
    call progress(model, 0, begin)
    do i = 1, model%steps
      call model%step(status, message)
      if (status /= 0) then
        call model%discard()
        return
      end if
      if (i == model%steps .or. modulo(i*settings%timestep, 86400.0_wp) < 0.5_wp) then
        call progress(model, i, begin)
      end if
    end do
    call sum_up(model, spent, exchanged)
    call model%close(spent, exchanged, status, message)
    if (status /= 0) return
    call report(model, spent, exchanged, seconds(interval(start)))
  end subroutine run

  function heading() result(text)
    character(:), allocatable :: text
    integer :: n

    text = ''
    do n = 1, n_budget
      text = text // repeat(' ', 11 - len_trim(budget_name(n))) // trim(budget_name(n))
    end do
  end function heading

  subroutine progress(model, done, begin)
    !! A line: the date, the seconds that are left at the present pace, burdens.
    type(model_type), intent(in) :: model
    integer, intent(in) :: done
    !! Steps of this run
    integer(int64), intent(in) :: begin
    real(wp) :: burden(n_budget), left

    burden = 1.0e6_wp*model%grid%global_means(model%ledger%burden)
    if (.not. root) return
    left = seconds(interval(begin))*(model%steps - done)/max(done, 1)
    write (output_unit, '(f8.2, f14.0, 18x, *(f11.4))') model%clock%days(), left, burden
    flush (output_unit)
  end subroutine progress

  subroutine sum_up(model, spent, exchanged)
    !! Seconds by component and bytes exchanged, over all threads and ranks, on rank 0.
    type(model_type), intent(in) :: model
    real(wp), intent(out) :: spent(n_component), exchanged
    integer :: n
    integer(int64) :: ticks(n_component)
    real(wp) :: here(n_component + 1), all_ranks((n_component + 1)*parallel%ranks)

    ticks = model%ticks()
    do n = 1, n_component
      here(n) = seconds(ticks(n))
    end do
    here(n_component + 1) = real(model%transport%exchanged, wp)
    all_ranks = 0.0_wp
    call gather(parallel, here, all_ranks)
    here = sum(reshape(all_ranks, [n_component + 1, parallel%ranks]), dim=2)
    spent = here(:n_component)
    exchanged = here(n_component + 1)
  end subroutine sum_up

  subroutine report(model, spent, exchanged, wall)
    type(model_type), intent(in) :: model
    real(wp), intent(in) :: spent(n_component), exchanged, wall
    !! s, bytes, s
    integer :: k, n
    real(wp) :: cells, closure(n_budget), total(n_budget, n_process)

    total = 1.0e6_wp*model%ledger%totals(model%grid)
    closure = model%ledger%closure(model%grid)
    if (.not. root) return
    write (output_unit, '(/, a)') 'Ledger, global means since the start [mg m-2] ' // heading()
    do k = 1, n_process
      write (output_unit, '(2x, a, t47, *(es11.3))') process_name(k), total(:, k)
    end do
    write (output_unit, '(2x, a, t47, *(es11.3))') 'not accounted for, relative', closure
    write (output_unit, '(2x, a, i0)') 'negative values left by processes: ', model%negatives
    if (sum(model%cells) > 0.0_wp) write (output_unit, '(2x, a, 6(es10.3))') &
      'cells: fine, extrapolating, outside, invalid; to M7 flagged, uncertain:', model%cells

    cells = real(model%grid%nlon, wp)*model%grid%nlat*model%grid%nlev*model%steps
    write (output_unit, '(/, a, t24, a)') 'Seconds over threads', 's     share   us per cell'
    do n = 1, n_component
      write (output_unit, '(2x, a, t16, f10.3, f8.1, a, f10.3)') component_name(n), spent(n), &
        100.0_wp*spent(n)/sum(spent), ' %', 1.0e6_wp*spent(n)/cells
    end do
    write (output_unit, '(2(a, f0.2), a)') 'Seconds in microphysics, over all threads: ', &
      spent(in_microphysics), '; the whole run: ', wall, ' s'
    write (output_unit, '(a, i0, a, es10.3)') 'Sweeps of transport in a step: ', &
      model%transport%repeats, '; bytes sent in a step: ', exchanged/model%steps
    write (output_unit, '(2a)') 'Written: ', trim(settings%file)
    if (settings%records /= '') then
      write (output_unit, '(3a, i0, a)') 'Written: ', trim(settings%records), ' (', &
      model%recorder%records, ' cells)'
    end if
  end subroutine report
end program host
