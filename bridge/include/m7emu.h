/* m7emu: the emulator of the M7 aerosol microphysics step, as a C library.
 *
 * Open a model once, step blocks of columns with it, close it. A model is read-only after it has
 * been opened: any number of threads may step different blocks with the same one. Functions return
 * a status, M7EMU_OK or one of the codes below; the text of the calling thread's last error is had
 * from m7emu_message. The library never prints, exits, or touches floating-point traps; its native
 * engine neither allocates in a step nor starts threads.
 *
 * Arrays are Fortran's: (kbdim, klev) or (kbdim, klev, n), columns first. Columns 1 to kproma are
 * used; those beyond are neither read nor written. A cell's result does not depend on its
 * neighbours, on kproma or on the thread that computes it.
 */
#ifndef M7EMU_H
#define M7EMU_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) || !defined(__GNUC__)
#define M7EMU_API
#else
#define M7EMU_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised by every change that a compiled host could notice. */
#define M7EMU_ABI_VERSION 1

enum {
  M7EMU_OK = 0,
  M7EMU_ERROR_ARGUMENT = 1,    /* null pointer, wrong struct_size, bad count or timestep */
  M7EMU_ERROR_FILE = 2,        /* model file missing or unreadable */
  M7EMU_ERROR_FORMAT = 3,      /* not a model file, truncated, or inconsistent with itself */
  M7EMU_ERROR_VERSION = 4,     /* model file of another format version */
  M7EMU_ERROR_UNSUPPORTED = 5, /* an operation, block or setting that this library lacks */
  M7EMU_ERROR_VALUE = 6,       /* model file with values that are not finite or out of range */
  M7EMU_ERROR_DEVICE = 7,      /* no such device, no library or driver for it, or it failed */
  M7EMU_ERROR_MEMORY = 8,      /* out of memory, of the host or of a GPU */
  M7EMU_ERROR_INTERNAL = 9
};

enum {
  M7EMU_DEVICE_CPU = -1 /* 0, 1, ... are GPUs */
};

enum {
  M7EMU_HOST = 0,  /* pointers of a block are to host memory */
  M7EMU_DEVICE = 1 /* ... to memory of the model's device */
};

/* What became of a cell. */
enum {
  M7EMU_FLAG_FINE = 0,
  M7EMU_FLAG_EXTRAPOLATING = 1, /* stepped, near the edge of what the model was trained on */
  M7EMU_FLAG_OUTSIDE = 2,       /* stepped, but so far outside that M7 should do it */
  M7EMU_FLAG_INVALID = 3        /* an input is not finite or out of its range: left unchanged */
};
/* Ranges: pressure 1e-3 to 1e6 Pa, temperature 50 to 1000 K, relative humidity 0 to 1 (1e-6 beyond
 * is clipped), all others below 2**64 in size. Cloud and forest fraction are clipped to 0 to 1,
 * amounts below 0 to 0. Of an invalid cell only flag, negatives (0) and uncertainty (1) are
 * written. */

typedef struct m7emu_model m7emu_model;

typedef struct m7emu_options {
  uint32_t struct_size; /* sizeof(m7emu_options) */
  int32_t device;       /* M7EMU_DEVICE_CPU or the index of a GPU */
  const char *engine;   /* "native", which null means, "native-tf32", "native-3xtf32",
                           "native-bf16", or "torch" */
} m7emu_options;
/* Engine "torch" runs any model file in torch, in a Python inside the process. It needs
 * libm7emu_torch, which is loaded when it is first asked for, and the packages pyemu and torch: of
 * the activated environment ($VIRTUAL_ENV), or else of the Python that the library was built with.
 * Open it after MPI_Init, and do not fork afterwards. Python stays when models are closed. Threads
 * may step at once, but wait for each other. On the CPU bits do not depend on the block unless the
 * model has networks, whose sums depend on a cell's place to single precision. A cell of which
 * nothing finite comes is M7EMU_FLAG_INVALID, too.
 *
 * On a GPU the native engine is libm7emu_cuda, which is loaded when a model is first opened there;
 * ranks of one node choose different devices by their index. A GPU, and torch on one, takes blocks
 * in its own memory (M7EMU_DEVICE) and in the host's. A block on the device is stepped on `stream`
 * (null: the default stream). With a stream m7emu_step returns when the step is under way, else
 * when it is done; what goes wrong later the host's next call to the GPU tells. A cell's bits
 * depend on neither block nor run, but are not the CPU's: both compute in single precision. A block
 * of the host's goes through the GPU in chunks, copied in and out meanwhile, much faster where its
 * arrays are pinned (m7emu_pin). Memory for that is allocated by the first such steps.
 *
 * "native-tf32", "native-3xtf32" and "native-bf16" multiply in a model's networks on tensor cores:
 * factors are rounded to tf32 (11 bits), to two of them (nearly float) or to bf16 (8 bits), sums
 * are float. They need a GPU of compute capability 8.0 or later, else opening is
 * M7EMU_ERROR_UNSUPPORTED; models without networks are stepped as by "native". */

