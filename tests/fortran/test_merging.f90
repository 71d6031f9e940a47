program test_merging
  !! Merging: section 15 of the contract, and the limits of its section 18.2.
  use m7_config, only: m7_config_type, profile_ham2, profile_m7_2004
  use m7_kinds, only: lanes, wp
  use m7_merging, only: merge_modes
  use m7_modes, only: as, cs, ln_sigma, lower_radius, mass_index, mass_name, &
    mode_name, n_mass, n_mode, n_soluble, n_species, ns, so4
  use m7_split, only: n_split
  use test_cells, only: defaults
  use test_support, only: near, tests_type
  implicit none (type, external)

  real(wp), parameter :: dry_density(n_species) = [1.841_wp, 2.0_wp, 2.0_wp, 2.165_wp, 2.65_wp]
  real(wp), parameter :: middle_cm(ns:as) = [1.58114e-7_wp, 1.58114e-6_wp, 1.58114e-5_wp]
  !! Section 15: count median radius of what stays, for m7_2004
  ! Mean particle volume over that of the middle radius
  real(wp), parameter :: size(10) = [0.1_wp, 0.999_wp, 1.001_wp, 1.3_wp, 3.0_wp, 20.0_wp, &
    300.0_wp, 3.0e3_wp, 1.0e4_wp, 1.0e5_wp]

  type(tests_type) :: tests
  type(m7_config_type) :: config
  real(wp) :: dry_radius(lanes, n_soluble), mass(lanes, n_mass), moved(lanes, n_split)
  real(wp) :: number(lanes, n_mode)
  integer :: i, profile

  do profile = profile_m7_2004, profile_ham2
    config = defaults(profile)
    do i = 1, 10
      call check_size(size(i))
    end do
    call check_few()
  end do
  call tests%finish()

