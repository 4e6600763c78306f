/* Loaded into a program before the C library (LD_PRELOAD), puts its clock ahead by the seconds in CLOCK_AHEAD. What
   measures how much time passes stays as it is. */
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
