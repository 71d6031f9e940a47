// The C ABI: checks what it is given, and lets nothing but a status out.
#include "../include/m7emu.h"

#include "../embed/m7emu_torch.h"
#include "../gpu/m7emu_cuda.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "model.h"

#ifndef M7EMU_VERSION
#define M7EMU_VERSION "0"
#endif

// Of the native engine, which on a GPU has `gpu` set; or of torch: then `torch` is set, and of
// Model only the metadata.
struct m7emu_model : m7emu::Model {
  const m7emu_torch_engine *torch = nullptr;
  void *in_torch = nullptr;
  const m7emu::GpuEngine *gpu = nullptr;
  void *on_gpu = nullptr;
  std::int32_t device = M7EMU_DEVICE_CPU;

  m7emu_model() = default;
  m7emu_model(const m7emu_model &) = delete;
  ~m7emu_model() {
    if (in_torch)
      torch->close(in_torch);
    if (on_gpu)
      gpu->close(on_gpu);
  }
};

void m7emu::choose(m7emu_model *model, const Engine &engine) {
  model->engine = &engine;
}

namespace {

thread_local char last_message[1024] = "";

std::int32_t fail(std::int32_t status, const char *text) {
  std::snprintf(last_message, sizeof last_message, "%s", text);
  return status;
}
template <class... Values>
std::int32_t fail(std::int32_t status, const char *format, Values... values) {
  std::snprintf(last_message, sizeof last_message, format, values...);
  return status;
}

template <class Block> std::int32_t check(const m7emu_model *model, const Block *block) {
  constexpr std::int32_t bad = M7EMU_ERROR_ARGUMENT;
  if (!model)
    return fail(bad, "m7emu_step: model is null");
  if (!block)
    return fail(bad, "m7emu_step: block is null");
  if (block->struct_size != sizeof(Block))
    return fail(bad, "m7emu_step: struct_size is %u, expected %u: header and library differ",
                static_cast<unsigned>(block->struct_size), static_cast<unsigned>(sizeof(Block)));
  if (block->space != M7EMU_HOST &&
      (block->space != M7EMU_DEVICE || model->device == M7EMU_DEVICE_CPU))
    return fail(
        bad,
        "m7emu_step: space is %d; expected M7EMU_HOST (%d), or M7EMU_DEVICE for a model on a GPU",
        static_cast<int>(block->space), static_cast<int>(M7EMU_HOST));
  if (block->klev < 0)
    return fail(bad, "m7emu_step: klev is %d, expected at least 0", static_cast<int>(block->klev));
  if (block->kproma < 0 || block->kproma > block->kbdim)
    return fail(bad, "m7emu_step: kproma is %d, expected 0 to kbdim, which is %d",
                static_cast<int>(block->kproma), static_cast<int>(block->kbdim));
  // Far shorter ones, such as what an unset variable holds, would overflow in single precision.
  if (!(block->timestep >= 1.0e-3 && block->timestep <= 1.0e6))
    return fail(bad, "m7emu_step: timestep is %g s, expected 1e-3 to 1e6", block->timestep);
  if (block->kproma == 0 || block->klev == 0)
    return M7EMU_OK;
  const struct {
    const void *pointer;
    const char *name;
  } needed[] = {{block->pressure, "pressure"},
                {block->temperature, "temperature"},
                {block->relative_humidity, "relative_humidity"},
                {block->h2so4, "h2so4"},
                {block->mass, "mass"},
                {block->number, "number"}};
  for (const auto &field : needed)
    if (!field.pointer)
      return fail(bad, "m7emu_step: %s is null", field.name);
  return M7EMU_OK;
}

constexpr char own_image = 0; // lies in this library

// The library of an engine: one that the process has already, or beside this one, or where the
// system looks for libraries; where the one beside this cannot be loaded, that is what is told. Its
// only function tells what it can do.
template <class Given>
std::int32_t load_engine(const char *name, const char *function, const char *what,
                         const Given *&engine) {
  Dl_info here;
  std::string why;
  void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
  if (!library && dladdr(&own_image, &here) && here.dli_fname) {
    const std::string own = here.dli_fname, beside = own.substr(0, own.rfind('/') + 1) + name;
    library = dlopen(beside.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library && access(beside.c_str(), F_OK) == 0)
      why = dlerror();
  }
  if (!library)
    library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return fail(M7EMU_ERROR_UNSUPPORTED, "m7emu_open: %s: %s", what,
                why.empty() ? dlerror() : why.c_str());
  using Entry = const Given *(*)();
  const Entry entry = reinterpret_cast<Entry>(dlsym(library, function));
  engine = entry ? entry() : nullptr;
  if (!engine || engine->struct_size != sizeof *engine ||
      std::strcmp(engine->version, M7EMU_VERSION) != 0)
    return fail(M7EMU_ERROR_UNSUPPORTED, "m7emu_open: %s is of another version than %s, this one's",
                name, M7EMU_VERSION);
  return M7EMU_OK;
}
static_assert(M7EMU_ABI_VERSION == 1); // the number in the libraries' names

std::int32_t open_in_torch(const char *path, std::int32_t device, m7emu_model &model) {
  const m7emu_torch_engine *engine = nullptr;
  std::int32_t status = load_engine("libm7emu_torch.so.1", "m7emu_torch", "engine 'torch'", engine);
  if (status != M7EMU_OK)
    return status;
  const char *metadata = nullptr;
  status =
      engine->open(path, device, &model.in_torch, &metadata, last_message, sizeof last_message);
  if (status != M7EMU_OK)
    return status;
  model.torch = engine;
  model.device = device;
  model.metadata = metadata;
  return M7EMU_OK;
}

std::int32_t open_native(const char *path, std::int32_t device, m7emu::Products products,
                         m7emu_model &model) {
  if (device == M7EMU_DEVICE_CPU && products != m7emu::products_float)
    return fail(M7EMU_ERROR_UNSUPPORTED,
                "m7emu_open: engine 'native' runs on the CPU; those on tensor cores need a GPU");
  m7emu::read_model(path, model);
  if (device == M7EMU_DEVICE_CPU) {
    model.engine = &m7emu::best_engine();
    return M7EMU_OK;
  }
  const std::string what = "device " + std::to_string(device);
  if (load_engine("libm7emu_cuda.so.1", "m7emu_cuda", what.c_str(), model.gpu) != M7EMU_OK)
    return M7EMU_ERROR_DEVICE;
  model.device = device;
  return model.gpu->open(model.program, device, products, &model.on_gpu, last_message,
                         sizeof last_message);
}

} // namespace

