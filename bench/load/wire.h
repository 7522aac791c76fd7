/* What every kind of load needs: connections with time-outs, failing with a reason, and the clock. */
#ifndef WIRE_H
#define WIRE_H

#include <stddef.h>

enum {
    EXIT_LOAD = 1,  /* the server did not answer: refused, too slow, gone */
    EXIT_WRONG = 3, /* the server gave a wrong answer */
    EXIT_USAGE = 64,
};

enum { MESSAGE_SIZE = 64 };

/* Prints the reason on standard error and ends the program. */
_Noreturn void fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Seconds of the monotonic clock. */
double now(void);

/* A blocking connection to a path, or to a port of 127.0.0.1; reads and writes time out after 10 seconds. */
int dial(const char *address);

void send_all(int fd, const char *data, size_t size);

/* Returns the number of bytes read; 0 at the end of file. */
size_t receive(int fd, char *data, size_t size);

/* Reads `size` bytes, and fails unless they equal `expected`. */
void expect(int fd, const char *expected, size_t size);

/* Makes a unique message and its upper case, so that answers to the wrong connection are noticed. */
void make_message(unsigned client, unsigned long turn, char *message, char *expected);

#endif
