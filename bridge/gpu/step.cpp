// The kernels: one thread a cell, from the state in device memory to the state after the step, by
// the formulas of bridge/engine with scalars for lanes. Built once for each form (meson.build):
// M7EMU_SET names it, M7EMU_WIDEST is the widest layer it takes, 0 for models without networks.
#include "../engine/block.h"

#include "form.h"
#if defined(M7EMU_TENSOR)
#include "tensor.h"
#endif

namespace m7emu {
namespace M7EMU_SET {

// The step of the cells of a warp, all of which go the same way to their networks; of those that
// are not `there` nothing is written.
template <class S, class Block>
M7EMU_FUNCTION void step_together(const Program &program, const Block &block, std::size_t at,
                                  bool there) {
  Passage<S> passage;
  const Columns<S> columns = columns_of<S>(block, at);
  Findings findings = {{true}, {0}};
  const bool mends = !take(columns, passage);
  if (mends) {
    const Mended<S> mended(columns, 1);
    take(mended.columns, passage);
    findings = mended.findings;
  }
  gpu::sync_warp(); // all have read before one of them writes
  advance(program, block.timestep, &passage, 1);
  if (there && findings.valid[0])
    put(passage, columns);
  if (there)
    report<S>(block, at, 1, passage, program.self_error != nullptr, mends ? &findings : nullptr);
}

constexpr bool has_networks = M7EMU_WIDEST > 0;

// Which way through the step is compiled: exact models have a kernel for each.
enum Way { single_way, staged_way, any_way };

template <class S, class Block, Way way> struct Stepping {
  using Task = gpu::Task<Block>;
  static constexpr int phases = has_networks ? 3 : 1;
  static constexpr bool in_warps = cells_evaluate_together; // its last phase
  static constexpr int threads = gpu::threads_per_block, blocks_at_once = M7EMU_BLOCKS_AT_ONCE;

  // Copy the image to shared memory, and turn its pointers to there.
  M7EMU_INLINE static void copy_image(const Task &task, char *shared, unsigned thread,
                                      unsigned threads) {
    constexpr unsigned piece = 16;
    for (unsigned at = thread * piece; at < task.image_size; at += threads * piece)
      M7EMU_COPY(__builtin_assume_aligned(shared + at, piece),
                 __builtin_assume_aligned(task.image + at, piece), piece);
  }
  M7EMU_INLINE static void turn_pointers(const Task &task, char *shared, unsigned thread,
                                         unsigned threads) {
    const auto *const at = reinterpret_cast<const unsigned *>(shared + task.pointer_at);
    for (unsigned i = thread; i < task.pointers; i += threads) {
      const char *pointer;
      M7EMU_COPY(&pointer, shared + at[i], sizeof pointer);
      pointer = shared + (pointer - task.image);
      M7EMU_COPY(shared + at[i], &pointer, sizeof pointer);
    }
  }
  M7EMU_INLINE static const Network *moved(const Task &task, const char *shared,
                                           const Network *network) {
    if (!has_networks || !network)
      return nullptr;
    const char *const place = reinterpret_cast<const char *>(network);
    return task.image_in_shared ? reinterpret_cast<const Network *>(shared + (place - task.image))
                                : network;
  }

  M7EMU_INLINE static void step_cells(const Task &task, const char *shared, unsigned thread,
                                      unsigned threads, unsigned block, unsigned blocks) {
    // Constants that the compiler can do away with code by.
    Program program = task.program;
    each_network(program, [&](const Network *&network) { network = moved(task, shared, network); });
    if (way == single_way)
      program.stages = 0;
    if (way == staged_way && program.stages < 1)
      return;
    const unsigned columns = static_cast<unsigned>(task.block.kproma);
    const unsigned cells = columns * static_cast<unsigned>(task.levels); // below 2**31
    // Cells of a warp are neighbours, and stay together beyond the last one.
    const unsigned beside = in_warps ? thread % gpu::warp_lanes : 0;
    for (unsigned first = block * threads + thread - beside; first < cells;
         first += blocks * threads) {
      const bool there = beside < cells - first;
      const unsigned cell = there ? first + beside : cells - 1, level = cell / columns;
      const std::size_t at = (static_cast<std::size_t>(task.first_level) + level) *
                                 static_cast<std::size_t>(task.block.kbdim) +
                             (cell - level * columns);
      if constexpr (in_warps)
        step_together<S>(program, task.block, at, there);
      else
        step_lanes<S>(program, task.block, at, 1);
      if (there && task.invalid && task.block.flag[at] == M7EMU_FLAG_INVALID)
        GPU_ATOMIC_ADD(task.invalid, 1);
    }
  }

  template <int phase>
  M7EMU_INLINE static void run(const Task &task, char *shared, unsigned thread, unsigned threads,
                               unsigned block, unsigned blocks) {
    if constexpr (phase == phases - 1)
      step_cells(task, shared, thread, threads, block, blocks);
    else if (task.image_in_shared && phase == 0)
      copy_image(task, shared, thread, threads);
    else if (task.image_in_shared)
      turn_pointers(task, shared, thread, threads);
  }
};

template <class S, class Block> using Single = Stepping<S, Block, single_way>;
template <class S, class Block> using Staged = Stepping<S, Block, staged_way>;
template <class S, class Block> using Either = Stepping<S, Block, any_way>;

template <class S, class Block>
gpu::Error start(const gpu::Task<Block> &task, unsigned blocks, std::size_t shared,
                 gpu::Stream stream) {
  if constexpr (has_networks)
    return gpu::launch<Either<S, Block>>(task, blocks, shared, stream);
  else if (task.program.stages > 0)
    return gpu::launch<Staged<S, Block>>(task, blocks, shared, stream);
  else
    return gpu::launch<Single<S, Block>>(task, blocks, shared, stream);
}

template <class S, class Block>
gpu::Error prepare(const Program &program, std::size_t shared, int *blocks) {
  if constexpr (has_networks)
    return gpu::prepare<Either<S, Block>>(shared, blocks);
  else if (program.stages > 0)
    return gpu::prepare<Staged<S, Block>>(shared, blocks);
  else
    return gpu::prepare<Single<S, Block>>(shared, blocks);
}

gpu::Error prepare_either(const Program &program, bool single, std::size_t shared, int *blocks) {
  return single ? prepare<float, m7emu_block_float>(program, shared, blocks)
                : prepare<double, m7emu_block>(program, shared, blocks);
}

} // namespace M7EMU_SET

namespace gpu {

// Behind a function, as HIP makes constants on the device, too.
const Form &M7EMU_FORM() {
  static const Form form = {M7EMU_SET::cells_evaluate_together ? sizeof(float) * warps * warp_floats
                                                               : 0,
                            M7EMU_SET::prepare_either, M7EMU_SET::start<double, m7emu_block>,
                            M7EMU_SET::start<float, m7emu_block_float>};
  return form;
}

} // namespace gpu
} // namespace m7emu
