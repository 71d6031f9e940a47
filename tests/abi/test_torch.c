/* The torch engine in a host: the native engine's step in any block and thread; what cannot be is a
 * status and a message, and the host's own settings stay as they are.
 * Arguments: case, model files. Python starts once in a process, hence the cases. */
#include "cells.h"

#include <dlfcn.h>
#include <fenv.h>
#include <locale.h>
#include <math.h>
#include <omp.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COUNT = 200 };
static const int traps = FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW;

static int32_t open_torch(const char *path, int32_t device, m7emu_model **model) {
  const m7emu_options options = {sizeof options, device, "torch"};
  return m7emu_open(path, &options, model);
}

static void refused(const char *path, int32_t status, const char *word) {
  m7emu_model *model = (m7emu_model *)1;
  const int32_t found = open_torch(path, M7EMU_DEVICE_CPU, &model);
  that(found == status && !model, word);
  if (!strstr(told(), word)) {
    fprintf(stderr, "  status %d, message: %s\n", (int)found, told());
    that(0, "the message says what is wrong");
  }
}

/* All fields of COUNT cells after a step in blocks of this shape. */
static void step_all(const m7emu_model *model, int kproma, int kbdim, int klev, double *out) {
  const size_t plane = (size_t)kbdim * (size_t)klev;
  for (int first = 0; first < COUNT; first += kproma * klev) {
    cells c = cells_new(kproma, kbdim, klev);
    for (int l = 0; l < klev; ++l)
      for (int i = 0; i < kproma; ++i)
        cells_set(&c, (size_t)(l * kbdim + i), (uint64_t)((first + l * kproma + i) % COUNT));
    that(m7emu_step(model, &c.block) == M7EMU_OK, "a step is OK");
    for (int l = 0; l < klev; ++l)
      for (int i = 0; i < kbdim; ++i) {
        const size_t place = (size_t)(l * kbdim + i), number = (size_t)(first + l * kproma + i);
        for (size_t f = 0; f < N_FIELDS; ++f)
          if (i < kproma)
            out[number % COUNT * N_FIELDS + f] = c.memory[f * plane + place];
          else if (c.memory[f * plane + place] != -77.0)
            that(0, "padding is untouched");
        if (i < kproma ? c.flag[place] == M7EMU_FLAG_INVALID || c.negatives[place] != 0
                       : c.flag[place] != -77 || c.negatives[place] != -77)
          that(0, "flags of the cells in use");
      }
    cells_free(&c);
  }
}

/* Within 1e-4 of the native engine, which computes in single precision; that lets one cell in a
 * hundred merge or not where a mode is at its limit. Of a mode that has been all but emptied there
 * is no size worth the name. */
static void compare(const double *found, const double *native, const char *name) {
  static const size_t first_size = 8 + 1 + N_MASS + N_MODE, first_number = 8 + 1 + N_MASS;
  for (size_t f = 8; f < N_FIELDS; ++f) {
    double most = 0.0;
    int off = 0;
    size_t mode = 0; /* of a size */
    if (f >= first_size && f < N_FIELDS - 1) {
      const size_t k = f - first_size;
      mode = first_number + (k < 7 ? k : k < 11 ? k - 7 : k < 18 ? k - 11 : k - 18);
    }
    for (size_t i = 0; i < COUNT; ++i)
      most = fmax(most, fabs(native[i * N_FIELDS + f]));
    for (size_t i = 0; i < COUNT; ++i) {
      const double x = found[i * N_FIELDS + f], y = native[i * N_FIELDS + f];
      if (!mode || native[i * N_FIELDS + mode] > 1e-3)
        off += !(fabs(x - y) <= 1e-4 * (fabs(y) + 0.1 * most));
    }
    ++checks;
    if (off > COUNT / 100) {
      ++failures;
      fprintf(stderr, "FAILED %s: field %zu differs from native in %d cells\n", name, f, off);
    }
  }
}

