module host_model
  !! The model: its state, its start, its step. Transport comes first, over whole rows and with the
  !! neighbouring ranks; then the physics, block by block, each for itself.
  use, intrinsic :: iso_fortran_env, only: int64
!$ use omp_lib, only: omp_get_max_threads, omp_get_thread_num
  use host_calendar, only: clock_type
  use host_chemistry, only: react
  use host_constants, only: wp
  use host_emissions, only: emit, set_up_sources, sources_type
  use host_grid, only: grid_type, set_up_grid
  use host_initial, only: initial_state
  use host_ledger, only: borrowing, chemistry, column_sum, convection, dry_deposition, emission, &
    enter, ledger_type, microphysics_process, mixing, sedimentation, set_up_ledger, &
    transport_process => transport, wet_deposition
  use host_meteorology, only: meteorology_type, set_up_meteorology, weather
  use host_microphysics, only: aerosol_type, call_microphysics, n_bin, n_compared, n_tally, &
    set_threshold, set_up_aerosol, set_up_slot, slot_type
  use host_mixing, only: convect, mix
  use host_namelist, only: settings_type
  use host_output, only: output_type
  use host_parallel, only: add_up, agree, largest, parallel_type
  use host_removal, only: deposit, scavenge, settle
  use host_restart, only: check_path, identity_type, read_restart, set_up_identity, write_restart
  use host_surface, only: set_up_surface, surface_type
  use host_timer, only: in_chemistry, in_emissions, in_exchange, in_microphysics, in_mixing, &
    in_output, in_removal, in_shadow, in_transport, in_update, in_weather, in_wrapper, interval, &
    n_component, now
  use host_tracers, only: advance, borrow, n_budget, n_tracer, tracer_budget
  use host_transport, only: set_up_transport, transport_type
  use host_winds, only: blow, set_up_winds, winds_type
  use m7emu_recorder, only: recorder_type
  implicit none (type, external)
  private
  public :: model_type

  type :: work_type
    !! What a thread needs for a block
    type(meteorology_type) :: air
    type(aerosol_type) :: aerosol
    real(wp), allocatable :: tendency(:, :, :)
    !! [s-1] (nproma, nlev, n_tracer)
    real(wp), allocatable :: emitted(:, :), amount(:), values(:, :)
    integer :: tally(n_tally) = 0, histogram(n_bin) = 0
    !! See `host_microphysics`; of the output interval, and of the step
    integer(int64) :: ticks(n_component) = 0
  end type work_type

  type :: model_type
    type(settings_type) :: settings
    type(grid_type) :: grid
    type(surface_type) :: surface
    type(sources_type) :: sources
    type(clock_type) :: clock
    type(winds_type) :: winds
    type(transport_type) :: transport
    type(slot_type) :: slot
    type(identity_type) :: identity
    type(ledger_type) :: ledger
    type(output_type) :: output
    type(recorder_type) :: recorder
    real(wp), allocatable :: state(:, :, :, :)
    !! x(t-1) of the tracers (nproma, nlev, n_tracer, nblocks)
    real(wp), allocatable :: squares(:, :, :)
    !! See `host_microphysics`
    real(wp), allocatable :: maps(:, :, :)
    type(work_type), allocatable :: work(:)
    integer :: threads
    integer :: last_step, steps, steps_per_output, steps_per_restart
    !! Counted since the first start; of this run; of an interval
    integer :: negatives = 0
    !! Of all ranks, since the start
    real(wp) :: cells(n_tally) = 0.0_wp
    !! By flag of the emulator, of all ranks, since the start
    integer(int64) :: output_ticks = 0
  contains
    procedure :: set_up
    procedure :: step
    procedure :: ticks
    procedure :: close => close_model
    procedure :: discard
  end type model_type

