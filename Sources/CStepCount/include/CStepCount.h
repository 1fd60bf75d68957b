#ifndef CSTEPCOUNT_H
#define CSTEPCOUNT_H
#include <stdint.h>

/// Steps that the calling thread may take until somebody has to look whether it may take more. Swift has no variables of threads.
extern _Thread_local int64_t cairn_steps_left;

static inline int64_t cairn_steps_get(void) { return cairn_steps_left; }

static inline void cairn_steps_set(int64_t steps) { cairn_steps_left = steps; }

/// Takes steps and returns how many are left.
static inline int64_t cairn_steps_take(int64_t steps) {
    cairn_steps_left = (int64_t)((uint64_t)cairn_steps_left - (uint64_t)steps);
    return cairn_steps_left;
}

#endif
