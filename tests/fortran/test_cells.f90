module test_cells
  !! Random cells for the tests of the whole step, and their arrangement in columns and levels.
  use, intrinsic :: iso_fortran_env, only: int64
  use m7_config, only: m7_config_type, set_profile
  use m7_kinds, only: wp
  use m7_modes, only: ln_sigma, mass_index, n_mass, n_mode, n_prognostic, n_soluble, n_species, so4
  use m7_split, only: n_split
  use m7_step, only: step
  use m7_water, only: molar_mass_h2so4
  use test_support, only: same_bits
  implicit none (type, external)
  private
  public :: arranged, cells_type, defaults, random_cells, same, signalling

  integer, parameter, public :: pressure = 1, temperature = 2, humidity = 3, cloud = 4
  integer, parameter, public :: production = 5, ions = 6, forest = 7, boundary_layer = 8
  integer, parameter, public :: n_environment = 8
  !! Order of `environment`
  integer, parameter, public :: gas = 1, mass_1 = 2, number_1 = mass_1 + n_mass
  !! Order of `state`: gas, masses, numbers
  integer, parameter, public :: wet_1 = 1, dry_1 = wet_1 + n_mode, density_1 = dry_1 + n_soluble
  integer, parameter, public :: water_1 = density_1 + n_mode
  integer, parameter, public :: n_diagnostic = water_1 + n_soluble - 1
  !! Order of `diagnostic`: wet and dry radii, densities, water

  type :: cells_type
    !! All that a step reads and writes.
    real(wp), allocatable :: environment(:, :, :), state(:, :, :)
    real(wp), allocatable :: diagnostic(:, :, :), split(:, :, :)
    !! (kbdim, klev, n)
    integer, allocatable :: substeps(:, :), negatives(:, :)
    integer :: status
  contains
    procedure :: advance
  end type cells_type

