/*
 * Faults on demand, for LD_PRELOAD: while the file NAME is in the folder $SHIM_FOLDER, the call NAME fails with the
 * errno that stands in it; the file "clock" has the seconds that CLOCK_REALTIME is off. Each time, a byte is added to
 * NAME.hits, so that a test can tell that its fault was met.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* The number in the file; 0: there is none. Leaves errno alone. */
static long fault(const char *name)
{
	const char *folder = getenv("SHIM_FOLDER");
	char path[4096], text[32] = "";
	int saved = errno, fd;
	long number = 0;

	if (folder == NULL)
		return 0;
	snprintf(path, sizeof path, "%s/%s", folder, name);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0) {
		if (read(fd, text, sizeof text - 1) > 0)
			number = atol(text);
		close(fd);
	}
	if (number != 0) {
		snprintf(path, sizeof path, "%s/%s.hits", folder, name);
		if ((fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) >= 0) {
			if (write(fd, "x", 1) < 0)
				number = 0;
			close(fd);
		}
	}
	errno = saved;
	return number;
}

pid_t fork(void)
{
	pid_t (*real)(void) = (pid_t (*)(void))dlsym(RTLD_NEXT, "fork");
	long number = fault("fork");

	if (number != 0) {
		errno = number;
		return -1;
	}
	return real();
}

int socketpair(int domain, int type, int protocol, int pair[2])
{
	int (*real)(int, int, int, int *) = (int (*)(int, int, int, int *))dlsym(RTLD_NEXT, "socketpair");
	long number = fault("socketpair");

	if (number != 0) {
		errno = number;
		return -1;
	}
	return real(domain, type, protocol, pair);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	ssize_t (*real)(int, const struct msghdr *, int) =
	    (ssize_t (*)(int, const struct msghdr *, int))dlsym(RTLD_NEXT, "sendmsg");
	long number = message->msg_controllen > 0 ? fault("sendmsg") : 0; /* descriptors alone */

	if (number != 0) {
		errno = number;
		return -1;
	}
	return real(fd, message, flags);
}

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	int (*real)(int, struct sockaddr *, socklen_t *, int) =
	    (int (*)(int, struct sockaddr *, socklen_t *, int))dlsym(RTLD_NEXT, "accept4");
	long number = fault("accept4");

	if (number != 0) {
		errno = number;
		return -1;
	}
	return real(fd, address, size, flags);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int (*real)(clockid_t, struct timespec *) =
	    (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	int result = real(clock, now);

	if (result == 0 && clock == CLOCK_REALTIME)
		now->tv_sec += fault("clock");
	return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	int (*real)(struct timeval *, void *) =
	    (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
	int result = real(now, zone);

	if (result == 0)
		now->tv_sec += fault("clock");
	return result;
}

time_t time(time_t *result)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (result != NULL)
		*result = now.tv_sec;
	return now.tv_sec;
}
