// Between the driver (engine.cpp) and the kernels (step.cpp), which are built once for each form a
// model may have.
#pragma once

#include "../engine/program.h"
#include "gpu.h"

namespace m7emu {
namespace gpu {

// What a kernel is told. Networks lie in an image: whole 16 bytes of device memory, which each
// block of threads copies to shared memory where there is room. Pointers in it are to the image
// itself; `pointers` of them lie at `pointer_at` (bytes from its start).
template <class Block> struct Task {
  Program program; // its networks are those of the image
  Block block;     // in device memory
  int first_level, levels;
  int *invalid; // counts cells that are M7EMU_FLAG_INVALID; null, or the block has flags
  const char *image;
  unsigned image_size, pointer_at, pointers;
  bool image_in_shared;
};

// The kernels of one form.
struct Form {
  std::size_t own_shared; // bytes of shared memory that a block takes besides the image
  // Blocks that a multiprocessor runs at once, with so many bytes of shared memory each.
  Error (*prepare)(const Program &, bool single, std::size_t shared, int *blocks);
  Error (*step)(const Task<m7emu_block> &, unsigned blocks, std::size_t shared, Stream);
  Error (*step_float)(const Task<m7emu_block_float> &, unsigned blocks, std::size_t shared, Stream);
};

// Models without networks, with layers of at most `narrow_width`, and all others: what lies between
// layers is kept by each thread, and exact models shall not pay for it.
constexpr int narrow_width = 64;
const Form &exact_form(), &narrow_form(), &wide_form();

// Those that multiply on tensor cores.
constexpr bool has_tensor_forms = GPU_HAS_TENSOR;
const Form &tensor_narrow_form(), &tensor_wide_form();

} // namespace gpu
} // namespace m7emu
