module m7_properties
  !! Mean particles of the modes and their sizes, dry and wet: sections 7 and 8 of the contract.
  use m7_config, only: m7_config_type, profile_m7_2004, water_kappa
  use m7_kappa, only: growth_factor
  use m7_kinds, only: lanes, wp
  use m7_math, only: cube_root
  use m7_modes, only: as, bc, ci, cs, du, ki, lower_radius, mass_index, mean_to_median, n_mass, &
    n_mode, n_soluble, ns, so4, so4_ns, ss
  use m7_water, only: molar_mass_h2so4, n_salt, n_solution, sea_salt_dry, sea_salt_wet, &
    sulfuric_solution
  implicit none (type, external)
  private
  public :: dry_particles, dry_radii, particle_properties

  real(wp), parameter :: gram = 1.0e-12_wp
  !! From ug m-3 per cm-3 to g per particle
  real(wp), parameter :: least_core = 1.0e-21_wp
  !! Mass per particle below which a core is none [g]
  real(wp), parameter :: least_salt = 1.0e-15_wp, least_salt_number = 1.0e-10_wp
  !! Sea salt and number above which a mode is treated as sea salt [ug m-3, cm-3]
  real(wp), parameter :: least_radius = 1.0e-8_wp
  !! Dry radius below which kappa-Koehler leaves a particle dry [cm]
  real(wp), parameter :: molar_mass_so4_kappa = 96.0631_wp
  !! Molar mass that HAM's kappa routine gives to sulfate [g mol-1]
  real(wp), parameter :: dust_min = 1.0e-32_wp
  !! Dust per particle below which m7_2004 gives AI and CI no radius [g]
  real(wp), parameter :: quirk_volume = 2.2e-16_wp
  !! Particle volume below which the old code took an insoluble particle for none [cm3]