contains

  real(wp) function middle_volume(k)
    !! Of a mean particle of mode k at its middle radius [cm3]
    integer, intent(in) :: k

    middle_volume = 4.0_wp*config%pi/3.0_wp*(sqrt(lower_radius(k)*lower_radius(k + 1)) &
      *exp(1.5_wp*ln_sigma(k)**2))**3
  end function middle_volume

  real(wp) function volume(species, k)
    !! Of a species in a mode [cm3 cm-3]
    integer, intent(in) :: species, k

    volume = 0.0_wp
    if (mass_index(species, k) == 0) return
    volume = mass(lanes, mass_index(species, k))*per_volume(species)
  end function volume

  real(wp) function per_volume(species)
    !! Volume that one unit of mass fills.
    integer, intent(in) :: species

    per_volume = 1.0e-12_wp/dry_density(species)
    if (species == so4) per_volume = 98.0734_wp/config%avogadro/dry_density(so4)
  end function per_volume

  real(wp) function mode_volume(k)
    integer, intent(in) :: k
    integer :: species

    mode_volume = sum([(volume(species, k), species=1, n_species)])
  end function mode_volume

  subroutine measure()
    !! Dry count median radii.
    integer :: k

    dry_radius = 0.0_wp
    do k = ns, as
      if (number(lanes, k) > 0.0_wp) dry_radius(:, k) = exp(-1.5_wp*ln_sigma(k)**2) &
        *(0.75_wp/config%pi*mode_volume(k)/number(lanes, k))**(1.0_wp/3.0_wp)
    end do
  end subroutine measure

  subroutine prepare(size)
    !! NS, KS and AS of `size` times their middle volume per particle, of all their species.
    real(wp), intent(in) :: size
    integer :: k, species, index

    mass = 0.0_wp
    do k = ns, cs
      number(:, k) = 1.0e3_wp/k
      do species = 1, n_species
        index = mass_index(species, k)
        if (index > 0) mass(:, index) = real(species, wp)/per_volume(species)
      end do
      if (k < cs) mass(:, pack(mass_index(:, k), mass_index(:, k) > 0)) = &
        mass(:, pack(mass_index(:, k), mass_index(:, k) > 0)) &
        *(size*middle_volume(k)*number(lanes, k)/mode_volume(k))
    end do
    number(:, cs + 1:) = 0.0_wp
    call measure()
    moved = 0.0_wp
  end subroutine prepare

  subroutine kept(k, mass_share, number_share)
    !! What stays of mode k, as the contract has it.
    integer, intent(in) :: k
    real(wp), intent(out) :: mass_share, number_share
    real(wp) :: away, below, edge, gone, least, middle, stay, total

    mass_share = 1.0_wp
    number_share = 1.0_wp
    total = mode_volume(k)
    middle = middle_volume(k)
    if (total/number(lanes, k) <= middle) return
    below = 0.5_wp*erfc(-log(lower_radius(k + 1)/dry_radius(lanes, k))/ln_sigma(k)/sqrt(2.0_wp))
    if (below < epsilon(1.0_wp)) below = 0.0_wp
    if (config%profile == profile_ham2) then
      if (dry_radius(lanes, k) > 10.0_wp*lower_radius(k + 1)) below = 0.0_wp
    end if
    stay = below*number(lanes, k)*middle
    gone = (1.0_wp - below)*number(lanes, k)
    away = (total - stay)/gone
    mass_share = stay/total
    number_share = below
    least = 4.0_wp*config%pi/3.0_wp*lower_radius(k + 1)**3
    if (config%profile == profile_m7_2004) then
      edge = least*exp(4.5_wp*ln_sigma(k)**2)
      if (away >= edge) return
      gone = gone/(1.0_wp + (edge - away)/(away - middle))
      mass_share = 1.0_wp - gone*edge/total
      number_share = 1.0_wp - gone/number(lanes, k)
    else if (away < least) then
      number_share = 1.0_wp - (total - stay)/least/number(lanes, k)
    end if
  end subroutine kept

  subroutine check_size(size)
    !! All three at once: each moves from what was there before.
    real(wp), intent(in) :: size
    integer :: from, k, species, to
    logical :: good
    real(wp) :: mass_after(n_mass), mass_before(n_mass), mass_share(ns:as)
    real(wp) :: number_after(n_mode), number_before(n_mode), number_share(ns:as)

    call prepare(size)
    do k = ns, as
      call kept(k, mass_share(k), number_share(k))
    end do
    mass_before = mass(lanes, :)
    number_before = number(lanes, :)
    call merge_modes(config, dry_radius, mass, number, moved)
    number_after = number_before
    mass_after = mass_before
    do k = as, ns, -1
      number_after(k + 1) = number_after(k + 1) + (1.0_wp - number_share(k))*number_before(k)
      number_after(k) = number_share(k)*number_before(k)
      do species = 1, n_species
        from = mass_index(species, k)
        to = mass_index(species, k + 1)
        if (from == 0) cycle
        mass_after(to) = mass_after(to) + (1.0_wp - mass_share(k))*mass_before(from)
        mass_after(from) = mass_share(k)*mass_before(from)
      end do
    end do
    do k = ns, cs
      call tests%close('number of '//mode_name(k), number(lanes, k), number_after(k), 1.0e-12_wp)
    end do
    do k = 1, n_mass
      call tests%close('mass of '//mass_name(k), mass(lanes, k), mass_after(k), 1.0e-12_wp)
    end do
    do species = 1, n_species
      good = near(sum(mass(lanes, pack(mass_index(species, :), mass_index(species, :) > 0))), &
        sum(mass_before(pack(mass_index(species, :), mass_index(species, :) > 0))), 1.0e-15_wp)
      call tests%that('conserved', good)
    end do
    call tests%close('numbers conserved', sum(number(lanes, :)), sum(number_before), 1.0e-15_wp)
    do k = ns, as
      call check_alone(k, size)
    end do
  end subroutine check_size

  subroutine check_alone(k, size)
    !! Of mode k alone particles of the middle radius stay in m7_2004, no larger ones in ham2; and a
    !! second merging finds nothing to do.
    integer, intent(in) :: k
    real(wp), intent(in) :: size
    integer :: j
    real(wp) :: once

    call prepare(size)
    do j = ns, cs
      if (j == k) cycle
      number(:, j) = 0.0_wp
      mass(:, pack(mass_index(:, j), mass_index(:, j) > 0)) = 0.0_wp
    end do
    call measure()
    call merge_modes(config, dry_radius, mass, number, moved)
    if (.not. number(lanes, k) > 1.0e-10_wp) return
    call measure()
    if (size < 1.0_wp) then
      call tests%that('too small to merge', number(lanes, k + 1) <= 0.0_wp)
    else if (config%profile == profile_m7_2004) then
      call tests%close('middle radius of '//mode_name(k), dry_radius(lanes, k), middle_cm(k), &
        4.0e-6_wp)
    else
      call tests%that('middle radius of '//mode_name(k)//' at most', &
        dry_radius(lanes, k) <= middle_cm(k)*(1.0_wp + 4.0e-6_wp))
    end if
    ! In ham2 round-off decides whether a mode at its very middle radius merges again.
    if (config%profile == profile_ham2 .and. size > 1.0_wp &
      .and. mode_volume(k) > (1.0_wp - 1.0e-9_wp)*middle_volume(k)*number(lanes, k)) return
    once = number(lanes, k)
    call merge_modes(config, dry_radius, mass, number, moved)
    call tests%that('merged once and for all', near(number(lanes, k), once, 1.0e-9_wp))
  end subroutine check_alone

  subroutine check_few()
    !! Hardly any particles, or none that are sized, stay.
    call prepare(100.0_wp)
    number = 1.0e-17_wp
    call merge_modes(config, dry_radius, mass, number, moved)
    call tests%that('hardly any particles', all(abs(moved) <= 0.0_wp))
    call prepare(100.0_wp)
    dry_radius = 0.0_wp
    call merge_modes(config, dry_radius, mass, number, moved)
    call tests%that('no size', all(abs(moved) <= 0.0_wp))
    call prepare(100.0_wp)
    mass = 0.0_wp
    call merge_modes(config, dry_radius, mass, number, moved)
    call tests%that('no mass', all(abs(moved) <= 0.0_wp))
  end subroutine check_few
end program test_merging
