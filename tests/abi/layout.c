/* The block as C lays it out, for tests/fortran/test_m7emu.f90: every member gets a value of its
 * own. */
#include <m7emu.h>
#include <string.h>

int32_t layout_sizes(int32_t *block, int32_t *block_float);
void layout_fill(m7emu_block *block);

int32_t layout_sizes(int32_t *block, int32_t *block_float) {
  *block = (int32_t)sizeof(m7emu_block);
  *block_float = (int32_t)sizeof(m7emu_block_float);
  return (int32_t)sizeof(m7emu_options);
}

void layout_fill(m7emu_block *block) {
  char *const base = (char *)4096;
  void *const pointers[] = {base + 7,  base + 8,  base + 9,  base + 10, base + 11, base + 12,
                            base + 13, base + 14, base + 15, base + 16, base + 17, base + 18,
                            base + 19, base + 20, base + 21, base + 22, base + 23, base + 24};
  block->struct_size = 1;
  block->space = 2;
  block->stream = base + 3;
  block->kproma = 3;
  block->kbdim = 4;
  block->klev = 5;
  block->unused = 6;
  block->timestep = 0.5;
  memcpy(&block->pressure, pointers, sizeof pointers);
}
