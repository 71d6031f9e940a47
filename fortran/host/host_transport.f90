module host_transport
  !! Transport of all tracers by mass fluxes: finite volumes, van Leer's scheme with a monotone
  !! limiter, one direction after the other.
  !!
  !! Each sweep also carries the air, so that a mixing ratio is always tracer over the air that is
  !! in the cell at that moment: a constant one stays constant, and the air of a cell is back at its
  !! mass when all three directions are done (as in Russell and Lerner 1981; what Lin and Rood 1996
  !! reach with inner operators). East and west are divided into as many pieces as a row needs,
  !! which near the poles may be several; the whole is repeated where any cell would lose more than
  !! it has. Either depends on the winds alone, hence not on how the globe is divided.
  use, intrinsic :: iso_fortran_env, only: int64
!$ use omp_lib, only: omp_get_thread_num
  use host_constants, only: wp
  use host_grid, only: grid_type
  use host_parallel, only: exchange, largest
  use host_timer, only: interval, now
  use host_winds, only: halo, winds_type
  implicit none (type, external)
  private
  public :: transport_type, set_up_transport

  real(wp), parameter :: safe = 0.9_wp
  !! Share of a cell's air that may leave it in one go

  type :: transport_type
    real(wp), allocatable :: ratio(:, :, :, :)
    !! Mixing ratios (nlon, nlev, 1-halo:rows+halo, tracers)
    real(wp), allocatable :: to_north(:, :, :, :), to_south(:, :, :, :)
    real(wp), allocatable :: from_north(:, :, :, :), from_south(:, :, :, :)
    !! Rows for and from the neighbours (nlon, nlev, halo, tracers)
    real(wp), allocatable :: air(:, :, :, :)
    !! Before the first sweep and after each [kg] (nlon, nlev, 1-halo:rows+halo, 0:3)
    real(wp), allocatable :: inverse(:, :, :, :)
    !! Of `air` after each sweep [kg-1] (nlon, nlev, rows, 3)
    real(wp), allocatable :: east(:, :, :), south(:, :, :), down(:, :, :)
    !! Through faces in a sweep, or in a piece of it [kg]; as in `winds_type`
    real(wp), allocatable :: south_half(:, :, :), down_half(:, :, :)
    !! Half of the share of its air that stays in the upwind cell [1]; as in `winds_type`
    integer, allocatable :: pieces(:, :), place(:, :)
    !! Of a row's sweep along longitudes, and before them in the following (nlev, 1-halo:rows+halo)
    real(wp), allocatable :: piece_air(:, :), piece_inverse(:, :), piece_half(:, :)
    !! Air before each piece and inverse air after it [kg, kg-1], half as above
    !! (nlon, pieces of all rows)
    real(wp), allocatable :: above(:), below(:)
    !! Weights of differences in the slope over layers of unlike depth (nlev)
    integer :: repeats = 0
    !! Of the sweeps in the last step
    integer(int64) :: exchanged = 0
    !! Bytes sent by this rank, so far
  contains
    procedure :: load
    procedure :: unload
    procedure :: advect
  end type transport_type

