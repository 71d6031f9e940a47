// The C ABI: checks what it is given, and lets nothing but a status out.
#include "../include/m7emu.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>

#include "model.h"

#ifndef M7EMU_VERSION
#define M7EMU_VERSION "0"
#endif

struct m7emu_model : m7emu::Model {};

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
  if (block->space != M7EMU_HOST)
    return fail(bad, "m7emu_step: space is %d; a model on the CPU takes M7EMU_HOST (%d)",
                static_cast<int>(block->space), static_cast<int>(M7EMU_HOST));
  if (block->klev < 0)
    return fail(bad, "m7emu_step: klev is %d, expected at least 0", static_cast<int>(block->klev));
  if (block->kproma < 0 || block->kproma > block->kbdim)
    return fail(bad, "m7emu_step: kproma is %d, expected 0 to kbdim, which is %d",
                static_cast<int>(block->kproma), static_cast<int>(block->kbdim));
  if (!(block->timestep > 0.0 && block->timestep <= 1.0e6))
    return fail(bad, "m7emu_step: timestep is %g s, expected above 0 and up to 1e6",
                block->timestep);
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
  if (options && options->device != M7EMU_DEVICE_CPU)
    return fail(M7EMU_ERROR_DEVICE, "m7emu_open: device %d: this library was built without GPUs",
                static_cast<int>(options->device));
  try {
    auto opened = std::make_unique<m7emu_model>();
    m7emu::read_model(path, *opened);
    opened->engine = &m7emu::best_engine();
    *model = opened.release();
    return M7EMU_OK;
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
  if (status == M7EMU_OK)
    model->engine->step(model->program, *block);
  return status;
}

std::int32_t m7emu_step_float(const m7emu_model *model, const m7emu_block_float *block) {
  const std::int32_t status = check(model, block);
  if (status == M7EMU_OK)
    model->engine->step_float(model->program, *block);
  return status;
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
