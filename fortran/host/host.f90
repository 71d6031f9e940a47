program host
  !! m7emu-host [NAMELIST]: an ECHAM-HAM-style aerosol model around a microphysics slot.
  use, intrinsic :: iso_fortran_env, only: error_unit, int64, output_unit
  use host_constants, only: wp
  use host_ledger, only: n_process, process_name
  use host_model, only: model_type
  use host_namelist, only: read_namelist, settings_type
  use host_timer, only: component_name, in_microphysics, interval, n_component, now, seconds
  use host_tracers, only: budget_name, n_budget
  implicit none (type, external)

  character(:), allocatable :: message, path
  integer :: status
  type(settings_type) :: settings

  call argument(path)
  if (path == '--help' .or. path == '-h') then
    write (output_unit, '(a)') 'm7emu-host [NAMELIST]', &
      'An ECHAM-HAM-style aerosol model around a microphysics slot. Without a namelist: five', &
      'days with M7 on a coarse grid, into host.nc. Members: see fortran/host/host.nml.'
    stop
  end if
  call read_namelist(path, settings, status, message)
  if (status == 0) call run(settings, path)
  if (status /= 0) then
    write (error_unit, '(2a)') 'm7emu-host: ', message
    stop 1, quiet=.true.
  end if

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
    integer(int64) :: start
    real(wp) :: wall
    type(model_type), allocatable :: model

    allocate (model)
    start = now()
    call model%set_up(settings, trim('m7emu-host ' // path), status, message)
    if (status /= 0) return
    write (output_unit, '(a, 3(i0, a), i0)') 'm7emu-host: ' // trim(settings%slot%microphysics) &
      // ', ', settings%nlon, ' x ', settings%nlat, ' x ', settings%nlev, ' cells, threads ', &
      model%threads
    write (output_unit, '(a)') '   day   burdens [mg m-2]: ' // heading()
    call progress(model)
    do i = 1, model%steps
      call model%step(status, message)
      if (status /= 0) then
        call model%discard()
        return
      end if
      if (i == model%steps .or. modulo(i*settings%timestep, 86400.0_wp) < 0.5_wp) then
        call progress(model)
      end if
    end do
    call model%close(seconds_of(model), status, message)
    if (status /= 0) return
    wall = seconds(interval(start))
    call report(model, wall)
  end subroutine run

  function heading() result(text)
    character(:), allocatable :: text
    integer :: n

    text = ''
    do n = 1, n_budget
      text = text // repeat(' ', 11 - len_trim(budget_name(n))) // trim(budget_name(n))
    end do
  end function heading

  subroutine progress(model)
    type(model_type), intent(in) :: model
    integer :: n

    write (output_unit, '(f8.2, 18x, *(f11.4))') model%clock%days(), &
      (1.0e6_wp*model%grid%global_mean(model%ledger%burden(:, n, :)), n = 1, n_budget)
    flush (output_unit)
  end subroutine progress

  function seconds_of(model) result(spent)
    type(model_type), intent(in) :: model
    integer :: n
    integer(int64) :: ticks(n_component)
    real(wp) :: spent(n_component)

    ticks = model%ticks()
    do n = 1, n_component
      spent(n) = seconds(ticks(n))
    end do
  end function seconds_of

  subroutine report(model, wall)
    type(model_type), intent(in) :: model
    real(wp), intent(in) :: wall
    !! [s]
    integer :: k, n
    real(wp) :: cells, spent(n_component)

    write (output_unit, '(/, a)') 'Ledger, global means since the start [mg m-2] ' // heading()
    do k = 1, n_process
      write (output_unit, '(2x, a, t47, *(es11.3))') process_name(k), &
        (1.0e6_wp*model%ledger%total(model%grid, n, k), n = 1, n_budget)
    end do
    write (output_unit, '(2x, a, t47, *(es11.3))') 'not accounted for, relative', &
      (model%ledger%closure(model%grid, n), n = 1, n_budget)
    write (output_unit, '(2x, a, i0)') 'negative values left by processes: ', &
      sum(model%ledger%negatives)

    spent = seconds_of(model)
    cells = real(model%grid%columns, wp)*model%grid%nlev*model%steps
    write (output_unit, '(/, a, t24, a)') 'Seconds over threads', 's     share   us per cell'
    do n = 1, n_component
      write (output_unit, '(2x, a, t16, f10.3, f8.1, a, f10.3)') component_name(n), spent(n), &
        100.0_wp*spent(n)/sum(spent), ' %', 1.0e6_wp*spent(n)/cells
    end do
    write (output_unit, '(a, f0.2, a, i0, a, f0.2, a)') 'Seconds in microphysics: ', &
      spent(in_microphysics), ' over ', model%threads, ' threads; the whole run: ', wall, ' s'
    write (output_unit, '(2a)') 'Written: ', trim(settings%file)
    if (settings%records /= '') then
      write (output_unit, '(3a, i0, a)') 'Written: ', trim(settings%records), ' (', &
      model%recorder%records, ' cells)'
    end if
  end subroutine report
end program host
