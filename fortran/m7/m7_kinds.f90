module m7_kinds
  !! The kind of every real of the reference and the length of a lane block: chosen here, once.
  use, intrinsic :: iso_fortran_env, only: real64
  implicit none (type, external)
  private
  public :: lanes, wp

  integer, parameter :: wp = real64
  integer, parameter :: lanes = 16
  !! Columns that are computed together. Every kernel works on full blocks of this length, the last
  !! one padded: compilers vectorise without remainder loops, and a cell's bits do not depend on
  !! its neighbours.
end module m7_kinds
