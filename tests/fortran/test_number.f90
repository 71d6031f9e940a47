program test_number
  !! Number equations: section 12 of the contract, its numbers (18.3), and its formulas in
  !! quadruple precision, where their cancellations do no harm.
  use, intrinsic :: iso_fortran_env, only: real128
  use m7_config, only: m7_config_type, profile_ham2, profile_m7_2004
  use m7_kinds, only: lanes, wp
  use m7_number, only: coagulate_new_number, coagulate_number, hidden_collisions
  use test_cells, only: defaults
  use test_support, only: near, same_bits, tests_type, value, word
  implicit none (type, external)

  ! n0, a, b, timestep [, new, old] -> left, lost to others, lost within the mode
  character(90), parameter :: lines(6) = [character(90) :: &
    '1e3, 5e-10, 0, 1800 9.9910080927e+02 0 8.9919072834e-01', &
    '1e5, 5e-9, 0, 1800 5.2631578947e+04 0 4.7368421053e+04', &
    '1e5, 5e-9, 1e-4, 1800 4.5802138325e+04 9.0329769458e+03 4.5164884729e+04', &
    '1.1e4, 5e-9, 1e-4, 1800, 1e4, 1e3 9.6708820191e+03 8.5749547158e+02 4.7162250937e+02', &
    '1.001e6, 5e-9, 0, 1800, 1e6, 1e3 1.0010000000e+06 0 0', &
    '1e3, 1e-12, 5e-3, 1800 1.2340977941e-01 9.9987639025e+02 1.9997527805e-04']

  type :: mode_type
    !! What becomes of a mode.
    real(wp) :: after, inter, intra
  end type mode_type

  type(tests_type) :: tests
  type(m7_config_type) :: config
  integer :: i

  config = defaults(profile_ham2)
  do i = 1, size(lines)
    call check_line(lines(i))
  end do
  call check_self()
  call check_source()
  call check_alone()
  call check_mixed_lanes()
  call check_few()
  call check_hidden()
  call tests%finish()

