// The GPU engine's driver: a model's image on a device, and blocks in device memory or the host's.
//
// A block in device memory is one launch on the host's stream. One in host memory is cut into
// chunks, which three slots (a stream and memory each) take in turn, so that one is copied in while
// another is stepped and a third copied out. Pinned arrays are copied by the GPU itself; others go
// through pinned memory of ours, which the calling thread fills and empties.
#include "m7emu_cuda.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <type_traits>
#include <vector>

#include "form.h"
#include "image.h"

namespace m7emu {
namespace gpu {
namespace {

constexpr std::size_t chunk_min = 8192, chunk_max = 65536; // cells
constexpr std::size_t alignment = 256;                     // of fields in a slot [bytes]
constexpr int n_slots = 3;

// Why something did not work: a status of m7emu.h, and the GPU's error or a text.
struct Failure {
  std::int32_t status;
  std::string text;
};

// Errors stay the thread's last one until someone asks; the host would take ours for its own.
void ignore(Error error) {
  if (error != no_error)
    static_cast<void>(GPU(GetLastError)());
}
[[noreturn]] void fail(const char *what, Error error) {
  const std::int32_t status = error == GPU(ErrorMemoryAllocation)
                                  ? std::int32_t(M7EMU_ERROR_MEMORY)
                                  : std::int32_t(M7EMU_ERROR_DEVICE);
  ignore(error); // is told here, and no later
  throw Failure{status, std::string("GPU: ") + what + ": " + GPU(GetErrorString)(error)};
}
void check(const char *what, Error error) {
  if (error != no_error)
    fail(what, error);
}

// Makes a device the calling thread's, and gives it back the one it had; which may fail, as since
// CUDA 12 that makes a context there: then the thread keeps this one.
class OnDevice {
public:
  explicit OnDevice(int device) {
    check("its present device", GPU(GetDevice)(&before));
    if (before != device) {
      check("choosing the device", GPU(SetDevice)(device));
      changed = true;
    }
  }
  ~OnDevice() {
    if (changed)
      ignore(GPU(SetDevice)(before));
  }
  OnDevice(const OnDevice &) = delete;

private:
  int before = 0;
  bool changed = false;
};

// Memory of the device, or pinned memory of the host; it only grows.
class Room {
public:
  explicit Room(bool pinned) : pinned(pinned) {}
  Room(const Room &) = delete;
  ~Room() { release(); }
  void release() {
    if (start)
      ignore(pinned ? GPU_FREE_PINNED(start) : GPU(Free)(start));
    start = nullptr;
    size = 0;
  }
  char *of(std::size_t wanted) {
    if (wanted > size) {
      release();
      void *memory = nullptr;
      check(pinned ? "pinned memory" : "memory",
            pinned ? GPU_ALLOCATE_PINNED(&memory, wanted) : GPU(Malloc)(&memory, wanted));
      start = static_cast<char *>(memory);
      size = wanted;
    }
    return start;
  }

private:
  bool pinned;
  char *start = nullptr;
  std::size_t size = 0;
};

struct Slot {
  Stream stream = nullptr;
  Event stepped = nullptr;
  Room room{false}, pinned{true};

