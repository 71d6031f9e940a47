submodule(host_parallel) host_parallel_serial
  !! A build without MPI: one rank, which has no one to talk to.
  implicit none (type, external)

contains

  module procedure start_parallel
    parallel = parallel_type()
  end procedure start_parallel

  module procedure stop_parallel
  end procedure stop_parallel

  module procedure gather
    if (parallel%rank == 0) whole(:size(values)) = values
  end procedure gather

  module procedure broadcast
    if (parallel%ranks > 1) values = 0.0_wp
  end procedure broadcast

  module procedure exchange
    if (parallel%ranks > 1) then
      from_north = to_south
      from_south = to_north
    end if
  end procedure exchange

  module procedure largest
    largest = merge(number, 0, parallel%ranks == 1)
  end procedure largest

  module procedure add_up
    if (parallel%ranks > 1) counts = 0
  end procedure add_up

  module procedure agree
    if (parallel%ranks > 1) then
      status = 1
      message = 'built without MPI'
    end if
  end procedure agree
end submodule host_parallel_serial
