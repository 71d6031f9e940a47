/* Between libm7emu and libm7emu_torch, which it loads on request; no host sees this. */
#ifndef M7EMU_TORCH_H
#define M7EMU_TORCH_H

#include "../include/m7emu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Functions return a status of m7emu.h; what is not M7EMU_OK they explain in text[length], always
 * terminated. What they are given has been checked. */
typedef struct m7emu_torch_engine {
  uint32_t struct_size;
  const char *version; /* of the library; no other than libm7emu's own is used */
  /* metadata is valid until close */
  int32_t (*open)(const char *path, int32_t device, void **model, const char **metadata, char *text,
                  size_t length);
  int32_t (*step)(void *model, const m7emu_block *block, char *text, size_t length);
  int32_t (*step_float)(void *model, const m7emu_block_float *block, char *text, size_t length);
  void (*close)(void *model);
} m7emu_torch_engine;

M7EMU_API const m7emu_torch_engine *m7emu_torch(void);

#ifdef __cplusplus
}
#endif

#endif