contains

  pure subroutine set_up_transport(grid, tracers, transport)
    type(grid_type), intent(in) :: grid
    integer, intent(in) :: tracers
    type(transport_type), intent(out) :: transport
    integer :: k
    real(wp) :: depth(grid%nlev)

    associate (x => grid%nlon, z => grid%nlev, rows => grid%rows)
      allocate (transport%ratio(x, z, 1 - halo:rows + halo, tracers), source=0.0_wp)
      allocate (transport%to_north(x, z, halo, tracers), source=0.0_wp)
      transport%to_south = transport%to_north
      transport%from_north = transport%to_north
      transport%from_south = transport%to_north
      allocate (transport%air(x, z, 1 - halo:rows + halo, 0:3), source=1.0_wp)
      allocate (transport%east(x, z, 1 - halo:rows + halo), source=0.0_wp)
      allocate (transport%south(x, z, 0:rows), transport%south_half(x, z, 0:rows), source=0.0_wp)
      allocate (transport%down(x, 0:z, 1 - halo:rows + halo), source=0.0_wp)
      allocate (transport%down_half(x, 0:z, 1 - halo:rows + halo), source=0.0_wp)
      allocate (transport%pieces(z, 1 - halo:rows + halo), source=0)
      allocate (transport%place(z, 1 - halo:rows + halo), source=0)
      allocate (transport%inverse(x, z, rows, 3), source=0.0_wp)
      allocate (transport%piece_air(x, 0), transport%piece_inverse(x, 0), &
        transport%piece_half(x, 0))
    end associate

    ! Colella and Woodward 1984, equation 1.7. At top and bottom there is no slope.
    allocate (transport%above(grid%nlev), transport%below(grid%nlev), source=0.0_wp)
    depth = grid%hyai(2:) - grid%hyai(:grid%nlev) &
      + 1.0e5_wp*(grid%hybi(2:) - grid%hybi(:grid%nlev))
    do k = 2, grid%nlev - 1
      transport%above(k) = depth(k)/(depth(k - 1) + depth(k) + depth(k + 1)) &
        *(depth(k) + 2.0_wp*depth(k + 1))/(depth(k - 1) + depth(k))
      transport%below(k) = depth(k)/(depth(k - 1) + depth(k) + depth(k + 1)) &
        *(2.0_wp*depth(k - 1) + depth(k))/(depth(k + 1) + depth(k))
    end do
  end subroutine set_up_transport

  pure subroutine load(this, grid, tracer, state)
    !! From blocks to rows.
    class(transport_type), intent(inout) :: this
    type(grid_type), intent(in) :: grid
    integer, intent(in) :: tracer
    real(wp), intent(in) :: state(:, :, :, :)
    !! (nproma, nlev, tracers, nblocks)
    integer :: b, i, k, length, longitude, row

    do b = 1, grid%nblocks
      i = 1
      do while (i <= grid%kproma(b))
        call grid%runs(b, i, longitude, row, length)
        do k = 1, grid%nlev
          this%ratio(longitude:longitude + length - 1, k, row, tracer) = &
            state(i:i + length - 1, k, tracer, b)
        end do
        i = i + length
      end do
    end do
  end subroutine load

  pure subroutine unload(this, grid, tracer, state)
    !! From rows to blocks.
    class(transport_type), intent(in) :: this
    type(grid_type), intent(in) :: grid
    integer, intent(in) :: tracer
    real(wp), intent(inout) :: state(:, :, :, :)
    integer :: b, i, k, length, longitude, row

    do b = 1, grid%nblocks
      i = 1
      do while (i <= grid%kproma(b))
        call grid%runs(b, i, longitude, row, length)
        do k = 1, grid%nlev
          state(i:i + length - 1, k, tracer, b) = &
            this%ratio(longitude:longitude + length - 1, k, row, tracer)
        end do
        i = i + length
      end do
    end do
  end subroutine unload

  subroutine advect(this, grid, winds, timestep, step, threads, ticks, exchange_ticks)
    !! Carry `ratio` through a timestep. Of two steps one goes east, south, down, the other back.
    class(transport_type), intent(inout) :: this
    type(grid_type), intent(in) :: grid
    type(winds_type), intent(in) :: winds
    real(wp), intent(in) :: timestep
    !! [s]
    integer, intent(in) :: step, threads
    integer(int64), intent(inout) :: ticks(0:threads - 1), exchange_ticks
    !! Time of threads, and of the exchange with other ranks
    integer :: n, repeat, thread
    integer(int64) :: start
    logical :: east_first

    start = now()
    this%repeats = largest(grid%parallel, needed(grid, winds, timestep))
    ticks(0) = ticks(0) + interval(start)
    do repeat = 1, this%repeats
      start = now()
      east_first = modulo(step + repeat, 2) == 0
      call prepare(this, grid, winds, timestep/this%repeats, east_first)
      ticks(0) = ticks(0) + interval(start)
      thread = 0
      !$omp parallel do schedule(static) num_threads(threads) default(none) &
      !$omp shared(this, grid, east_first, ticks) private(thread, start)
      do n = 1, size(this%ratio, 4)
!$      thread = omp_get_thread_num()
        start = now()
        if (east_first) then
          call sweep_east(this, grid, n)
        else
          call sweep_down(this, grid, n, 1)
        end if
        this%to_north(:, :, :, n) = this%ratio(:, :, 1:halo, n)
        this%to_south(:, :, :, n) = this%ratio(:, :, grid%rows - halo + 1:grid%rows, n)
        ticks(thread) = ticks(thread) + interval(start)
      end do
      !$omp end parallel do
      start = now()
      call swap(this, grid)
      exchange_ticks = exchange_ticks + interval(start)
      !$omp parallel do schedule(static) num_threads(threads) default(none) &
      !$omp shared(this, grid, east_first, ticks) private(thread, start)
      do n = 1, size(this%ratio, 4)