/* The same bits; with networks, whose sums depend on the place of a cell, the same to 1e-4. */
static void same(const double *one, const double *other, int exact, const char *what) {
  int good = exact ? !memcmp(one, other, COUNT * N_FIELDS * sizeof *one) : 1;
  double worst = 0.0;
  for (size_t i = 0; !exact && i < COUNT * N_FIELDS; ++i)
    worst = fmax(worst, fabs(one[i] - other[i]) / (fabs(one[i]) + 1e-30));
  if (worst > 0.0)
    fprintf(stderr, "%s: but for %.1e\n", what, worst);
  that(good && worst < 1e-4, what);
}

static void bad_cells(const m7emu_model *model) {
  cells c = cells_new(3, 4, 1);
  for (int i = 0; i < 3; ++i)
    cells_set(&c, (size_t)i, (uint64_t)i);
  const double bad = (double)NAN, low = -3.0;
  memcpy(&c.memory[8 * 4 + 1], &bad, sizeof bad); /* the gas of one, */
  memcpy(&c.memory[9 * 4 + 2], &low, sizeof low); /* a mass of another */
  double before[N_FIELDS];
  for (size_t f = 0; f < N_FIELDS; ++f)
    before[f] = c.memory[f * 4 + 1];
  that(m7emu_step(model, &c.block) == M7EMU_OK, "a step with bad cells");
  int same = 1;
  for (size_t f = 0; f + 1 < N_FIELDS; ++f)
    same &= memcmp(&before[f], &c.memory[f * 4 + 1], sizeof(double)) == 0;
  that(same && c.memory[(N_FIELDS - 1) * 4 + 1] == 1.0, "a bad cell is left as it is");
  that(c.flag[1] == M7EMU_FLAG_INVALID && c.flag[0] == M7EMU_FLAG_FINE, "a bad cell is flagged");
  that(c.negatives[1] == 0 && c.negatives[2] == 1, "negatives are counted");
  that(c.memory[9 * 4 + 2] >= 0.0, "negatives are taken as 0");
  c.block.struct_size = 8;
  that(m7emu_step(model, &c.block) == M7EMU_ERROR_ARGUMENT, "a short block");
  c.block.struct_size = sizeof c.block;
  c.block.space = M7EMU_DEVICE;
  that(m7emu_step(model, &c.block) == M7EMU_ERROR_ARGUMENT, "device memory on the CPU");
  cells_free(&c);
}

/* Amounts from nothing to the largest that are let in. */
static void extreme_cells(const m7emu_model *model) {
  uint64_t seed = 1;
  int good = 1, stepped = 0;
  cells c = cells_new(512, 512, 1);
  for (size_t i = 0; i < 512; ++i) {
    double *const m = c.memory + i;
    m[0] = exp(log(1.1e-3) + log(0.9e9 / 1.1) * draw(&seed));
    m[512] = 51.0 + 939.0 * draw(&seed);
    for (int k = 2; k < 8; ++k)
      m[k * 512] = k == 4 ? 1e19 * (draw(&seed) - 0.5) : draw(&seed) < 0.3 ? 0.0 : draw(&seed);
    for (int k = 8; k < 34; ++k)
      m[k * 512] = draw(&seed) < 0.3 ? 0.0 : pow(10.0, 319.0 * draw(&seed) - 300.0);
  }
  that(m7emu_step(model, &c.block) == M7EMU_OK, "a step of extreme cells");
  for (size_t i = 0; i < 512; ++i) {
    stepped += c.flag[i] != M7EMU_FLAG_INVALID; /* in stages nothing finite comes of some */
    for (size_t k = 8; k < N_FIELDS - 1; ++k) {
      const double x = c.memory[k * 512 + i];
      good &= isfinite(x) && (x >= 0.0 || c.flag[i] == M7EMU_FLAG_INVALID);
    }
  }
  that(stepped > 480, "extreme cells are stepped");
  that(good, "extreme cells stay finite and non-negative");
  cells_free(&c);
}

