/* The torch engine after MPI_Init, which is where a host opens its emulator. */
#include "cells.h"

#include <math.h>
#include <mpi.h>

int main(int argc, char **argv) {
  int rank = -1, ranks = 0;
  if (argc < 2 || MPI_Init(&argc, &argv) != MPI_SUCCESS)
    return 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const m7emu_options options = {sizeof options, M7EMU_DEVICE_CPU, "torch"};
  m7emu_model *model = NULL;
  that(m7emu_open(argv[1], &options, &model) == M7EMU_OK, "open after MPI_Init");
  cells c = cells_new(8, 8, 1);
  for (int i = 0; i < 8; ++i)
    cells_set(&c, (size_t)i, (uint64_t)i);
  that(model && m7emu_step(model, &c.block) == M7EMU_OK, "step between messages");
  double sum = c.memory[8 * 8], total = 0.0;
  MPI_Allreduce(&sum, &total, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  that(sum > 0.0 && fabs(total - ranks * sum) <= 1e-12 * total, "all ranks have the same");
  m7emu_close(model);
  cells_free(&c);
  MPI_Finalize();
  return finish();
}
