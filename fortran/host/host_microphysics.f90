module host_microphysics
  !! The microphysics slot, and around it what HAM's wrapper does: M7's units and the humidity of
  !! the clear part, the step, tendencies back.
  use, intrinsic :: iso_fortran_env, only: int32, int64
  use host_constants, only: avogadro, molar_h2so4, molar_so4, wp
  use host_ledger, only: column_sum, enter
  use host_meteorology, only: meteorology_type
  use host_timer, only: interval, now
  use host_tracers, only: first_number, h2so4, n_budget, n_tracer
  use m7_config, only: m7_config_type, nucleation_none, nucleation_vehkamaki2002, profile_ham2, &
    profile_m7_2004, set_profile, water_kappa, water_zsr
  use m7_modes, only: so4_cs
  use m7_reference, only: m7_type
  use m7emu, only: flag_fine, flag_invalid, flag_outside, m7emu_type, status_bad_device
  use m7emu_recorder, only: recorder_type
  use microphysics, only: microphysics_type, n_mass, n_mode, n_soluble
  implicit none (type, external)
  private
  public :: aerosol_type, set_up_aerosol, set_up_slot, slot_type, slot_settings_type
  public :: bin_of, call_microphysics, hand_back, set_threshold

  integer, parameter, public :: n_compared = 1 + n_mass + n_mode
  integer, parameter, public :: n_flag = flag_invalid - flag_fine + 1, n_tally = n_flag + 2
  integer, parameter :: by_flag = n_flag + 1, by_uncertainty = n_flag + 2
  !! Cells by the emulator's flag, and those that went to M7 for their flag or their uncertainty
  integer, parameter, public :: n_bin = 256
  !! Of the uncertainty, eight to a factor of two

  type :: slot_settings_type
    !! The members of &physics that concern the slot
    character(16) :: microphysics = 'm7', profile = 'ham2', water = 'zsr'
    character(16) :: nucleation = 'vehkamaki2002', shadow_with = 'emulator'
    character(16) :: emulator_device = 'cpu', emulator_engine = 'native'
    character(512) :: emulator_file = ''
    integer :: substeps = 1, shadow_substeps = 8
    real(wp) :: blend_share = 0.0_wp
  end type slot_settings_type

  type :: slot_type
    class(microphysics_type), allocatable :: scheme
    !! What the host runs with
    class(microphysics_type), allocatable :: shadow
    !! What is run beside it and compared; allocated with microphysics = 'shadow' only
    class(microphysics_type), allocatable :: fallback
    !! What takes the cells that the emulator flags; allocated with microphysics = 'blend' only
    real(wp) :: threshold = huge(1.0_wp)
    !! Uncertainty above which a cell goes to the fallback as well [1]
  end type slot_type

  type :: cells_type
    !! Cells picked from a block, as one level (nproma*nlev, 1)
    integer, allocatable :: column(:), level(:)
    real(wp), allocatable :: pressure(:, :), temperature(:, :), relative_humidity(:, :)
    real(wp), allocatable :: cloud_fraction(:, :), production(:, :), gas(:, :)
    real(wp), allocatable :: mass(:, :, :), number(:, :, :), wet_radius(:, :, :)
    real(wp), allocatable :: dry_radius(:, :, :), density(:, :, :), water(:, :, :)
  end type cells_type

  type :: aerosol_type
    !! M7's arguments for a block
    real(wp), allocatable :: relative_humidity(:, :), production(:, :), gas(:, :)
    !! Of the clear part [1], molecules cm-3 s-1, molecules cm-3 (nproma, nlev)
    real(wp), allocatable :: mass(:, :, :), number(:, :, :)
    !! Sulfate: molecules cm-3, others ug m-3; cm-3
    real(wp), allocatable :: wet_radius(:, :, :), dry_radius(:, :, :)
    !! cm from M7; m after the call
    real(wp), allocatable :: density(:, :, :), water(:, :, :)
    !! g cm-3 and kg m-3 from M7; kg m-3 and kg kg-1 after the call
    real(wp), allocatable :: gas_before(:, :), mass_before(:, :, :), number_before(:, :, :)
    integer(int32), allocatable :: flag(:, :)
    real(wp), allocatable :: uncertainty(:, :)
    !! Of the emulator (nproma, nlev)
    type(cells_type) :: picked
    real(wp), allocatable :: gas_shadow(:, :), mass_shadow(:, :, :), number_shadow(:, :, :)
    real(wp), allocatable :: wet_shadow(:, :, :), dry_shadow(:, :, :), density_shadow(:, :, :)
    real(wp), allocatable :: water_shadow(:, :, :)
  end type aerosol_type

