module m7_number
  !! Number equations, dn/dt = c - a n**2 - b n, solved over a timestep: section 12 of the contract.
  use m7_config, only: m7_config_type, profile_m7_2004
  use m7_kinds, only: lanes, wp
  use m7_math, only: decay
  implicit none (type, external)
  private
  public :: coagulate_number, coagulate_new_number, hidden_collisions

  real(wp), parameter :: rate_min = 1.0e-15_wp
  !! a [cm3 s-1] and b [s-1] below this are none
  real(wp), parameter :: source_min = 1.0_wp
  !! New particles below this are taken to be there from the start [cm-3 s-1]

contains

  pure subroutine coagulate_number(config, timestep, start, a, b, after, inter, intra)
    !! Coagulation within the mode (a) and with others (b), no source (section 12 i, ii). With
    !! u = (1 - exp(-b dt))/b the three amounts share a denominator and add up to the start.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep
    !! [s]
    real(wp), intent(in) :: start(lanes), a(lanes), b(lanes)
    !! cm-3, cm3 s-1, s-1
    real(wp), intent(out) :: after(lanes)
    !! Left [cm-3]
    real(wp), intent(out) :: inter(lanes), intra(lanes)
    !! Lost to other modes, and within the mode [cm-3]
    integer :: i
    logical :: acts, others
    real(wp) :: self, share, u
    real(wp), dimension(lanes) :: late, left, lost, times

    times = b*timestep
    call decay(times, left, lost, late)
    do i = 1, lanes
      others = b(i) >= rate_min
      acts = start(i) > config%equation_number_min
      u = merge(lost(i)/merge(b(i), 1.0_wp, others), timestep, others)
      self = a(i)*start(i)*u
      self = merge(self, 0.0_wp, acts .and. (others .or. a(i) >= rate_min))
      share = merge(lost(i), 0.0_wp, acts .and. others)
      after(i) = start(i)*merge(left(i), 1.0_wp, acts .and. others)/(1.0_wp + self)
      inter(i) = start(i)*share/(1.0_wp + self)
      intra(i) = start(i)*self/(1.0_wp + self)
    end do
  end subroutine coagulate_number

  pure subroutine coagulate_new_number(config, timestep, start, new, a, b, after, inter, intra)
    !! The same for NS, with new particles that appear at a steady rate (section 12 iii). With
    !! q**2 = b**2 + 4 a c and E = exp(-q dt) every term below is positive. Where nothing but new
    !! particles is there to collide, real M7 lets them be; the correction does not.
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep
    real(wp), intent(in) :: start(lanes), new(lanes)
    !! Before nucleation, and formed during the step [cm-3]
    real(wp), intent(in) :: a(lanes), b(lanes)
    real(wp), intent(out) :: after(lanes), inter(lanes), intra(lanes)
    integer :: i
    logical :: alone, fed, legacy
    real(wp) :: c, lost, q, rest
    real(wp), dimension(lanes) :: all, e, late, total, turn

    total = start + new
    call coagulate_number(config, timestep, total, a, b, after, inter, intra)
    if (.not. any(new >= source_min*timestep)) return
    do i = 1, lanes
      c = new(i)/timestep
      turn(i) = sqrt(b(i)*b(i) + 4.0_wp*a(i)*c)*timestep
    end do
    call decay(turn, e, all, late)
    do i = 1, lanes
      alone = b(i) < rate_min
      fed = new(i)/timestep >= source_min .and. total(i) > config%equation_number_min .and. &
        .not. (alone .and. a(i) < rate_min)
      c = new(i)/timestep
      q = merge(turn(i)/timestep, 1.0_wp, fed)
      ! n = (N (q - b t) + 2 c t)/(q + (2 a N + b) t) with t = tanh(q dt/2) = (1 - E)/(1 + E)
      rest = 4.0_wp*a(i)*c/(q + b(i))*(1.0_wp + e(i)) + 2.0_wp*b(i)*e(i)
      rest = (rest*start(i) + 2.0_wp*c*all(i)) &
        /(q*(1.0_wp + e(i)) + (2.0_wp*a(i)*start(i) + b(i))*all(i))
      legacy = alone .and. .not. config%source_coagulation .and. a(i)*start(i)*start(i) < c
      rest = merge(total(i), min(rest, total(i)), legacy)
      lost = total(i) - rest
      q = a(i)*total(i) + b(i)
      q = merge(b(i)/merge(q, 1.0_wp, fed), 0.0_wp, .not. alone)
      after(i) = merge(rest, after(i), fed)
      inter(i) = merge(lost*q, inter(i), fed)
      intra(i) = merge(lost*(1.0_wp - q), intra(i), fed)
    end do
  end subroutine coagulate_new_number

  pure subroutine hidden_collisions(config, timestep, a, soluble, insoluble, coating, intra, &
    inter, extra)
    !! Collisions among NS particles that should have been collisions with insoluble ones, known by
    !! the sulfate these need for a coating (section 12.1).
    type(m7_config_type), intent(in) :: config
    real(wp), intent(in) :: timestep
    real(wp), intent(in) :: a(lanes)
    !! Half the kernel of NS with itself [cm3 s-1]
    real(wp), intent(in) :: soluble(lanes), insoluble(lanes)
    !! NS before coagulation plus KS, and KI + AI + CI [cm-3]
    real(wp), intent(in) :: coating(lanes)
    !! NS particles that coat one mean insoluble particle [1]
    real(wp), intent(in) :: intra(lanes), inter(lanes)
    real(wp), intent(out) :: extra(lanes)
    !! To be counted as inter, not intra [cm-3]
    integer :: i
    logical :: acts
    real(wp) :: few, mixed, reach, total

    few = merge(0.0_wp, epsilon(1.0_wp), config%profile == profile_m7_2004)
    do i = 1, lanes
      reach = a(i)*timestep
      total = soluble(i) + insoluble(i)
      ! z_t - z_i - z_s of the contract, without cancellation; z_i counts from one particle on.
      mixed = reach*soluble(i)/(2.0_wp + reach*insoluble(i)) &
        + merge(reach*soluble(i)/(2.0_wp + reach*soluble(i)), 1.0_wp, insoluble(i) > 1.0_wp)
      mixed = min(2.0_wp*insoluble(i)*mixed/(2.0_wp + reach*total), insoluble(i))
      acts = inter(i) > 0.0_wp .and. soluble(i) > insoluble(i) .and. insoluble(i) > few
      extra(i) = merge(min(mixed*coating(i), 0.95_wp*intra(i)), 0.0_wp, acts)
    end do
  end subroutine hidden_collisions
end module m7_number