contains

  pure subroutine particle_properties(config, temperature, relative_humidity, solution, mass, &
    number, virtual, wet_radius, dry_radius, density, water)
    !! Count median radii, densities and water of all modes.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: temperature(lanes), relative_humidity(lanes)
    !! K, 1
    real(wp), intent(in) :: solution(lanes, n_solution)
    !! From solution_terms
    real(wp), intent(in) :: mass(lanes, n_mass), number(lanes, n_mode)
    !! molecules cm-3 and ug m-3, cm-3
    real(wp), intent(inout) :: virtual(lanes)
    !! Molecules per NS particle, kept for the next evaluation within the step [1]
    real(wp), intent(out) :: wet_radius(lanes, n_mode), dry_radius(lanes, n_soluble)
    !! [cm]
    real(wp), intent(out) :: density(lanes, n_mode)
    !! [g cm-3]
    real(wp), intent(out) :: water(lanes, n_soluble)
    !! [kg m-3]
    real(wp) :: core_mass(lanes, n_soluble), core_volume(lanes, n_soluble)
    real(wp) :: dry_volume(lanes, n_soluble), molecules(lanes, n_soluble)
    integer :: k

    call dry_particles(config, cs, mass, number, virtual, molecules, core_mass, core_volume, &
      dry_volume)
    call dry_radii(config, cs, dry_volume, dry_radius)
    do k = ns, cs
      if (config%water == water_kappa) then
        call wet_by_kappa(config, k, temperature, relative_humidity, mass, number(:, k), &
          molecules(:, k), core_mass(:, k), dry_volume(:, k), dry_radius(:, k), &
          wet_radius(:, k), density(:, k), water(:, k))
      else
        call wet_sulfate(config, k, solution, number(:, k), molecules(:, k), core_mass(:, k), &
          core_volume(:, k), dry_volume(:, k), wet_radius(:, k), density(:, k), water(:, k))
        if (k < as) cycle
        call wet_sea_salt(config, k, relative_humidity, solution, mass, number, &
          wet_radius(:, k), density(:, k), water(:, k))
      end if
    end do
    call insoluble_particles(config, mass, number, wet_radius, density)
  end subroutine particle_properties

  pure subroutine dry_particles(config, last, mass, number, virtual, molecules, core_mass, &
    core_volume, dry_volume)
    !! Mean dry particle of the soluble modes NS to `last`; volume 0 where a mode has no size.
    type(m7_config_type), intent(in) :: config
    integer, intent(in) :: last
    real(wp), intent(in) :: mass(lanes, n_mass), number(lanes, n_mode)
    real(wp), intent(inout) :: virtual(lanes)
    real(wp), intent(out) :: molecules(lanes, n_soluble)
    !! H2SO4 molecules per particle [1]
    real(wp), intent(out) :: core_mass(lanes, n_soluble), core_volume(lanes, n_soluble)
    !! BC, OC and DU (and, for kappa-Koehler, SS) per particle [g, cm3]
    real(wp), intent(out) :: dry_volume(lanes, n_soluble)
    !! [cm3]
    integer :: i, index, k, species
    real(wp) :: ions(lanes, n_salt), least, least_acid, sulfate_volume, volume
    real(wp), dimension(lanes) :: each, salt, salt_mass, salt_volume

    sulfate_volume = merge(molar_mass_so4_kappa, molar_mass_h2so4, config%water == water_kappa) &
      /config%avogadro/config%density(so4)
    least_acid = merge(-1.0_wp, 0.0_wp, config%sulfate_free_radius .or. config%water == water_kappa)
    least = merge(-1.0_wp, least_core, config%water == water_kappa)
    do k = ns, last
      call mean_mass(config, mass(:, mass_index(so4, k)), number(:, k), molecules(:, k))
      core_mass(:, k) = 0.0_wp
      core_volume(:, k) = 0.0_wp
      do species = bc, du
        index = mass_index(species, k)
        if (index == 0 .or. (species == ss .and. config%water /= water_kappa)) cycle
        call mean_mass(config, mass(:, index), number(:, k), each)
        do i = 1, lanes
          core_mass(i, k) = core_mass(i, k) + gram*each(i)
          core_volume(i, k) = core_volume(i, k) + (gram/config%density(species))*each(i)
        end do
      end do
      if (k == ns) call virtual_particle(config, mass(:, so4_ns), number(:, ns), virtual, &
        molecules(:, ns))
      do i = 1, lanes
        core_volume(i, k) = merge(core_volume(i, k), 0.0_wp, core_mass(i, k) > least)
        core_mass(i, k) = merge(core_mass(i, k), 0.0_wp, core_mass(i, k) > least)
        volume = molecules(i, k)*sulfate_volume + core_volume(i, k)
        dry_volume(i, k) = merge(volume, 0.0_wp, molecules(i, k) > least_acid)
      end do
    end do
    if (config%water == water_kappa) return
    do k = as, last
      salt = salt_mask(mass(:, mass_index(ss, k)), number(:, k))
      if (.not. any(salt > 0.0_wp)) cycle
      call salt_particles(config, k, mass, number, ions, salt_mass, salt_volume)
      do i = 1, lanes
        volume = salt_volume(i)*1.0e-6_wp/max(number(i, k), least_salt_number)
        dry_volume(i, k) = merge(volume, dry_volume(i, k), salt(i) > 0.0_wp)
      end do
    end do
  end subroutine dry_particles

  pure subroutine mean_mass(config, mass, number, mean)
    !! Amount of a component per particle, 0 where either is below its threshold (section 7).
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: mass(lanes), number(lanes)
    !! molecules cm-3 or ug m-3, cm-3
    real(wp), intent(out) :: mean(lanes)
    integer :: i
    real(wp) :: mass_min, number_min, quotient

    number_min = config%number_min
    mass_min = config%mass_min
    do i = 1, lanes
      quotient = merge(mass(i), 0.0_wp, mass(i) > mass_min) &
        /merge(number(i), 1.0_wp, number(i) > number_min)
      mean(i) = merge(quotient, 0.0_wp, number(i) > number_min)
    end do
  end subroutine mean_mass

  pure subroutine virtual_particle(config, mass, number, virtual, molecules)
    !! Molecules per NS particle, where the mode is empty too: there m7_2004 takes 100 molecules, or
    !! what it took before in the same step if only one of number and mass is missing; ham2 takes
    !! as many as fill the mode's lower edge.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: mass(lanes), number(lanes)
    !! molecules cm-3, cm-3
    real(wp), intent(inout) :: virtual(lanes), molecules(lanes)
    !! molecules: 0 where number or mass is below its threshold
    integer :: i
    real(wp) :: edge, kept, mass_min, number_min

    number_min = config%number_min
    mass_min = config%mass_min
    edge = lower_radius(ns)**3*(4.0_wp*config%pi/3.0_wp)*config%density(so4)*config%avogadro &
      /molar_mass_h2so4
    if (config%profile == profile_m7_2004) then
      do i = 1, lanes
        kept = merge(100.0_wp, virtual(i), mass(i) <= mass_min)
        kept = merge(kept, virtual(i), number(i) <= number_min)
        virtual(i) = merge(molecules(i), kept, molecules(i) > 0.0_wp)
      end do
    else
      do i = 1, lanes
        virtual(i) = merge(molecules(i), edge, molecules(i) > 0.0_wp)
      end do
    end if
    molecules = virtual
  end subroutine virtual_particle

  pure subroutine dry_radii(config, last, dry_volume, dry_radius)
    !! Count median dry radii of NS to `last` from the volumes of their mean particles.
    type(m7_config_type), intent(in) :: config
    integer, intent(in) :: last
    real(wp), intent(in) :: dry_volume(lanes, n_soluble)
    !! [cm3]
    real(wp), intent(inout) :: dry_radius(lanes, n_soluble)
    !! [cm]
    integer :: k

    do k = ns, last
      call median_radius(config, k, dry_volume(:, k), dry_radius(:, k))
    end do
  end subroutine dry_radii

  pure subroutine median_radius(config, k, volume, radius)
    !! Count median radius of mode k from the volume of its mean particle (section 4).
    type(m7_config_type), intent(in) :: config
    integer, intent(in) :: k
    real(wp), intent(in) :: volume(lanes)
    !! [cm3]
    real(wp), intent(out) :: radius(lanes)
    !! [cm]

    call cube_root(volume*(0.75_wp/config%pi), radius)
    radius = radius*mean_to_median(k)
  end subroutine median_radius

  pure subroutine wet_sulfate(config, k, solution, number, molecules, core_mass, core_volume, &
    dry_volume, wet_radius, density, water)
    !! Sulfuric acid in water, around an insoluble core where there is one (section 8.2).
    type(m7_config_type), intent(in) :: config
    integer, intent(in) :: k
    real(wp), intent(in) :: solution(lanes, n_solution), number(lanes)
    real(wp), intent(in) :: molecules(lanes), core_mass(lanes), core_volume(lanes)
    real(wp), intent(in) :: dry_volume(lanes)
    real(wp), intent(out) :: wet_radius(lanes), density(lanes), water(lanes)
    integer :: i
    logical :: acid, sized
    real(wp) :: dissolved, droplet, floor_percent, wet_mass
    real(wp) :: percent(lanes), some(lanes), solution_density(lanes), wet_volume(lanes)

    floor_percent = merge(5.0_wp, 1.0e-3_wp, config%clip_weight_percent)
    do i = 1, lanes
      some(i) = merge(molecules(i), 1.0e3_wp, molecules(i) > 0.0_wp)
    end do
    call sulfuric_solution(solution, some, floor_percent, percent, solution_density)
    do i = 1, lanes
      acid = molecules(i) > 0.0_wp
      sized = dry_volume(i) > 0.0_wp
      dissolved = molecules(i)*(molar_mass_h2so4/config%avogadro)
      droplet = dissolved*100.0_wp/percent(i)
      wet_mass = droplet + core_mass(i)
      wet_volume(i) = merge(droplet/solution_density(i) + core_volume(i), 0.0_wp, sized)
      ! A salt particle without sulfate has a dry volume, but nothing in this solution.
      sized = wet_volume(i) > 0.0_wp
      density(i) = merge(wet_mass/merge(wet_volume(i), 1.0_wp, sized), 0.0_wp, sized)
      water(i) = merge((droplet - dissolved)*number(i)*1.0e3_wp, 0.0_wp, acid)
    end do
    call median_radius(config, k, wet_volume, wet_radius)
  end subroutine wet_sulfate

  pure subroutine wet_sea_salt(config, k, relative_humidity, solution, mass, number, wet_radius, &
    density, water)
    !! Sea salt and what is mixed with it: overrides the lanes of mode k that hold sea salt.
    type(m7_config_type), intent(in) :: config
    integer, intent(in) :: k
    real(wp), intent(in) :: relative_humidity(lanes), solution(lanes, n_solution)
    real(wp), intent(in) :: mass(lanes, n_mass), number(lanes, n_mode)
    real(wp), intent(inout) :: wet_radius(lanes), density(lanes), water(lanes)
    integer :: i
    real(wp) :: ions(lanes, n_salt), wet
    real(wp), dimension(lanes) :: radius, salt, salt_mass, salt_volume, salt_water, volume

    salt = salt_mask(mass(:, mass_index(ss, k)), number(:, k))
    if (.not. any(salt > 0.0_wp)) return
    call salt_particles(config, k, mass, number, ions, salt_mass, salt_volume)
    call sea_salt_wet(solution, relative_humidity, ions, salt_water)
    do i = 1, lanes
      volume(i) = (salt_volume(i) + salt_water(i)*1.0e3_wp)*1.0e-6_wp &
        /max(number(i, k), least_salt_number)
    end do
    call median_radius(config, k, volume, radius)
    do i = 1, lanes
      wet_radius(i) = merge(radius(i), wet_radius(i), salt(i) > 0.0_wp)
      water(i) = merge(salt_water(i), water(i), salt(i) > 0.0_wp)
      wet = merge(salt_volume(i) + salt_water(i)*1.0e3_wp, 1.0_wp, salt(i) > 0.0_wp)
      wet = (salt_mass(i) + salt_water(i)*1.0e3_wp)/wet
      density(i) = merge(wet, density(i), salt(i) > 0.0_wp)
    end do
  end subroutine wet_sea_salt

  elemental real(wp) function salt_mask(salt, number)
    !! 1 where a mode is treated as sea salt, else 0 (section 8.2).
    real(wp), intent(in) :: salt, number
    !! ug m-3, cm-3

    salt_mask = merge(1.0_wp, 0.0_wp, salt > least_salt) &
      *merge(1.0_wp, 0.0_wp, number > least_salt_number)
  end function salt_mask

  pure subroutine salt_particles(config, k, mass, number, ions, dry_mass, dry_volume)
    !! Ion pairs and dry matter of mode k per volume of air, as sea salt.
    type(m7_config_type), intent(in) :: config
    integer, intent(in) :: k
    real(wp), intent(in) :: mass(lanes, n_mass), number(lanes, n_mode)
    real(wp), intent(out) :: ions(lanes, n_salt)
    !! NaCl, Na2SO4, H2SO4 [mol m-3]
    real(wp), intent(out) :: dry_mass(lanes), dry_volume(lanes)
    !! [g m-3, cm3 m-3]
    integer :: index, j, species
    real(wp) :: core_mass(lanes), core_volume(lanes), grams(lanes)

    core_mass = 0.0_wp
    core_volume = 0.0_wp
    do j = as, k
      if (j < k .and. config%reset_seasalt_sums) cycle
      do species = bc, du
        if (species == ss) cycle
        index = mass_index(species, j)
        grams = mass(:, index)*1.0e-6_wp
        ! What the 2012 code forgot to reset: the sums of an AS mode that held sea salt.
        if (j < k) grams = grams*salt_mask(mass(:, mass_index(ss, j)), number(:, j))
        core_mass = core_mass + grams
        core_volume = core_volume + grams/config%density(species)
      end do
    end do
    call sea_salt_dry(config, mass(:, mass_index(so4, k)), mass(:, mass_index(ss, k)), core_mass, &
      core_volume, ions, dry_mass, dry_volume)
  end subroutine salt_particles

  pure subroutine wet_by_kappa(config, k, temperature, relative_humidity, mass, number, molecules, &
    core_mass, dry_volume, dry_radius, wet_radius, density, water)
    !! Growth of the whole dry particle by the volume-weighted kappa of its species (section 8.4).
    type(m7_config_type), intent(in) :: config
    integer, intent(in) :: k
    real(wp), intent(in) :: temperature(lanes), relative_humidity(lanes)
    real(wp), intent(in) :: mass(lanes, n_mass), number(lanes)
    real(wp), intent(in) :: molecules(lanes), core_mass(lanes), dry_volume(lanes)
    real(wp), intent(in) :: dry_radius(lanes)
    real(wp), intent(out) :: wet_radius(lanes), density(lanes), water(lanes)
    integer :: i, index, species
    logical :: grows
    real(wp) :: dry_mass, moist
    real(wp), dimension(lanes) :: each, growth, hygroscopic, kappa, radius

    hygroscopic = molecules*(molar_mass_so4_kappa/config%avogadro)/config%density(so4)
    kappa = config%kappa(so4)*hygroscopic
    do species = bc, du
      index = mass_index(species, k)
      if (index == 0 .or. .not. config%kappa(species) > 0.0_wp) cycle
      call mean_mass(config, mass(:, index), number, each)
      each = each*(gram/config%density(species))
      hygroscopic = hygroscopic + each
      kappa = kappa + config%kappa(species)*each
    end do
    do i = 1, lanes
      grows = hygroscopic(i) > config%hygroscopic_volume_min .and. dry_radius(i) > least_radius
      moist = merge(dry_volume(i), hygroscopic(i), config%kappa_full_volume)
      kappa(i) = merge(kappa(i)/merge(moist, 1.0_wp, grows), 0.0_wp, grows)
      radius(i) = max(dry_radius(i), least_radius)
    end do
    call growth_factor(temperature, relative_humidity, radius, kappa, growth)
    do i = 1, lanes
      grows = dry_radius(i) > least_radius
      growth(i) = merge(growth(i), 1.0_wp, grows)
      wet_radius(i) = growth(i)*dry_radius(i)
      moist = (growth(i)*growth(i)*growth(i) - 1.0_wp)*dry_volume(i)
      dry_mass = molecules(i)*(molar_mass_so4_kappa/config%avogadro) + core_mass(i)
      density(i) = (dry_mass + moist)/merge(dry_volume(i) + moist, 1.0_wp, grows)
      density(i) = merge(density(i), 1.0_wp, grows)
      water(i) = moist*number(i)*1.0e3_wp
    end do
  end subroutine wet_by_kappa

  pure subroutine insoluble_particles(config, mass, number, radius, density)
    !! Size and density of the insoluble modes, which take up no water (section 7).
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: mass(lanes, n_mass), number(lanes, n_mode)
    real(wp), intent(inout) :: radius(lanes, n_mode), density(lanes, n_mode)
    integer :: i, index, k, species
    logical :: sized
    real(wp) :: each(lanes), grams(lanes), volume(lanes), volume_min

    do k = ki, ci
      volume_min = config%insoluble_volume_min
      if (config%profile == profile_m7_2004 .and. k /= ki) volume_min = dust_min/config%density(du)
      if (.not. config%small_insoluble_volume) volume_min = quirk_volume
      grams = 0.0_wp
      volume = 0.0_wp
      do species = bc, du
        index = mass_index(species, k)
        if (index == 0) cycle
        call mean_mass(config, mass(:, index), number(:, k), each)
        grams = grams + gram*each
        volume = volume + (gram/config%density(species))*each
      end do
      do i = 1, lanes
        sized = volume(i) > volume_min
        density(i, k) = merge(grams(i)/merge(volume(i), 1.0_wp, sized), 0.0_wp, sized)
        volume(i) = merge(volume(i), 0.0_wp, sized)
      end do
      call median_radius(config, k, volume, radius(:, k))
    end do
  end subroutine insoluble_particles
end module m7_properties