contains

  subroutine set_up_slot(settings, slot, status, message)
    !! Fill the slot as the namelist says. A new scheme is one more case in `new_scheme`.
    type(slot_settings_type), intent(in) :: settings
    type(slot_type), intent(out) :: slot
    integer, intent(out) :: status
    character(:), allocatable, intent(out) :: message

    select case (settings%microphysics)
    case ('shadow')
      call new_scheme('m7', settings, settings%substeps, slot%scheme, status, message)
      if (status /= 0) return
      call new_scheme(settings%shadow_with, settings, settings%shadow_substeps, slot%shadow, &
        status, message)
    case ('blend')
      call new_scheme('emulator', settings, settings%substeps, slot%scheme, status, message)
      if (status /= 0) return
      call new_scheme('m7', settings, settings%substeps, slot%fallback, status, message)
    case default
      call new_scheme(settings%microphysics, settings, settings%substeps, slot%scheme, status, &
        message)
    end select
  end subroutine set_up_slot

  subroutine new_scheme(name, settings, substeps, scheme, status, message)
    character(*), intent(in) :: name
    type(slot_settings_type), intent(in) :: settings
    integer, intent(in) :: substeps
    class(microphysics_type), allocatable, intent(out) :: scheme
    integer, intent(out) :: status
    character(:), allocatable, intent(out) :: message
    type(m7_config_type) :: config

    message = ''
    status = 0
    select case (name)
    case ('m7')
      call set_profile(config, merge(profile_ham2, profile_m7_2004, settings%profile == 'ham2'), &
        0, status)
      config%water = merge(water_kappa, water_zsr, settings%water == 'kappa')
      config%nucleation = merge(nucleation_none, nucleation_vehkamaki2002, &
        settings%nucleation == 'none')
      config%substeps = substeps
      scheme = m7_type(config=config)
    case ('emulator')
      call load_emulator(settings, scheme, status, message)
    case default
      status = 1
      message = "microphysics '" // trim(name) // "' is unknown; choose 'm7' or 'emulator'"
    end select
  end subroutine new_scheme

  subroutine load_emulator(settings, scheme, status, message)
    !! Read the model file once; every thread then steps with the same emulator.
    type(slot_settings_type), intent(in) :: settings
    class(microphysics_type), allocatable, intent(out) :: scheme
    integer, intent(out) :: status
    character(:), allocatable, intent(inout) :: message

    allocate (m7emu_type :: scheme)
    select type (scheme)
    type is (m7emu_type)
      call scheme%load(trim(settings%emulator_file), status, &
        device=trim(settings%emulator_device), engine=trim(settings%emulator_engine))
      if (status == status_bad_device) then
        message = '&physics emulator_device: ' // scheme%message()
      else if (status /= 0) then
        message = '&physics emulator_file: ' // scheme%message()
      end if
    end select
  end subroutine load_emulator

  pure subroutine set_up_aerosol(nproma, nlev, shadow, blend, aerosol)
    integer, intent(in) :: nproma, nlev
    logical, intent(in) :: shadow, blend
    type(aerosol_type), intent(out) :: aerosol

    allocate (aerosol%relative_humidity(nproma, nlev), aerosol%production(nproma, nlev), &
      aerosol%gas(nproma, nlev), source=0.0_wp)
    allocate (aerosol%mass(nproma, nlev, n_mass), aerosol%mass_before(nproma, nlev, n_mass), &
      source=0.0_wp)
    allocate (aerosol%number(nproma, nlev, n_mode), aerosol%number_before(nproma, nlev, n_mode), &
      aerosol%wet_radius(nproma, nlev, n_mode), aerosol%density(nproma, nlev, n_mode), &
      source=0.0_wp)
    allocate (aerosol%dry_radius(nproma, nlev, n_soluble), &
      aerosol%water(nproma, nlev, n_soluble), source=0.0_wp)
    allocate (aerosol%gas_before(nproma, nlev), aerosol%uncertainty(nproma, nlev), source=0.0_wp)
    allocate (aerosol%flag(nproma, nlev), source=flag_fine)
    if (blend) call set_up_cells(nproma*nlev, aerosol%picked)
    if (.not. shadow) return
    aerosol%gas_shadow = aerosol%gas
    aerosol%mass_shadow = aerosol%mass
    aerosol%number_shadow = aerosol%number
    aerosol%wet_shadow = aerosol%wet_radius
    aerosol%dry_shadow = aerosol%dry_radius
    aerosol%density_shadow = aerosol%density
    aerosol%water_shadow = aerosol%water
  end subroutine set_up_aerosol

  pure subroutine set_up_cells(n, cells)
    integer, intent(in) :: n
    type(cells_type), intent(out) :: cells

    allocate (cells%column(n), cells%level(n), source=0)
    allocate (cells%pressure(n, 1), cells%temperature(n, 1), cells%relative_humidity(n, 1), &
      cells%cloud_fraction(n, 1), cells%production(n, 1), cells%gas(n, 1), source=0.0_wp)
    allocate (cells%mass(n, 1, n_mass), cells%number(n, 1, n_mode), source=0.0_wp)
    allocate (cells%wet_radius(n, 1, n_mode), cells%dry_radius(n, 1, n_soluble), source=0.0_wp)
    allocate (cells%density(n, 1, n_mode), cells%water(n, 1, n_soluble), source=0.0_wp)
  end subroutine set_up_cells

  subroutine call_microphysics(slot, kproma, kbdim, klev, timestep, air, before, tendency, &
    aerosol, entry, squares, recorder, block, first, step, tally, histogram, ticks, shadow_ticks, &
    status)
    !! Take a block through the scheme in the slot.
    type(slot_type), intent(in) :: slot
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: timestep
    !! [s]
    type(meteorology_type), intent(in) :: air
    real(wp), intent(in) :: before(kbdim, klev, n_tracer)
    !! x(t-1)
    real(wp), intent(inout) :: tendency(kbdim, klev, n_tracer)
    type(aerosol_type), intent(inout) :: aerosol
    real(wp), intent(inout) :: entry(kbdim, n_budget)
    !! Mass not conserved [kg m-2]
    real(wp), intent(inout) :: squares(kbdim, n_compared)
    !! Squared differences of tendencies, scheme and shadow, over levels
    type(recorder_type), intent(inout) :: recorder
    integer, intent(in) :: block, first, step
    !! Number of the block and of its first column on the globe, and step, for the recorder
    integer, intent(inout) :: tally(n_tally), histogram(n_bin)
    !! Cells by what became of them, and by their uncertainty; both grow
    integer(int64), intent(inout) :: ticks, shadow_ticks
    !! Time spent in the scheme itself, and in its shadow
    integer(int32), intent(out) :: status
    integer(int64) :: start
    integer :: n

    call to_m7(kproma, kbdim, klev, timestep, air, before, tendency, aerosol)
    call recorder%before(block, first, step, kproma, kbdim, klev, air%pressure, air%temperature, &
      aerosol%relative_humidity, air%cloud_fraction, aerosol%production, aerosol%gas, &
      aerosol%mass, aerosol%number)
    aerosol%gas_before(:kproma, :) = aerosol%gas(:kproma, :)
    do n = 1, n_mass
      aerosol%mass_before(:kproma, :, n) = aerosol%mass(:kproma, :, n)
    end do
    do n = 1, n_mode
      aerosol%number_before(:kproma, :, n) = aerosol%number(:kproma, :, n)
    end do

    if (allocated(slot%shadow)) then
      aerosol%gas_shadow = aerosol%gas
      aerosol%mass_shadow = aerosol%mass
      aerosol%number_shadow = aerosol%number
      start = now()
      call slot%shadow%step(kproma, kbdim, klev, timestep, air%pressure, air%temperature, &
        aerosol%relative_humidity, air%cloud_fraction, aerosol%production, aerosol%gas_shadow, &
        aerosol%mass_shadow, aerosol%number_shadow, aerosol%wet_shadow, aerosol%dry_shadow, &
        aerosol%density_shadow, aerosol%water_shadow, status)
      shadow_ticks = shadow_ticks + interval(start)
      if (status /= 0) return
    end if

    start = now()
    select type (scheme => slot%scheme)
    type is (m7emu_type)
      call scheme%advance(kproma, kbdim, klev, timestep, air%pressure, air%temperature, &
        aerosol%relative_humidity, air%cloud_fraction, aerosol%production, aerosol%gas, &
        aerosol%mass, aerosol%number, aerosol%wet_radius, aerosol%dry_radius, aerosol%density, &
        aerosol%water, status, flag=aerosol%flag, uncertainty=aerosol%uncertainty)
      if (status == 0) call count_cells(kproma, kbdim, klev, aerosol%flag, aerosol%uncertainty, &
        tally, histogram)
      if (status == 0 .and. allocated(slot%fallback)) call hand_back(slot, kproma, klev, timestep, &
        air, aerosol, tally, status)
    class default
      call scheme%step(kproma, kbdim, klev, timestep, air%pressure, air%temperature, &
        aerosol%relative_humidity, air%cloud_fraction, aerosol%production, aerosol%gas, &
        aerosol%mass, aerosol%number, aerosol%wet_radius, aerosol%dry_radius, aerosol%density, &
        aerosol%water, status)
    end select
    ticks = ticks + interval(start)
    if (status /= 0) return

    call recorder%after(block, kproma, kbdim, klev, aerosol%gas, aerosol%mass, aerosol%number, &
      aerosol%wet_radius, aerosol%dry_radius, aerosol%density, aerosol%water)
    if (allocated(slot%shadow)) call compare(kproma, kbdim, klev, timestep, aerosol, squares)
    call from_m7(kproma, kbdim, klev, timestep, air, before, tendency, aerosol, entry)
  end subroutine call_microphysics

  pure subroutine count_cells(kproma, kbdim, klev, flag, uncertainty, tally, histogram)
    integer, intent(in) :: kproma, kbdim, klev
    integer(int32), intent(in) :: flag(kbdim, klev)
    real(wp), intent(in) :: uncertainty(kbdim, klev)
    integer, intent(inout) :: tally(n_tally), histogram(n_bin)
    integer :: bin, i, k

    do k = 1, klev
      do i = 1, kproma
        bin = flag(i, k) - flag_fine + 1
        tally(bin) = tally(bin) + 1
        bin = bin_of(uncertainty(i, k))
        histogram(bin) = histogram(bin) + 1
      end do
    end do
  end subroutine count_cells

  elemental integer function bin_of(uncertainty)
    !! Place in the histogram; 0 and all that is tiny come first
    real(wp), intent(in) :: uncertainty

    bin_of = 1
    if (uncertainty > 2.0_wp**(-24)) then
      bin_of = min(int(8.0_wp*(log(min(uncertainty, 1.0e6_wp))/log(2.0_wp) + 24.0_wp)) + 1, n_bin)
    end if
  end function bin_of

  pure subroutine set_threshold(slot, share, histogram)
    !! The uncertainty that at most a share of the histogram's cells exceeds. Counts of the whole
    !! globe make it the same however the globe is divided.
    type(slot_type), intent(inout) :: slot
    real(wp), intent(in) :: share
    integer, intent(in) :: histogram(n_bin)
    integer :: above, bin

    above = 0
    do bin = n_bin, 2, -1
      above = above + histogram(bin)
      if (above > share*sum(histogram)) exit
    end do
    ! The upper edge of the first bin that is too much.
    slot%threshold = 2.0_wp**(bin/8.0_wp - 24.0_wp)
    if (bin == n_bin) slot%threshold = huge(1.0_wp)
  end subroutine set_threshold

  subroutine hand_back(slot, kproma, klev, timestep, air, aerosol, tally, status)
    !! Give the cells that the emulator does not know, or is least sure of, to M7: as they were
    !! before the step, packed, and scattered back.
    type(slot_type), intent(in) :: slot
    integer, intent(in) :: kproma, klev
    real(wp), intent(in) :: timestep
    type(meteorology_type), intent(in) :: air
    type(aerosol_type), intent(inout) :: aerosol
    integer, intent(inout) :: tally(n_tally)
    integer(int32), intent(out) :: status
    integer :: c, i, k, n
    logical :: flagged

    status = 0
    n = 0
    associate (picked => aerosol%picked)
      do k = 1, klev
        do i = 1, kproma
          flagged = aerosol%flag(i, k) >= flag_outside
          if (.not. (flagged .or. aerosol%uncertainty(i, k) > slot%threshold)) cycle
          c = merge(by_flag, by_uncertainty, flagged)
          tally(c) = tally(c) + 1
          n = n + 1
          picked%column(n) = i
          picked%level(n) = k
          picked%pressure(n, 1) = air%pressure(i, k)
          picked%temperature(n, 1) = air%temperature(i, k)
          picked%relative_humidity(n, 1) = aerosol%relative_humidity(i, k)
          picked%cloud_fraction(n, 1) = air%cloud_fraction(i, k)
          picked%production(n, 1) = aerosol%production(i, k)
          picked%gas(n, 1) = aerosol%gas_before(i, k)
          picked%mass(n, 1, :) = aerosol%mass_before(i, k, :)
          picked%number(n, 1, :) = aerosol%number_before(i, k, :)
        end do
      end do
      if (n == 0) return
      call slot%fallback%step(n, size(picked%column), 1, timestep, picked%pressure, &
        picked%temperature, picked%relative_humidity, picked%cloud_fraction, picked%production, &
        picked%gas, picked%mass, picked%number, picked%wet_radius, picked%dry_radius, &
        picked%density, picked%water, status)
      if (status /= 0) return
      do c = 1, n
        i = picked%column(c)
        k = picked%level(c)
        aerosol%gas(i, k) = picked%gas(c, 1)
        aerosol%mass(i, k, :) = picked%mass(c, 1, :)
        aerosol%number(i, k, :) = picked%number(c, 1, :)
        aerosol%wet_radius(i, k, :) = picked%wet_radius(c, 1, :)
        aerosol%dry_radius(i, k, :) = picked%dry_radius(c, 1, :)
        aerosol%density(i, k, :) = picked%density(c, 1, :)
        aerosol%water(i, k, :) = picked%water(c, 1, :)
      end do
    end associate
  end subroutine hand_back

  pure subroutine to_m7(kproma, kbdim, klev, timestep, air, before, tendency, aerosol)
    !! Masses and numbers as x(t-1) + tendency*timestep, the gas as x(t-1) with its tendency as
    !! production; negative values count as 0.
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: timestep
    type(meteorology_type), intent(in) :: air
    real(wp), intent(in) :: before(kbdim, klev, n_tracer), tendency(kbdim, klev, n_tracer)
    type(aerosol_type), intent(inout) :: aerosol
    integer :: i, k, n
    real(wp) :: clear, cover

    do k = 1, klev
      do i = 1, kproma
        cover = min(air%cloud_fraction(i, k), 1.0_wp - 1.0e-10_wp)
        clear = (air%humidity(i, k) - air%saturation(i, k)*cover)/(1.0_wp - cover)
        aerosol%relative_humidity(i, k) = min(max(clear/air%saturation(i, k), 0.0_wp), 1.0_wp)
        aerosol%gas(i, k) = max(before(i, k, h2so4), 0.0_wp)*air%density(i, k)*per_mass(h2so4)
        aerosol%production(i, k) = tendency(i, k, h2so4)*air%density(i, k)*per_mass(h2so4)
      end do
    end do
    do n = 1, n_mass
      do k = 1, klev
        do i = 1, kproma
          aerosol%mass(i, k, n) = max(before(i, k, n) + tendency(i, k, n)*timestep, 0.0_wp) &
            *air%density(i, k)*per_mass(n)
        end do
      end do
    end do
    do n = 1, n_mode
      do k = 1, klev
        do i = 1, kproma
          aerosol%number(i, k, n) = max(before(i, k, first_number + n - 1) &
            + tendency(i, k, first_number + n - 1)*timestep, 0.0_wp)*air%density(i, k)*1.0e-6_wp
        end do
      end do
    end do
  end subroutine to_m7

  pure subroutine from_m7(kproma, kbdim, klev, timestep, air, before, tendency, aerosol, entry)
    !! Back to mixing ratios, tendency = (x - x(t-1))/timestep; diagnostics to SI. What M7 leaves
    !! alone keeps its tendency to the bit.
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: timestep
    type(meteorology_type), intent(in) :: air
    real(wp), intent(in) :: before(kbdim, klev, n_tracer)
    real(wp), intent(inout) :: tendency(kbdim, klev, n_tracer)
    type(aerosol_type), intent(inout) :: aerosol
    real(wp), intent(inout) :: entry(kbdim, n_budget)
    integer :: i, k, n
    real(wp) :: amount(kbdim), change(kbdim, klev)

    do n = 1, n_mass
      do k = 1, klev
        do i = 1, kproma
          change(i, k) = (aerosol%mass(i, k, n) - aerosol%mass_before(i, k, n)) &
            /(air%density(i, k)*per_mass(n))
          if (abs(change(i, k)) <= 0.0_wp) cycle
          tendency(i, k, n) = (aerosol%mass(i, k, n)/(air%density(i, k)*per_mass(n)) &
            - before(i, k, n))/timestep
        end do
      end do
      call column_sum(kproma, kbdim, klev, air%air_mass, change, amount)
      call enter(kproma, kbdim, n, amount, entry)
    end do
    do n = 1, n_mode
      do k = 1, klev
        do i = 1, kproma
          aerosol%wet_radius(i, k, n) = 0.01_wp*aerosol%wet_radius(i, k, n)
          aerosol%density(i, k, n) = 1000.0_wp*aerosol%density(i, k, n)
          if (abs(aerosol%number(i, k, n) - aerosol%number_before(i, k, n)) <= 0.0_wp) cycle
          tendency(i, k, first_number + n - 1) = (aerosol%number(i, k, n) &
            /(air%density(i, k)*1.0e-6_wp) - before(i, k, first_number + n - 1))/timestep
        end do
      end do
    end do
    do n = 1, n_soluble
      do k = 1, klev
        do i = 1, kproma
          aerosol%dry_radius(i, k, n) = 0.01_wp*aerosol%dry_radius(i, k, n)
          aerosol%water(i, k, n) = aerosol%water(i, k, n)/air%density(i, k)
        end do
      end do
    end do
    do k = 1, klev
      do i = 1, kproma
        change(i, k) = aerosol%gas(i, k)/(air%density(i, k)*per_mass(h2so4)) &
          - (before(i, k, h2so4) + tendency(i, k, h2so4)*timestep)
        tendency(i, k, h2so4) = (aerosol%gas(i, k)/(air%density(i, k)*per_mass(h2so4)) &
          - before(i, k, h2so4))/timestep
      end do
    end do
    call column_sum(kproma, kbdim, klev, air%air_mass, change, amount)
    call enter(kproma, kbdim, h2so4, amount, entry)
  end subroutine from_m7

  pure subroutine compare(kproma, kbdim, klev, timestep, aerosol, squares)
    !! Squared differences of the tendencies, in M7's units per second.
    integer, intent(in) :: kproma, kbdim, klev
    real(wp), intent(in) :: timestep
    type(aerosol_type), intent(in) :: aerosol
    real(wp), intent(inout) :: squares(kbdim, n_compared)
    integer :: k, n

    do k = 1, klev
      squares(:kproma, 1) = squares(:kproma, 1) &
        + ((aerosol%gas_shadow(:kproma, k) - aerosol%gas(:kproma, k))/timestep)**2
      do n = 1, n_mass
        squares(:kproma, 1 + n) = squares(:kproma, 1 + n) &
          + ((aerosol%mass_shadow(:kproma, k, n) - aerosol%mass(:kproma, k, n))/timestep)**2
      end do
      do n = 1, n_mode
        squares(:kproma, 1 + n_mass + n) = squares(:kproma, 1 + n_mass + n) &
          + ((aerosol%number_shadow(:kproma, k, n) - aerosol%number(:kproma, k, n))/timestep)**2
      end do
    end do
  end subroutine compare

  elemental real(wp) function per_mass(tracer)
    !! M7's amount in a cubic metre or cm3 of 1 kg m-3: molecules cm-3 or ug m-3
    integer, intent(in) :: tracer

    if (tracer == h2so4) then
      per_mass = 1.0e-3_wp*avogadro/molar_h2so4
    else if (tracer <= so4_cs) then
      per_mass = 1.0e-3_wp*avogadro/molar_so4
    else
      per_mass = 1.0e9_wp
    end if
  end function per_mass
end module host_microphysics
