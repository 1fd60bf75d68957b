#include "CStepCount.h"

_Thread_local int64_t cairn_steps_left = INT64_MAX;
