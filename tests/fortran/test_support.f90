module test_support
  !! Checks that count their failures, for the test programs beside this file.
  use, intrinsic :: iso_fortran_env, only: error_unit, int64, real64
  implicit none (type, external)
  private
  public :: near, same_bits, tests_type, value, word

  type :: tests_type
    integer :: checks = 0
    integer :: failures = 0
  contains
    procedure :: close
    procedure :: printed
    procedure :: that
    procedure :: finish
  end type tests_type

contains

  subroutine close(tests, name, actual, expected, tolerance)
    !! Is `actual` within `tolerance` of `expected`, relative to it? NaN never is.
    class(tests_type), intent(inout) :: tests
    character(*), intent(in) :: name
    real(real64), intent(in) :: actual, expected, tolerance
    logical :: holds

    holds = near(actual, expected, tolerance)
    call tests%that(name, holds)
    if (.not. holds) then
      write (error_unit, '(2(2x, a, es24.16))') 'actual', actual, 'expected', expected
    end if
  end subroutine close

  subroutine printed(tests, name, actual, text)
    !! Is `actual` the number that a document prints as `text`: within half a unit of the last
    !! digit behind its point, and 1e-9 relative?
    class(tests_type), intent(inout) :: tests
    character(*), intent(in) :: name, text
    real(real64), intent(in) :: actual
    integer :: digits, exponent
    logical :: holds
    real(real64) :: half_unit

    half_unit = 0.0_real64
    if (index(text, '.') > 0) then
      digits = scan(text//'e', 'e') - index(text, '.') - 1
      exponent = 0
      if (index(text, 'e') > 0) exponent = nint(value(text(index(text, 'e') + 1:)))
      half_unit = 0.5_real64*10.0_real64**(exponent - digits)
    end if
    holds = abs(actual - value(text)) <= half_unit + 1.0e-9_real64*abs(value(text))
    call tests%that(name//' is '//text, holds)
    if (.not. holds) write (error_unit, '(2x, a, es24.16)') 'actual', actual
  end subroutine printed

  subroutine that(tests, name, holds)
    !! Does a statement hold?
    class(tests_type), intent(inout) :: tests
    character(*), intent(in) :: name
    logical, intent(in) :: holds

    tests%checks = tests%checks + 1
    if (holds) return
    tests%failures = tests%failures + 1
    write (error_unit, '(2a)') 'FAILED ', name
  end subroutine that

  subroutine finish(tests)
    !! Last call of a test program: sets its exit status. No check at all is a failure too.
    class(tests_type), intent(in) :: tests

    write (error_unit, '(i0, a, i0, a)') tests%checks, ' checks, ', tests%failures, ' failed'
    if (tests%checks == 0 .or. tests%failures > 0) error stop 1
  end subroutine finish

  elemental logical function near(actual, expected, tolerance)
    !! Within `tolerance` of `expected`, relative to it; an expected 0 is exact.
    real(real64), intent(in) :: actual, expected, tolerance

    near = abs(actual - expected) <= tolerance*abs(expected)
  end function near

  elemental logical function same_bits(a, b)
    !! As bits: also for NaN, and without comparing it.
    real(real64), intent(in) :: a, b

    same_bits = transfer(a, 0_int64) == transfer(b, 0_int64)
  end function same_bits

  pure function word(line, k) result(text)
    !! Word k of a line copied from a document, empty past its end. Blanks, commas and slashes
    !! separate; remarks in brackets are no words.
    character(*), intent(in) :: line
    integer, intent(in) :: k
    character(:), allocatable :: text
    integer :: first, found, i
    logical :: remark

    text = line//' '
    remark = .false.
    do i = 1, len(text)
      remark = remark .or. text(i:i) == '('
      if (text(i:i) == ')') remark = .false.
      if (remark .or. scan(text(i:i), ' ,/)') > 0) text(i:i) = ' '
    end do
    first = verify(text, ' ')
    do found = 2, k
      if (first == 0) exit
      text = text(first + scan(text(first:), ' ') - 1:)
      first = verify(text, ' ')
    end do
    if (first == 0) then
      text = ''
    else
      text = text(first:first + scan(text(first:), ' ') - 2)
    end if
  end function word

  pure real(real64) function value(text)
    !! The number that a text is.
    character(*), intent(in) :: text

    read (text, *) value
  end function value
end module test_support