/* One block of columns. struct_size is sizeof the struct; new members are added at the end. */
typedef struct m7emu_block {
  uint32_t struct_size;
  int32_t space;  /* M7EMU_HOST or M7EMU_DEVICE */
  void *stream;   /* CUDA stream (HIP: of that) of a block on a device, may be null */
  int32_t kproma; /* columns in use, 0 <= kproma <= kbdim */
  int32_t kbdim;  /* leading dimension of all arrays */
  int32_t klev;   /* levels */
  int32_t unused;
  double timestep; /* s */
  /* (kbdim, klev); those that may be null count as 0 */
  const double *pressure;            /* Pa */
  const double *temperature;         /* K */
  const double *relative_humidity;   /* over liquid water, of the clear part: 1 */
  const double *cloud_fraction;      /* 1; may be null */
  const double *h2so4_production;    /* molecules cm-3 s-1; may be null */
  const double *ion_pair_production; /* cm-3 s-1; may be null */
  const double *forest_fraction;     /* 1; may be null */
  const double *boundary_layer;      /* 0 or 1; may be null */
  /* changed in place */
  double *h2so4;  /* (kbdim, klev), before production: molecules cm-3 */
  double *mass;   /* (kbdim, klev, 18), sulfate: molecules cm-3, else ug m-3 */
  double *number; /* (kbdim, klev, 7), cm-3 */
  /* after the step; each may be null */
  double *wet_radius;  /* (kbdim, klev, 7), ambient count median radius: cm */
  double *dry_radius;  /* (kbdim, klev, 4), of NS KS AS CS: cm */
  double *density;     /* (kbdim, klev, 7), ambient: g cm-3 */
  double *water;       /* (kbdim, klev, 4), of NS KS AS CS: kg m-3 */
  int32_t *flag;       /* (kbdim, klev), M7EMU_FLAG_... */
  double *uncertainty; /* (kbdim, klev), what 90 % of such cells' errors stay below: root mean
                          square over the variables, in standard deviations of the tendencies of
                          the model's training; 0 if the model has no self-error head: 1 */
  int32_t *negatives;  /* (kbdim, klev), negative inputs taken as 0 */
} m7emu_block;

/* The same in single precision. */
typedef struct m7emu_block_float {
  uint32_t struct_size;
  int32_t space;
  void *stream;
  int32_t kproma;
  int32_t kbdim;
  int32_t klev;
  int32_t unused;
  double timestep;
  const float *pressure;
  const float *temperature;
  const float *relative_humidity;
  const float *cloud_fraction;
  const float *h2so4_production;
  const float *ion_pair_production;
  const float *forest_fraction;
  const float *boundary_layer;
  float *h2so4;
  float *mass;
  float *number;
  float *wet_radius;
  float *dry_radius;
  float *density;
  float *water;
  int32_t *flag;
  float *uncertainty;
  int32_t *negatives;
} m7emu_block_float;

/* ABI version of the library, to be compared with M7EMU_ABI_VERSION. */
M7EMU_API int32_t m7emu_abi_version(void);

/* Version of the library, as "1.2.3"; a constant string. */
M7EMU_API const char *m7emu_version(void);

/* Read a model file. options may be null: CPU. *model is set to null on failure. */
M7EMU_API int32_t m7emu_open(const char *path, const m7emu_options *options, m7emu_model **model);

/* Advance a block by one timestep. On a status other than M7EMU_OK nothing has been written,
 * unless a GPU has failed on the way. */
M7EMU_API int32_t m7emu_step(const m7emu_model *model, const m7emu_block *block);
M7EMU_API int32_t m7emu_step_float(const m7emu_model *model, const m7emu_block_float *block);

/* Pin the host's memory, so that the GPU of the model copies blocks in it itself: once, for arrays
 * that are stepped often, and before they are given back unpin them. On a CPU nothing is done. */
M7EMU_API int32_t m7emu_pin(const m7emu_model *model, void *memory, size_t size);
M7EMU_API int32_t m7emu_unpin(const m7emu_model *model, void *memory);

/* Release a model; null is allowed. No block may be under way. */
M7EMU_API void m7emu_close(m7emu_model *model);

/* Text of the calling thread's last error, cut to len - 1 characters and always terminated.
 * Returns the length of the whole text. buf may be null when len is 0. */
M7EMU_API size_t m7emu_message(char *buf, size_t len);

/* Metadata of an open model, as JSON; valid until m7emu_close. *json is set to null on failure. */
M7EMU_API int32_t m7emu_metadata(const m7emu_model *model, const char **json);

#ifdef __cplusplus
}
#endif

#endif
