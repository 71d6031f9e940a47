/* Between libm7emu and libm7emu_cuda, which it loads on request; no host sees this. */
#ifndef M7EMU_CUDA_H
#define M7EMU_CUDA_H

#include <cstddef>
#include <cstdint>

#include "../engine/program.h"

namespace m7emu {

/* Functions return a status of m7emu.h; what is not M7EMU_OK they explain in text[length], always
 * terminated. What they are given has been checked. */
struct GpuEngine {
  std::uint32_t struct_size;
  const char *version; /* of the library; no other than libm7emu's own is used */
  std::int32_t (*open)(const Program &, std::int32_t device, Products, void **model, char *text,
                       std::size_t length);
  std::int32_t (*step)(void *model, const m7emu_block &, char *text, std::size_t length);
  std::int32_t (*step_float)(void *model, const m7emu_block_float &, char *text,
                             std::size_t length);
  std::int32_t (*pin)(void *model, void *memory, std::size_t size, char *text, std::size_t length);
  std::int32_t (*unpin)(void *model, void *memory, char *text, std::size_t length);
  void (*close)(void *model);
};

} // namespace m7emu

extern "C" M7EMU_API const m7emu::GpuEngine *m7emu_cuda(void);

#endif
