#ifndef GSHIM
#define GSHIM
#include_next <sched.h>
#include <fcntl.h>
#endif