  Slot() {
    check("a stream", GPU(StreamCreateWithFlags)(&stream, GPU(StreamNonBlocking)));
    const Error error = GPU(EventCreateWithFlags)(&stepped, GPU(EventDisableTiming));
    if (error != no_error) {
      ignore(GPU(StreamDestroy)(stream));
      fail("an event", error);
    }
  }
  ~Slot() {
    ignore(GPU(EventDestroy)(stepped));
    ignore(GPU(StreamDestroy)(stream));
  }
  Slot(const Slot &) = delete;
};

// Pinned memory that a chunk of pinned arrays takes: the count of invalid cells; for the rare ones
// that have some, the flags and a plane of a field.
constexpr std::size_t plane_at = alignment;
std::size_t flags_at(std::size_t count) {
  return plane_at + count * sizeof(double);
}
std::size_t aside(std::size_t count) {
  return flags_at(count) + count * sizeof(std::int32_t);
}

// What one call needs to step a block of the host's.
struct Workspace {
  Slot slot[n_slots];
};

// A member of a block. Those that only come out are not written for invalid cells.
struct Field {
  const char *name;
  char *memory; // null where the host has none
  std::size_t planes, size;
  enum Kind { in, in_out, out, told } kind;
  std::size_t offset; // in a slot
};

constexpr int n_fields = 18, first_out = 8, flag_field = 15, pressure_field = 0;
template <class Block> struct Fields {
  Field field[n_fields];

  explicit Fields(const Block &block) {
    const std::size_t real = sizeof *block.mass, whole = sizeof *block.flag;
    const auto described = [](const char *name, const void *memory, std::size_t planes,
                              std::size_t size, Field::Kind kind) {
      return Field{name, static_cast<char *>(const_cast<void *>(memory)), planes, size, kind, 0};
    };
    const Field all[n_fields] = {
        described("pressure", block.pressure, 1, real, Field::in),
        described("temperature", block.temperature, 1, real, Field::in),
        described("relative_humidity", block.relative_humidity, 1, real, Field::in),
        described("cloud_fraction", block.cloud_fraction, 1, real, Field::in),
        described("h2so4_production", block.h2so4_production, 1, real, Field::in),
        described("ion_pair_production", block.ion_pair_production, 1, real, Field::in),
        described("forest_fraction", block.forest_fraction, 1, real, Field::in),
        described("boundary_layer", block.boundary_layer, 1, real, Field::in),
        described("h2so4", block.h2so4, 1, real, Field::in_out),
        described("mass", block.mass, n_mass, real, Field::in_out),
        described("number", block.number, n_mode, real, Field::in_out),
        described("wet_radius", block.wet_radius, n_mode, real, Field::out),
        described("dry_radius", block.dry_radius, n_soluble, real, Field::out),
        described("density", block.density, n_mode, real, Field::out),
        described("water", block.water, n_soluble, real, Field::out),
        described("flag", block.flag, 1, whole, Field::told),
        described("uncertainty", block.uncertainty, 1, real, Field::told),
        described("negatives", block.negatives, 1, whole, Field::told)};
    std::copy(all, all + n_fields, field);
  }
};

// Where the fields of a chunk of `count` cells lie in a slot, and the count of invalid cells last.
struct Layout {
  std::size_t in_end = 0, out_begin = 0, invalid = 0, end = 0;