contains

  subroutine advance(cells, config, timestep, kproma)
    !! One step of columns 1 to kproma, of all if it is absent.
    class(cells_type), intent(inout) :: cells
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep
    integer, intent(in), optional :: kproma
    integer :: columns, levels, last

    columns = size(cells%state, 1)
    levels = size(cells%state, 2)
    last = columns
    if (present(kproma)) last = kproma
    associate (e => cells%environment, x => cells%state, d => cells%diagnostic)
      call step(config, last, columns, levels, timestep, e(:, :, pressure), e(:, :, temperature), &
        e(:, :, humidity), e(:, :, cloud), e(:, :, production), x(:, :, gas), &
        x(:, :, mass_1:number_1 - 1), x(:, :, number_1:), d(:, :, wet_1:dry_1 - 1), &
        d(:, :, dry_1:density_1 - 1), d(:, :, density_1:water_1 - 1), d(:, :, water_1:), &
        cells%status, e(:, :, ions), e(:, :, forest), e(:, :, boundary_layer), cells%split, &
        cells%substeps, cells%negatives)
    end associate
  end subroutine advance

  function defaults(profile) result(config)
    !! A generation's own configuration.
    integer, intent(in) :: profile
    type(m7_config_type) :: config
    integer :: status

    call set_profile(config, profile, 0, status)
    if (status /= 0) error stop 'no such profile'
  end function defaults

  function random_cells(count) result(cells)
    !! A column per cell, over the ranges of section 17: numbers and sizes of the modes log-uniform,
    !! any composition; every other cell without about a third of its modes.
    integer, intent(in) :: count
    type(cells_type) :: cells
    real(wp), parameter :: pi = acos(-1.0_wp), avogadro = 6.02214e23_wp
    real(wp), parameter :: density(n_species) = [1.841_wp, 2.0_wp, 2.0_wp, 2.165_wp, 2.65_wp]
    real(wp), parameter :: log_number(2, n_mode) = reshape([ &
      0.0_wp, 6.0_wp, 0.0_wp, 4.7_wp, -1.0_wp, 4.0_wp, -6.0_wp, 1.7_wp, &
      0.0_wp, 4.7_wp, -6.0_wp, 2.0_wp, -6.0_wp, 1.3_wp], [2, n_mode])
    !! [log10 cm-3]
    real(wp), parameter :: log_radius(2, n_mode) = reshape([ &
      -7.5_wp, -6.5_wp, -6.4_wp, -5.5_wp, -5.5_wp, -4.5_wp, -4.5_wp, -3.7_wp, &
      -6.0_wp, -5.2_wp, -5.3_wp, -4.3_wp, -4.4_wp, -3.7_wp], [2, n_mode])
    !! Dry count median radius [log10 cm]
    integer :: i, k, s
    integer(int64) :: state
    real(wp) :: absent, mass, number, radius, share(n_species)

    cells = blank(count, 1)
    state = 20041
    do i = 1, count
      associate (e => cells%environment(i, 1, :), x => cells%state(i, 1, :))
        e(pressure) = 10.0_wp**between(3.0_wp, 5.02_wp)
        e(temperature) = between(180.0_wp, 320.0_wp)
        e(humidity) = between(0.0_wp, 1.0_wp)
        e(cloud) = max(between(-1.0_wp, 1.0_wp), 0.0_wp)
        e(production) = 10.0_wp**between(-1.0_wp, 6.0_wp)
        e(ions) = between(1.0_wp, 60.0_wp)
        e(forest) = between(0.0_wp, 1.0_wp)
        e(boundary_layer) = real(nint(between(0.0_wp, 1.0_wp)), wp)
        x(:) = 0.0_wp
        x(gas) = 10.0_wp**between(2.0_wp, 9.0_wp)
        absent = merge(0.35_wp, 0.0_wp, mod(i, 2) == 0)
        do k = 1, n_mode
          number = 10.0_wp**between(log_number(1, k), log_number(2, k))
          radius = 10.0_wp**between(log_radius(1, k), log_radius(2, k))
          do s = 1, n_species
            share(s) = max(between(-0.2_wp, 1.0_wp), 0.0_wp)
            if (mass_index(s, k) == 0) share(s) = 0.0_wp
          end do
          if (between(0.0_wp, 1.0_wp) < absent) cycle
          x(number_1 + k - 1) = number
          do s = 1, n_species
            if (mass_index(s, k) == 0) cycle
            mass = share(s)/max(sum(share), 1.0e-3_wp)*density(s)*number &
              *4.0_wp*pi/3.0_wp*(radius*exp(1.5_wp*ln_sigma(k)**2))**3
            x(mass_1 + mass_index(s, k) - 1) = &
              mass*merge(avogadro/molar_mass_h2so4, 1.0e12_wp, s == so4)
          end do
        end do
      end associate
    end do
  contains

    real(wp) function between(low, high)
      !! The next random number (Park and Miller 1988).
      real(wp), intent(in) :: low, high

      state = mod(48271_int64*state, 2147483647_int64)
      between = low + (high - low)*real(state, wp)/2147483647.0_wp
    end function between
  end function random_cells

  function blank(kbdim, klev) result(cells)
    !! Nothing but signalling NaN: whoever computes with it is found out.
    integer, intent(in) :: kbdim, klev
    type(cells_type) :: cells

    allocate (cells%environment(kbdim, klev, n_environment), source=signalling())
    allocate (cells%state(kbdim, klev, n_prognostic), source=signalling())
    allocate (cells%diagnostic(kbdim, klev, n_diagnostic), source=signalling())
    allocate (cells%split(kbdim, klev, n_split), source=signalling())
    allocate (cells%substeps(kbdim, klev), cells%negatives(kbdim, klev), source=-huge(1))
    cells%status = -huge(1)
  end function blank

  function arranged(cells, place) result(other)
    !! The cells of one level in other places: `place` tells which stands where, 0 that none does.
    type(cells_type), intent(in) :: cells
    integer, intent(in) :: place(:, :)
    type(cells_type) :: other
    integer :: i, level

    other = blank(size(place, 1), size(place, 2))
    do level = 1, size(place, 2)
      do i = 1, size(place, 1)
        if (place(i, level) == 0) cycle
        other%environment(i, level, :) = cells%environment(place(i, level), 1, :)
        other%state(i, level, :) = cells%state(place(i, level), 1, :)
        other%diagnostic(i, level, :) = cells%diagnostic(place(i, level), 1, :)
        other%split(i, level, :) = cells%split(place(i, level), 1, :)
        other%substeps(i, level) = cells%substeps(place(i, level), 1)
        other%negatives(i, level) = cells%negatives(place(i, level), 1)
      end do
    end do
    other%status = cells%status
  end function arranged

  logical function same(a, b)
    !! Bit for bit, padding included.
    type(cells_type), intent(in) :: a, b

    same = all(same_bits(a%environment, b%environment)) .and. all(same_bits(a%state, b%state)) &
      .and. all(same_bits(a%diagnostic, b%diagnostic)) .and. all(same_bits(a%split, b%split)) &
      .and. all(a%substeps == b%substeps) .and. all(a%negatives == b%negatives)
  end function same

  pure real(wp) function signalling()
    !! A NaN that traps when it is computed with, even compared.

    signalling = transfer(9219994337134247936_int64, signalling)
  end function signalling
end module test_cells
