program gpu_reference
  !! Speed of M7 itself (profile ham2) on one core, for gpu.sh: steps blocks of 64 of the cells that
  !! gpu.cpp has for as many seconds as the argument says, and prints cells per second.
  use, intrinsic :: iso_c_binding, only: c_double, c_int
  use, intrinsic :: iso_fortran_env, only: int64
  use m7_config, only: m7_config_type
  use m7_kinds, only: wp
  use m7_step, only: m7_ok, step
  implicit none (type, external)
  integer, parameter :: block = 64, blocks = 64
  type(m7_config_type) :: config
  real(c_double) :: cells(block, 34, blocks), now(block, 34)
  real(wp) :: wet_radius(block, 1, 7), dry_radius(block, 1, 4), density(block, 1, 7)
  real(wp) :: water(block, 1, 4)
  integer(int64) :: began, ended, rate, taken, done
  integer :: i, status
  character(32) :: argument
  real :: seconds

  interface
    subroutine fill_cells(first, count, cells) bind(C)
      !! Fields of cells of the endless sample of tests/abi/cells.h
      import :: c_double, c_int
      implicit none (type, external)
      integer(c_int), value :: first, count
      real(c_double), intent(out) :: cells(count, 34)
    end subroutine fill_cells
  end interface

  call get_command_argument(1, argument)
  read (argument, *) seconds
  do i = 1, blocks
    call fill_cells(int((i - 1) * block, c_int), int(block, c_int), cells(:, :, i))
  end do
  call system_clock(count_rate=rate)
  taken = 0
  done = 0
  do while (real(taken) < seconds * real(rate))
    do i = 1, blocks
      now = cells(:, :, i)
      call system_clock(began)
      call step(config, block, block, 1, 1800.0_wp, now(:, 1:1), now(:, 2:2), now(:, 3:3), &
        now(:, 4:4), now(:, 5:5), now(:, 9:9), now(:, 10:27), now(:, 28:34), wet_radius, &
        dry_radius, density, water, status)
      call system_clock(ended)
      if (status /= m7_ok) error stop 'M7 refused its input'
      taken = taken + ended - began
      done = done + block
    end do
  end do
  print '(es12.5)', real(done) / (real(taken) / real(rate))
end program gpu_reference
