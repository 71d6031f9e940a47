// Which sets of instructions were built, and which this processor has.
#include "model.h"

namespace m7emu {

#ifdef M7EMU_HAVE_AVX512
namespace avx512_wide {
extern const Engine engine;
}
#endif
#ifdef M7EMU_HAVE_AVX2
namespace avx2_wide {
extern const Engine engine;
}
#endif
namespace portable {
extern const Engine engine;
}

const Engine *const *engines() {
  struct List {
    const Engine *entry[4] = {};
    List() {
      int count = 0;
#ifdef M7EMU_HAVE_AVX512
      if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
        entry[count++] = &avx512_wide::engine;
#endif
#ifdef M7EMU_HAVE_AVX2
      if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        entry[count++] = &avx2_wide::engine;
#endif
      entry[count] = &portable::engine;
    }
  };
  static const List list;
  return list.entry;
}

const Engine &best_engine() {
  return *engines()[0];
}

} // namespace m7emu
