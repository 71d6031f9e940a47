module m7_transfer
  !! Coagulation of a cell over a timestep: the number equations in M7's order, the mass that goes
  !! with the particles, and the ageing that follows: sections 12 to 14 of the physics contract.
  use m7_ageing, only: age, coating
  use m7_coagulation, only: n_pair, pair_index
  use m7_config, only: m7_config_type
  use m7_kinds, only: lanes, wp
  use m7_modes, only: ai, as, bc_as, bc_cs, bc_ki, bc_ks, ci, cs, ki, ks, n_mass, n_mode, ns, &
    oc_as, oc_cs, oc_ki, oc_ks, so4_as, so4_cs, so4_ks, so4_ns
  use m7_number, only: coagulate_new_number, coagulate_number, hidden_collisions
  use m7_split, only: coagulated_so4_ns_ks, collided, condensed, ki_as, ki_ks, ks_ai, ks_as, &
    ks_ci, ks_cs, n_split, ns_ai, ns_as, ns_ci, ns_cs, ns_ki, ns_ks, nucleated_num, nucleated_so4, &
    self_collided_as, self_collided_ki, self_collided_ks, self_collided_ns
  implicit none (type, external)
  private
  public :: coagulate_and_age

  ! Mass goes with the particles of `donor` that two routes have taken, in the order of the split
  ! output from coagulated_so4_ns_ks on. Sea salt and dust stay: AS and CS lose no number to others.
  integer, parameter :: n_move = 13
  integer, parameter :: move_from(n_move) = [so4_ns, so4_ns, so4_ns, so4_ks, bc_ks, oc_ks, &
    so4_ks, bc_ks, oc_ks, bc_ki, oc_ki, bc_ki, oc_ki]
  integer, parameter :: move_to(n_move) = [so4_ks, so4_as, so4_cs, so4_as, bc_as, oc_as, &
    so4_cs, bc_cs, oc_cs, bc_ks, oc_ks, bc_as, oc_as]
  integer, parameter :: donor(n_move) = [ns, ns, ns, ks, ks, ks, ks, ks, ks, ki, ki, ki, ki]
  integer, parameter :: route_soluble(n_move) = [ns_ks, ns_as, ns_cs, ks_as, ks_as, ks_as, &
    ks_cs, ks_cs, ks_cs, ki_ks, ki_ks, ki_as, ki_as]
  integer, parameter :: route_insoluble(n_move) = [ns_ki, ns_ai, ns_ci, ks_ai, ks_ai, ks_ai, &
    ks_ci, ks_ci, ks_ci, 0, 0, 0, 0]
  integer, parameter :: n_lost = 6
  integer, parameter :: lost_from(n_lost) = [so4_ns, so4_ks, bc_ks, oc_ks, bc_ki, oc_ki]
  integer, parameter :: lost_mode(n_lost) = [ns, ks, ks, ks, ki, ki]

