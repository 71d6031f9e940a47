submodule(host_parallel) host_parallel_mpi
  !! The ranks of MPI_COMM_WORLD. Only the thread that started MPI calls it.
  use mpi_f08, only: mpi_allreduce, mpi_bcast, mpi_character, mpi_comm_rank, mpi_comm_size, &
    mpi_comm_world, mpi_double_precision, mpi_finalize, mpi_gather, mpi_gatherv, mpi_in_place, &
    mpi_init_thread, mpi_integer, mpi_max, mpi_proc_null, mpi_sendrecv, mpi_status_ignore, &
    mpi_sum, mpi_thread_funneled
  implicit none (type, external)

  integer, parameter :: text_length = 512
  integer, parameter :: northward = 1, southward = 2
  !! Tags

contains

  module procedure start_parallel
    integer :: provided

    call mpi_init_thread(mpi_thread_funneled, provided)
    call mpi_comm_rank(mpi_comm_world, parallel%rank)
    call mpi_comm_size(mpi_comm_world, parallel%ranks)
  end procedure start_parallel

  module procedure stop_parallel
    call mpi_finalize()
  end procedure stop_parallel

  module procedure gather
    integer :: counts(parallel%ranks), k, places(parallel%ranks)

    if (parallel%ranks == 1) then
      whole(:size(values)) = values
      return
    end if
    call mpi_gather(size(values), 1, mpi_integer, counts, 1, mpi_integer, 0, mpi_comm_world)
    places(1) = 0
    do k = 2, parallel%ranks
      places(k) = places(k - 1) + counts(k - 1)
    end do
    call mpi_gatherv(values, size(values), mpi_double_precision, whole, counts, places, &
      mpi_double_precision, 0, mpi_comm_world)
  end procedure gather

  module procedure broadcast
    if (parallel%ranks == 1) return
    call mpi_bcast(values, size(values), mpi_double_precision, 0, mpi_comm_world)
  end procedure broadcast

  module procedure exchange
    integer :: north, south

    if (parallel%ranks == 1) return
    north = parallel%rank - 1
    if (north < 0) north = mpi_proc_null
    south = parallel%rank + 1
    if (south == parallel%ranks) south = mpi_proc_null
    call mpi_sendrecv(to_north, size(to_north), mpi_double_precision, north, northward, &
      from_south, size(from_south), mpi_double_precision, south, northward, mpi_comm_world, &
      mpi_status_ignore)
    call mpi_sendrecv(to_south, size(to_south), mpi_double_precision, south, southward, &
      from_north, size(from_north), mpi_double_precision, north, southward, mpi_comm_world, &
      mpi_status_ignore)
  end procedure exchange

  module procedure largest
    largest = number
    if (parallel%ranks == 1) return
    call mpi_allreduce(mpi_in_place, largest, 1, mpi_integer, mpi_max, mpi_comm_world)
  end procedure largest

  module procedure add_up
    if (parallel%ranks == 1) return
    call mpi_allreduce(mpi_in_place, counts, size(counts), mpi_integer, mpi_sum, mpi_comm_world)
  end procedure add_up

  module procedure agree
    character(text_length) :: text
    integer :: from

    if (parallel%ranks == 1) return
    from = largest(parallel, merge(parallel%ranks - parallel%rank, 0, status /= 0))
    if (from == 0) return
    from = parallel%ranks - from
    text = ''
    if (allocated(message)) text = message
    call mpi_bcast(status, 1, mpi_integer, from, mpi_comm_world)
    call mpi_bcast(text, text_length, mpi_character, from, mpi_comm_world)
    message = trim(text)
  end procedure agree
end submodule host_parallel_mpi
