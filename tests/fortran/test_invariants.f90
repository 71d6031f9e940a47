program test_invariants
  !! Section 18.1 of the contract: closure, signs and bounds, for random cells over a day of steps
  !! and for cells at the end of what there is on Earth.
  use m7_config, only: m7_config_type, nucleation_none, organic_kinetic, profile_ham2, &
    profile_m7_2004, water_kappa
  use m7_kinds, only: wp
  use m7_modes, only: ai, bc_ki, ci, cs, du_ai, du_ci, ki, mass_index, mass_name, n_soluble, &
    n_species, so4, species_name, ss_as
  use m7_split, only: collided, merged_ss_as, n_route, nucleated_num, nucleated_so4, &
    self_collided_ki, self_collided_ns
  use m7_step, only: m7_ok
  use test_cells, only: cells_type, cloud, defaults, density_1, dry_1, gas, mass_1, &
    number_1, pressure, production, random_cells, water_1, wet_1
  use test_support, only: same_bits, tests_type
  implicit none (type, external)

  real(wp), parameter :: hour = 3600.0_wp
  type(tests_type) :: tests
  type(m7_config_type) :: config
  type(cells_type) :: before, cells
  integer :: i, variant

  do variant = 1, 5
    config = defaults(merge(profile_m7_2004, profile_ham2, variant <= 2))
    if (variant == 2) config%nucleation = nucleation_none
    if (variant == 2 .or. variant >= 4) config%water = water_kappa
    if (variant == 5) config%organic_nucleation = organic_kinetic
    cells = random_cells(400)
    do i = 1, 24
      call take(0.5_wp*hour)
      call check_bounds()
      call check_closure()
      call check_direction()
      if (config%profile == profile_m7_2004) call check_euler()
    end do
    call check_off(config)
    call check_nothing()
    call check_coating()
    cells = extreme_cells()
    do i = 1, 3
      call take(hour)
      call check_bounds()
      call check_closure()
    end do
  end do
  call tests%finish()