  Layout(Field (&field)[n_fields], std::size_t count) {
    for (int i = 0; i < n_fields; ++i) {
      Field &f = field[i];
      if (i == first_out)
        out_begin = end;
      f.offset = end;
      // Flags are looked at, so there are always some.
      if (f.memory || i == flag_field)
        end += (f.planes * f.size * count + alignment - 1) / alignment * alignment;
      if (f.kind == Field::in || f.kind == Field::in_out)
        in_end = end;
    }
    invalid = end;
    end += alignment;
  }
};

// The same block in a slot.
template <class Block>
Block in_slot(const Block &block, const Field (&field)[n_fields], char *start, std::size_t count) {
  Block moved = block;
  moved.space = M7EMU_DEVICE;
  moved.kproma = moved.kbdim = static_cast<std::int32_t>(count);
  moved.klev = 1;
  int i = 0;
  const auto turn = [&](auto *&member) {
    const Field &f = field[i];
    using Pointer = std::remove_reference_t<decltype(member)>;
    member = f.memory || i == flag_field ? reinterpret_cast<Pointer>(start + f.offset) : nullptr;
    ++i;
  };
  turn(moved.pressure), turn(moved.temperature), turn(moved.relative_humidity);
  turn(moved.cloud_fraction), turn(moved.h2so4_production), turn(moved.ion_pair_production);
  turn(moved.forest_fraction), turn(moved.boundary_layer);
  turn(moved.h2so4), turn(moved.mass), turn(moved.number);
  turn(moved.wet_radius), turn(moved.dry_radius), turn(moved.density), turn(moved.water);
  turn(moved.flag), turn(moved.uncertainty), turn(moved.negatives);
  return moved;
}

class Gpu {
public:
  // Once it has what it was given, it is an object: the destructor runs whatever fails here.
  Gpu(const Program &program, int device, Products products) : Gpu(device, program, products) {
    int found = 0;
    const Error error = GPU(GetDeviceCount)(&found);
    if (error != no_error)
      fail("none is there, or no driver for it", error);
    if (device >= found)
      throw Failure{M7EMU_ERROR_DEVICE, "GPU " + std::to_string(device) + " is not there: " +
                                            std::to_string(found) + " found, numbered from 0"};
    const OnDevice here(device);
    check("its properties", GPU(DeviceGetAttribute)(&processors, GPU_PROCESSORS, device));
    check("its properties", GPU(DeviceGetAttribute)(&reads_host, GPU_READS_HOST, device));
    check("its properties", GPU(DeviceGetAttribute)(&max_pitch, GPU_MAX_PITCH, device));
    const bool narrow = image.widest <= narrow_width;
    form = &(image.widest == 0 ? exact_form() : narrow ? narrow_form() : wide_form());
    if (products != products_float)
      use_tensor_cores(narrow);
    if (image.widest > 0)
      place_image();
    static std::mutex one_at_a_time; // kernels are shared by models, and so is what is set for them
    const std::lock_guard<std::mutex> lock(one_at_a_time);
    for (int single = 0; single < 2; ++single)
      check("preparing the step",
            form->prepare(image.program, single != 0, in_shared, &blocks_at_once[single]));
    launch_nothing<m7emu_block>();
    launch_nothing<m7emu_block_float>();
    check("a first launch", GPU(StreamSynchronize)(nullptr));
  }
  ~Gpu() {
    try {
      const OnDevice here(device);
      idle.clear();
      room.release();
    } catch (const Failure &) { // not there, or not to be had: the members' destructors try again
    }
  }

  template <class Block> void step(const Block &block) {
    if (block.kproma == 0 || block.klev == 0)
      return;
    const OnDevice here(device);
    if (block.space == M7EMU_DEVICE)
      step_in_place(block);
    else
      step_from_host(block);
  }

  void pin(void *memory, std::size_t size) {
    const OnDevice here(device);
    check("pinning memory", GPU(HostRegister)(memory, size, GPU(HostRegisterPortable)));
  }
  void unpin(void *memory) {
    const OnDevice here(device);
    check("unpinning memory", GPU(HostUnregister)(memory));
  }

private:
  int device, processors = 0, reads_host = 0, max_pitch = 0;
  Image image;
  const Form *form;
  Room room{false};               // of the image
  std::size_t image_size = 0;     // with the table of its pointers
  std::size_t in_shared = 0;      // the same, 0 where it has no room in shared memory
  int blocks_at_once[2] = {0, 0}; // of double and single precision
  std::mutex mutex;
  std::vector<std::unique_ptr<Workspace>> idle;

  Gpu(int device, const Program &program, Products products)
      : device(device), image(program, products) {}

  // Refused by a model without networks, too: hosts learn at once that a GPU has none.
  void use_tensor_cores(bool narrow) {
    int capability = 0;
    check("its properties", GPU(DeviceGetAttribute)(&capability, GPU_CAPABILITY, device));
    if constexpr (has_tensor_forms) {
      if (capability >= 8) {
        if (image.widest > 0)
          form = &(narrow ? tensor_narrow_form() : tensor_wide_form());
        return;
      }
    }
    throw Failure{M7EMU_ERROR_UNSUPPORTED,
                  "GPU " + std::to_string(device) +
                      ": engine 'native' runs on it, those on tensor cores need a GPU of NVIDIA's "
                      "of compute capability 8.0 or later; this one's is " +
                      std::to_string(capability)};
  }

