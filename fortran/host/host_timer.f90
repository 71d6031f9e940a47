module host_timer
  !! Seconds spent in each component, summed over threads.
  use, intrinsic :: iso_fortran_env, only: int64
  use host_constants, only: wp
  implicit none (type, external)
  private
  public :: interval, now, seconds

  integer, parameter, public :: n_component = 12
  integer, parameter, public :: in_weather = 1, in_emissions = 2, in_mixing = 3, in_chemistry = 4
  integer, parameter, public :: in_wrapper = 5, in_microphysics = 6, in_removal = 7
  integer, parameter, public :: in_update = 8, in_output = 9, in_shadow = 10
  integer, parameter, public :: in_transport = 11, in_exchange = 12
  character(12), parameter, public :: component_name(n_component) = [character(12) :: &
    'meteorology', 'emissions', 'mixing', 'chemistry', 'wrapper', 'microphysics', 'removal', &
    'update', 'output', 'shadow', 'transport', 'exchange']

contains

  integer(int64) function now()
    !! Ticks of the clock
    call system_clock(now)
  end function now

  integer(int64) function interval(start)
    !! Ticks since `start`
    integer(int64), intent(in) :: start

    interval = now() - start
  end function interval

  real(wp) function seconds(ticks)
    integer(int64), intent(in) :: ticks
    integer(int64) :: rate

    call system_clock(count_rate=rate)
    seconds = real(ticks, wp)/real(rate, wp)
  end function seconds
end module host_timer
