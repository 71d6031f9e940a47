module host_ledger
  !! What each process did to each budget in each column, from its own fluxes, so that the change of
  !! the burdens can be held against their sum.
  use host_constants, only: wp
  use host_grid, only: grid_type
  use host_tracers, only: budget_share, n_budget, n_tracer, tracer_budget
  implicit none (type, external)
  private
  public :: ledger_type, set_up_ledger
  public :: column_sum, enter

  integer, parameter, public :: n_process = 10
  integer, parameter, public :: transport = 1, emission = 2, mixing = 3, convection = 4
  integer, parameter, public :: chemistry = 5, microphysics_process = 6, sedimentation = 7
  integer, parameter, public :: dry_deposition = 8, wet_deposition = 9, borrowing = 10
  !! Transport, mixing, convection, chemistry and microphysics only move matter: their entries over
  !! the globe are what they lose by it
  character(15), parameter, public :: process_name(n_process) = [character(15) :: 'transport', &
    'emission', 'mixing', 'convection', 'chemistry', 'microphysics', 'sedimentation', &
    'dry_deposition', 'wet_deposition', 'borrowing']

  type :: ledger_type
    real(wp), allocatable :: entry(:, :, :, :)
    !! Since the start; losses negative [kg m-2] (nproma, n_budget, n_process, nblocks)
    real(wp), allocatable :: start(:, :, :), burden(:, :, :)
    !! Burden at the start and now [kg m-2] (nproma, n_budget, nblocks)
    integer, allocatable :: negatives(:)
    !! Values below zero that a process left, beyond rounding (nblocks)
  contains
    procedure :: totals
    procedure :: closure
  end type ledger_type

contains

  pure subroutine set_up_ledger(grid, ledger)
    type(grid_type), intent(in) :: grid
    type(ledger_type), intent(out) :: ledger

    allocate (ledger%entry(grid%nproma, n_budget, n_process, grid%nblocks), source=0.0_wp)
    allocate (ledger%start(grid%nproma, n_budget, grid%nblocks), source=0.0_wp)
    allocate (ledger%burden(grid%nproma, n_budget, grid%nblocks), source=0.0_wp)
    allocate (ledger%negatives(grid%nblocks), source=0)
  end subroutine set_up_ledger

  pure subroutine enter(kproma, kbdim, tracer, amount, entry)
    !! Add an amount of a tracer to its budget; numbers have none.
    integer, intent(in) :: kproma, kbdim, tracer
    real(wp), intent(in) :: amount(kbdim)
    !! [kg m-2] of the tracer
    real(wp), intent(inout) :: entry(kbdim, n_budget)
    integer :: i, budget

    budget = tracer_budget(tracer)
    if (budget == 0) return
    do i = 1, kproma
      entry(i, budget) = entry(i, budget) + budget_share(tracer)*amount(i)
    end do
  end subroutine enter

  pure subroutine column_sum(kproma, kbdim, klev, air_mass, field, amount)
    !! Column integral of a mixing ratio.
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: air_mass(kbdim, klev), field(kbdim, klev)
    !! [kg m-2]
    real(wp), intent(inout) :: amount(kbdim)
    integer :: i, k

    amount(:kproma) = 0.0_wp
    do k = 1, klev
      do i = 1, kproma
        amount(i) = amount(i) + air_mass(i, k)*field(i, k)
      end do
    end do
  end subroutine column_sum

  function totals(this, grid)
    !! Global means of all entries [kg m-2] (n_budget, n_process)
    class(ledger_type), intent(in) :: this
    type(grid_type), intent(in) :: grid
    real(wp) :: totals(n_budget, n_process)

    totals = reshape(grid%global_means(reshape(this%entry, &
      [grid%nproma, n_budget*n_process, grid%nblocks])), [n_budget, n_process])
  end function totals

  function closure(this, grid)
    !! Change of each burden not accounted for by sources and sinks, over the larger of what came
    !! in and what there is [1] (n_budget)
    class(ledger_type), intent(in) :: this
    type(grid_type), intent(in) :: grid
    integer, parameter :: external(*) = &
      [emission, sedimentation, dry_deposition, wet_deposition, borrowing]
    integer :: k
    real(wp) :: change(n_budget), closure(n_budget), flow(n_budget, n_process), scale(n_budget)

    flow = this%totals(grid)
    scale = grid%global_means(this%burden)
    change = scale - grid%global_means(this%start)
    scale = max(scale, tiny(1.0_wp))
    do k = 1, size(external)
      change = change - flow(:, external(k))
      scale = max(scale, abs(flow(:, external(k))))
    end do
    closure = abs(change)/scale
  end function closure
end module host_ledger