  void place_image() {
    int most = 0;
    check("its properties", GPU(DeviceGetAttribute)(&most, GPU_OPT_IN_SHARED, device));
    image_size = image.placed(nullptr).size();
    char *const start = room.of(image_size);
    const std::vector<char> bytes = image.placed(start);
    check("copying the model",
          GPU(Memcpy)(start, bytes.data(), image_size, GPU(MemcpyHostToDevice)));
    // The copy may still be under way to the device, and our streams do not wait for this one.
    check("copying the model", GPU(StreamSynchronize)(nullptr));
    each_network(image.program, [start](const Network *&network) {
      if (network)
        network =
            reinterpret_cast<const Network *>(start + reinterpret_cast<std::uintptr_t>(network));
    });
    if (image_size + form->own_shared <= static_cast<std::size_t>(most))
      in_shared = image_size;
  }

  // What a kernel is told of a block in device memory, but for the levels.
  template <class Block> Task<Block> task_of(const Block &block, int *invalid) {
    Task<Block> task;
    task.first_level = task.levels = 0;
    task.program = image.program;
    task.block = block;
    task.invalid = invalid;
    task.image = image_size > 0 ? room.of(image_size) : nullptr;
    task.image_size = static_cast<unsigned>(image_size);
    task.pointer_at = image.pointer_at();
    task.pointers = static_cast<unsigned>(image.pointers.size());
    task.image_in_shared = in_shared > 0;
    return task;
  }
  template <class Block> Error start(const Task<Block> &task, std::size_t blocks, Stream stream) {
    const unsigned count = static_cast<unsigned>(blocks);
    if constexpr (std::is_same_v<Block, m7emu_block_float>)
      return form->step_float(task, count, in_shared, stream);
    else
      return form->step(task, count, in_shared, stream);
  }

  // With a kernel's first launch the driver takes memory for the stacks of all threads that the GPU
  // may ever run at once: where there is too little, opening shall say so, not a step.
  template <class Block> void launch_nothing() {
    Block none = {};
    none.kproma = none.kbdim = 1;
    check("memory for its threads' stacks", start(task_of(none, nullptr), 1, nullptr));
  }

  // Step a block in device memory.
  template <class Block> void launch(const Block &block, int *invalid, Stream stream) {
    constexpr bool single = sizeof *block.mass == sizeof(float);
    Task<Block> task = task_of(block, invalid);
    // Cells of a launch are numbered by 31 bits.
    const int at_once = std::max(1, 0x7fffffff / block.kproma);
    for (int level = 0; level < block.klev; level += task.levels) {
      task.first_level = level;
      task.levels = std::min(at_once, block.klev - level);
      const std::size_t cells = std::size_t(block.kproma) * std::size_t(task.levels);
      std::size_t blocks = (cells + threads_per_block - 1) / threads_per_block;
      // No more of them than run at once: each copies the image.
      if (in_shared > 0)
        blocks = std::min(blocks, std::size_t(processors) *
                                      std::size_t(std::max(blocks_at_once[single], 1)));
      check("starting the step", start(task, blocks, stream));
    }
  }

  enum Where { pageable, pinned, managed, on_device, elsewhere };
  Where where(const void *pointer) const {
    GPU_POINTER_ATTRIBUTES attributes;
    const Error error = GPU(PointerGetAttributes)(&attributes, pointer);
    ignore(error); // HIP's of memory it does not know
    if (error != no_error)
      return pageable;
    switch (attributes.GPU_POINTER_TYPE) {
    case GPU(MemoryTypeHost):
      return pinned;
    case GPU(MemoryTypeDevice):
      return attributes.device == device ? on_device : elsewhere;
    case GPU_MANAGED:
      return managed;
    default:
      return pageable;
    }
  }

  [[noreturn]] void misplaced(const Field &field, const char *expected) const {
    throw Failure{M7EMU_ERROR_ARGUMENT, std::string("m7emu_step: ") + field.name + " is not in " +
                                            expected + " " + std::to_string(device) +
                                            ", which the block's space says"};
  }

