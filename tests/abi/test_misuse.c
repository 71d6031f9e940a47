/* What a host may do wrong: each a status and a message, and nothing written. */
#include "cells.h"

#include <locale.h>
#include <math.h>

/* The host's locale is one whose decimal point has two bytes, as that of Pashto; a thread may have
 * another. */
struct lconv *localeconv(void) {
  static char nothing[] = "", arabic[] = "\xd9\xab", point[] = ".";
  static _Thread_local struct lconv told;
  told.thousands_sep = told.grouping = nothing;
  told.decimal_point = uselocale((locale_t)0) == LC_GLOBAL_LOCALE ? arabic : point;
  return &told;
}

static void refused(const m7emu_model *model, cells *c, const char *word) {
  that(m7emu_step(model, &c->block) == M7EMU_ERROR_ARGUMENT, word);
  if (!strstr(told(), word)) {
    fprintf(stderr, "  message: %s\n", told());
    that(0, word);
  }
  for (size_t i = 8 * 4; i < c->size; ++i)
    if (c->memory[i] != -77.0) {
      that(0, "nothing is written");
      return;
    }
}

int main(int argc, char **argv) {
  if (argc < 2)
    return 1;
  m7emu_model *model = (m7emu_model *)1;
  m7emu_options options = {sizeof options, M7EMU_DEVICE_CPU, NULL};
  const char *json = NULL;
  char small[8];

  that(m7emu_abi_version() == M7EMU_ABI_VERSION, "ABI version");
  that(strchr(m7emu_version(), '.') != NULL, "version");
  that(m7emu_open(NULL, NULL, &model) == M7EMU_ERROR_ARGUMENT && !model, "path is null");
  that(m7emu_open(argv[1], NULL, NULL) == M7EMU_ERROR_ARGUMENT, "model is null");
  options.struct_size = 4;
  that(m7emu_open(argv[1], &options, &model) == M7EMU_ERROR_ARGUMENT, "short options");
  that(strstr(told(), "struct_size") != NULL, "message of short options");
  options.struct_size = sizeof options;
  options.device = 1000;
  that(m7emu_open(argv[1], &options, &model) == M7EMU_ERROR_DEVICE && !model, "no GPU");
  options.device = -2;
  that(m7emu_open(argv[1], &options, &model) == M7EMU_ERROR_DEVICE && !model, "no device");
  options.device = M7EMU_DEVICE_CPU;
  options.engine = "magic";
  that(m7emu_open(argv[1], &options, &model) == M7EMU_ERROR_ARGUMENT && !model, "no such engine");
  that(strstr(told(), "'magic'") != NULL, "the message names the engine");
  options.engine = "native";
  that(m7emu_open("/no/such/file", NULL, &model) == M7EMU_ERROR_FILE && !model, "no file");
  that(strstr(told(), "/no/such/file") != NULL, "message names the file");
  that(m7emu_open("/", NULL, &model) == M7EMU_ERROR_FILE && !model, "a directory");
  that(m7emu_message(small, sizeof small) > sizeof small && strlen(small) == sizeof small - 1,
       "message is cut and terminated");
  that(m7emu_message(NULL, 0) > 0, "length of the message");
  options.device = M7EMU_DEVICE_CPU;
  that(m7emu_open(argv[1], &options, &model) == M7EMU_OK && model, "opens");
  that(uselocale((locale_t)0) == LC_GLOBAL_LOCALE, "the thread's locale is as it was");
  that(m7emu_metadata(model, &json) == M7EMU_OK && json && strstr(json, "format_version"), "JSON");
  that(m7emu_metadata(NULL, &json) == M7EMU_ERROR_ARGUMENT && !json, "metadata of null");
  that(m7emu_metadata(model, NULL) == M7EMU_ERROR_ARGUMENT, "metadata to null");
  that(m7emu_pin(model, small, sizeof small) == M7EMU_OK, "memory is pinned");
  that(m7emu_unpin(model, small) == M7EMU_OK, "memory is unpinned");
  that(m7emu_pin(NULL, small, 1) == M7EMU_ERROR_ARGUMENT, "pinned for null");
  that(m7emu_pin(model, NULL, 1) == M7EMU_ERROR_ARGUMENT, "null is pinned");
  that(m7emu_pin(model, small, 0) == M7EMU_ERROR_ARGUMENT, "nothing is pinned");
  that(m7emu_unpin(model, NULL) == M7EMU_ERROR_ARGUMENT, "null is unpinned");
  m7emu_close(NULL);

  cells c = cells_new(3, 4, 1);
  const m7emu_block good = c.block;
  that(m7emu_step(NULL, &c.block) == M7EMU_ERROR_ARGUMENT, "model is null");
  that(m7emu_step(model, NULL) == M7EMU_ERROR_ARGUMENT, "block is null");
#define REFUSED(member, value, word)                                                               \
  c.block.member = value;                                                                          \
  refused(model, &c, word);                                                                        \
  c.block = good
  REFUSED(struct_size, 16, "struct_size");
  REFUSED(struct_size, 0, "struct_size");
  REFUSED(space, M7EMU_DEVICE, "space");
  REFUSED(kproma, 5, "kproma");
  REFUSED(kproma, -1, "kproma");
  REFUSED(klev, -1, "klev");
  REFUSED(timestep, 0.0, "timestep");
  REFUSED(timestep, 1e-4, "timestep");
  REFUSED(timestep, -1.0, "timestep");
  REFUSED(timestep, (double)NAN, "timestep");
  REFUSED(timestep, (double)INFINITY, "timestep");
  REFUSED(pressure, NULL, "pressure");
  REFUSED(temperature, NULL, "temperature");
  REFUSED(relative_humidity, NULL, "relative_humidity");
  REFUSED(h2so4, NULL, "h2so4");
  REFUSED(mass, NULL, "mass");
  REFUSED(number, NULL, "number");
  c.block.kproma = 0;
  that(m7emu_step(model, &c.block) == M7EMU_OK, "no columns");
  c.block = good;
  c.block.klev = 0;
  that(m7emu_step(model, &c.block) == M7EMU_OK, "no levels");
  c.block = good;

  /* Everything that may be null. */
  for (int i = 0; i < 4; ++i)
    cells_set(&c, (size_t)i, (uint64_t)i);
  c.block.cloud_fraction = c.block.h2so4_production = c.block.ion_pair_production = NULL;
  c.block.forest_fraction = c.block.boundary_layer = NULL;
  c.block.wet_radius = c.block.dry_radius = c.block.density = c.block.water = NULL;
  c.block.flag = c.block.negatives = NULL;
  c.block.uncertainty = NULL;
  that(m7emu_step(model, &c.block) == M7EMU_OK, "what may be null");
  cells_free(&c);
  m7emu_close(model);
  return finish();
}
