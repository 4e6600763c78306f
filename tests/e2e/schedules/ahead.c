/* Loaded into a program before the C library (LD_PRELOAD), this sets the program's clock ahead by the seconds in
   CLOCK_AHEAD. Clocks that measure how much time passes are not changed. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    const char *ahead = getenv("CLOCK_AHEAD");
    if (result == 0 && clock == CLOCK_REALTIME && ahead != NULL) {
        time->tv_sec += atol(ahead);
    }
    return result;
}