  template <class Block> void step_in_place(const Block &block) {
    for (const Field &field : Fields<Block>(block).field)
      if (field.memory) {
        const Where found = where(field.memory);
        if (found == elsewhere || (found == pageable && !reads_host))
          misplaced(field, "memory of GPU");
      }
    const Stream stream = static_cast<Stream>(block.stream);
    launch(block, nullptr, stream);
    if (!stream)
      check("the step", GPU(StreamSynchronize)(stream));
  }

  template <class Block> void step_from_host(const Block &block) {
    Fields<Block> fields(block);
    const std::size_t plane = std::size_t(block.kbdim) * std::size_t(block.klev);
    const std::size_t cells = std::size_t(block.kproma) * std::size_t(block.klev);
    // Whether the GPU may copy: all is pinned, and lies in one piece.
    bool direct = block.kproma == block.kbdim || block.klev == 1;
    for (const Field &field : fields.field)
      if (field.memory) {
        const std::size_t reach =
            ((field.planes - 1) * plane + (plane - std::size_t(block.kbdim)) + block.kproma) *
            field.size;
        const Where found = where(field.memory);
        if (found == on_device || found == elsewhere)
          misplaced(field, "the host's memory, but in that of GPU");
        direct = direct && found == pinned && where(field.memory + reach - 1) == pinned;
      }
    const std::size_t share = (cells / 8 + 1023) / 1024 * 1024;
    const std::size_t chunk = std::min(cells, std::clamp(share, chunk_min, chunk_max));
    const std::size_t chunks = (cells + chunk - 1) / chunk;
    std::unique_ptr<Workspace> work = taken();
    try {
      constexpr std::size_t lag = n_slots - 1;
      for (std::size_t i = 0; i < chunks + lag; ++i) {
        if (i < chunks)
          begin(block, fields.field, direct, work->slot[i % n_slots], i * chunk,
                std::min(chunk, cells - i * chunk));
        if (i >= lag)
          end(block, fields.field, direct, work->slot[(i - lag) % n_slots], (i - lag) * chunk,
              std::min(chunk, cells - (i - lag) * chunk));
      }
      for (Slot &slot : work->slot)
        check("copying results", GPU(StreamSynchronize)(slot.stream));
    } catch (...) {
      // Nothing may be under way when the host has its arrays back.
      for (Slot &slot : work->slot)
        ignore(GPU(StreamSynchronize)(slot.stream));
      throw;
    }
    const std::lock_guard<std::mutex> lock(mutex);
    idle.push_back(std::move(work));
  }

  std::unique_ptr<Workspace> taken() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!idle.empty()) {
        std::unique_ptr<Workspace> work = std::move(idle.back());
        idle.pop_back();
        return work;
      }
    }
    return std::make_unique<Workspace>();
  }

  // Copy cells `first` to `first + count` of a host's field to or from a row of a slot.
  template <bool into_slot, class Block>
  static void copy_rows(const Block &block, const Field &field, char *row, std::size_t first,
                        std::size_t count) {
    const std::size_t columns = std::size_t(block.kproma), width = std::size_t(block.kbdim);
    const std::size_t plane = width * std::size_t(block.klev);
    for (std::size_t p = 0; p < field.planes; ++p)
      for (std::size_t done = 0; done < count;) {
        const std::size_t level = (first + done) / columns, column = (first + done) % columns;
        const std::size_t some =
            columns == width ? count - done : std::min(count - done, columns - column);
        char *const there = field.memory + (p * plane + level * width + column) * field.size;
        char *const here = row + (p * count + done) * field.size;
        if constexpr (into_slot)
          std::memcpy(here, there, some * field.size);
        else
          std::memcpy(there, here, some * field.size);
        done += some;
      }
  }