contains

  subroutine set_up(this, settings, parallel, history, status, message)
    !! Everything before the first step; refuses what cannot be written.
    class(model_type), intent(inout) :: this
    type(settings_type), intent(in) :: settings
    type(parallel_type), intent(in) :: parallel
    character(*), intent(in) :: history
    integer, intent(out) :: status
    character(:), allocatable, intent(out) :: message
    !! The same on all ranks
    character(160) :: words
    integer :: b, t
    logical :: emulated, shadow

    this%settings = settings
    if (settings%nlat < 2*parallel%ranks) then
      status = 1
      write (words, '(2(a, i0), a)') '&grid nlat = ', settings%nlat, ': too few for ', &
        parallel%ranks, ' ranks, each of which needs two'
      message = trim(words)
      return
    end if
    call set_up_slot(settings%slot, this%slot, status, message)
    call agree(parallel, status, message)
    if (status /= 0) return
    this%clock = clock_type(start_day=settings%start_day, timestep=settings%timestep)
    this%steps = nint(settings%days*86400.0_wp/settings%timestep)
    this%steps_per_output = nint(settings%interval*3600.0_wp/settings%timestep)
    this%steps_per_restart = nint(settings%restart_interval*3600.0_wp/settings%timestep)
    call set_up_grid(this%grid, settings%nlon, settings%nlat, settings%nlev, settings%nproma, &
      parallel)
    call set_up_surface(this%grid, this%surface)
    call set_up_sources(this%grid, this%surface, this%sources)
    call set_up_ledger(this%grid, this%ledger)
    call set_up_winds(this%grid, this%surface%pressure, this%winds)
    call set_up_transport(this%grid, n_tracer, this%transport)
    call set_up_identity(settings%slot, settings%timestep, settings%warming, &
      settings%emission_scale, settings%transport, this%identity)
    associate (grid => this%grid)
      shadow = allocated(this%slot%shadow)
      emulated = any(settings%slot%microphysics == [character(8) :: 'emulator', 'blend'])
      allocate (this%state(grid%nproma, grid%nlev, n_tracer, grid%nblocks), source=0.0_wp)
      if (settings%restart /= '') then
        call check_path(settings%restart, grid, status, message)
        if (status /= 0) return
      end if
      if (settings%restart_from /= '') then
        call read_restart(settings%restart_from, grid, settings%branch, this%identity, this%clock, &
          this%state, this%ledger, this%slot%threshold, this%cells, status, message)
        call agree(parallel, status, message)
        if (status /= 0) return
      end if
      this%last_step = this%clock%step + this%steps
      call this%output%open(settings%file, grid, settings%mean, settings%instant, &
        settings%precision, settings%compression, shadow, emulated, history, summary(settings), &
        this%clock%days(), status, message)
      if (status == 0 .and. settings%records /= '') call this%recorder%open(settings%records, &
        grid%nblocks, settings%record_fraction, settings%timestep, trim(settings%slot%profile), &
        'Before and after M7 in the m7emu host', 'm7emu-host', history, status, message, &
        rank=parallel%rank, ranks=parallel%ranks)
      call agree(parallel, status, message)
      if (status /= 0) then
        call this%discard()
        return
      end if

      this%threads = 1
