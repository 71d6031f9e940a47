/* The simulated GPU (bridge/gpu/simulation.h), for tests in C. */
#ifndef SIMULATED_H
#define SIMULATED_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void *simulated_malloc(int device, size_t size); /* on a device */
void simulated_free(void *memory);
void simulated_to_device(void *there, const void *here, size_t size);
void simulated_from_device(void *here, const void *there, size_t size);
void *simulated_stream(int device);
void simulated_wait(void *stream); /* ends it, too */
long simulated_fail(long calls);   /* the call after so many more fails, -1: none; returns what was
                                    * left of the count before, -1 where it has failed */
long simulated_live(void);         /* pieces of memory, streams and events there are */
int simulated_device(void);        /* of the calling thread */
void simulated_choose(int device);
void simulated_capability(int major); /* of both devices */

#ifdef __cplusplus
}
#endif

#endif