  template <class Block>
  void begin(const Block &block, Field (&field)[n_fields], bool direct, Slot &slot,
             std::size_t first, std::size_t count) {
    const Layout layout(field, count);
    char *const start = slot.room.of(layout.end);
    if (direct) {
      for (const Field &f : field)
        if (f.memory && (f.kind == Field::in || f.kind == Field::in_out))
          check("copying to it", copied(block, f, start, first, count, true, slot.stream));
    } else {
      char *const staged = slot.pinned.of(layout.end);
      for (const Field &f : field)
        if (f.memory && (f.kind == Field::in || f.kind == Field::in_out))
          copy_rows<true>(block, f, staged + f.offset, first, count);
      check("copying to it",
            GPU(MemcpyAsync)(start, staged, layout.in_end, GPU(MemcpyHostToDevice), slot.stream));
    }
    check("a count", GPU(MemsetAsync)(start + layout.invalid, 0, sizeof(int), slot.stream));
    launch(in_slot(block, field, start, count), reinterpret_cast<int *>(start + layout.invalid),
           slot.stream);
    // All that `end` needs is allocated here: once results are copied, memory does not run out.
    const std::size_t from = direct ? layout.invalid : layout.out_begin;
    char *const to = direct ? slot.pinned.of(aside(count)) : slot.pinned.of(layout.end) + from;
    check("copying from it",
          GPU(MemcpyAsync)(to, start + from, direct ? sizeof(int) : layout.end - from,
                           GPU(MemcpyDeviceToHost), slot.stream));
    check("an event", GPU(EventRecord)(slot.stepped, slot.stream));
  }

  template <class Block>
  void end(const Block &block, Field (&field)[n_fields], bool direct, Slot &slot, std::size_t first,
           std::size_t count) {
    const Layout layout(field, count);
    char *const start = slot.room.of(layout.end);
    char *const staged = slot.pinned.of(direct ? aside(count) : layout.end);
    check("the step", GPU(EventSynchronize)(slot.stepped));
    int invalid;
    std::memcpy(&invalid, staged + (direct ? 0 : layout.invalid), sizeof invalid);
    if (direct) {
      for (const Field &f : field)
        if (f.memory && (f.kind == Field::in_out || f.kind == Field::told ||
                         (f.kind == Field::out && invalid == 0)))
          check("copying from it", copied(block, f, start, first, count, false, slot.stream));
      if (invalid > 0)
        copy_valid(block, field, start, staged, first, count, slot.stream);
      return;
    }
    const auto *const flag =
        reinterpret_cast<const std::int32_t *>(staged + field[flag_field].offset);
    for (const Field &f : field) {
      if (!f.memory || f.kind == Field::in)
        continue;
      if (f.kind != Field::out || invalid == 0) {
        copy_rows<false>(block, f, staged + f.offset, first, count);
        continue;
      }
      // Nothing has been written for invalid cells.
      for (std::size_t i = 0; i < count; ++i)
        if (flag[i] != M7EMU_FLAG_INVALID)
          for (std::size_t p = 0; p < f.planes; ++p) {
            const std::size_t level = (first + i) / std::size_t(block.kproma);
            const std::size_t place =
                (p * std::size_t(block.klev) + level) * std::size_t(block.kbdim) +
                (first + i) % std::size_t(block.kproma);
            std::memcpy(f.memory + place * f.size, staged + f.offset + (p * count + i) * f.size,
                        f.size);
          }
    }
  }

  // Copy a chunk of pinned fields that only come out: nothing for invalid cells, for which nothing
  // has been written.
  template <class Block>
  static void copy_valid(const Block &block, const Field (&field)[n_fields], const char *start,
                         char *staged, std::size_t first, std::size_t count, Stream stream) {
    const std::size_t plane = std::size_t(block.kbdim) * std::size_t(block.klev);
    const auto fetch = [&](std::size_t to, const char *from, std::size_t size) {
      check("copying from it",
            GPU(MemcpyAsync)(staged + to, from, size, GPU(MemcpyDeviceToHost), stream));
      check("copying from it", GPU(StreamSynchronize)(stream));
    };
    fetch(flags_at(count), start + field[flag_field].offset, count * sizeof(std::int32_t));
    const auto *const flag = reinterpret_cast<const std::int32_t *>(staged + flags_at(count));
    for (const Field &f : field)
      for (std::size_t p = 0; f.memory && f.kind == Field::out && p < f.planes; ++p) {
        fetch(plane_at, start + f.offset + p * count * f.size, count * f.size);
        for (std::size_t i = 0; i < count; ++i)
          if (flag[i] != M7EMU_FLAG_INVALID)
            std::memcpy(f.memory + (p * plane + first + i) * f.size, staged + plane_at + i * f.size,
                        f.size);
      }
  }

