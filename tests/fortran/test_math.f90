program test_math
  !! m7_math against the same functions in quadruple precision.
  use, intrinsic :: iso_fortran_env, only: real128
  use m7_kinds, only: lanes, wp
  use m7_math, only: cube_root, decay
  use test_support, only: near, tests_type
  implicit none (type, external)
  type(tests_type) :: tests
  integer :: i
  logical :: late_good, left_good, lost_good, root_good
  real(wp), dimension(lanes) :: late, left, lost, root, x
  real(real128) :: gone, q

  root_good = .true.
  do i = -2480, 1500
    x = 10.0_wp**(0.1_wp*i)
    q = real(x(1), real128)**(1.0_real128/3)
    call cube_root(x, root)
    root_good = root_good .and. all(near(root, real(q, wp), 1.0e-15_wp))
  end do
  call tests%that('cube roots from 1e-248 to 1e150', root_good)
  x = 0.0_wp
  call cube_root(x, root)
  call tests%that('the cube root of 0 is 0', all(near(root, 0.0_wp, 0.0_wp)))

  left_good = .true.
  lost_good = .true.
  late_good = .true.
  do i = -160, 28
    x = 10.0_wp**(0.1_wp*i)
    q = real(x(1), real128)
    call decay(x, left, lost, late)
    left_good = left_good .and. all(near(left, real(exp(-q), wp), 1.0e-15_wp))
    gone = 2*exp(-q/2)*sinh(q/2)
    lost_good = lost_good .and. all(near(lost, real(gone, wp), 1.0e-14_wp))
    late_good = late_good .and. all(near(late, real(q - gone, wp), 1.0e-12_wp))
  end do
  call tests%that('exp(-x) for x from 1e-16 to 631', left_good)
  call tests%that('1 - exp(-x)', lost_good)
  call tests%that('x - (1 - exp(-x))', late_good)
  x = 0.0_wp
  call decay(x, left, lost, late)
  call tests%that('nothing decays in no time', all(near(left, 1.0_wp, 0.0_wp)) &
    .and. all(near(lost, 0.0_wp, 0.0_wp)) .and. all(near(late, 0.0_wp, 0.0_wp)))
  x = 1.0e-60_wp
  call decay(x, left, lost, late)
  call tests%that('and little in a short one', all(near(left, 1.0_wp, 0.0_wp)) &
    .and. all(near(lost, x, 1.0e-15_wp)) .and. all(near(late, 0.5_wp*x*x, 1.0e-15_wp)))
  x = 1.0e5_wp
  call decay(x, left, lost, late)
  call tests%that('all decays in the end', &
    all(near(left, 0.0_wp, 0.0_wp)) .and. all(near(lost, 1.0_wp, 0.0_wp)))
  call tests%finish()
end program test_math
