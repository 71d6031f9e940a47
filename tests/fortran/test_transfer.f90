program test_transfer
  !! What coagulation does to a cell: the table of section 11 of the contract, its section 13, and
  !! the sulfate that condenses on insoluble particles (14).
  use m7_coagulation, only: n_pair, pair_index
  use m7_config, only: m7_config_type, profile_ham2, profile_m7_2004
  use m7_kinds, only: lanes, wp
  use m7_modes, only: ai, as, ci, cs, ki, ks, mass_index, mode_name, n_mass, n_mode, n_species, &
    ns, so4_as, so4_cs, so4_ks, so4_ns
  use m7_split, only: condensed, n_split, nucleated_num, nucleated_so4
  use m7_transfer, only: coagulate_and_age
  use test_cells, only: defaults
  use test_support, only: near, tests_type
  implicit none (type, external)

  real(wp), parameter :: timestep = 1800.0_wp, rate = 2.0e-6_wp
  type(tests_type) :: tests
  type(m7_config_type) :: config
  real(wp) :: kernel(lanes, n_pair), mass(lanes, n_mass), moved(lanes, n_split)
  real(wp) :: number(lanes, n_mode), radius(lanes, n_mode)
  real(wp) :: mass_before(n_mass), number_before(n_mode)
  integer :: i, profile

  number_before = [(100.0_wp - 7.0_wp*i, i=1, n_mode)]
  mass_before = [(3.0_wp + 0.5_wp*i, i=1, n_mass)]
  do profile = profile_m7_2004, profile_ham2
    config = defaults(profile)
    call check_route(ns, ks, ks)
    call check_route(ns, as, as)
    call check_route(ns, cs, cs)
    call check_route(ns, ki, ks)
    call check_route(ns, ai, as)
    call check_route(ns, ci, cs)
    call check_route(ks, as, as)
    call check_route(ks, cs, cs)
    call check_route(ks, ai, as)
    call check_route(ks, ci, cs)
    call check_route(ki, ks, ks)
    call check_route(ki, as, as)
    call check_self(ns)
    call check_self(ks)
    call check_self(as)
    call check_self(ki)
    call check_sources()
    call check_conservation()
    call check_residue()
  end do
  call tests%finish()

