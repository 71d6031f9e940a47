module m7_math
  !! Elementary functions that Fortran lacks, over a lane block.
  use, intrinsic :: iso_fortran_env, only: int32, int64, real64
  use m7_kinds, only: lanes, wp
  implicit none (type, external)
  private
  public :: cube_root, decay, is_finite

contains

  pure subroutine cube_root(x, root)
    !! Cube root of non-negative numbers to 5e-16 relative, without a division or a call; 0 below
    !! 1e-250. A guess from the exponent bits (4 %) is mended twice by a series of fourth order for
    !! the inverse root g: with e = 1 - x g**3, x**(-1/3) = g (1 - e)**(-1/3).
    real(wp), intent(in) :: x(lanes)
    real(wp), intent(out) :: root(lanes)

    integer(int32), parameter :: guess_bits = 1430186664_int32
    real(real64), parameter :: third = 1.0_real64/3.0_real64
    real(real64), parameter :: c2 = 2.0_real64/9.0_real64, c3 = 14.0_real64/81.0_real64
    integer(int64) :: bits
    integer :: i
    real(real64) :: a, e, g

    do i = 1, lanes
      a = max(real(x(i), real64), 1.0e-250_real64)
      bits = transfer(a, bits)
      bits = int(guess_bits - int(third*real(int(shiftr(bits, 32), int32), real64), int32), int64)
      g = transfer(shiftl(bits, 32), g)
      e = 1.0_real64 - a*g*g*g
      g = g + g*e*(third + e*(c2 + e*c3))
      e = 1.0_real64 - a*g*g*g
      g = g + g*e*(third + e*(c2 + e*c3))
      root(i) = merge(real(a*g*g, wp), 0.0_wp, x(i) > 1.0e-250_wp)
    end do
  end subroutine cube_root

  elemental logical function is_finite(x)
    !! Neither infinite nor NaN, by the bits: comparing a NaN would raise a host's trap.
    real(wp), intent(in) :: x
    integer(int64), parameter :: exponent_bits = shiftl(2047_int64, 52)

    is_finite = iand(transfer(real(x, real64), 0_int64), exponent_bits) /= exponent_bits
  end function is_finite

  pure subroutine decay(x, left, lost, late)
    !! exp(-x), 1 - exp(-x) and x - (1 - exp(-x)) for x >= 0, none with cancellation: what is left
    !! of a store that decays, what is lost of it, and what is lost of a supply at unit rate.
    real(wp), intent(in) :: x(lanes)
    real(wp), intent(out) :: left(lanes), lost(lanes), late(lanes)
    integer, parameter :: order = 8
    integer :: i, k
    real(wp), parameter :: inverse(order) = [(1.0_wp/real(k, wp), k=1, order)]
    real(wp) :: series

    do i = 1, lanes
      series = 1.0_wp
      do k = order, 3, -1
        series = 1.0_wp - x(i)*inverse(k)*series
      end do
      series = 0.5_wp*x(i)*x(i)*series
      left(i) = exp(-x(i))
      lost(i) = merge(x(i) - series, 1.0_wp - left(i), x(i) < 0.03_wp)
      late(i) = merge(series, x(i) - lost(i), x(i) < 0.03_wp)
    end do
  end subroutine decay
end module m7_math