static void single_precision(const m7emu_model *model, const m7emu_model *native) {
  cells_float a = cells_float_new(50, 50, 4), b = cells_float_new(50, 50, 4);
  double worst = 0.0;
  for (size_t i = 0; i < 200; ++i) {
    cells_float_set(&a, i, i);
    cells_float_set(&b, i, i);
  }
  that(m7emu_step_float(model, &a.block) == M7EMU_OK, "a step in single precision");
  that(m7emu_step_float(native, &b.block) == M7EMU_OK, "the same, native");
  for (size_t f = 8; f < N_FIELDS; ++f) {
    double most = 0.0;
    for (size_t i = 0; i < 200; ++i)
      most = fmax(most, fabs((double)b.memory[f * 200 + i]));
    for (size_t i = 0; i < 200; ++i)
      worst = fmax(worst, fabs((double)(a.memory[f * 200 + i] - b.memory[f * 200 + i])) /
                              (fabs((double)b.memory[f * 200 + i]) + 0.1 * most + 1e-30));
  }
  fprintf(stderr, "single precision: within %.1e of native\n", worst);
  that(worst < 1e-3, "single precision is near the native engine's");
  cells_float_free(&a);
  cells_float_free(&b);
}

static void host(int n_file, char **file) {
  static double native[COUNT * N_FIELDS], found[COUNT * N_FIELDS], other[4][COUNT * N_FIELDS];
  const int shapes[][3] = {{1, 1, 7}, {7, 9, 3}, {64, 64, 3}, {200, 256, 1}};
  m7emu_model *model[4] = {NULL, NULL, NULL, NULL}, *bad = NULL;
  struct sigaction interrupt, after;
  sigaction(SIGINT, NULL, &interrupt);
  const int team = omp_get_max_threads();
  feenableexcept(traps); /* as a debug build of a Fortran host: on in all that follows */
  int status[4];
#pragma omp parallel for num_threads(4)
  for (int i = 0; i < 4; ++i)
    status[i] = open_torch(file[0], M7EMU_DEVICE_CPU, &model[i]);
  for (int i = 0; i < 4; ++i) {
    that(status[i] == M7EMU_OK, "threads open a model at once");
    m7emu_close(model[i]);
  }
  if (failures) {
    fprintf(stderr, "%s\n", told());
    return;
  }
  for (int k = 0; k < n_file; ++k) {
    const char *json = NULL;
    m7emu_model *reference = opened(file[k]);
    that(open_torch(file[k], M7EMU_DEVICE_CPU, &model[0]) == M7EMU_OK, "open, again");
    that(m7emu_metadata(model[0], &json) == M7EMU_OK && strstr(json, "format_version"), "JSON");
    const int exact = json && !strstr(json, "\"form\": \"network\"");
    step_all(reference, COUNT, COUNT, 1, native);
    step_all(model[0], COUNT, COUNT, 1, found);
    compare(found, native, file[k]);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; ++s)
      if (k == 0 || s == 1) {
        step_all(model[0], shapes[s][0], shapes[s][1], shapes[s][2], other[0]);
        same(found, other[0], exact, "bits are the same in any block");
      }
    if (k == 0) {
#pragma omp parallel for num_threads(4)
      for (int i = 0; i < 4; ++i)
        step_all(model[0], 50, 50, 1, other[i]);
      for (int i = 0; i < 4; ++i)
        same(found, other[i], exact, "bits are the same in threads");
      single_precision(model[0], reference);
      bad_cells(model[0]);
    }
    extreme_cells(model[0]);
    m7emu_close(model[0]);
    m7emu_close(reference);
  }
  that(open_torch(file[0], 99, &bad) == M7EMU_ERROR_DEVICE && !bad, "no such GPU");
  that(strstr(told(), "cuda:99") != NULL, "the message names the GPU");
  that(open_torch("/no/such/file", -1, &bad) == M7EMU_ERROR_FILE && !bad, "no file");
  that(strstr(told(), "/no/such/file") != NULL, "the message names the file");
  that(open_torch("/proc/self/exe", -1, &bad) == M7EMU_ERROR_FORMAT && !bad, "no model file");
  that(fegetexcept() == traps, "the host's traps are as they were");
  that(omp_get_max_threads() == team, "the host's threads are as they were");
  that(strcmp(setlocale(LC_ALL, NULL), "C") == 0, "the host's locale is as it was");
  sigaction(SIGINT, NULL, &after);
  that(after.sa_handler == interrupt.sa_handler, "the host's signals are as they were");
  that(!dlsym(RTLD_DEFAULT, "sgemm_") && !dlsym(RTLD_DEFAULT, "dgemm_"), "no BLAS for the host");
}

