module mo_ham_m7emu
  !! The emulator under the argument lists of HAM's own M7 (section 5 of the physics contract): a
  !! call site changes by one `use` line, for instance
  !!
  !!     use mo_ham_m7emu, only: m7 => m7_ham2
  !!
  !! and the host's set-up by one call of `m7emu_setup`. HAM's lists have no handle and no status:
  !! the emulator, the timestep, the worst status and its text are module variables, set up once by
  !! one thread, and each list has a status as an optional last argument.
  use, intrinsic :: iso_fortran_env, only: int32, int64, dp => real64
  use m7emu, only: flag_invalid, flag_outside, m7emu_type
  use microphysics, only: naermod => n_mass, nmod => n_mode, nsol => n_soluble
  implicit none (type, external)
  private
  public :: m7emu_setup, m7emu_shutdown, m7emu_text, set_timestep
  public :: m7_echam5, m7_ham2, m7_messy, m7_tm5
  public :: invalid_cells, negative_amounts, outside_cells, worst_status

  type(m7emu_type) :: emulator
  real(dp) :: timestep = 0.0_dp
  !! Of the lists that have none [s]
  integer(int32), protected :: worst_status = 0_int32
  !! Largest status of all calls since the set-up: for hosts that cannot look at each
  integer(int64), protected :: invalid_cells = 0_int64, outside_cells = 0_int64
  integer(int64), protected :: negative_amounts = 0_int64
  !! Since the set-up, while all was well with the calls: cells left unchanged as an input was not
  !! finite or out of range, cells far from what the model was trained on, and amounts below 0 that
  !! were taken as 0
  character(:), allocatable :: worst_text
  !! What the library told the thread that had it

