! A host in sixty lines: compiled outside the build tree by
!   gfortran example.f90 $(pkg-config --cflags --libs m7emu)
! Interface modules come as source, since module files do not cross compilers.
include 'microphysics.f90'
include 'm7emu_abi.f90'
include 'm7emu.f90'

program example
  use, intrinsic :: iso_fortran_env, only: error_unit, int32, real64
  use m7emu, only: flag_fine, m7emu_type
  use microphysics, only: n_mass, n_mode, n_soluble
  implicit none (type, external)

  integer, parameter :: kproma = 10, kbdim = 16, klev = 2, so4_as = 3, as = 3
  real(real64), dimension(kbdim, klev) :: pressure, temperature, relative_humidity, cloud_fraction
  real(real64), dimension(kbdim, klev) :: h2so4_production, h2so4, uncertainty
  real(real64) :: mass(kbdim, klev, n_mass), number(kbdim, klev, n_mode)
  real(real64) :: wet_radius(kbdim, klev, n_mode), dry_radius(kbdim, klev, n_soluble)
  real(real64) :: density(kbdim, klev, n_mode), water(kbdim, klev, n_soluble)
  integer(int32) :: flag(kbdim, klev), status
  character(1000) :: path
  type(m7emu_type) :: emulator

  call get_command_argument(1, path)
  call emulator%load(trim(path), status)
  call check()

  pressure = 9.0e4_real64
  temperature = 280.0_real64
  relative_humidity = 0.6_real64
  cloud_fraction = 0.0_real64
  h2so4_production = 1.0e4_real64
  h2so4 = 1.0e7_real64
  mass = 0.0_real64
  mass(:, :, so4_as) = 1.0e9_real64
  number = 0.0_real64
  number(:, :, as) = 300.0_real64
  wet_radius = 0.0_real64
  dry_radius = 0.0_real64
  density = 0.0_real64
  water = 0.0_real64
  uncertainty = 0.0_real64
  flag = 0_int32

  call emulator%advance(kproma, kbdim, klev, 900.0_real64, pressure, temperature, &
    relative_humidity, cloud_fraction, h2so4_production, h2so4, mass, number, wet_radius, &
    dry_radius, density, water, status, flag=flag, uncertainty=uncertainty)
  call check()
  if (any(flag(:kproma, :) /= flag_fine)) error stop 'cells are not fine'
  print '(a, es24.16)', 'particles [cm-3]:', sum(number(1, 1, :))

contains

  subroutine check()
    if (status == 0) return
    write (error_unit, '(a)') emulator%message()
    error stop 1
  end subroutine check
end program example