!$      thread = omp_get_thread_num()
        start = now()
        call fill_halo(this, grid, n)
        call sweep_south(this, grid, n)
        if (east_first) then
          call sweep_down(this, grid, n, 3)
        else
          call sweep_east(this, grid, n)
        end if
        ticks(thread) = ticks(thread) + interval(start)
      end do
      !$omp end parallel do
    end do
  end subroutine advect

  subroutine swap(this, grid)
    !! One message to each neighbour.
    class(transport_type), intent(inout) :: this
    type(grid_type), intent(in) :: grid
    integer :: neighbours

    call flat(size(this%to_north), this%to_north, this%to_south, this%from_north, this%from_south)
    neighbours = count([grid%parallel%rank > 0, grid%parallel%rank < grid%parallel%ranks - 1])
    this%exchanged = this%exchanged + neighbours*storage_size(1.0_wp)/8*size(this%to_north)

  contains

    subroutine flat(n, to_north, to_south, from_north, from_south)
      integer, intent(in) :: n
      real(wp), intent(in) :: to_north(n), to_south(n)
      real(wp), intent(inout) :: from_north(n), from_south(n)

      call exchange(grid%parallel, to_north, to_south, from_north, from_south)
    end subroutine flat
  end subroutine swap

  pure subroutine fill_halo(this, grid, tracer)
    !! The neighbours' rows; beyond a pole, those of the other side of the globe.
    class(transport_type), intent(inout) :: this
    type(grid_type), intent(in) :: grid
    integer, intent(in) :: tracer
    integer :: r

    associate (ratio => this%ratio, rows => grid%rows)
      do r = 1, halo
        if (grid%parallel%rank > 0) then
          ratio(:, :, r - halo, tracer) = this%from_north(:, :, r, tracer)
        else
          ratio(:, :, 1 - r, tracer) = cshift(ratio(:, :, r, tracer), grid%nlon/2, 1)
        end if
        if (grid%parallel%rank < grid%parallel%ranks - 1) then
          ratio(:, :, rows + r, tracer) = this%from_south(:, :, r, tracer)
        else
          ratio(:, :, rows + r, tracer) = cshift(ratio(:, :, rows + 1 - r, tracer), grid%nlon/2, 1)
        end if
      end do
    end associate
  end subroutine fill_halo

  pure integer function needed(grid, winds, timestep)
    !! How often the sweeps must be repeated in a timestep, so that in neither order a cell gives
    !! away more than it has
    type(grid_type), intent(in) :: grid
    type(winds_type), intent(in) :: winds
    real(wp), intent(in) :: timestep
    !! [s]
    integer :: i, k, r, west
    real(wp) :: leaving, most

    most = 0.0_wp
    do r = 1, grid%rows
      do k = 1, grid%nlev
        do i = 1, grid%nlon
          west = merge(grid%nlon, i - 1, i == 1)
          leaving = abs(winds%east(i, k, r) - winds%east(west, k, r)) &
            + max(winds%south(i, k, r), 0.0_wp) - min(winds%south(i, k, r - 1), 0.0_wp) &
            + max(winds%down(i, k, r), 0.0_wp) - min(winds%down(i, k - 1, r), 0.0_wp)
          most = max(most, leaving/winds%mass(i, k, r))
        end do
      end do
    end do
    needed = max(ceiling(most*timestep/safe), 1)
  end function needed

  pure subroutine prepare(this, grid, winds, time, east_first)
    !! All that the sweeps of the tracers share: fluxes, the air before and after, what stays.
    class(transport_type), intent(inout) :: this
    type(grid_type), intent(in) :: grid
    type(winds_type), intent(in) :: winds
    real(wp), intent(in) :: time
    !! [s]
    logical, intent(in) :: east_first
    integer :: r

    this%air(:, :, :, 0) = winds%mass
    this%down = time*winds%down
    this%south = time*winds%south
    if (east_first) then
      call prepare_east(this, grid, winds, time, winds%first, winds%last, 1)
    else
      call prepare_down(this, grid, winds%first, winds%last, 1)
    end if
    do r = 1, grid%rows
      this%air(:, :, r, 2) = this%air(:, :, r, 1) + this%south(:, :, r - 1) - this%south(:, :, r)
    end do
    do r = 0, grid%rows
      this%south_half(:, :, r) = half(this%south(:, :, r), this%air(:, :, r, 1), &
        this%air(:, :, r + 1, 1))
    end do
    if (east_first) then
      call prepare_down(this, grid, 1, grid%rows, 3)
    else
      call prepare_east(this, grid, winds, time, 1, grid%rows, 3)
    end if
    this%inverse = 1.0_wp/this%air(:, :, 1:grid%rows, 1:)
  end subroutine prepare

  pure subroutine prepare_down(this, grid, first, last, sweep)
    class(transport_type), intent(inout) :: this
    type(grid_type), intent(in) :: grid
    integer, intent(in) :: first, last
    !! Rows
    integer, intent(in) :: sweep
    !! 1 to 3
    integer :: k, r

    do r = first, last
      do k = 1, grid%nlev
        this%air(:, k, r, sweep) = this%air(:, k, r, sweep - 1) + this%down(:, k - 1, r) &
          - this%down(:, k, r)
      end do
      do k = 1, grid%nlev - 1
        this%down_half(:, k, r) = half(this%down(:, k, r), this%air(:, k, r, sweep - 1), &
          this%air(:, k + 1, r, sweep - 1))
      end do
    end do
  end subroutine prepare_down

  pure subroutine prepare_east(this, grid, winds, time, first, last, sweep)
    class(transport_type), intent(inout) :: this
    type(grid_type), intent(in) :: grid
    type(winds_type), intent(in) :: winds
    real(wp), intent(in) :: time
    !! [s]
    integer, intent(in) :: first, last, sweep
    integer :: k, n, p, r, total
    real(wp) :: air(grid%nlon), east(grid%nlon), gain(grid%nlon), west(grid%nlon)

    total = 0
    do r = first, last
      do k = 1, grid%nlev
        east = time*winds%east(:, k, r)
        west = cshift(east, -1)
        air = this%air(:, k, r, sweep - 1)
        n = ceiling(maxval((max(east, 0.0_wp) - min(west, 0.0_wp))/min(air, air + west - east)) &
          /safe)
        this%pieces(k, r) = max(n, 1)
        this%place(k, r) = total
        this%east(:, k, r) = east/this%pieces(k, r)
        total = total + this%pieces(k, r)
      end do
    end do
    if (size(this%piece_air, 2) < total) then
      deallocate (this%piece_air, this%piece_inverse, this%piece_half)
      allocate (this%piece_air(grid%nlon, total + total/4))
      allocate (this%piece_inverse, this%piece_half, mold=this%piece_air)
    end if
    do r = first, last
      do k = 1, grid%nlev
        east = this%east(:, k, r)
        gain = cshift(east, -1) - east
        air = this%air(:, k, r, sweep - 1)
        do p = this%place(k, r) + 1, this%place(k, r) + this%pieces(k, r)
          this%piece_air(:, p) = air
          this%piece_half(:, p) = half(east, air, cshift(air, 1))
          air = air + gain
          this%piece_inverse(:, p) = 1.0_wp/air
        end do
        this%air(:, k, r, sweep) = air
      end do
    end do
  end subroutine prepare_east

  elemental real(wp) function half(flux, behind, ahead)
    !! Half of what stays of the upwind cell's air: where in it, from its middle, lies the mean of
    !! what leaves
    real(wp), intent(in) :: flux, behind, ahead
    !! Through the face, air on its two sides [kg]

    half = 0.5_wp - 0.5_wp*abs(flux)/merge(behind, ahead, flux >= 0.0_wp)
  end function half

  pure subroutine sweep_east(this, grid, tracer)
    class(transport_type), intent(inout) :: this
    type(grid_type), intent(in) :: grid
    integer, intent(in) :: tracer
    integer :: k, p, r

    do r = 1, grid%rows
      do k = 1, grid%nlev
        do p = this%place(k, r) + 1, this%place(k, r) + this%pieces(k, r)
          call sweep_circle(grid%nlon, this%east(:, k, r), this%piece_half(:, p), &
            this%piece_air(:, p), this%piece_inverse(:, p), this%ratio(:, k, r, tracer))
        end do
      end do
    end do
  end subroutine sweep_east

  pure subroutine sweep_south(this, grid, tracer)
    class(transport_type), intent(inout) :: this
    type(grid_type), intent(in) :: grid
    integer, intent(in) :: tracer
    real(wp) :: even(1 - halo:grid%rows + halo)

    even = 0.5_wp
    call sweep_line(grid%nlon*grid%nlev, 1, grid%rows, halo, even, even, this%south, &
      this%south_half, this%air(:, :, 1:grid%rows, 1), this%inverse(:, :, :, 2), &
      this%ratio(:, :, :, tracer))
  end subroutine sweep_south

  pure subroutine sweep_down(this, grid, tracer, sweep)
    class(transport_type), intent(inout) :: this
    type(grid_type), intent(in) :: grid
    integer, intent(in) :: tracer, sweep
    integer :: r

    do r = 1, grid%rows
      call sweep_line(grid%nlon, 1, grid%nlev, 0, this%above, this%below, this%down(:, :, r), &
        this%down_half(:, :, r), this%air(:, :, r, sweep - 1), this%inverse(:, :, r, sweep), &
        this%ratio(:, :, r, tracer))
    end do
  end subroutine sweep_down

  pure subroutine sweep_circle(n, flux, half, air, inverse, ratio)
    !! Along a closed row.
    integer, intent(in) :: n
    real(wp), intent(in) :: flux(n), half(n), air(n), inverse(n)
    real(wp), intent(inout) :: ratio(n)
    integer :: east, i, west
    real(wp) :: moved(0:n), slope(n)

    do i = 2, n - 1
      slope(i) = limited(ratio(i) - ratio(i - 1), ratio(i + 1) - ratio(i), 0.5_wp, 0.5_wp)
    end do
    do i = 1, n, max(n - 1, 1)
      west = merge(n, i - 1, i == 1)
      east = merge(1, i + 1, i == n)
      slope(i) = limited(ratio(i) - ratio(west), ratio(east) - ratio(i), 0.5_wp, 0.5_wp)
    end do
    do i = 1, n - 1
      moved(i) = flux(i)*merge(ratio(i) + half(i)*slope(i), ratio(i + 1) - half(i)*slope(i + 1), &
        flux(i) >= 0.0_wp)
    end do
    moved(n) = flux(n)*merge(ratio(n) + half(n)*slope(n), ratio(1) - half(n)*slope(1), &
      flux(n) >= 0.0_wp)
    moved(0) = moved(n)
    do i = 1, n
      ratio(i) = (ratio(i)*air(i) + moved(i - 1) - moved(i))*inverse(i)
    end do
  end subroutine sweep_circle

  pure subroutine sweep_line(n, first, last, beyond, above, below, flux, half, air, inverse, ratio)
    !! Along the second index, for n lines at once. Rows beyond the ends lend their values; where
    !! there are none, nothing flows.
    integer, intent(in) :: n, first, last, beyond
    real(wp), intent(in) :: above(first - beyond:last + beyond), below(first - beyond:last + beyond)
    real(wp), intent(in) :: flux(n, first - 1:last), half(n, first - 1:last)
    real(wp), intent(in) :: air(n, first:last), inverse(n, first:last)
    real(wp), intent(inout) :: ratio(n, first - beyond:last + beyond)
    integer :: i, here, k, there
    real(wp) :: moved(n, 0:1), slope(n, 0:1)

    ! Slope of a row and flux through its lower face take turns in two columns each.
    there = modulo(first - 1, 2)
    call set_slope(first - 1, slope(:, there))
    do k = first - 1, last
      here = modulo(k, 2)
      there = 1 - here
      call set_slope(k + 1, slope(:, there))
      if (k < first .and. beyond == 0) then
        moved(:, here) = 0.0_wp
        cycle
      else if (k == last .and. beyond == 0) then
        moved(:, here) = 0.0_wp
      else
        do i = 1, n
          moved(i, here) = flux(i, k)*merge(ratio(i, k) + half(i, k)*slope(i, here), &
            ratio(i, k + 1) - half(i, k)*slope(i, there), flux(i, k) >= 0.0_wp)
        end do
      end if
      if (k < first) cycle
      do i = 1, n
        ratio(i, k) = (ratio(i, k)*air(i, k) + moved(i, there) - moved(i, here))*inverse(i, k)
      end do
    end do

  contains

    pure subroutine set_slope(row, slope)
      integer, intent(in) :: row
      real(wp), intent(inout) :: slope(n)
      integer :: j

      if (row - 1 < first - beyond .or. row + 1 > last + beyond) then
        slope = 0.0_wp
        return
      end if
      do j = 1, n
        slope(j) = limited(ratio(j, row) - ratio(j, row - 1), ratio(j, row + 1) - ratio(j, row), &
          above(row), below(row))
      end do
    end subroutine set_slope
  end subroutine sweep_line

  elemental real(wp) function limited(before, after, above, below)
    !! Change of a mixing ratio across a cell, such that no face goes beyond the neighbours (van
    !! Leer 1977, equation 66)
    real(wp), intent(in) :: before, after, above, below
    !! Differences from the neighbours, and their weights
    real(wp) :: middle

    middle = above*before + below*after
    limited = merge(sign(min(abs(middle), 2.0_wp*abs(before), 2.0_wp*abs(after)), middle), 0.0_wp, &
      before*after > 0.0_wp)
  end function limited
end module host_transport