contains

  function coagulated(timestep, old, new, a, b) result(mode)
    real(wp), intent(in) :: timestep, old, new, a, b
    type(mode_type) :: mode
    real(wp), dimension(lanes) :: after, inter, intra

    call coagulate_new_number(config, timestep, spread(old, 1, lanes), spread(new, 1, lanes), &
      spread(a, 1, lanes), spread(b, 1, lanes), after, inter, intra)
    mode = mode_type(after(lanes), inter(lanes), intra(lanes))
  end function coagulated

  subroutine check_line(line)
    character(*), intent(in) :: line
    integer :: results
    real(wp) :: a, b, new, old, timestep
    real(wp), dimension(lanes) :: after, inter, intra
    type(mode_type) :: mode

    old = value(word(line, 1))
    a = value(word(line, 2))
    b = value(word(line, 3))
    timestep = value(word(line, 4))
    new = 0.0_wp
    results = 5
    if (word(line, 9) /= '') then
      new = value(word(line, 5))
      old = value(word(line, 6))
      results = 7
    end if
    mode = coagulated(timestep, old, new, a, b)
    call tests%printed(trim(line)//': left', mode%after, word(line, results))
    call tests%printed(trim(line)//': inter', mode%inter, word(line, results + 1))
    call tests%printed(trim(line)//': intra', mode%intra, word(line, results + 2))
    if (results == 7) return
    call coagulate_number(config, timestep, spread(old, 1, lanes), spread(a, 1, lanes), &
      spread(b, 1, lanes), after, inter, intra)
    call tests%that('a mode without source', all(same_bits(after, mode%after)) .and. &
      all(same_bits(inter, mode%inter)) .and. all(same_bits(intra, mode%intra)))
  end subroutine check_line

  subroutine check_self()
    !! Pure coagulation with kernel K: n0/(1 + K n0 dt/2); with others too, nothing gets lost.
    integer :: i, j
    real(wp) :: a, b, n
    type(mode_type) :: mode

    do i = -8, 12
      n = 10.0_wp**i
      do j = -14, -4
        a = 10.0_wp**j
        mode = coagulated(1800.0_wp, n, 0.0_wp, a, 0.0_wp)
        call tests%close('pure coagulation', mode%after, &
          n/(1.0_wp + 2.0_wp*a*n*1800.0_wp/2.0_wp), 1.0e-15_wp)
        call tests%close('loses nothing to others', mode%inter, 0.0_wp, 0.0_wp)
        b = 10.0_wp**(0.5_wp*(i - 12))
        mode = coagulated(1800.0_wp, n, 0.0_wp, a, b)
        call tests%close('three parts of a whole', mode%after + mode%inter + mode%intra, n, &
          1.0e-15_wp)
        call tests%that('none negative', min(mode%after, mode%inter, mode%intra) >= 0.0_wp)
      end do
    end do
  end subroutine check_self

  subroutine check_source()
    !! Section 12 iii with losses to others.
    integer :: i, ia, ib, ic
    real(wp), parameter :: a(4) = [1.0e-11_wp, 1.0e-9_wp, 3.0e-8_wp, 1.0e-6_wp]
    real(wp), parameter :: b(5) = [1.0e-12_wp, 1.0e-7_wp, 1.0e-4_wp, 1.0e-2_wp, 1.0_wp]
    real(wp), parameter :: c(4) = [1.0_wp, 30.0_wp, 1.0e3_wp, 1.0e6_wp]
    real(wp), parameter :: old(5) = [0.0_wp, 1.0e-3_wp, 1.0e2_wp, 1.0e5_wp, 1.0e9_wp]
    type(mode_type) :: mode
    real(wp) :: new
    real(real128) :: after, f, left, lost, q, share, total

    do i = 1, size(old)
      do ia = 1, size(a)
        do ib = 1, size(b)
          do ic = 1, size(c)
            new = c(ic)*1800.0_wp
            mode = coagulated(1800.0_wp, old(i), new, a(ia), b(ib))
            q = sqrt(real(b(ib), real128)**2 + 4*real(a(ia), real128)*c(ic))
            f = 2*real(a(ia), real128)*old(i) + b(ib)
            left = exp(-q*1800)*(q - f)/(q + f)
            after = (q*(1 - left)/(1 + left) - b(ib))/(2*real(a(ia), real128))
            total = real(old(i), real128) + new
            after = min(after, total)
            lost = total - after
            share = b(ib)/(a(ia)*total + b(ib))
            call tests%close('new and old: left', mode%after, real(after, wp), 1.0e-13_wp)
            call tests%that('new and old: lost', abs(mode%inter - real(lost*share, wp)) &
              <= 1.0e-13_wp*real(total, wp) .and. abs(mode%intra - real(lost*(1 - share), wp)) &
              <= 1.0e-13_wp*real(total, wp) .and. min(mode%inter, mode%intra) >= 0.0_wp)
          end do
        end do
      end do
    end do
    ! Without collisions among themselves: dn/dt = c - b n.
    mode = coagulated(1800.0_wp, 1.0e3_wp, 1.8e4_wp, 0.0_wp, 1.0e-3_wp)
    call tests%close('fed and lost', mode%after, 1.0e4_wp - 9.0e3_wp*exp(-1.8_wp), 1.0e-14_wp)
  end subroutine check_source

  subroutine check_alone()
    !! Section 12 iii without others, as it should be; and as it is, where nothing collides unless
    !! there were more particles before than sqrt(c/a).
    real(wp), parameter :: a = 5.0e-9_wp, c = 1.0e6_wp/1800.0_wp
    real(wp), parameter :: old(3) = [0.0_wp, 1.0e3_wp, 1.0e6_wp]
    integer :: i
    real(real128) :: q, t
    real(wp) :: after
    type(mode_type) :: mode

    q = sqrt(real(c, real128)/a)
    t = tanh(q*a*1800)
    do i = 1, size(old)
      after = real(q*(old(i) + q*t)/(q + old(i)*t), wp)
      config%source_coagulation = .true.
      mode = coagulated(1800.0_wp, old(i), 1.0e6_wp, a, 0.0_wp)
      call tests%close('alone: left', mode%after, after, 1.0e-14_wp)
      call tests%close('alone: lost within', mode%intra, old(i) + 1.0e6_wp - after, 1.0e-13_wp)
      call tests%close('alone: nothing else', mode%inter, 0.0_wp, 0.0_wp)
      config%source_coagulation = .false.
      mode = coagulated(1800.0_wp, old(i), 1.0e6_wp, a, 0.0_wp)
      if (old(i) < sqrt(c/a)) after = old(i) + 1.0e6_wp
      call tests%close('alone, as the real code does', mode%after, after, 1.0e-14_wp)
    end do
    mode = coagulated(1800.0_wp, 1.0e3_wp, 1.0e6_wp, 0.0_wp, 0.0_wp)
    call tests%close('nothing collides', mode%after, 1.001e6_wp, 0.0_wp)
  end subroutine check_alone

  subroutine check_mixed_lanes()
    !! Cells with a source, or without, do not change their neighbours.
    integer :: i
    real(wp) :: new(lanes), old(lanes)
    real(wp), dimension(lanes) :: after, inter, intra
    type(mode_type) :: mode

    old = [(10.0_wp**(0.5_wp*i), i=1, lanes)]
    new = [(merge(1.0e5_wp, 1.0e2_wp, mod(i, 3) == 0), i=1, lanes)]
    call coagulate_new_number(config, 1800.0_wp, old, new, spread(1.0e-9_wp, 1, lanes), &
      spread(1.0e-4_wp, 1, lanes), after, inter, intra)
    do i = 1, lanes
      mode = coagulated(1800.0_wp, old(i), new(i), 1.0e-9_wp, 1.0e-4_wp)
      call tests%that('neighbours', same_bits(mode%after, after(i)) .and. &
        same_bits(mode%inter, inter(i)) .and. same_bits(mode%intra, intra(i)))
    end do
  end subroutine check_mixed_lanes

  subroutine check_few()
    !! Hardly any particles, hardly any collisions: they stay.
    type(mode_type) :: mode

    mode = coagulated(1800.0_wp, 1.0e-10_wp, 0.0_wp, 1.0e-5_wp, 1.0e-2_wp)
    call tests%close('hardly any particles', mode%after, 1.0e-10_wp, 0.0_wp)
    mode = coagulated(1800.0_wp, 1.0e5_wp, 0.0_wp, 9.0e-16_wp, 0.0_wp)
    call tests%close('hardly any collisions', mode%after, 1.0e5_wp, 0.0_wp)
    call tests%that('none lost', mode%inter + mode%intra <= 0.0_wp)
  end subroutine check_few

  subroutine check_hidden()
    !! Section 12.1, as it is printed.
    real(wp), parameter :: reach(4) = [1.0e-9_wp, 1.0e-6_wp, 1.0e-4_wp, 1.0e-2_wp]
    real(wp), parameter :: insoluble(6) = &
      [1.0e-16_wp, 1.0e-3_wp, 0.999_wp, 1.001_wp, 50.0_wp, 3.0e4_wp]
    real(wp), parameter :: soluble(4) = [1.0e-2_wp, 10.0_wp, 2.0e3_wp, 1.0e5_wp]
    real(wp), parameter :: coating(2) = [0.01_wp, 30.0_wp], intra(2) = [1.0_wp, 1.0e3_wp]
    integer :: i, ia, ic, is, ix

    do ia = 1, size(reach)
      do i = 1, size(insoluble)
        do is = 1, size(soluble)
          do ic = 1, size(coating)
            do ix = 1, size(intra)
              call check_one(reach(ia), insoluble(i), soluble(is), coating(ic), intra(ix))
            end do
          end do
        end do
      end do
    end do
  end subroutine check_hidden

  subroutine check_one(reach, insoluble, soluble, coating, intra)
    real(wp), intent(in) :: reach, insoluble, soluble, coating, intra
    type(m7_config_type) :: older
    real(wp), dimension(lanes) :: extra, none
    real(real128) :: a, expected, n_i, n_s, n_t, z_i, z_s, z_t

    a = reach
    n_i = insoluble
    n_s = soluble
    n_t = n_i + n_s
    z_i = 0
    if (n_i > 1) z_i = 4*n_i/((2 + a*n_t)*(2 + a*(n_t - n_i)))
    z_t = 2*n_t/(2 + a*n_t)
    z_s = 4*n_s/((2 + a*n_t)*(2 + a*(n_t - n_s)))
    expected = min(min(z_t - z_i - z_s, n_i)*coating, 0.95_real128*intra)
    if (n_s <= n_i) expected = 0
    older = defaults(profile_m7_2004)
    call hidden_collisions(older, 2.0_wp, spread(0.5_wp*reach, 1, lanes), &
      spread(soluble, 1, lanes), spread(insoluble, 1, lanes), spread(coating, 1, lanes), &
      spread(intra, 1, lanes), spread(1.0_wp, 1, lanes), extra)
    call tests%close('hidden collisions', extra(lanes), real(expected, wp), 1.0e-12_wp)
    if (insoluble < epsilon(1.0_wp)) expected = 0
    call hidden_collisions(config, 2.0_wp, spread(0.5_wp*reach, 1, lanes), &
      spread(soluble, 1, lanes), spread(insoluble, 1, lanes), spread(coating, 1, lanes), &
      spread(intra, 1, lanes), spread(1.0_wp, 1, lanes), extra)
    call tests%close('hidden collisions, ham2', extra(lanes), real(expected, wp), 1.0e-12_wp)
    none = 0.0_wp
    call hidden_collisions(config, 2.0_wp, spread(0.5_wp*reach, 1, lanes), &
      spread(soluble, 1, lanes), spread(insoluble, 1, lanes), spread(coating, 1, lanes), &
      spread(intra, 1, lanes), none, extra)
    call tests%that('only where some collide with others', all(near(extra, 0.0_wp, 0.0_wp)))
  end subroutine check_one
end program test_number
