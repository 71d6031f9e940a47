// The step of whole blocks with one set of instructions. Built once for each set (meson.build).
#include "block.h"

namespace m7emu {
namespace M7EMU_SET {

template <class S, class Block> void step_block(const Program &program, const Block &block) {
  for (int level = 0; level < block.klev; ++level)
    for (int column = 0; column < block.kproma; column += lanes) {
      const std::size_t at =
          static_cast<std::size_t>(level) * static_cast<std::size_t>(block.kbdim) +
          static_cast<std::size_t>(column);
      const int left = block.kproma - column;
      step_lanes<S>(program, block, at, left < lanes ? left : lanes);
    }
}

#define M7EMU_STRING(x) #x
#define M7EMU_NAME(x) M7EMU_STRING(x)
extern const Engine engine;
const Engine engine = {M7EMU_NAME(M7EMU_SET), lanes, step_block<double, m7emu_block>,
                       step_block<float, m7emu_block_float>};

} // namespace M7EMU_SET
} // namespace m7emu