!$    this%threads = omp_get_max_threads()
      if (settings%threads > 0) this%threads = settings%threads
      allocate (this%work(0:this%threads - 1))
      do t = 0, this%threads - 1
        call set_up_meteorology(grid%nproma, grid%nlev, this%work(t)%air)
        call set_up_aerosol(grid%nproma, grid%nlev, shadow, allocated(this%slot%fallback), &
          this%work(t)%aerosol)
        allocate (this%work(t)%tendency(grid%nproma, grid%nlev, n_tracer), source=0.0_wp)
        allocate (this%work(t)%emitted(grid%nproma, n_tracer), source=0.0_wp)
        allocate (this%work(t)%amount(grid%nproma), source=0.0_wp)
        allocate (this%work(t)%values(grid%nproma, grid%nlev), source=0.0_wp)
      end do
      allocate (this%squares(grid%nproma, n_compared, merge(grid%nblocks, 1, shadow)), &
        source=0.0_wp)
      allocate (this%maps(grid%nproma, 3, grid%nblocks))
      this%maps(:, 1, :) = this%surface%pressure
      this%maps(:, 2, :) = this%surface%land
      this%maps(:, 3, :) = this%surface%desert
      do b = 1, grid%nblocks
        associate (work => this%work(0))
          call weather(grid, this%surface, this%clock, settings%warming, b, work%air)
          if (settings%initial == 'analytic' .and. settings%restart_from == '') then
            call initial_state(grid, this%sources, work%air, b, this%state(:, :, :, b))
          end if
          call weigh(this, work, b)
        end associate
      end do
      if (settings%restart_from == '' .or. settings%branch) this%ledger%start = this%ledger%burden
    end associate
  end subroutine set_up

  subroutine step(this, status, message)
    !! One timestep of all blocks, and output when its interval ends.
    class(model_type), intent(inout) :: this
    integer, intent(out) :: status
    character(:), allocatable, intent(out) :: message
    character(16) :: code
    integer :: b, failed, thread
    integer(int64) :: start
    logical :: last

    last = modulo(this%clock%step + 1, this%steps_per_output) == 0 &
      .or. this%clock%step + 1 == this%last_step
    if (this%settings%transport) call carry(this)
    failed = 0
    thread = 0
    !$omp parallel do schedule(dynamic) num_threads(this%threads) default(none) &
    !$omp shared(this, last) private(thread, status) reduction(max: failed)
    do b = 1, this%grid%nblocks
      thread = 0
!$    thread = omp_get_thread_num()
      call step_block(this, this%work(thread), b, last, status)
      failed = max(failed, abs(status))
    end do
    !$omp end parallel do
    message = ''
    if (failed /= 0) then
      write (code, '(i0)') failed
      message = 'the microphysics refused its input with status ' // trim(code)
    end if

    start = now()
    this%clock%step = this%clock%step + 1
    this%output%samples = this%output%samples + 1
    call this%recorder%write(status)
    if (status /= 0) message = trim(this%settings%records) // ': could not be written'
    status = max(failed, abs(status))
    if (largest(this%grid%parallel, status) /= 0) then
      call agree(this%grid%parallel, status, message)
      return
    end if
    if (allocated(this%slot%fallback) .and. this%settings%slot%blend_share > 0.0_wp) then
      call move_threshold(this)
    end if
    if (last) call put_out(this, status, message)
    this%output_ticks = this%output_ticks + interval(start)
  end subroutine step

  subroutine carry(this)
    !! Transport of all tracers.
    type(model_type), intent(inout) :: this
    integer(int64) :: start, ticks(0:this%threads - 1)

    start = now()
    call blow(this%grid, this%clock, this%winds)
    ticks = 0
    ticks(0) = interval(start)
    call parade(loading=.true.)
    call this%transport%advect(this%grid, this%winds, this%clock%timestep, this%clock%step, &
      this%threads, ticks, this%work(0)%ticks(in_exchange))
    call parade(loading=.false.)
    this%work%ticks(in_transport) = this%work%ticks(in_transport) + ticks

  contains

    subroutine parade(loading)
      !! Between blocks and rows.
      logical, intent(in) :: loading
      integer :: n, thread
      integer(int64) :: began

      thread = 0
      !$omp parallel do schedule(static) num_threads(this%threads) default(none) &
      !$omp shared(this, loading, ticks) private(thread, began)
      do n = 1, n_tracer
