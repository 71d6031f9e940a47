/* Model files that are damaged or made to harm: each is refused, with a status and a message. */
#include "cells.h"

#include <unistd.h>

static char name[] = "hostile_XXXXXX";

static int32_t open_bytes(const unsigned char *bytes, size_t size) {
  m7emu_model *model = (m7emu_model *)1;
  FILE *file = fopen(name, "wb");
  if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
    exit(1);
  const int32_t status = m7emu_open(name, NULL, &model);
  if (status == M7EMU_OK)
    m7emu_close(model);
  else
    that(!model && strstr(told(), name), "no model; the message names the file");
  return status;
}

static void header_length(unsigned char *bytes, uint64_t length) {
  for (int i = 0; i < 8; ++i)
    bytes[i] = (unsigned char)(length >> (8 * i));
}

int main(int argc, char **argv) {
  if (argc < 2)
    return 1;
  const int handle = mkstemp(name);
  if (handle < 0)
    return 1;
  close(handle);
  FILE *file = fopen(argv[1], "rb");
  static unsigned char good[1 << 20], bad[1 << 20];
  if (!file)
    return 1;
  const size_t size = fread(good, 1, sizeof good, file);
  fclose(file);
  that(open_bytes(good, size) == M7EMU_OK, "the file itself is fine");

  /* Every length up to the header's end, and some of the data. */
  int refused = 1;
  for (size_t cut = 0; cut < size; cut += cut < 32 || cut + 32 > size ? 1 : 101)
    refused &= open_bytes(good, cut) == M7EMU_ERROR_FORMAT;
  that(refused, "truncated files");
  memcpy(bad, good, size);
  that(open_bytes(bad, size + 4) == M7EMU_ERROR_FORMAT, "bytes that belong to no tensor");

  static const uint64_t lengths[] = {0,          1,     2,         7, 1 << 20, (1u << 24) + 1,
                                     1ull << 40, ~0ull, ~0ull >> 1};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; ++i) {
    memcpy(bad, good, size);
    header_length(bad, lengths[i]);
    that(open_bytes(bad, size) == M7EMU_ERROR_FORMAT, "wrong header length");
  }

  /* Deep and strange JSON. */
  static const char *strange[] = {"{}",
                                  "{\"__metadata__\":{}}",
                                  "{\"__metadata__\":{\"m7emu\":1}}",
                                  "{\"__metadata__\":{\"m7emu\":\"\"}}",
                                  "{\"__metadata__\":{\"m7emu\":\"[]\"}}",
                                  "{\"__metadata__\":{\"m7emu\":\"{}\"}}",
                                  "{\"a\":1}",
                                  "{\"a\":",
                                  "{\xff}"};
  for (size_t i = 0; i < sizeof strange / sizeof *strange; ++i) {
    const size_t length = strlen(strange[i]);
    memcpy(bad + 8, strange[i], length);
    header_length(bad, length);
    that(open_bytes(bad, length + 8) == M7EMU_ERROR_FORMAT, strange[i]);
  }
  const size_t deep = 500000;
  memset(bad + 8, '[', deep);
  memcpy(bad + 8, "{\"a\":", 5);
  header_length(bad, deep);
  that(open_bytes(bad, deep + 8) == M7EMU_ERROR_FORMAT, "deep JSON");
  memset(bad + 8 + deep / 2, ']', deep / 2);
  memcpy(bad + 8, "{\"a\":[", 6);
  bad[8 + deep - 1] = '}';
  memcpy(bad + 8, "{\"a\":", 5);
  that(open_bytes(bad, deep + 8) == M7EMU_ERROR_FORMAT, "deep JSON that is whole");

  /* Any byte changed: refused, or read and then stepped without harm. */
  uint64_t seed = 7;
  cells c = cells_new(4, 4, 1);
  for (int round = 0; round < 1000; ++round) {
    memcpy(bad, good, size);
    for (int i = 0; i < 1 + round % 3; ++i)
      bad[(size_t)(draw(&seed) * (double)size)] = (unsigned char)(256.0 * draw(&seed));
    file = fopen(name, "wb");
    if (!file || fwrite(bad, 1, size, file) != size || fclose(file) != 0)
      return 1;
    m7emu_model *model = NULL;
    const int32_t status = m7emu_open(name, NULL, &model);
    if (status == M7EMU_ERROR_INTERNAL || status == M7EMU_ERROR_MEMORY)
      that(0, told());
    if (status == M7EMU_OK) {
      for (int i = 0; i < 4; ++i)
        cells_set(&c, (size_t)i, (uint64_t)(i + round));
      that(m7emu_step(model, &c.block) == M7EMU_OK, "a changed file that is read can be stepped");
      m7emu_close(model);
    }
  }
  cells_free(&c);
  remove(name);
  return finish();
}
