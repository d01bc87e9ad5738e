/* A wall clock that can be set: preloaded into a process, it moves gettimeofday and CLOCK_REALTIME by as many
   microseconds as the file named by TMS_TEST_CLOCK says. Other clocks are left alone. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset;

__attribute__((constructor)) static void begin(void) {
	const char *path = getenv("TMS_TEST_CLOCK");
	int fd = path ? open(path, O_RDONLY) : -1;
	if (fd < 0) return;
	void *map = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED) offset = map;
	close(fd);
}

static int64_t micros(const struct timespec *ts) { return (int64_t)ts->tv_sec * 1000000 + ts->tv_nsec / 1000; }

int clock_gettime(clockid_t id, struct timespec *ts) {
	int result = (int)syscall(SYS_clock_gettime, id, ts);
	if (result == 0 && offset && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
		int64_t at = micros(ts) + *offset;
		ts->tv_sec = at / 1000000;
		ts->tv_nsec = at % 1000000 * 1000;
	}
	return result;
}

int gettimeofday(struct timeval *restrict tv, void *restrict tz) {
	struct timespec ts;
	int result = clock_gettime(CLOCK_REALTIME, &ts);
	(void)tz;
	if (tv) {
		tv->tv_sec = ts.tv_sec;
		tv->tv_usec = ts.tv_nsec / 1000;
	}
	return result;
}

time_t time(time_t *t) {
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	if (t) *t = ts.tv_sec;
	return ts.tv_sec;
}