contains

  subroutine m7emu_setup(path, status, time_step_len, device, engine)
    !! Open a model file; call once, before any of the lists.
    character(*), intent(in) :: path
    integer(int32), intent(out) :: status
    !! 0 when all is well; `m7emu_text` tells what is not
    real(dp), intent(in), optional :: time_step_len
    !! See `set_timestep` [s]
    character(*), intent(in), optional :: device, engine
    !! As m7emu_type%load has them

    worst_status = 0_int32
    worst_text = ''
    invalid_cells = 0_int64
    outside_cells = 0_int64
    negative_amounts = 0_int64
    if (present(time_step_len)) timestep = time_step_len
    call emulator%load(path, status, device, engine)
  end subroutine m7emu_setup

  subroutine set_timestep(time_step_len)
    !! What ECHAM's lists take from its time module: again whenever that changes, as after the first
    !! step of a leap-frog.
    real(dp), intent(in) :: time_step_len
    !! [s]

    timestep = time_step_len
  end subroutine set_timestep

  subroutine m7emu_shutdown()
    !! Release the model.

    call emulator%close()
  end subroutine m7emu_shutdown

  function m7emu_text() result(text)
    !! What `worst_status` means, whichever thread had it; while that is 0, text of the calling
    !! thread's last error, as after a set-up.
    character(:), allocatable :: text

    !$omp critical (m7emu_worst)
    if (worst_status /= 0_int32) then
      text = worst_text
    else
      text = emulator%message()
    end if
    !$omp end critical (m7emu_worst)
  end function m7emu_text

  subroutine m7_echam5(kproma, kbdim, klev, papp1, prelhum, ptp1, pso4g, paerml, paernl, pm6rp, &
    pm6dry, prhop, pww, status)
    !! The list of ECHAM5-HAM1 (section 5.1), which has no timestep: see `set_timestep`.
    integer, intent(in) :: kproma, kbdim, klev
    !! Columns in use, leading dimension, levels
    real(dp), intent(in) :: papp1(kbdim, klev), ptp1(kbdim, klev)
    !! Pressure [Pa], temperature [K]
    real(dp), intent(in) :: prelhum(kbdim, klev)
    !! Relative humidity over liquid water, of the clear part [1]
    real(dp), intent(inout) :: pso4g(kbdim, klev)
    !! H2SO4 with what the timestep has produced [molecules cm-3]
    real(dp), intent(inout) :: paerml(kbdim, klev, naermod), paernl(kbdim, klev, nmod)
    !! Masses [molecules cm-3, ug m-3], numbers [cm-3]
    real(dp), intent(inout) :: pm6rp(kbdim, klev, nmod), pm6dry(kbdim, klev, nsol)
    !! Ambient and dry count median radii [cm]
    real(dp), intent(inout) :: prhop(kbdim, klev, nmod), pww(kbdim, klev, nmod)
    !! Ambient densities [g cm-3], water [kg m-3]
    integer(int32), intent(out), optional :: status
    !! 0 when all is well; otherwise nothing was written. Absent: see `worst_status`
    real(dp) :: none(kbdim, klev)
    integer(int32) :: told
    integer(int32), dimension(kbdim, klev) :: flag, negatives

    none = 0.0_dp
    call emulator%advance(kproma, kbdim, klev, timestep, papp1, ptp1, prelhum, none, none, pso4g, &
      paerml, paernl, pm6rp, pm6dry, prhop, pww, told, flag=flag, negatives=negatives)
    call finish_block(told, kproma, kbdim, klev, flag, negatives, pww, status)
  end subroutine m7_echam5

  subroutine m7_messy(kproma, kbdim, klev, dt, papp1, prelhum, ptp1, pso4g, paerml, paernl, pm6rp, &
    pm6dry, prhop, pww, status)
    !! The same with the timestep fourth, as in MESSy.
    integer, intent(in) :: kproma, kbdim, klev
    !! Columns in use, leading dimension, levels
    real(dp), intent(in) :: dt
    !! Timestep [s]
    real(dp), intent(in) :: papp1(kbdim, klev), ptp1(kbdim, klev)
    !! Pressure [Pa], temperature [K]
    real(dp), intent(in) :: prelhum(kbdim, klev)
    !! Relative humidity over liquid water, of the clear part [1]
    real(dp), intent(inout) :: pso4g(kbdim, klev)
    !! H2SO4 with what the timestep has produced [molecules cm-3]
    real(dp), intent(inout) :: paerml(kbdim, klev, naermod), paernl(kbdim, klev, nmod)
    !! Masses [molecules cm-3, ug m-3], numbers [cm-3]
    real(dp), intent(inout) :: pm6rp(kbdim, klev, nmod), pm6dry(kbdim, klev, nsol)
    !! Ambient and dry count median radii [cm]
    real(dp), intent(inout) :: prhop(kbdim, klev, nmod), pww(kbdim, klev, nmod)
    !! Ambient densities [g cm-3], water [kg m-3]
    integer(int32), intent(out), optional :: status
    !! 0 when all is well; otherwise nothing was written. Absent: see `worst_status`
    real(dp) :: none(kbdim, klev)
    integer(int32) :: told
    integer(int32), dimension(kbdim, klev) :: flag, negatives

    none = 0.0_dp
    call emulator%advance(kproma, kbdim, klev, dt, papp1, ptp1, prelhum, none, none, pso4g, &
      paerml, paernl, pm6rp, pm6dry, prhop, pww, told, flag=flag, negatives=negatives)
    call finish_block(told, kproma, kbdim, klev, flag, negatives, pww, status)
  end subroutine m7_messy

  subroutine m7_tm5(kproma, kbdim, klev, papp1, prelhum, ptp1, pso4g, paerml, paernl, prhop, pww, &
    pm6rp, pm6dry, dt, status)
    !! The same with densities and water before the radii and the timestep last, as in TM5.
    integer, intent(in) :: kproma, kbdim, klev
    !! Columns in use, leading dimension, levels
    real(dp), intent(in) :: dt
    !! Timestep [s]
    real(dp), intent(in) :: papp1(kbdim, klev), ptp1(kbdim, klev)
    !! Pressure [Pa], temperature [K]
    real(dp), intent(in) :: prelhum(kbdim, klev)
    !! Relative humidity over liquid water, of the clear part [1]
    real(dp), intent(inout) :: pso4g(kbdim, klev)
    !! H2SO4 with what the timestep has produced [molecules cm-3]
    real(dp), intent(inout) :: paerml(kbdim, klev, naermod), paernl(kbdim, klev, nmod)
    !! Masses [molecules cm-3, ug m-3], numbers [cm-3]
    real(dp), intent(inout) :: pm6rp(kbdim, klev, nmod), pm6dry(kbdim, klev, nsol)
    !! Ambient and dry count median radii [cm]
    real(dp), intent(inout) :: prhop(kbdim, klev, nmod), pww(kbdim, klev, nmod)
    !! Ambient densities [g cm-3], water [kg m-3]
    integer(int32), intent(out), optional :: status
    !! 0 when all is well; otherwise nothing was written. Absent: see `worst_status`
    real(dp) :: none(kbdim, klev)
    integer(int32) :: told
    integer(int32), dimension(kbdim, klev) :: flag, negatives

    none = 0.0_dp
    call emulator%advance(kproma, kbdim, klev, dt, papp1, ptp1, prelhum, none, none, pso4g, &
      paerml, paernl, pm6rp, pm6dry, prhop, pww, told, flag=flag, negatives=negatives)
    call finish_block(told, kproma, kbdim, klev, flag, negatives, pww, status)
  end subroutine m7_tm5

  subroutine m7_ham2(kproma, kbdim, klev, krow, papp1, ptp1, prhp1, pso4g, pdso4g, paerml, paernl, &
    pm6rp, pm6dry, prhop, pww, pipr, paclc, ppbl, pforest, status)
    !! The list of HAM2 (section 5.2). Give the model a file of profile ham2.
    integer, intent(in) :: kproma, kbdim, klev, krow
    !! Columns in use, leading dimension, levels, number of the block
    real(dp), intent(in) :: papp1(kbdim, klev), ptp1(kbdim, klev)
    !! Pressure [Pa], temperature [K]
    real(dp), intent(in) :: prhp1(kbdim, klev)
    !! Relative humidity over liquid water, of the clear part [1]
    real(dp), intent(inout) :: pso4g(kbdim, klev)
    !! H2SO4 at the start of the timestep, before production [molecules cm-3]
    real(dp), intent(inout) :: paerml(kbdim, klev, naermod), paernl(kbdim, klev, nmod)
    !! Masses [molecules cm-3, ug m-3], numbers [cm-3]
    real(dp), intent(inout) :: pm6rp(kbdim, klev, nmod), pm6dry(kbdim, klev, nsol)
    !! Ambient and dry count median radii [cm]
    real(dp), intent(inout) :: prhop(kbdim, klev, nmod), pww(kbdim, klev, nmod)
    !! Ambient densities [g cm-3], water [kg m-3]
    real(dp), intent(in) :: pdso4g(kbdim, klev)
    !! Production of H2SO4 [molecules cm-3 s-1]
    real(dp), intent(in) :: pipr(kbdim, klev), paclc(kbdim, klev)
    !! Ion pair production [cm-3 s-1], cloud cover [1]
    real(dp), intent(in) :: ppbl(kbdim)
    !! Level of the boundary layer's top
    real(dp), intent(in), optional :: pforest(kbdim)
    !! Fraction of forest, for organic nucleation [1]
    integer(int32), intent(out), optional :: status
    !! 0 when all is well; otherwise nothing was written. Absent: see `worst_status`
    real(dp) :: forest(kbdim, klev), inside(kbdim, klev)
    integer :: i, level
    integer(int32) :: told
    integer(int32), dimension(kbdim, klev) :: flag, negatives

    forest = 0.0_dp
    inside = 0.0_dp
    if (present(pforest)) then
      do level = 1, klev
        do i = 1, min(kproma, kbdim) ! a kproma beyond is refused by the step
          forest(i, level) = pforest(i)
          inside(i, level) = merge(1.0_dp, 0.0_dp, level >= nint(ppbl(i)))
        end do
      end do
    end if
    associate (unused => krow)
    end associate
    call emulator%advance(kproma, kbdim, klev, timestep, papp1, ptp1, prhp1, paclc, pdso4g, pso4g, &
      paerml, paernl, pm6rp, pm6dry, prhop, pww, told, flag=flag, negatives=negatives, &
      ion_pair_production=pipr, forest_fraction=forest, boundary_layer=inside)
    call finish_block(told, kproma, kbdim, klev, flag, negatives, pww, status)
  end subroutine m7_ham2

  subroutine finish_block(told, kproma, kbdim, klev, flag, negatives, pww, status)
    !! Water of the insoluble modes is none; what the call told of itself and of its cells is kept.
    integer(int32), intent(in) :: told
    integer, intent(in) :: kproma, kbdim, klev
    integer(int32), intent(in) :: flag(kbdim, klev), negatives(kbdim, klev)
    real(dp), intent(inout) :: pww(kbdim, klev, nmod)
    integer(int32), intent(out), optional :: status
    integer(int64) :: found(3)

    if (told == 0_int32) then
      pww(:kproma, :, nsol + 1:) = 0.0_dp
      found = [count(flag(:kproma, :) == flag_invalid, kind=int64), &
        count(flag(:kproma, :) == flag_outside, kind=int64), &
        int(sum(negatives(:kproma, :)), int64)]
      if (any(found > 0_int64)) then
        !$omp critical (m7emu_worst)
        invalid_cells = invalid_cells + found(1)
        outside_cells = outside_cells + found(2)
        negative_amounts = negative_amounts + found(3)
        !$omp end critical (m7emu_worst)
      end if
    else
      !$omp critical (m7emu_worst)
      if (abs(told) > worst_status) then
        worst_status = abs(told)
        worst_text = emulator%message()
      end if
      !$omp end critical (m7emu_worst)
    end if
    if (present(status)) status = told
  end subroutine finish_block
end module mo_ham_m7emu
