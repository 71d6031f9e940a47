/* Stands before libm7emu: a library of another ABI version than the Fortran modules. */
#include <m7emu.h>

int32_t m7emu_abi_version(void) {
  return M7EMU_ABI_VERSION + 1;
}
