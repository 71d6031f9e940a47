module host_parallel
  !! The ranks of a run, and the few messages that pass between them. Built with MPI or without it:
  !! `host_parallel_mpi` and `host_parallel_serial` are the two bodies of this one interface.
  !!
  !! Nothing here adds reals, so that the number of ranks cannot change a bit.
  use host_constants, only: wp
  implicit none (type, external)
  private
  public :: parallel_type
  public :: add_up, agree, broadcast, exchange, gather, largest, start_parallel, stop_parallel

  type :: parallel_type
    integer :: rank = 0, ranks = 1
    !! This rank, from 0, and their number
  end type parallel_type

  interface
    module subroutine start_parallel(parallel)
      !! First of all; the process is a single rank where it was not started by mpirun.
      implicit none (type, external)
      type(parallel_type), intent(out) :: parallel
    end subroutine start_parallel

    module subroutine stop_parallel()
      !! Last of all.
      implicit none (type, external)
    end subroutine stop_parallel

    module subroutine gather(parallel, values, whole)
      !! Join the values of all ranks, in their order, on rank 0; elsewhere `whole` is left alone.
      implicit none (type, external)
      type(parallel_type), intent(in) :: parallel
      real(wp), intent(in), contiguous :: values(:)
      real(wp), intent(inout), contiguous :: whole(:)
    end subroutine gather

    module subroutine broadcast(parallel, values)
      !! Give all ranks the values of rank 0.
      implicit none (type, external)
      type(parallel_type), intent(in) :: parallel
      real(wp), intent(inout), contiguous :: values(:)
    end subroutine broadcast

    module subroutine exchange(parallel, to_north, to_south, from_north, from_south)
      !! Swap rows with the neighbours; at a pole nothing comes.
      implicit none (type, external)
      type(parallel_type), intent(in) :: parallel
      real(wp), intent(in), contiguous :: to_north(:), to_south(:)
      real(wp), intent(inout), contiguous :: from_north(:), from_south(:)
    end subroutine exchange

    module integer function largest(parallel, number)
      !! Of all ranks, on all ranks
      implicit none (type, external)
      type(parallel_type), intent(in) :: parallel
      integer, intent(in) :: number
    end function largest

    module subroutine add_up(parallel, counts)
      !! Sums over ranks, on all ranks.
      implicit none (type, external)
      type(parallel_type), intent(in) :: parallel
      integer, intent(inout), contiguous :: counts(:)
    end subroutine add_up

    module subroutine agree(parallel, status, message)
      !! Whether all ranks are well; otherwise all get status and message of the first that is not.
      implicit none (type, external)
      type(parallel_type), intent(in) :: parallel
      integer, intent(inout) :: status
      character(:), allocatable, intent(inout) :: message
    end subroutine agree
  end interface
end module host_parallel
