module m7_step
  !! One M7 step of many columns: checks, lane blocks, sub-steps, and the order of the processes
  !! (section 6 of the physics contract).
  use, intrinsic :: iso_fortran_env, only: int64, real64
  use m7_coagulation, only: coagulation_kernels, n_pair
  use m7_condensation, only: condensation_sink, condense
  use m7_config, only: m7_config_type, nucleation_kazil_lovejoy2007, nucleation_none, &
    nucleation_vehkamaki2002, organic_kinetic, organic_none, profile_ham2, profile_m7_2004, &
    water_kappa, water_zsr
  use m7_kinds, only: lanes, wp
  use m7_math, only: is_finite
  use m7_merging, only: merge_modes
  use m7_modes, only: as, cs, n_mass, n_mode, n_soluble, ns, so4_cs, so4_ns
  use m7_nucleation, only: nucleate
  use m7_properties, only: dry_particles, dry_radii, particle_properties
  use m7_split, only: condensed, n_split, water_uptake
  use m7_transfer, only: coagulate_and_age
  use m7_water, only: n_solution, solution_terms
  implicit none (type, external)
  private
  public :: step, step_columns
  public :: m7_bad_cloud_fraction, m7_bad_config, m7_bad_humidity, m7_bad_mass, m7_bad_number
  public :: m7_bad_option, m7_bad_pressure, m7_bad_production, m7_bad_shape, m7_bad_temperature
  public :: m7_bad_gas, m7_bad_timestep, m7_ok

  integer, parameter :: m7_ok = 0, m7_bad_config = 1, m7_bad_shape = 2, m7_bad_timestep = 3
  integer, parameter :: m7_bad_pressure = 4, m7_bad_temperature = 5, m7_bad_humidity = 6
  integer, parameter :: m7_bad_cloud_fraction = 7, m7_bad_production = 8, m7_bad_gas = 9
  integer, parameter :: m7_bad_mass = 10, m7_bad_number = 11, m7_bad_option = 12
  !! Status: which input is not finite or out of its range; `option` is one of ion pair production,
  !! forest fraction and boundary layer.

  real(wp), parameter :: round_off = 1.0e-6_wp
  !! By how much a relative humidity may leave [0, 1]; it is then clipped
  real(wp), parameter :: still_share = 1.0e-3_wp
  real(wp), parameter :: still_molecules = 1.0_wp, still_mass = 1.0e-10_wp, still_number = 1.0e-4_wp
  !! A tendency below this share of the state, or this amount [cm-3, ug m-3, cm-3], need not stand
  !! still for a cell to count as converged

  type :: air_type
    !! The environment of a lane block.
    real(wp), dimension(lanes) :: pressure, temperature, relative_humidity, cloud_fraction
    real(wp), dimension(lanes) :: production, ion_pair_production, forest_fraction, boundary_layer
    real(wp) :: solution(lanes, n_solution)
  end type air_type

  type :: cells_type
    !! The state of a lane block, its diagnostics, and what the processes have moved.
    real(wp) :: gas(lanes), mass(lanes, n_mass), number(lanes, n_mode)
    real(wp) :: wet_radius(lanes, n_mode), dry_radius(lanes, n_soluble), density(lanes, n_mode)
    real(wp) :: water(lanes, n_soluble), moved(lanes, n_split)
  end type cells_type