extern "C" {

std::int32_t m7emu_abi_version(void) {
  return M7EMU_ABI_VERSION;
}

const char *m7emu_version(void) {
  return M7EMU_VERSION;
}

std::int32_t m7emu_open(const char *path, const m7emu_options *options, m7emu_model **model) {
  if (!model)
    return fail(M7EMU_ERROR_ARGUMENT, "m7emu_open: model is null");
  *model = nullptr;
  if (!path)
    return fail(M7EMU_ERROR_ARGUMENT, "m7emu_open: path is null");
  if (options && options->struct_size != sizeof(m7emu_options))
    return fail(M7EMU_ERROR_ARGUMENT,
                "m7emu_open: struct_size is %u, expected %u: header and library differ",
                static_cast<unsigned>(options->struct_size),
                static_cast<unsigned>(sizeof(m7emu_options)));
  const std::int32_t device = options ? options->device : std::int32_t(M7EMU_DEVICE_CPU);
  if (device < M7EMU_DEVICE_CPU)
    return fail(M7EMU_ERROR_DEVICE, "m7emu_open: device is %d, expected -1 (CPU) or a GPU's index",
                static_cast<int>(device));
  const char *const engine = options && options->engine ? options->engine : "native";
  const bool torch = std::strcmp(engine, "torch") == 0;
  constexpr const char *native[] = {"native", "native-tf32", "native-3xtf32", "native-bf16"};
  int products = 0; // of m7emu::Products, in whose order they are
  while (!torch && products < 4 && std::strcmp(engine, native[products]) != 0)
    ++products;
  if (products == 4)
    return fail(M7EMU_ERROR_ARGUMENT,
                "m7emu_open: engine is '%.64s', expected 'native' or 'torch' (on a GPU also "
                "'native-tf32', 'native-3xtf32', 'native-bf16')",
                engine);
  try {
    auto opened = std::make_unique<m7emu_model>();
    const std::int32_t status =
        torch ? open_in_torch(path, device, *opened)
              : open_native(path, device, static_cast<m7emu::Products>(products), *opened);
    if (status == M7EMU_OK)
      *model = opened.release();
    return status;
  } catch (const m7emu::Refusal &refusal) {
    return fail(refusal.status, refusal.what());
  } catch (const std::bad_alloc &) {
    return fail(M7EMU_ERROR_MEMORY, "m7emu_open: out of memory");
  } catch (const std::exception &error) {
    return fail(M7EMU_ERROR_INTERNAL, error.what());
  } catch (...) {
    return fail(M7EMU_ERROR_INTERNAL, "m7emu_open: unknown exception");
  }
}

std::int32_t m7emu_step(const m7emu_model *model, const m7emu_block *block) {
  const std::int32_t status = check(model, block);
  if (status != M7EMU_OK)
    return status;
  if (model->torch)
    return model->torch->step(model->in_torch, block, last_message, sizeof last_message);
  if (model->gpu)
    return model->gpu->step(model->on_gpu, *block, last_message, sizeof last_message);
  model->engine->step(model->program, *block);
  return M7EMU_OK;
}

std::int32_t m7emu_step_float(const m7emu_model *model, const m7emu_block_float *block) {
  const std::int32_t status = check(model, block);
  if (status != M7EMU_OK)
    return status;
  if (model->torch)
    return model->torch->step_float(model->in_torch, block, last_message, sizeof last_message);
  if (model->gpu)
    return model->gpu->step_float(model->on_gpu, *block, last_message, sizeof last_message);
  model->engine->step_float(model->program, *block);
  return M7EMU_OK;
}

std::int32_t m7emu_pin(const m7emu_model *model, void *memory, size_t size) {
  if (!model || !memory || size == 0)
    return fail(M7EMU_ERROR_ARGUMENT, "m7emu_pin: %s",
                !model    ? "model is null"
                : !memory ? "memory is null"
                          : "size is 0");
  return model->gpu
             ? model->gpu->pin(model->on_gpu, memory, size, last_message, sizeof last_message)
             : std::int32_t(M7EMU_OK);
}

std::int32_t m7emu_unpin(const m7emu_model *model, void *memory) {
  if (!model || !memory)
    return fail(M7EMU_ERROR_ARGUMENT, "m7emu_unpin: %s is null", model ? "memory" : "model");
  return model->gpu ? model->gpu->unpin(model->on_gpu, memory, last_message, sizeof last_message)
                    : std::int32_t(M7EMU_OK);
}

void m7emu_close(m7emu_model *model) {
  delete model;
}

size_t m7emu_message(char *buf, size_t len) {
  const size_t length = std::strlen(last_message);
  if (buf && len > 0) {
    const size_t copied = length < len ? length : len - 1;
    std::memcpy(buf, last_message, copied);
    buf[copied] = '\0';
  }
  return length;
}

std::int32_t m7emu_metadata(const m7emu_model *model, const char **json) {
  if (!json)
    return fail(M7EMU_ERROR_ARGUMENT, "m7emu_metadata: json is null");
  *json = nullptr;
  if (!model)
    return fail(M7EMU_ERROR_ARGUMENT, "m7emu_metadata: model is null");
  *json = model->metadata.c_str();
  return M7EMU_OK;
}

} // extern "C"
