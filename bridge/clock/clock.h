/* Clocks for `pyemu bench`: they run inside C, around the calls that a host makes, so that nothing
 * of Python is timed. Not a part of libm7emu. Sets of instructions are numbered, best first; times
 * are seconds, negative where something failed. */
#ifndef M7EMU_CLOCK_H
#define M7EMU_CLOCK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct clock_network clock_network;

/* What compiled the engine. */
const char *clock_compiler(void);

/* Name of a set that this processor has, null past the last; cells in its vectors. */
const char *clock_set(int32_t set);
int32_t clock_lanes(int32_t set);

/* Open a model with a set of instructions; null where that fails. Step and close as m7emu.h says.
 */
void *clock_open(const char *path, int32_t set);
void clock_close(void *model);

/* A step in `calls` calls of kbdim columns each, which `threads` threads share: environment (kbdim,
 * 8, calls) and prognostic (kbdim, 26, calls), the latter stepped in place. */
double clock_step(const void *model, const double *environment, double *prognostic, int32_t kbdim,
                  int32_t calls, double timestep, int32_t threads);
double clock_step_float(const void *model, const float *environment, float *prognostic,
                        int32_t kbdim, int32_t calls, double timestep, int32_t threads);

/* The parts of a step: their names, null past the last; the time in each, of one thread; the
 * operations in each, per cell: (operations, precisions, parts), where operations are multiply,
 * add, divide, root, other and precisions are single and double. False where the file is no model.
 */
const char *clock_part(int32_t part);
int32_t clock_parts(const char *path, int32_t set, const double *environment, double *prognostic,
                    int32_t kbdim, int32_t calls, double timestep, double *seconds);
int32_t clock_count(const char *path, const double *environment, double *prognostic, int32_t kbdim,
                    int32_t calls, double timestep, double *operations);

/* A network of dense layers with ReLU between them: widths (layers + 1), weights (outputs, inputs)
 * and biases of layer after layer. Null where a width is too large. */
clock_network *clock_network_open(int32_t set, const int32_t *widths, int32_t layers,
                                  const float *numbers);
void clock_network_close(clock_network *network);
/* Apply it in calls of kbdim columns: inputs (kbdim, inputs, calls), outputs alike. */
double clock_network_run(const clock_network *network, const float *inputs, float *outputs,
                         int32_t kbdim, int32_t calls);

/* What a core can do per second: multiply-adds in single (0) and double (1) precision, divisions
 * (2, 3), square roots (4, 5); and bytes read and written when `count` reals are changed in place.
 */
double clock_rate(int32_t set, int32_t operation);
double clock_bandwidth(int32_t set, float *memory, int64_t count);

#ifdef __cplusplus
}
#endif

#endif
