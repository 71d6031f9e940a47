module host_constants
  !! The kind of every real of the host, and constants of nature.
  use, intrinsic :: iso_fortran_env, only: real64
  implicit none (type, external)
  private

  integer, parameter, public :: wp = real64
  real(wp), parameter, public :: pi = 3.14159265358979324_wp, degree = pi/180.0_wp
  real(wp), parameter, public :: gravity = 9.80665_wp
  !! [m s-2]
  real(wp), parameter, public :: earth_radius = 6.371e6_wp
  !! [m]
  real(wp), parameter, public :: gas_constant = 287.05_wp
  !! Of dry air [J kg-1 K-1]
  real(wp), parameter, public :: standard_pressure = 101325.0_wp
  !! [Pa]
  real(wp), parameter, public :: boltzmann = 1.380649e-23_wp
  !! [J K-1]
  real(wp), parameter, public :: avogadro = 6.02214e23_wp
  !! [mol-1]
  real(wp), parameter, public :: molar_s = 32.065_wp, molar_so2 = 64.0638_wp
  real(wp), parameter, public :: molar_so4 = 96.0631_wp, molar_h2so4 = 98.0734_wp
  real(wp), parameter, public :: molar_dms = 62.134_wp
  !! [g mol-1]
  real(wp), parameter, public :: day_length = 86400.0_wp, year_length = 365.0_wp*day_length
  !! [s]
end module host_constants