contains

  subroutine take(timestep)
    real(wp), intent(in) :: timestep

    before = cells
    call cells%advance(config, timestep)
    call tests%that('the step is taken', cells%status == m7_ok)
    call tests%that('no negative input', all(cells%negatives == 0))
    before%environment(:, :, production) = timestep*before%environment(:, :, production)
  end subroutine take

  subroutine check_bounds()
    integer :: k

    call tests%that('state from 0 to finite', &
      all(cells%state >= 0.0_wp .and. cells%state <= huge(1.0_wp)))
    associate (sizes => cells%diagnostic(:, :, :water_1 - 1))
      call tests%that('sizes and densities from 0 to finite', &
        all(sizes >= 0.0_wp .and. sizes <= huge(1.0_wp)))
    end associate
    associate (density => cells%diagnostic(:, :, density_1:water_1 - 1))
      call tests%that('densities of water to dust', all(density <= 0.0_wp .or. &
        (density > 0.999999_wp .and. density < 2.650001_wp)))
    end associate
    do k = 1, n_soluble
      ! The fit of section 8.1 leaves less than no water to fewer molecules per particle than 5.
      associate (water => cells%diagnostic(:, :, water_1 + k - 1), &
        number => cells%state(:, :, number_1 + k - 1))
        call tests%that('water from 0 to finite', all(abs(water) <= huge(1.0_wp)) .and. &
          all(water >= 0.0_wp .or. of(cells, k) < 5.0_wp*number .or. number <= config%number_min))
      end associate
      if (config%water /= water_kappa) cycle
      call tests%that('water swells', all(cells%diagnostic(:, :, wet_1 + k - 1) &
        >= cells%diagnostic(:, :, dry_1 + k - 1)))
    end do
  end subroutine check_bounds

  subroutine check_closure()
    !! No species is made or lost.
    integer :: k, species
    real(wp), dimension(size(cells%state, 1), 1) :: new, old

    do species = 1, n_species
      old = 0.0_wp
      if (species == so4) old = before%state(:, :, gas) + before%environment(:, :, production)
      new = 0.0_wp
      if (species == so4) new = cells%state(:, :, gas)
      do k = 1, cs + 3
        if (mass_index(species, k) == 0) cycle
        old = old + before%state(:, :, mass_1 + mass_index(species, k) - 1)
        new = new + cells%state(:, :, mass_1 + mass_index(species, k) - 1)
      end do
      call tests%that('closure of '//trim(species_name(species)), &
        all(abs(new - old) <= 1.0e-14_wp*old))
    end do
  end subroutine check_closure

  subroutine check_direction()
    !! Dust ages, sea salt merges, never back; particles are formed by nucleation alone.
    real(wp), dimension(size(cells%state, 1), 1) :: lost, new, old

    call tests%that('no new insoluble dust', &
      all(of(cells, du_ai) <= of(before, du_ai)) .and. all(of(cells, du_ci) <= of(before, du_ci)))
    call tests%that(mass_name(ss_as)//' only merges', all(same_bits(of(cells, ss_as), &
      of(before, ss_as)) .or. cells%split(:, :, merged_ss_as) > 0.0_wp))
    old = sum(before%state(:, :, number_1:), dim=3) + cells%split(:, :, nucleated_num)
    new = sum(cells%state(:, :, number_1:), dim=3)
    lost = sum(cells%split(:, :, collided + 1:collided + n_route), dim=3) &
      + sum(cells%split(:, :, self_collided_ns:self_collided_ki), dim=3)
    call tests%that('number', all(abs(new - (old - lost)) <= 1.0e-14_wp*old))
  end subroutine check_direction

  function of(cells, mass)
    type(cells_type), intent(in) :: cells
    integer, intent(in) :: mass
    real(wp) :: of(size(cells%state, 1), 1)

    of = cells%state(:, :, mass_1 + mass - 1)
  end function of

  subroutine check_euler()
    !! m7_2004 condenses at most 95 %.
    real(wp) :: least(size(cells%state, 1), 1)

    least = 0.05_wp*(before%state(:, :, gas) + before%environment(:, :, production))
    call tests%that('5 % of the gas is left', all(cells%state(:, :, gas) &
      >= (1.0_wp - 1.0e-14_wp)*least .or. cells%split(:, :, nucleated_so4) > 0.0_wp))
  end subroutine check_euler

  subroutine check_off(config)
    !! Without processes nothing changes but what production adds to the gas.
    type(m7_config_type), intent(in) :: config
    type(m7_config_type) :: idle
    type(cells_type) :: before

    idle = config
    idle%condensation = .false.
    idle%coagulation = .false.
    idle%nucleation = nucleation_none
    idle%organic_nucleation = 0
    before = random_cells(100)
    cells = before
    call cells%advance(idle, hour)
    call tests%that('masses and numbers stay', &
      all(same_bits(cells%state(:, :, mass_1:), before%state(:, :, mass_1:))))
    call tests%that('gas is produced', all(same_bits(cells%state(:, :, gas), &
      before%state(:, :, gas) + hour*before%environment(:, :, production))))
  end subroutine check_off

  subroutine check_nothing()
    !! Of nothing comes nothing, in any air; ham2 takes gas below the range of the nucleation fit as
    !! at its edge, but there is none to take.
    cells = random_cells(100)
    cells%state = 0.0_wp
    cells%environment(:, :, production) = 0.0_wp
    call cells%advance(config, hour)
    call tests%that('nothing stays nothing', all(same_bits(cells%state, 0.0_wp)))
    call tests%that('and has no water', all(same_bits(cells%diagnostic(:, :, water_1:), 0.0_wp)))
  end subroutine check_nothing

  subroutine check_coating()
    !! Enough gas empties the insoluble modes in one step. KI may leave the mass of particles that
    !! have collided with each other.
    cells = random_cells(10)
    cells%environment(:, :, cloud) = 0.0_wp
    cells%state(:, :, gas) = 1.0e12_wp
    cells%state(:, :, mass_1:) = 0.0_wp
    cells%state(:, :, number_1 + ki - 1) = 10.0_wp
    cells%state(:, :, mass_1 + bc_ki - 1) = 1.0e-3_wp
    cells%state(:, :, number_1 + ai - 1) = 5.0_wp
    cells%state(:, :, mass_1 + du_ai - 1) = 1.0_wp
    cells%state(:, :, number_1 + ci - 1) = 1.0_wp
    cells%state(:, :, mass_1 + du_ci - 1) = 10.0_wp
    call take(hour)
    call tests%that('all particles are coated', &
      all(same_bits(cells%state(:, :, number_1 + ki - 1:), 0.0_wp)))
    call tests%that('all dust is', all(same_bits(of(cells, du_ai), 0.0_wp)) &
      .and. all(same_bits(of(cells, du_ci), 0.0_wp)))
    call check_closure()
  end subroutine check_coating

  function extreme_cells() result(cells)
    !! The ends of pressure, temperature, humidity, cloud, gas and production, with particles from
    !! none to far too many, too small, too large, without mass or without number.
    type(cells_type) :: cells
    real(wp), parameter :: ends(2, 4) = reshape([1.0_wp, 1.1e5_wp, 150.0_wp, 350.0_wp, &
      0.0_wp, 1.0_wp, 0.0_wp, 1.0_wp], [2, 4])
    !! Of pressure, temperature, humidity, cloud
    real(wp), parameter :: gases(3) = [0.0_wp, 1.0_wp, 1.0e12_wp]
    real(wp), parameter :: productions(2) = [0.0_wp, 1.0e9_wp]
    real(wp), parameter :: numbers(7) = &
      [0.0_wp, 1.0e12_wp, 0.0_wp, 1.0e12_wp, 1.0e-310_wp, 1.0e-12_wp, 1.0e12_wp]
    real(wp), parameter :: masses(7) = &
      [0.0_wp, 0.0_wp, 1.0e6_wp, 1.0e6_wp, 1.0e-7_wp, 1.0e3_wp, 1.0e-20_wp]
    integer :: air, g, i, k, p

    cells = random_cells(16*size(gases)*size(productions)*size(numbers))
    i = 0
    do k = 1, size(numbers)
      do p = 1, size(productions)
        do g = 1, size(gases)
          do air = 0, 15
            i = i + 1
            cells%environment(i, 1, pressure:cloud) = &
              merge(ends(2, :), ends(1, :), btest(air, [0, 1, 2, 3]))
            cells%environment(i, 1, production) = productions(p)
            cells%state(i, 1, gas) = gases(g)
            cells%state(i, 1, mass_1:mass_1 + cs - 1) = 1.0e10_wp*masses(k)
            cells%state(i, 1, mass_1 + cs:number_1 - 1) = masses(k)
            cells%state(i, 1, number_1:) = numbers(k)
          end do
        end do
      end do
    end do
  end function extreme_cells
end program test_invariants