  // Let the GPU copy a chunk of a pinned field: all planes at once, unless they are further apart
  // than it takes (2 GiB).
  template <class Block>
  Error copied(const Block &block, const Field &f, char *start, std::size_t first,
               std::size_t count, bool in, Stream stream) const {
    char *const there = f.memory + first * f.size, *const here = start + f.offset;
    const std::size_t pitch = std::size_t(block.kbdim) * std::size_t(block.klev) * f.size;
    const std::size_t width = count * f.size;
    if (pitch > static_cast<std::size_t>(max_pitch)) {
      Error error = no_error;
      for (std::size_t p = 0; p < f.planes && error == no_error; ++p) {
        char *const outside = there + p * pitch, *const inside = here + p * width;
        error = in ? GPU(MemcpyAsync)(inside, outside, width, GPU(MemcpyHostToDevice), stream)
                   : GPU(MemcpyAsync)(outside, inside, width, GPU(MemcpyDeviceToHost), stream);
      }
      return error;
    }
    return in ? GPU(Memcpy2DAsync)(here, width, there, pitch, width, f.planes,
                                   GPU(MemcpyHostToDevice), stream)
              : GPU(Memcpy2DAsync)(there, pitch, here, width, width, f.planes,
                                   GPU(MemcpyDeviceToHost), stream);
  }
};

// Runs what may throw: a status, with its text.
template <class Work> std::int32_t tried(char *text, std::size_t length, const Work &work) {
  try {
    work();
    return M7EMU_OK;
  } catch (const Failure &failure) {
    std::snprintf(text, length, "%s", failure.text.c_str());
    return failure.status;
  } catch (const std::bad_alloc &) {
    std::snprintf(text, length, "GPU engine: out of memory");
    return M7EMU_ERROR_MEMORY;
  } catch (...) {
    std::snprintf(text, length, "GPU engine: unknown exception");
    return M7EMU_ERROR_INTERNAL;
  }
}

std::int32_t open_model(const Program &program, std::int32_t device, Products products,
                        void **model, char *text, std::size_t length) {
  return tried(text, length, [&] { *model = new Gpu(program, device, products); });
}
std::int32_t step(void *model, const m7emu_block &block, char *text, std::size_t length) {
  return tried(text, length, [&] { static_cast<Gpu *>(model)->step(block); });
}
std::int32_t step_float(void *model, const m7emu_block_float &block, char *text,
                        std::size_t length) {
  return tried(text, length, [&] { static_cast<Gpu *>(model)->step(block); });
}
std::int32_t pin(void *model, void *memory, std::size_t size, char *text, std::size_t length) {
  return tried(text, length, [&] { static_cast<Gpu *>(model)->pin(memory, size); });
}
std::int32_t unpin(void *model, void *memory, char *text, std::size_t length) {
  return tried(text, length, [&] { static_cast<Gpu *>(model)->unpin(memory); });
}
void close_model(void *model) {
  delete static_cast<Gpu *>(model);
}

} // namespace
} // namespace gpu
} // namespace m7emu

const m7emu::GpuEngine *m7emu_cuda(void) {
  namespace gpu = m7emu::gpu;
  static const m7emu::GpuEngine engine = {sizeof engine, M7EMU_VERSION,   gpu::open_model,
                                          gpu::step,     gpu::step_float, gpu::pin,
                                          gpu::unpin,    gpu::close_model};
  return &engine;
}
