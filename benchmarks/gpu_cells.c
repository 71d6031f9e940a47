/* The sample of cells for gpu_reference.f90. */
#include "../tests/abi/cells.h"

void fill_cells(int first, int count, double *memory);
void fill_cells(int first, int count, double *memory) {
  cells c = cells_new(count, count, 1);
  for (int i = 0; i < count; ++i)
    cells_set(&c, (size_t)i, (uint64_t)(first + i));
  memcpy(memory, c.memory, (size_t)(34 * count) * sizeof(double));
  cells_free(&c);
}
