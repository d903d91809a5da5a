/* What the files of the SDK share. */
#ifndef WASMILL_INTERNAL_H
#define WASMILL_INTERNAL_H

#include "wasmill.h"

/* Free all that wasmill_alloc gave. */
void wasmill_arena_reset(void);
/* The same, but not before the next delivery comes: the host reads the answer after the handler has returned. */
void wasmill_arena_done(void);
/* A delivery begins: what went wrong in others is not its own. */
void wasmill_forget_detail(void);
wasmill_status wasmill_fail(wasmill_status status, const char *detail);

#endif
