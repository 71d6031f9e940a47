module m7_python
  !! The flat face of the reference that f90wrap wraps: one step of many cells, over threads.
  use, intrinsic :: iso_fortran_env, only: int64
  use m7_config, only: m7_config_type, set_profile
  use m7_kazil_lovejoy, only: load_table
  use m7_kinds, only: lanes, wp
  use m7_modes, only: mass_name, mode_name, n_mass, n_mode, n_prognostic, n_soluble
  use m7_split, only: n_split, split_name
  use m7_step, only: m7_ok, step_columns
  implicit none (type, external)
  private
  public :: benchmark, compiler, configure, describe, load_nucleation_table, run

  integer, parameter :: n_environment = 8, n_diagnostic = 2*n_mode + 2*n_soluble
  integer, parameter :: mass_at = 2, number_at = 2 + n_mass
  integer, parameter :: wet_at = 1, dry_at = 1 + n_mode, density_at = dry_at + n_soluble
  integer, parameter :: water_at = density_at + n_mode
  integer, parameter :: chunk = 16*lanes
  !! Cells that a thread takes at a time

contains

  subroutine describe(kind, index, name)
    !! Name of a mass (kind 1), a mode (2) or a split output (3); blank past the end.
    integer, intent(in) :: kind, index
    character(20), intent(out) :: name

    name = ''
    if (index < 1) return
    select case (kind)
    case (1)
      if (index <= n_mass) name = mass_name(index)
    case (2)
      if (index <= n_mode) name = mode_name(index)
    case (3)
      if (index <= n_split) name = split_name(index)
    case default
    end select
  end subroutine describe

  subroutine compiler(text)
    !! The compiler and the options that built this.
    use, intrinsic :: iso_fortran_env, only: compiler_options, compiler_version
    character(2000), intent(out) :: text

    text = compiler_version()//' '//compiler_options()
  end subroutine compiler

  subroutine configure(config, profile, thresholds, status)
    !! Set a configuration to a generation's defaults (see m7_config).
    type(m7_config_type), intent(inout) :: config
    integer, intent(in) :: profile, thresholds
    integer, intent(out) :: status

    call set_profile(config, profile, thresholds, status)
  end subroutine configure

  subroutine load_nucleation_table(config, path, status, message)
    !! Read the table of nucleation_kazil_lovejoy2007 (see m7_kazil_lovejoy).
    type(m7_config_type), intent(inout) :: config
    character(*), intent(in) :: path
    integer, intent(out) :: status
    character(512), intent(out) :: message
    character(:), allocatable :: text

    call load_table(path, config%table, status, text)
    message = text
  end subroutine load_nucleation_table

  subroutine run(config, ncell, nsplit, timestep, threads, environment, prognostic, diagnostic, &
    split, substeps, negatives, status)
    !! One step of many cells. On a status other than m7_ok some chunks may have been stepped: the
    !! caller checks its input first and keeps its own copy.
    type(m7_config_type), intent(in) :: config
    integer, intent(in) :: ncell
    integer, intent(in) :: nsplit
    !! n_split to have the split output, 0 for none
    real(wp), intent(in) :: timestep
    !! [s]
    integer, intent(in) :: threads
    !! OpenMP threads
    real(wp), intent(in) :: environment(ncell, 8)
    !! Pressure, temperature, relative humidity, cloud fraction, production, ion pair production,
    !! forest fraction, boundary layer
    real(wp), intent(inout) :: prognostic(ncell, 26)
    !! Gas, masses, numbers
    real(wp), intent(inout) :: diagnostic(ncell, 22)
    !! Wet radius (7), dry radius (4), density (7), water (4): overwritten
    real(wp), intent(inout) :: split(ncell, nsplit)
    integer, intent(inout) :: substeps(ncell), negatives(ncell)
    integer, intent(out) :: status
    integer :: first, status_here

    status = m7_ok
    !$omp parallel do num_threads(max(threads, 1)) schedule(dynamic) default(shared) &
    !$omp   private(first, status_here) reduction(max: status)
    do first = 1, ncell, chunk
      if (nsplit == n_split) then
        call step_columns(config, first, min(first + chunk - 1, ncell), ncell, 1, timestep, &
          environment(:, 1), environment(:, 2), environment(:, 3), environment(:, 4), &
          environment(:, 5), prognostic(:, 1), prognostic(:, mass_at:number_at - 1), &
          prognostic(:, number_at:), diagnostic(:, wet_at:dry_at - 1), &
          diagnostic(:, dry_at:density_at - 1), diagnostic(:, density_at:water_at - 1), &
          diagnostic(:, water_at:), status_here, environment(:, 6), environment(:, 7), &
          environment(:, 8), split, substeps=substeps, negatives=negatives)
      else
        call step_columns(config, first, min(first + chunk - 1, ncell), ncell, 1, timestep, &
          environment(:, 1), environment(:, 2), environment(:, 3), environment(:, 4), &
          environment(:, 5), prognostic(:, 1), prognostic(:, mass_at:number_at - 1), &
          prognostic(:, number_at:), diagnostic(:, wet_at:dry_at - 1), &
          diagnostic(:, dry_at:density_at - 1), diagnostic(:, density_at:water_at - 1), &
          diagnostic(:, water_at:), status_here, environment(:, 6), environment(:, 7), &
          environment(:, 8), substeps=substeps, negatives=negatives)
      end if
      status = max(status, status_here)
    end do
    !$omp end parallel do
  end subroutine run

  subroutine benchmark(config, ncell, kbdim, timestep, threads, environment, prognostic, seconds, &
    status)
    !! Time one step over all cells, in calls of kbdim columns as a host makes them; threads share
    !! the calls.
    type(m7_config_type), intent(in) :: config
    integer, intent(in) :: ncell, kbdim
    !! kbdim divides ncell
    real(wp), intent(in) :: timestep
    !! [s]
    integer, intent(in) :: threads
    !! OpenMP threads
    real(wp), intent(in) :: environment(ncell, 8), prognostic(ncell, 26)
    real(wp), intent(inout) :: seconds(1)
    !! Without the copying of the state [s]
    integer, intent(out) :: status
    integer :: block, status_here
    integer(int64) :: begin, end, rate
    real(wp), allocatable :: blocks(:, :, :), diagnostic(:, :), fields(:, :, :)

    status = m7_ok
    allocate (fields(kbdim, n_environment, ncell/kbdim), blocks(kbdim, n_prognostic, ncell/kbdim))
    do block = 1, ncell/kbdim
      fields(:, :, block) = environment((block - 1)*kbdim + 1:block*kbdim, :)
      blocks(:, :, block) = prognostic((block - 1)*kbdim + 1:block*kbdim, :)
    end do
    !$omp parallel num_threads(max(threads, 1)) default(shared) private(diagnostic, status_here)
    allocate (diagnostic(kbdim, n_diagnostic), source=0.0_wp)
    !$omp barrier
    !$omp single
    call system_clock(begin, rate)
    !$omp end single
    !$omp do schedule(static) reduction(max: status)
    do block = 1, ncell/kbdim
      associate (f => fields(:, :, block), x => blocks(:, :, block))
        call step_columns(config, 1, kbdim, kbdim, 1, timestep, f(:, 1), f(:, 2), f(:, 3), &
          f(:, 4), f(:, 5), x(:, 1), x(:, mass_at:number_at - 1), x(:, number_at:), &
          diagnostic(:, wet_at:dry_at - 1), diagnostic(:, dry_at:density_at - 1), &
          diagnostic(:, density_at:water_at - 1), diagnostic(:, water_at:), status_here, &
          f(:, 6), f(:, 7), f(:, 8))
      end associate
      status = max(status, status_here)
    end do
    !$omp end do
    !$omp single
    call system_clock(end)
    !$omp end single
    deallocate (diagnostic)
    !$omp end parallel
    seconds(1) = real(end - begin, wp)/real(rate, wp)
  end subroutine benchmark
end module m7_python