contains

  pure subroutine step(config, kproma, kbdim, klev, timestep, pressure, temperature, &
    relative_humidity, cloud_fraction, production, gas, mass, number, wet_radius, dry_radius, &
    density, water, status, ion_pair_production, forest_fraction, boundary_layer, split, substeps, &
    negatives)
    !! Advance columns 1 to kproma of all levels by one timestep. Columns beyond are neither read
    !! nor written. On a status other than m7_ok nothing is written.
    type(m7_config_type), intent(in) :: config
    integer, intent(in) :: kproma, kbdim, klev
    !! Columns in use, leading dimension, levels
    real(wp), intent(in) :: timestep
    !! [s]
    real(wp), intent(in) :: pressure(kbdim, klev), temperature(kbdim, klev)
    !! Pa, K
    real(wp), intent(in) :: relative_humidity(kbdim, klev), cloud_fraction(kbdim, klev)
    !! Over liquid water, of the clear part [1]; clipped to [0, 1] [1]
    real(wp), intent(in) :: production(kbdim, klev)
    !! Of H2SO4, negative where other processes remove more than they make [molecules cm-3 s-1]
    real(wp), intent(inout) :: gas(kbdim, klev)
    !! H2SO4 at the start of the step, before production [molecules cm-3]
    real(wp), intent(inout) :: mass(kbdim, klev, n_mass)
    !! Sulfate: molecules cm-3, other species: ug m-3; negative values count as 0
    real(wp), intent(inout) :: number(kbdim, klev, n_mode)
    !! [cm-3]; negative values count as 0
    real(wp), intent(inout) :: wet_radius(kbdim, klev, n_mode), dry_radius(kbdim, klev, n_soluble)
    !! Count median radii after the step [cm]
    real(wp), intent(inout) :: density(kbdim, klev, n_mode), water(kbdim, klev, n_soluble)
    !! Ambient density [g cm-3] and water [kg m-3] after the step
    integer, intent(out) :: status
    real(wp), intent(in), optional :: ion_pair_production(kbdim, klev)
    !! For nucleation_kazil_lovejoy2007; absent: 0 [cm-3 s-1]
    real(wp), intent(in), optional :: forest_fraction(kbdim, klev), boundary_layer(kbdim, klev)
    !! For organic nucleation; absent: 0 [1, 1 inside and 0 above the boundary layer]
    real(wp), intent(inout), optional :: split(kbdim, klev, n_split)
    !! What each process moved (see m7_split)
    integer, intent(inout), optional :: substeps(kbdim, klev)
    !! Sub-steps taken; negative where config%substeps_max did not suffice
    integer, intent(inout), optional :: negatives(kbdim, klev)
    !! Negative inputs taken as 0, per cell

    call step_columns(config, 1, kproma, kbdim, klev, timestep, pressure, temperature, &
      relative_humidity, cloud_fraction, production, gas, mass, number, wet_radius, dry_radius, &
      density, water, status, ion_pair_production, forest_fraction, boundary_layer, split, &
      substeps, negatives)
  end subroutine step

  pure subroutine step_columns(config, first, last, kbdim, klev, timestep, pressure, temperature, &
    relative_humidity, cloud_fraction, production, gas, mass, number, wet_radius, dry_radius, &
    density, water, status, ion_pair_production, forest_fraction, boundary_layer, split, substeps, &
    negatives)
    !! `step` for columns `first` to `last`.
    type(m7_config_type), intent(in) :: config
    integer, intent(in) :: first, last, kbdim, klev
    real(wp), intent(in) :: timestep
    real(wp), intent(in) :: pressure(kbdim, klev), temperature(kbdim, klev)
    real(wp), intent(in) :: relative_humidity(kbdim, klev), cloud_fraction(kbdim, klev)
    real(wp), intent(in) :: production(kbdim, klev)
    real(wp), intent(inout) :: gas(kbdim, klev), mass(kbdim, klev, n_mass)
    real(wp), intent(inout) :: number(kbdim, klev, n_mode)
    real(wp), intent(inout) :: wet_radius(kbdim, klev, n_mode), dry_radius(kbdim, klev, n_soluble)
    real(wp), intent(inout) :: density(kbdim, klev, n_mode), water(kbdim, klev, n_soluble)
    integer, intent(out) :: status
    real(wp), intent(in), optional :: ion_pair_production(kbdim, klev)
    real(wp), intent(in), optional :: forest_fraction(kbdim, klev), boundary_layer(kbdim, klev)
    real(wp), intent(inout), optional :: split(kbdim, klev, n_split)
    integer, intent(inout), optional :: substeps(kbdim, klev), negatives(kbdim, klev)
    integer :: count, i, column, k, level, taken(lanes), bad(lanes)
    type(air_type) :: air
    type(cells_type) :: cells

    status = check_settings(config, timestep)
    if (status /= m7_ok) return
    status = m7_bad_shape
    if (first < 1 .or. last > kbdim .or. klev < 0) return
    status = m7_ok
    call check_field(pressure, tiny(1.0_wp), huge(1.0_wp), m7_bad_pressure, status)
    call check_field(temperature, tiny(1.0_wp), huge(1.0_wp), m7_bad_temperature, status)
    call check_field(relative_humidity, -round_off, 1.0_wp + round_off, m7_bad_humidity, status)
    call check_field(cloud_fraction, -huge(1.0_wp), huge(1.0_wp), m7_bad_cloud_fraction, status)
    call check_field(production, -huge(1.0_wp), huge(1.0_wp), m7_bad_production, status)
    call check_field(gas, -huge(1.0_wp), huge(1.0_wp), m7_bad_gas, status)
    do k = 1, n_mass
      call check_field(mass(:, :, k), -huge(1.0_wp), huge(1.0_wp), m7_bad_mass, status)
    end do
    do k = 1, n_mode
      call check_field(number(:, :, k), -huge(1.0_wp), huge(1.0_wp), m7_bad_number, status)
    end do
    call check_field(ion_pair_production, -huge(1.0_wp), huge(1.0_wp), m7_bad_option, status)
    call check_field(forest_fraction, -huge(1.0_wp), huge(1.0_wp), m7_bad_option, status)
    call check_field(boundary_layer, -huge(1.0_wp), huge(1.0_wp), m7_bad_option, status)
    if (status /= m7_ok) return

    do level = 1, klev
      do column = first, last, lanes
        count = min(lanes, last - column + 1)
        call load(pressure, air%pressure)
        call load(temperature, air%temperature)
        call load(relative_humidity, air%relative_humidity)
        call load(cloud_fraction, air%cloud_fraction)
        call load(production, air%production)
        call load(ion_pair_production, air%ion_pair_production)
        call load(forest_fraction, air%forest_fraction)
        call load(boundary_layer, air%boundary_layer)
        air%relative_humidity = min(max(air%relative_humidity, 0.0_wp), 1.0_wp)
        air%cloud_fraction = min(max(air%cloud_fraction, 0.0_wp), 1.0_wp)
        bad = 0
        call load(gas, cells%gas)
        call clip(cells%gas, bad)
        do k = 1, n_mass
          call load(mass(:, :, k), cells%mass(:, k))
          call clip(cells%mass(:, k), bad)
        end do
        do k = 1, n_mode
          call load(number(:, :, k), cells%number(:, k))
          call clip(cells%number(:, k), bad)
        end do
        call advance(config, timestep, air, cells, taken)
        call save(cells%gas, gas)
        do k = 1, n_mass
          call save(cells%mass(:, k), mass(:, :, k))
        end do
        do k = 1, n_mode
          call save(cells%number(:, k), number(:, :, k))
          call save(cells%wet_radius(:, k), wet_radius(:, :, k))
          call save(cells%density(:, k), density(:, :, k))
        end do
        do k = 1, n_soluble
          call save(cells%dry_radius(:, k), dry_radius(:, :, k))
          call save(cells%water(:, k), water(:, :, k))
        end do
        if (present(split)) then
          do k = 1, n_split
            call save(cells%moved(:, k), split(:, :, k))
          end do
        end if
        do i = 1, count
          if (present(substeps)) substeps(column + i - 1, level) = taken(i)
          if (present(negatives)) negatives(column + i - 1, level) = bad(i)
        end do
      end do
    end do

  contains

    pure subroutine load(field, block)
      !! Columns of a field; the lanes beyond the last repeat it. An absent field is 0.
      real(wp), intent(in), optional :: field(kbdim, klev)
      real(wp), intent(out) :: block(lanes)

      block = 0.0_wp
      if (.not. present(field)) return
      if (count == lanes) then
        block = field(column:column + lanes - 1, level)
      else
        block(:count) = field(column:column + count - 1, level)
        block(count + 1:) = field(column + count - 1, level)
      end if
    end subroutine load

    pure subroutine save(block, field)
      real(wp), intent(in) :: block(lanes)
      real(wp), intent(inout) :: field(kbdim, klev)

      if (count == lanes) then
        field(column:column + lanes - 1, level) = block
      else
        field(column:column + count - 1, level) = block(:count)
      end if
    end subroutine save

    pure subroutine check_field(field, lowest, highest, code, status)
      !! Set status to `code` where a value is not finite or not within its range. The bits are
      !! looked at first: comparing a NaN would raise a host's floating-point trap.
      real(wp), intent(in), optional :: field(kbdim, klev)
      real(wp), intent(in) :: lowest, highest
      integer, intent(in) :: code
      integer, intent(inout) :: status
      integer(int64), parameter :: exponent_bits = shiftl(2047_int64, 52)
      integer(int64) :: bits, worst
      integer :: c, l
      real(wp) :: smallest, largest

      if (.not. present(field) .or. status /= m7_ok) return
      do l = 1, klev
        worst = 0
        do c = first, last
          bits = iand(transfer(real(field(c, l), real64), bits), exponent_bits)
          worst = max(worst, bits)
        end do
        if (worst == exponent_bits) then
          status = code
          return
        end if
        smallest = highest
        largest = lowest
        do c = first, last
          smallest = min(smallest, field(c, l))
          largest = max(largest, field(c, l))
        end do
        if (smallest < lowest .or. largest > highest) status = code
      end do
    end subroutine check_field
  end subroutine step_columns

  pure integer function check_settings(config, timestep) result(status)
    !! m7_ok, m7_bad_config or m7_bad_timestep.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep

    status = m7_bad_timestep
    if (.not. is_finite(timestep)) return
    if (timestep <= 0.0_wp) return
    status = m7_bad_config
    if (.not. is_finite(config%tolerance)) return
    if (.not. all(is_finite(config%density))) return
    if (.not. all(is_finite(config%kappa))) return
    if (config%profile /= profile_m7_2004 .and. config%profile /= profile_ham2) return
    if (config%water /= water_zsr .and. config%water /= water_kappa) return
    if (config%nucleation < nucleation_none) return
    if (config%nucleation > nucleation_kazil_lovejoy2007) return
    if (config%nucleation == nucleation_kazil_lovejoy2007 &
      .and. .not. allocated(config%table%ln_rate)) return
    if (config%organic_nucleation < organic_none) return
    if (config%organic_nucleation > organic_kinetic) return
    if (any(config%density <= 0.0_wp) .or. any(config%kappa < 0.0_wp)) return
    if (config%substeps < 0 .or. config%substeps_max < 1) return
    if (config%tolerance <= 0.0_wp) return
    status = m7_ok
  end function check_settings

  pure subroutine clip(values, negatives)
    !! Take negative values as 0 and count them.
    real(wp), intent(inout) :: values(lanes)
    integer, intent(inout) :: negatives(lanes)

    negatives = negatives + merge(1, 0, values < 0.0_wp)
    values = max(values, 0.0_wp)
  end subroutine clip

  pure subroutine advance(config, timestep, air, cells, taken)
    !! The timestep in as many sub-steps as asked for. With substeps 0 they are doubled until no
    !! tendency of the cell moves by more than the tolerance; each lane keeps the first result that
    !! stands still, so that it does not depend on the others.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep
    type(air_type), intent(inout) :: air
    type(cells_type), intent(inout) :: cells
    integer, intent(out) :: taken(lanes)
    integer :: i, substeps
    logical :: done(lanes), last, still(lanes)
    type(cells_type) :: coarse, fine, start

    call solution_terms(air%pressure, air%temperature, air%relative_humidity, air%solution)
    if (config%substeps > 0) then
      call integrate(config, timestep, config%substeps, air, cells)
      taken = config%substeps
      return
    end if
    start = cells
    fine = start
    call integrate(config, timestep, 1, air, fine)
    done = .false.
    substeps = 1
    do
      coarse = fine
      fine = start
      substeps = 2*substeps
      call integrate(config, timestep, substeps, air, fine)
      call compare(config%tolerance, start, coarse, fine, still)
      last = 2*substeps > config%substeps_max
      do i = 1, lanes
        if (done(i) .or. .not. (still(i) .or. last)) cycle
        call copy_lane(i, fine, cells)
        taken(i) = merge(substeps, -substeps, still(i))
      end do
      done = done .or. still
      if (all(done) .or. last) exit
    end do
  end subroutine advance

  pure subroutine compare(tolerance, start, coarse, fine, still)
    !! Whether every tendency of a lane is the same in two solutions, to the tolerance.
    real(wp), intent(in) :: tolerance
    type(cells_type), intent(in) :: start, coarse, fine
    logical, intent(out) :: still(lanes)
    integer :: k

    still = stands(start%gas, coarse%gas, fine%gas, still_molecules)
    do k = 1, n_mass
      still = still .and. stands(start%mass(:, k), coarse%mass(:, k), fine%mass(:, k), &
        merge(still_molecules, still_mass, k <= so4_cs))
    end do
    do k = 1, n_mode
      still = still .and. stands(start%number(:, k), coarse%number(:, k), fine%number(:, k), &
        still_number)
    end do
  contains
    elemental logical function stands(before, once, twice, least)
      real(wp), intent(in) :: before, once, twice, least

      stands = abs(twice - once) <= tolerance &
        *max(abs(twice - before), still_share*max(before, twice), least)
    end function stands
  end subroutine compare

  pure subroutine copy_lane(i, from, to)
    !! Take one lane of another solution.
    integer, intent(in) :: i
    type(cells_type), intent(in) :: from
    type(cells_type), intent(inout) :: to

    to%gas(i) = from%gas(i)
    to%mass(i, :) = from%mass(i, :)
    to%number(i, :) = from%number(i, :)
    to%wet_radius(i, :) = from%wet_radius(i, :)
    to%dry_radius(i, :) = from%dry_radius(i, :)
    to%density(i, :) = from%density(i, :)
    to%water(i, :) = from%water(i, :)
    to%moved(i, :) = from%moved(i, :)
  end subroutine copy_lane

  pure subroutine integrate(config, timestep, substeps, air, cells)
    !! The timestep in equal sub-steps; the split output is their sum.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep
    integer, intent(in) :: substeps
    type(air_type), intent(in) :: air
    type(cells_type), intent(inout) :: cells
    integer :: k
    real(wp) :: moved(lanes, n_split)

    call substep(config, timestep/substeps, air, cells, .true.)
    if (substeps == 1) return
    moved = cells%moved
    do k = 2, substeps
      call substep(config, timestep/substeps, air, cells, .false.)
      moved = moved + cells%moved
    end do
    cells%moved = moved
  end subroutine integrate

  pure subroutine substep(config, timestep, air, cells, first)
    !! The processes in M7's order (section 6).
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep
    type(air_type), intent(in) :: air
    type(cells_type), intent(inout) :: cells
    logical, intent(in) :: first
    !! Otherwise the diagnostics of the sub-step before are those of this one's start
    integer :: i, k
    real(wp) :: dry_volume(lanes, n_soluble), core_mass(lanes, n_soluble)
    real(wp) :: core_volume(lanes, n_soluble), kernel(lanes, n_pair), molecules(lanes, n_soluble)
    real(wp) :: production(lanes), sink(lanes, n_mode), total(lanes), virtual(lanes)

    cells%moved = 0.0_wp
    virtual = 0.0_wp
    ! The gas must cover what other processes take out of it.
    production = max(air%production, -cells%gas/timestep)
    if (config%production_in_gas) production = 0.0_wp
    if (config%profile == profile_m7_2004) then
      cells%gas = max(cells%gas + production*timestep, 0.0_wp)
      production = 0.0_wp
    end if
    if (first .or. config%profile == profile_m7_2004) call particle_properties(config, &
      air%temperature, air%relative_humidity, air%solution, cells%mass, cells%number, virtual, &
      cells%wet_radius, cells%dry_radius, cells%density, cells%water)
    do k = 1, n_soluble
      cells%moved(:, water_uptake + k) = cells%water(:, k)
    end do
    if (config%coagulation) then
      call coagulation_kernels(config, air%pressure, air%temperature, cells%wet_radius, &
        cells%density, cells%number, kernel)
    else
      kernel = 0.0_wp
    end if

    total = 0.0_wp
    if (config%condensation) then
      call condensation_sink(config, air%pressure, air%temperature, cells%wet_radius, &
        cells%number, sink)
      call condense(config, timestep, air%cloud_fraction, production, sink, cells%gas, total, &
        cells%moved)
      do k = ns, cs
        do i = 1, lanes
          cells%mass(i, so4_ns + k - ns) = cells%mass(i, so4_ns + k - ns) &
            + cells%moved(i, condensed + k)
        end do
      end do
    else
      cells%gas = max(cells%gas + production*timestep, 0.0_wp)
    end if
    call nucleate(config, timestep, air%temperature, air%relative_humidity, air%cloud_fraction, &
      air%ion_pair_production, air%forest_fraction, air%boundary_layer, total, cells%gas, &
      cells%moved)
    call coagulate_and_age(config, timestep, kernel, cells%wet_radius, cells%mass, cells%number, &
      cells%moved)
    if (config%condensation .or. config%coagulation) then
      call dry_particles(config, as, cells%mass, cells%number, virtual, molecules, core_mass, &
        core_volume, dry_volume)
      call dry_radii(config, as, dry_volume, cells%dry_radius)
      call merge_modes(config, cells%dry_radius, cells%mass, cells%number, cells%moved)
    end if
    call particle_properties(config, air%temperature, air%relative_humidity, air%solution, &
      cells%mass, cells%number, virtual, cells%wet_radius, cells%dry_radius, cells%density, &
      cells%water)
    do k = 1, n_soluble
      cells%moved(:, water_uptake + k) = cells%water(:, k) - cells%moved(:, water_uptake + k)
    end do
  end subroutine substep
end module m7_step
