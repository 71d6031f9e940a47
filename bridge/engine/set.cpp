// The step of whole blocks with one set of instructions. Built once for a set (meson.build), or
// twice: with packs of one vector, and of two, whose operations need not wait for each other. The
// latter, M7EMU_NARROW being the other's namespace, leaves it the columns that are too few.
#include "block.h"

#if defined(M7EMU_NARROW)
namespace m7emu {
namespace M7EMU_NARROW {
extern const Engine engine;
}
} // namespace m7emu
#endif

namespace m7emu {
namespace M7EMU_SET {

// Packs that go through the parts of the step together, if the host gives as many cells.
#if defined(M7EMU_SCALAR)
constexpr int packs_together = 1;
#else
constexpr int packs_together = 2;
#endif

#if defined(M7EMU_NARROW)
template <class Block> void step_narrow(const Program &program, const Block &block) {
  if constexpr (sizeof *block.h2so4 == sizeof(double))
    M7EMU_NARROW::engine.step(program, block);
  else
    M7EMU_NARROW::engine.step_float(program, block);
}
void layers_of_cells(const Network &network, const float *inputs, float *outputs, int cells) {
  M7EMU_NARROW::engine.layers(network, inputs, outputs, cells);
}
#endif

template <class S, class Block> void step_block(const Program &program, const Block &given) {
  Block block = given;
#if defined(M7EMU_NARROW)
  block.kproma -= block.kproma % lanes;
  if (block.kproma < given.kproma)
    step_narrow(program, columns_from(given, block.kproma));
#endif
  Passage<S> passage[packs_together];
  Columns<S> columns[packs_together];
  std::size_t place[packs_together];
  int waiting = 0;
  const auto step_waiting = [&]() {
    advance(program, block.timestep, passage, waiting);
    for (int i = 0; i < waiting; ++i) {
      put(passage[i], columns[i]);
      report<S>(block, place[i], lanes, passage[i], program.self_error != nullptr, nullptr);
    }
    waiting = 0;
  };
  for (int level = 0; level < block.klev; ++level)
    for (int column = 0; column < block.kproma; column += lanes) {
      const std::size_t at =
          static_cast<std::size_t>(level) * static_cast<std::size_t>(block.kbdim) +
          static_cast<std::size_t>(column);
      const int left = block.kproma - column;
      columns[waiting] = columns_of<S>(block, at);
      place[waiting] = at;
      if (left < lanes || !take(columns[waiting], passage[waiting]))
        mend_and_step(program, block, at, left < lanes ? left : lanes, columns[waiting],
                      passage[waiting]);
      else if (++waiting == packs_together)
        step_waiting();
    }
  step_waiting();
}

#if !defined(M7EMU_NARROW)
#define M7EMU_NARROW M7EMU_SET
#endif
#define M7EMU_STRING(x) #x
#define M7EMU_NAME(x) M7EMU_STRING(x)
extern const Engine engine;
const Engine engine = {M7EMU_NAME(M7EMU_NARROW), lanes, step_block<double, m7emu_block>,
                       step_block<float, m7emu_block_float>, layers_of_cells};

} // namespace M7EMU_SET
} // namespace m7emu