!$      thread = omp_get_thread_num()
        began = now()
        if (loading) then
          call this%transport%load(this%grid, n, this%state)
        else
          call this%transport%unload(this%grid, n, this%state)
        end if
        ticks(thread) = ticks(thread) + interval(began)
      end do
      !$omp end parallel do
    end subroutine parade
  end subroutine carry

  subroutine move_threshold(this)
    !! From the uncertainties of this step, for the next.
    type(model_type), intent(inout) :: this
    integer :: histogram(n_bin), t

    histogram = 0
    do t = 0, this%threads - 1
      histogram = histogram + this%work(t)%histogram
      this%work(t)%histogram = 0
    end do
    call add_up(this%grid%parallel, histogram)
    call set_threshold(this%slot, this%settings%slot%blend_share, histogram)
  end subroutine move_threshold

  subroutine put_out(this, status, message)
    !! Output at the end of an interval, and a restart when one is due.
    type(model_type), intent(inout) :: this
    integer, intent(out) :: status
    character(:), allocatable, intent(inout) :: message
    integer :: negatives(1), t, tally(n_tally)
    logical :: due

    tally = 0
    do t = 0, this%threads - 1
      tally = tally + this%work(t)%tally
      this%work(t)%tally = 0
    end do
    negatives = sum(this%ledger%negatives)
    call add_up(this%grid%parallel, tally)
    call add_up(this%grid%parallel, negatives)
    this%negatives = negatives(1)
    this%cells = this%cells + tally
    call this%output%write(this%grid, this%clock%days(), this%ledger, this%squares, negatives(1), &
      this%cells, status, message)
    call agree(this%grid%parallel, status, message)
    if (status /= 0 .or. this%settings%restart == '') return
    due = this%clock%step == this%last_step
    if (this%steps_per_restart > 0) due = due &
      .or. modulo(this%clock%step, this%steps_per_restart) == 0
    if (due) call write_restart(this%settings%restart, this%grid, this%clock, this%state, &
      this%ledger, this%slot%threshold, this%cells, this%identity, status, message)
  end subroutine put_out

  subroutine step_block(this, work, block, last, status)
    !! The physics of a block.
    type(model_type), intent(inout) :: this
    type(work_type), intent(inout) :: work
    integer, intent(in) :: block
    logical, intent(in) :: last
    integer, intent(out) :: status
    integer :: kproma, n
    integer(int64) :: beside, in_scheme, start
    real(wp) :: dt, old(this%grid%nproma, n_budget)

    dt = this%clock%timestep
    kproma = this%grid%kproma(block)
    associate (grid => this%grid, nproma => this%grid%nproma, nlev => this%grid%nlev, &
      air => work%air, x => this%state(:, :, :, block), entry => this%ledger%entry(:, :, :, block))
      start = now()
      call weather(grid, this%surface, this%clock, this%settings%warming, block, air)
      work%tendency = 0.0_wp
      call lap(in_weather)
      if (this%settings%transport) then
        old = this%ledger%burden(:, :, block)
        call weigh(this, work, block)
        entry(:kproma, :, transport_process) = entry(:kproma, :, transport_process) &
          + (this%ledger%burden(:kproma, :, block) - old(:kproma, :))
        call lap(in_transport)
      end if
      call emit(grid, this%sources, this%clock, air, block, &
        this%settings%emission_scale, work%tendency, work%emitted, entry(:, :, emission))
      call lap(in_emissions)
      call mix(kproma, nproma, nlev, dt, air, x, work%tendency, entry(:, :, mixing))
      call convect(kproma, nproma, nlev, dt, air, x, work%tendency, entry(:, :, convection), &
        entry(:, :, wet_deposition))
      call lap(in_mixing)
      call react(kproma, nproma, nlev, dt, air, x, work%tendency, entry(:, :, chemistry))
      call lap(in_chemistry)
      in_scheme = 0
      beside = 0
      call call_microphysics(this%slot, kproma, nproma, nlev, dt, air, x, work%tendency, &
        work%aerosol, entry(:, :, microphysics_process), &
        this%squares(:, :, min(block, size(this%squares, 3))), this%recorder, block, &
        grid%column(block, 1), this%clock%step + 1, work%tally, work%histogram, in_scheme, &
        beside, status)
      if (status /= 0) return
      work%ticks(in_microphysics) = work%ticks(in_microphysics) + in_scheme
      work%ticks(in_shadow) = work%ticks(in_shadow) + beside
      work%ticks(in_wrapper) = work%ticks(in_wrapper) - in_scheme - beside
      call lap(in_wrapper)
      call settle(kproma, nproma, nlev, dt, air, work%aerosol%wet_radius, work%aerosol%density, x, &
        work%tendency, entry(:, :, sedimentation))
      call deposit(kproma, nproma, nlev, dt, this%surface%land(:, block), air, x, work%tendency, &
        entry(:, :, dry_deposition))
      call scavenge(kproma, nproma, nlev, dt, air, x, work%tendency, entry(:, :, wet_deposition))
      call lap(in_removal)

      do n = 1, n_tracer
        call advance(kproma, nproma, nlev, dt, x(:, :, n), work%tendency(:, :, n), work%values)
        work%amount = 0.0_wp
        call borrow(kproma, nproma, nlev, air%air_mass, x(:, :, n), work%values, work%amount, &
          this%ledger%negatives(block))
        call enter(kproma, nproma, n, work%amount, entry(:, :, borrowing))
        x(:kproma, :, n) = work%values(:kproma, :)
      end do
      call weigh(this, work, block)
      call lap(in_update)
      call this%output%sample(last, block, kproma, nproma, nlev, dt, air, work%aerosol, x, &
        work%emitted, this%maps(:, :, block), work%values)
      call lap(in_output)
    end associate

  contains

    subroutine lap(component)
      integer, intent(in) :: component

      work%ticks(component) = work%ticks(component) + interval(start)
      start = now()
    end subroutine lap
  end subroutine step_block

  subroutine weigh(this, work, block)
    !! Burdens of a block.
    type(model_type), intent(inout) :: this
    type(work_type), intent(inout) :: work
    integer, intent(in) :: block
    integer :: n

    this%ledger%burden(:, :, block) = 0.0_wp
    do n = 1, n_tracer
      if (tracer_budget(n) == 0) cycle
      call column_sum(this%grid%kproma(block), this%grid%nproma, this%grid%nlev, &
        work%air%air_mass, this%state(:, :, n, block), work%amount)
      call enter(this%grid%kproma(block), this%grid%nproma, n, work%amount, &
        this%ledger%burden(:, :, block))
    end do
  end subroutine weigh

  pure function ticks(this)
    !! Time spent in each component, over all threads
    class(model_type), intent(in) :: this
    integer(int64) :: ticks(n_component)
    integer :: t

    ticks = 0
    do t = 0, this%threads - 1
      ticks = ticks + this%work(t)%ticks
    end do
    ticks(in_output) = ticks(in_output) + this%output_ticks
  end function ticks

  subroutine close_model(this, seconds, exchanged, status, message)
    !! Finish the files.
    class(model_type), intent(inout) :: this
    real(wp), intent(in) :: seconds(n_component), exchanged
    !! Of all ranks [s], bytes
    integer, intent(out) :: status
    character(:), allocatable, intent(out) :: message

    call this%recorder%close(status, message)
    call agree(this%grid%parallel, status, message)
    if (status == 0) then
      call this%output%close(seconds, exchanged, status, message)
      call agree(this%grid%parallel, status, message)
    else
      call this%discard()
    end if
  end subroutine close_model

  subroutine discard(this)
    !! Give up without leaving half-written files.
    class(model_type), intent(inout) :: this

    call this%output%discard()
    call this%recorder%discard()
  end subroutine discard

  pure function summary(settings) result(text)
    !! Settings that shape the result, for the output's attributes
    type(settings_type), intent(in) :: settings
    character(:), allocatable :: text
    character(256) :: line

    write (line, '(3a, i0, 3a, g0.6, 3(a, i0), 2(a, g0.6))') 'microphysics ', &
      trim(settings%slot%microphysics), ', substeps ', settings%slot%substeps, ', profile ', &
      trim(settings%slot%profile), ', timestep ', settings%timestep, ' s, grid ', settings%nlon, &
      ' x ', settings%nlat, ' x ', settings%nlev, ', warming ', settings%warming, &
      ' K, emission scale ', settings%emission_scale
    text = trim(line)
  end function summary
end module host_model