static char folder[1000];
static void write_file(const char *name, const char *text) {
  char path[1100];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "w");
  if (!file || fputs(text, file) < 0 || fclose(file) != 0)
    exit(1);
}

int main(int argc, char **argv) {
  const char *const temporary = getenv("TMPDIR");
  snprintf(folder, sizeof folder, "%s/m7emu_torch_XXXXXX", temporary ? temporary : "/tmp");
  if (argc < 3 || !mkdtemp(folder))
    return 1;
  const char *const name = argv[1], *const model = argv[2];
  char command[3200];
  if (strcmp(name, "host") == 0) {
    host(argc - 2, argv + 2);
  } else if (strcmp(name, "home") == 0) { /* PYTHONHOME leads nowhere */
    setenv("PYTHONHOME", "/nowhere", 1);
    refused(model, M7EMU_ERROR_UNSUPPORTED, "PYTHONHOME is '/nowhere'");
    refused(model, M7EMU_ERROR_UNSUPPORTED, "PYTHONHOME is '/nowhere'");
  } else if (strcmp(name, "library") == 0) { /* ... or to a Python that is all but empty */
    setenv("PYTHONHOME", folder, 1);
    for (int minor = 11; minor < 30; ++minor) {
      snprintf(command, sizeof command, "mkdir -p %s/lib/python3.%d && : >%s/lib/python3.%d/os.py",
               folder, minor, folder, minor);
      if (system(command) != 0)
        return 1;
    }
    refused(model, M7EMU_ERROR_UNSUPPORTED, "Python cannot start: ");
    refused(model, M7EMU_ERROR_UNSUPPORTED, "Python cannot start: ");
  } else if (strcmp(name, "pyemu") == 0) { /* an environment without pyemu */
    setenv("VIRTUAL_ENV", folder, 1);
    setenv("PYTHONNOUSERSITE", "1", 1);
    snprintf(command, sizeof command, "mkdir %s/bin && ln -s \"$(readlink -f '%s')\" %s/bin/python",
             folder, PYTHON, folder);
    if (system(command) != 0)
      return 1;
    refused(model, M7EMU_ERROR_UNSUPPORTED, "No module named 'pyemu'");
    refused(model, M7EMU_ERROR_UNSUPPORTED, "No module named 'pyemu'");
  } else if (strcmp(name, "torch") == 0) { /* ... without torch */
    setenv("PYTHONPATH", folder, 1);
    write_file("torch.py", "raise ModuleNotFoundError(\"No module named 'torch'\")\n");
    refused(model, M7EMU_ERROR_UNSUPPORTED, "No module named 'torch'");
  } else if (strcmp(name, "exception") == 0) { /* a model that raises, and one that exits */
    setenv("PYTHONPATH", folder, 1);
    write_file("sitecustomize.py",
               "import pyemu.blocks.chain as chain\n"
               "errors = [RuntimeError('the model is ill'), SystemExit(3), MemoryError()]\n"
               "def forward(*_):\n"
               "    raise errors.pop(0)\n"
               "chain.Chain.forward = forward\n");
    m7emu_model *ill = NULL;
    that(open_torch(model, M7EMU_DEVICE_CPU, &ill) == M7EMU_OK, "opens");
    cells c = cells_new(4, 4, 1);
    for (int i = 0; i < 4; ++i)
      cells_set(&c, (size_t)i, (uint64_t)i);
    double *const before = malloc(c.size * sizeof *before);
    memcpy(before, c.memory, c.size * sizeof *before);
    that(ill && m7emu_step(ill, &c.block) == M7EMU_ERROR_INTERNAL, "an exception");
    that(strstr(told(), "RuntimeError: the model is ill") != NULL, "its text");
    that(ill && m7emu_step(ill, &c.block) == M7EMU_ERROR_INTERNAL, "sys.exit");
    that(strstr(told(), "SystemExit: 3") != NULL, "its text, too");
    that(ill && m7emu_step(ill, &c.block) == M7EMU_ERROR_MEMORY, "out of memory");
    that(memcmp(before, c.memory, c.size * sizeof *before) == 0, "nothing is written");
    m7emu_close(ill);
    free(before);
    cells_free(&c);
  } else {
    return 1;
  }
  snprintf(command, sizeof command, "rm -r %s", folder);
  return finish() | system(command);
}