contains

  subroutine prepare()
    !! All modes populated; insoluble particles without a size, so that nothing ages.
    number = spread(number_before, 1, lanes)
    mass = spread(mass_before, 1, lanes)
    radius = 0.0_wp
    kernel = 0.0_wp
    moved = 0.0_wp
  end subroutine prepare

  subroutine check_route(donor, partner, target)
    !! Only these two modes collide: the donor loses particles, the target gains their mass.
    integer, intent(in) :: donor, partner, target
    integer :: from, species, to
    real(wp) :: lost, mass_after(n_mass), number_after(n_mode)

    call prepare()
    kernel(:, pair_index(donor, partner)) = rate
    call coagulate_and_age(config, timestep, kernel, radius, mass, number, moved)
    lost = 1.0_wp - exp(-rate*number_before(partner)*timestep)
    number_after = number_before
    number_after(donor) = (1.0_wp - lost)*number_before(donor)
    mass_after = mass_before
    do species = 1, n_species
      from = mass_index(species, donor)
      to = mass_index(species, target)
      if (from == 0) cycle
      mass_after(from) = (1.0_wp - lost)*mass_before(from)
      mass_after(to) = mass_before(to) + lost*mass_before(from)
    end do
    call tests%that(mode_name(donor)//' and '//mode_name(partner)//': numbers', &
      all(near(number(lanes, :), number_after, 1.0e-14_wp)))
    call tests%that(mode_name(donor)//' and '//mode_name(partner)//': masses', &
      all(near(mass(lanes, :), mass_after, 1.0e-14_wp)))
  end subroutine check_route

  subroutine check_self(mode)
    !! Particles of one mode collide: half the kernel counts, mass stays.
    integer, intent(in) :: mode
    real(wp) :: number_after(n_mode)

    call prepare()
    kernel(:, pair_index(mode, mode)) = rate
    call coagulate_and_age(config, timestep, kernel, radius, mass, number, moved)
    number_after = number_before
    number_after(mode) = number_before(mode)/(1.0_wp + 0.5_wp*rate*number_before(mode)*timestep)
    call tests%that(mode_name(mode)//' with itself: numbers', &
      all(near(number(lanes, :), number_after, 1.0e-14_wp)))
    call tests%that(mode_name(mode)//' with itself: masses', &
      all(near(mass(lanes, :), mass_before, 1.0e-15_wp)))
  end subroutine check_self

  subroutine check_sources()
    !! New particles, and the sulfate on insoluble ones that joins their soluble partners though
    !! nothing ages.
    real(wp) :: mass_after(n_mass), number_after(n_mode)

    call prepare()
    moved(:, nucleated_num) = 5.0_wp
    moved(:, nucleated_so4) = 11.0_wp
    moved(:, condensed + ki) = 0.1_wp
    moved(:, condensed + ai) = 0.2_wp
    moved(:, condensed + ci) = 0.3_wp
    call coagulate_and_age(config, timestep, kernel, radius, mass, number, moved)
    number_after = number_before
    number_after(ns) = number_before(ns) + 5.0_wp
    mass_after = mass_before
    mass_after(so4_ns) = mass_before(so4_ns) + 11.0_wp
    mass_after(so4_ks) = mass_before(so4_ks) + 0.1_wp
    mass_after(so4_as) = mass_before(so4_as) + 0.2_wp
    mass_after(so4_cs) = mass_before(so4_cs) + 0.3_wp
    call tests%that('new particles', all(near(number(lanes, :), number_after, 1.0e-15_wp)))
    call tests%that('new and condensed sulfate', all(near(mass(lanes, :), mass_after, 1.0e-15_wp)))
  end subroutine check_sources

  subroutine check_conservation()
    !! All collide and age: every species stays what it was, and nothing falls below 0.
    integer :: i, j, species
    real(wp) :: after, before

    do i = -12, 0
      call prepare()
      do j = 1, n_pair
        kernel(:, j) = 10.0_wp**i*(1.0_wp + 0.3_wp*j)
      end do
      radius = 1.0e-9_wp
      moved(:, condensed + 1:condensed + n_mode) = 1.0_wp
      call coagulate_and_age(config, timestep, kernel, radius, mass, number, moved)
      call tests%that('nothing negative', all(mass >= 0.0_wp) .and. all(number >= 0.0_wp))
      do species = 1, n_species
        before = sum(mass_before(pack(mass_index(species, :), mass_index(species, :) > 0)))
        ! What condensed on soluble modes is in their mass already.
        if (species == 1) before = before + 3.0_wp
        after = sum(mass(lanes, pack(mass_index(species, :), mass_index(species, :) > 0)))
        call tests%close('conserved', after, before, 1.0e-15_wp)
      end do
    end do
  end subroutine check_conservation

  subroutine check_residue()
    !! Particles that have all but gone leave their mass behind: neither may be divided by the other
    !! without care. Insoluble ones age on what condenses, as if there were no such residue.
    real(wp) :: clean_mass(lanes, n_mass), clean_number(lanes, n_mode)
    integer :: k

    do k = 1, 2
      call prepare()
      kernel = rate
      radius = 1.0e-6_wp
      number(:, ns:ks) = merge(1.0e-310_wp, 0.0_wp, k == 1)
      mass(:, so4_ns:so4_ks) = 1.0_wp
      moved(:, condensed + ki:condensed + ci) = 1.0e5_wp
      call coagulate_and_age(config, timestep, kernel, radius, mass, number, moved)
      if (k == 1) clean_mass = mass
      if (k == 1) clean_number = number
    end do
    call tests%that('residues: numbers', all(abs(number - clean_number) <= 1.0e-300_wp))
    call tests%that('residues: masses', all(abs(mass - clean_mass) <= 1.0e-15_wp*mass))
  end subroutine check_residue
end program test_transfer
