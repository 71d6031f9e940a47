program test_host_transport
  !! Transport: air and tracers are conserved, a constant stays constant, nothing turns negative or
  !! goes beyond what there was, and a rotation converges as the grid gets finer.
  use, intrinsic :: iso_fortran_env, only: int64
  use host_calendar, only: clock_type
  use host_constants, only: degree, earth_radius, gravity, pi, wp
  use host_grid, only: grid_type, set_up_grid
  use host_parallel, only: parallel_type
  use host_surface, only: set_up_surface, surface_type
  use host_transport, only: set_up_transport, transport_type
  use host_winds, only: blow, set_up_winds, winds_type
  use test_support, only: tests_type
  implicit none (type, external)

  type(tests_type) :: tests

  call in_the_winds_of_the_host(9, 6, 11, 80)
  call in_the_winds_of_the_host(48, 24, 19, 200)
  call rotations()
  call tests%finish()

contains

  subroutine check(true, what, value)
    logical, intent(in) :: true
    character(*), intent(in) :: what
    real(wp), intent(in) :: value
    character(12) :: text

    write (text, '(es12.4)') value
    print '(3a)', what, ': ', text
    call tests%that(what // text, true)
  end subroutine check

  subroutine in_the_winds_of_the_host(nlon, nlat, nlev, day)
    !! Ten days over mountains: a constant, a plume, and a ratio that spans many magnitudes.
    integer, intent(in) :: nlon, nlat, nlev, day
    integer, parameter :: constant = 1, plume = 2, steep = 3, n = 3
    integer :: i, k, t
    integer(int64) :: exchange_ticks, ticks(0:0)
    real(wp) :: before(n), largest(n), lost, start(nlon, nlev, nlat)
    type(clock_type) :: clock
    type(grid_type) :: grid
    type(surface_type) :: surface
    type(transport_type) :: transport
    type(winds_type) :: winds

    call set_up_grid(grid, nlon, nlat, nlev, nlon, parallel_type())
    call set_up_surface(grid, surface)
    call set_up_winds(grid, surface%pressure, winds)
    call set_up_transport(grid, n, transport)
    clock = clock_type(start_day=day)
    call blow(grid, clock, winds)
    call check(divergence(grid, winds) < 1.0e-13_wp, 'air gathers in no cell', &
      divergence(grid, winds))

    associate (x => transport%ratio)
      x(:, :, :, constant) = 1.0_wp
      x(:, :, :, plume) = 0.0_wp
      x(nlon/2, nlev - 2:, nlat/3, plume) = 1.0_wp
      do i = 1, nlon
        do k = 1, nlev
          x(i, k, :, steep) = 10.0_wp**(-modulo(7*i + 5*k, 31))
        end do
      end do
      start = x(:, :, 1:nlat, steep)
      do t = 1, n
        before(t) = amount(grid, winds, transport, t)
        largest(t) = maxval(x(:, :, 1:nlat, t))
      end do
      do t = 1, 480
        call blow(grid, clock, winds)
        call transport%advect(grid, winds, clock%timestep, clock%step, 1, ticks, exchange_ticks)
        clock%step = clock%step + 1
      end do
      call check(maxval(abs(x(:, :, 1:nlat, constant) - 1.0_wp)) < 1.0e-12_wp, &
        'a constant stays constant', maxval(abs(x(:, :, 1:nlat, constant) - 1.0_wp)))
      do t = plume, steep
        lost = amount(grid, winds, transport, t)/before(t) - 1.0_wp
        call check(abs(lost) < 1.0e-13_wp, 'mass is conserved', lost)
        call check(minval(x(:, :, 1:nlat, t)) >= 0.0_wp, 'nothing is negative', &
          minval(x(:, :, 1:nlat, t)))
        call check(maxval(x(:, :, 1:nlat, t)) <= largest(t)*(1.0_wp + 1.0e-12_wp), &
          'no new extremes', maxval(x(:, :, 1:nlat, t)))
      end do
      call check(maxval(abs(x(:, :, 1:nlat, steep) - start)) > 0.1_wp, 'something moved', &
        maxval(abs(x(:, :, 1:nlat, steep) - start)))
    end associate
  end subroutine in_the_winds_of_the_host

  pure real(wp) function amount(grid, winds, transport, tracer)
    !! Of a tracer on the globe
    type(grid_type), intent(in) :: grid
    type(winds_type), intent(in) :: winds
    type(transport_type), intent(in) :: transport
    integer, intent(in) :: tracer

    amount = sum(winds%mass(:, :, 1:grid%nlat)*transport%ratio(:, :, 1:grid%nlat, tracer))
  end function amount

  pure real(wp) function divergence(grid, winds)
    !! Of a cell, relative to what flows through it
    type(grid_type), intent(in) :: grid
    type(winds_type), intent(in) :: winds
    integer :: i, k, r, west
    real(wp) :: flows(6), most

    most = 0.0_wp
    do r = 1, grid%rows
      do k = 1, grid%nlev
        do i = 1, grid%nlon
          west = modulo(i - 2, grid%nlon) + 1
          flows = [winds%east(i, k, r), -winds%east(west, k, r), winds%south(i, k, r), &
            -winds%south(i, k, r - 1), winds%down(i, k, r), -winds%down(i, k - 1, r)]
          most = max(most, abs(sum(flows))/max(sum(abs(flows)), tiny(1.0_wp)))
        end do
      end do
    end do
    divergence = most
  end function divergence

  subroutine rotations()
    !! A cosine bell once around the Earth (Williamson et al. 1992, case 1), along the equator, over
    !! the poles and between.
    real(wp), parameter :: tilt(3) = [0.0_wp, 45.0_wp, 90.0_wp]
    integer :: k, n
    real(wp) :: error(3)

    do k = 1, size(tilt)
      do n = 1, size(error)
        error(n) = rotation_error(24*2**(n - 1), tilt(k)*degree)
        call check(error(n) < 1.0_wp, 'error of a rotation', error(n))
      end do
      call check(error(2) < 0.75_wp*error(1), 'converges', error(1)/error(2))
      call check(error(3) < 0.5_wp*error(2), 'converges faster', error(2)/error(3))
    end do
  end subroutine rotations

  real(wp) function rotation_error(nlon, tilt)
    !! Of the bell after twelve days, relative to itself, in the mean square over the sphere
    integer, intent(in) :: nlon
    real(wp), intent(in) :: tilt
    integer, parameter :: nlev = 4
    real(wp), parameter :: period = 12.0_wp*86400.0_wp
    integer :: i, j, k, steps, t
    integer(int64) :: exchange_ticks, ticks(0:0)
    real(wp) :: depth, east, north, south, whole, wrong
    real(wp), allocatable :: bell(:, :), pressure(:, :), stream(:, :)
    type(grid_type) :: grid
    type(transport_type) :: transport
    type(winds_type) :: winds

    call set_up_grid(grid, nlon, nlon/2, nlev, nlon, parallel_type())
    allocate (pressure(nlon, nlon/2), source=1.0e5_wp)
    call set_up_winds(grid, pressure, winds)
    call set_up_transport(grid, 1, transport)
    allocate (stream(nlon, 0:grid%nlat), bell(nlon, grid%nlat))
    do j = 0, grid%nlat
      north = 0.5_wp*pi - pi*j/grid%nlat
      do i = 1, nlon
        east = 2.0_wp*pi*(i - 0.5_wp)/nlon
        stream(i, j) = -2.0_wp*pi*earth_radius**2/period &
          *(sin(north)*cos(tilt) - cos(east)*cos(north)*sin(tilt))
      end do
    end do
    stream(:, 0) = sum(stream(:, 0))/nlon
    stream(:, grid%nlat) = sum(stream(:, grid%nlat))/nlon
    do k = 1, nlev
      depth = (grid%hyai(k + 1) - grid%hyai(k) + 1.0e5_wp*(grid%hybi(k + 1) - grid%hybi(k)))/gravity
      do j = 1, grid%nlat
        winds%east(:, k, j) = depth*(stream(:, j) - stream(:, j - 1))
        winds%south(:, k, j) = depth*(cshift(stream(:, j), -1) - stream(:, j))
      end do
    end do
    do j = 1, grid%nlat
      do i = 1, nlon
        south = acos(sin(0.0_wp)*sin(grid%latitude(j)*degree) + cos(grid%latitude(j)*degree) &
          *cos(degree*grid%longitude(i) - 1.5_wp*pi))
        bell(i, j) = merge(0.5_wp*(1.0_wp + cos(2.0_wp*pi*south)), 0.0_wp, south < 0.5_wp)
      end do
    end do
    do k = 1, nlev
      transport%ratio(:, k, 1:grid%nlat, 1) = bell
    end do
    steps = 4*nlon
    do t = 1, steps
      call transport%advect(grid, winds, period/steps, t, 1, ticks, exchange_ticks)
    end do
    wrong = 0.0_wp
    whole = 0.0_wp
    do j = 1, grid%nlat
      wrong = wrong + grid%row_weight(j)*sum((transport%ratio(:, 2, j, 1) - bell(:, j))**2)
      whole = whole + grid%row_weight(j)*sum(bell(:, j)**2)
    end do
    rotation_error = sqrt(wrong/whole)
  end function rotation_error
end program test_host_transport
