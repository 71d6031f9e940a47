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
void simulated_pitch(size_t most);    /* bytes between rows that are copied at once */
long simulated_pinned(void);          /* bytes of the host's memory that the library has pinned */
void simulated_full(int device, int full);      /* whether no context can be made there */
void simulated_memory(int device, size_t left); /* bytes left, and nothing launched there yet */
int simulated_error(void);       /* the thread's last one, 0 for none; then there is none */
void simulated_leave(int error); /* as if a call of the host's had failed */

#ifdef __cplusplus
}
#endif

#endif