contains

  pure subroutine coagulate_and_age(config, timestep, kernel, radius, mass, number, moved)
    !! Rates use the numbers of the start; KI comes first, then NS, KS and AS.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep
    !! [s]
    real(wp), intent(in) :: kernel(lanes, n_pair)
    !! [cm3 s-1]
    real(wp), intent(in) :: radius(lanes, n_mode)
    !! Ambient [cm]
    real(wp), intent(inout) :: mass(lanes, n_mass), number(lanes, n_mode)
    !! With the sulfate condensed on soluble modes, without what nucleated
    real(wp), intent(inout) :: moved(lanes, n_split)
    !! Holds what condensed and nucleated
    integer :: i, j, split
    real(wp) :: amount, coat(lanes, ki:ci), old_ks, old_ns, start(lanes, n_mode)
    real(wp) :: start_mass(lanes, n_mass), stay(lanes, n_mode), sulfate(lanes, ki:ci)

    start = number
    start(:, ns) = number(:, ns) + moved(:, nucleated_num)
    mass(:, so4_ns) = mass(:, so4_ns) + moved(:, nucleated_so4)
    start_mass = mass
    call coating(config, radius, coat)
    call coagulate_ki(config, timestep, kernel, start, number, stay(:, ki), moved)
    call coagulate_ns(config, timestep, kernel, coat, mass(:, so4_ns), start, number, &
      stay(:, ns), moved)
    call coagulate_ks_as(config, timestep, kernel, start, number, stay(:, ks), moved)

    do i = 1, lanes
      ! Shares before masses: the mean mass of a residue of 1e-300 particles would overflow.
      old_ns = merge(start(i, ns), 1.0_wp, start(i, ns) > 0.0_wp)
      old_ks = merge(start(i, ks), 1.0_wp, start(i, ks) > 0.0_wp)
      sulfate(i, ki) = moved(i, condensed + ki) + moved(i, collided + ns_ki)/old_ns*mass(i, so4_ns)
      sulfate(i, ai) = moved(i, condensed + ai) &
        + moved(i, collided + ns_ai)/old_ns*mass(i, so4_ns) &
        + moved(i, collided + ks_ai)/old_ks*mass(i, so4_ks)
      sulfate(i, ci) = moved(i, condensed + ci) &
        + moved(i, collided + ns_ci)/old_ns*mass(i, so4_ns) &
        + moved(i, collided + ks_ci)/old_ks*mass(i, so4_ks)
    end do
    do j = 1, n_move
      split = coagulated_so4_ns_ks + j - 1
      do i = 1, lanes
        amount = moved(i, collided + route_soluble(j))
        if (route_insoluble(j) > 0) amount = amount + moved(i, collided + route_insoluble(j))
        moved(i, split) = start_mass(i, move_from(j)) &
          *(amount/merge(start(i, donor(j)), 1.0_wp, start(i, donor(j)) > 0.0_wp))
      end do
    end do
    do j = 1, n_lost
      do i = 1, lanes
        mass(i, lost_from(j)) = mass(i, lost_from(j))*stay(i, lost_mode(j))
      end do
    end do
    call age(config, coat, sulfate, start, start_mass, mass, number, moved)
    do j = 1, n_move
      split = coagulated_so4_ns_ks + j - 1
      do i = 1, lanes
        mass(i, move_to(j)) = mass(i, move_to(j)) + moved(i, split)
      end do
    end do
    do i = 1, lanes
      mass(i, so4_ks) = mass(i, so4_ks) + moved(i, condensed + ki)
      mass(i, so4_as) = mass(i, so4_as) + moved(i, condensed + ai)
      mass(i, so4_cs) = mass(i, so4_cs) + moved(i, condensed + ci)
    end do
  end subroutine coagulate_and_age

  pure subroutine coagulate_ki(config, timestep, kernel, start, number, stay, moved)
    !! KI loses particles to KS, to AS and to itself.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep, kernel(lanes, n_pair), start(lanes, n_mode)
    real(wp), intent(inout) :: number(lanes, n_mode)
    real(wp), intent(out) :: stay(lanes)
    !! Share of the mode's mass that stays [1]
    real(wp), intent(inout) :: moved(lanes, n_split)
    integer, parameter :: partner(2) = [ks, as], route(2) = [ki_ks, ki_as]

    call coagulate_mode(config, timestep, kernel, start, ki, partner, route, self_collided_ki, &
      number, stay, moved)
  end subroutine coagulate_ki

  pure subroutine coagulate_ks_as(config, timestep, kernel, start, number, stay, moved)
    !! KS loses particles to AS, CS, AI, CI and to itself; AS only to itself.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep, kernel(lanes, n_pair), start(lanes, n_mode)
    real(wp), intent(inout) :: number(lanes, n_mode)
    real(wp), intent(out) :: stay(lanes)
    !! Of KS; all mass of AS stays [1]
    real(wp), intent(inout) :: moved(lanes, n_split)
    integer, parameter :: partner(4) = [as, cs, ai, ci], route(4) = [ks_as, ks_cs, ks_ai, ks_ci]
    integer, parameter :: nobody(0) = [integer :: ]
    real(wp) :: all_stays(lanes)

    call coagulate_mode(config, timestep, kernel, start, ks, partner, route, self_collided_ks, &
      number, stay, moved)
    call coagulate_mode(config, timestep, kernel, start, as, nobody, nobody, self_collided_as, &
      number, all_stays, moved)
  end subroutine coagulate_ks_as

  pure subroutine coagulate_mode(config, timestep, kernel, start, k, partner, route, self, number, &
    stay, moved)
    !! Solve the number equation of mode k and share its losses among its partners.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep, kernel(lanes, n_pair), start(lanes, n_mode)
    integer, intent(in) :: k, partner(:), route(:), self
    real(wp), intent(inout) :: number(lanes, n_mode)
    real(wp), intent(out) :: stay(lanes)
    real(wp), intent(inout) :: moved(lanes, n_split)
    integer :: i, j
    real(wp) :: a(lanes), b(lanes), inter(lanes), intra(lanes), rate(lanes, n_mode)

    call loss_rates(kernel, start, k, partner, a, b, rate)
    call coagulate_number(config, timestep, start(:, k), a, b, number(:, k), inter, intra)
    do j = 1, size(partner)
      do i = 1, lanes
        moved(i, collided + route(j)) = inter(i)*rate(i, j)
      end do
    end do
    moved(:, self) = intra
    call staying_share(start(:, k), number(:, k), intra, stay)
  end subroutine coagulate_mode

  pure subroutine coagulate_ns(config, timestep, kernel, coat, sulfate, start, number, stay, moved)
    !! NS loses particles to all modes and to itself, and gains what nucleates.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep, kernel(lanes, n_pair), coat(lanes, ki:ci)
    real(wp), intent(in) :: sulfate(lanes)
    !! Of NS, nucleated included [molecules cm-3]
    real(wp), intent(in) :: start(lanes, n_mode)
    real(wp), intent(inout) :: number(lanes, n_mode)
    !! KI after its own coagulation
    real(wp), intent(out) :: stay(lanes)
    real(wp), intent(inout) :: moved(lanes, n_split)
    integer, parameter :: partner(6) = [ks, as, cs, ki, ai, ci]
    integer, parameter :: route(6) = [ns_ks, ns_as, ns_cs, ns_ki, ns_ai, ns_ci]
    integer :: i, j, k
    real(wp) :: a(lanes), b(lanes), coats(lanes), extra(lanes), insoluble(lanes), inter(lanes)
    real(wp) :: intra(lanes), old(lanes), rate(lanes, n_mode), share, soluble(lanes)

    call loss_rates(kernel, start, ns, partner, a, b, rate)
    do i = 1, lanes
      insoluble(i) = number(i, ki) + number(i, ai) + number(i, ci)
      soluble(i) = start(i, ns) + start(i, ks)
      ! NS particles whose sulfate coats one mean insoluble particle; none without sulfate.
      coats(i) = coat(i, ki)*number(i, ki) + coat(i, ai)*number(i, ai) + coat(i, ci)*number(i, ci)
      coats(i) = coats(i)/merge(insoluble(i), 1.0_wp, insoluble(i) > 0.0_wp)*start(i, ns) &
        /merge(sulfate(i), 1.0_wp, sulfate(i) > 0.0_wp)
      coats(i) = merge(coats(i), 0.0_wp, sulfate(i) > 0.0_wp)
      old(i) = number(i, ns)
    end do
    call coagulate_new_number(config, timestep, old, moved(:, nucleated_num), a, b, &
      number(:, ns), inter, intra)
    call hidden_collisions(config, timestep, a, soluble, insoluble, coats, intra, inter, extra)
    do j = 1, size(partner)
      k = partner(j)
      do i = 1, lanes
        moved(i, collided + route(j)) = inter(i)*rate(i, j)
        if (k < ki) cycle
        share = number(i, k)/merge(insoluble(i), 1.0_wp, insoluble(i) > 0.0_wp)
        moved(i, collided + route(j)) = moved(i, collided + route(j)) + extra(i)*share
      end do
    end do
    do i = 1, lanes
      moved(i, self_collided_ns) = intra(i) - extra(i)
    end do
    call staying_share(start(:, ns), number(:, ns), moved(:, self_collided_ns), stay)
  end subroutine coagulate_ns

  pure subroutine loss_rates(kernel, start, k, partner, a, b, rate)
    !! Coefficients of the number equation of mode k.
    real(wp), intent(in) :: kernel(lanes, n_pair), start(lanes, n_mode)
    integer, intent(in) :: k, partner(:)
    real(wp), intent(out) :: a(lanes), b(lanes)
    !! cm3 s-1, s-1
    real(wp), intent(out) :: rate(lanes, n_mode)
    !! Share of each partner in b, 0 where there is no loss [1]
    integer :: i, j, pair

    a = 0.5_wp*kernel(:, pair_index(k, k))
    b = 0.0_wp
    do j = 1, size(partner)
      pair = pair_index(k, partner(j))
      do i = 1, lanes
        rate(i, j) = kernel(i, pair)*start(i, partner(j))
        b(i) = b(i) + rate(i, j)
      end do
    end do
    do j = 1, size(partner)
      do i = 1, lanes
        rate(i, j) = rate(i, j)/merge(b(i), 1.0_wp, b(i) > 0.0_wp)
      end do
    end do
  end subroutine loss_rates

  pure subroutine staying_share(start, after, intra, stay)
    !! Particles lost to others take their mass along; the rest of the mode's mass stays.
    real(wp), intent(in) :: start(lanes), after(lanes), intra(lanes)
    real(wp), intent(out) :: stay(lanes)
    integer :: i

    do i = 1, lanes
      stay(i) = (after(i) + intra(i))/merge(start(i), 1.0_wp, start(i) > 0.0_wp)
      stay(i) = merge(stay(i), 1.0_wp, start(i) > 0.0_wp)
    end do
  end subroutine staying_share
end module m7_transfer
