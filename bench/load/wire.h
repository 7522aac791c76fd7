/* What every kind of load needs: connections that do not wait for ever, an end with a reason, and the clock. */
#ifndef WIRE_H
#define WIRE_H

#include <stddef.h>

enum {
    EXIT_LOAD = 1,  /* the server did not do it: refused, too slow, gone */
    EXIT_WRONG = 3, /* the server answered, and the answer is wrong */
    EXIT_USAGE = 64,
};

enum { MESSAGE_SIZE = 64 };

/* Ends the program with a sentence on standard error. */
_Noreturn void fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Seconds of the monotonic clock. */
double now(void);

/* A blocking connection to a path, or to a port of 127.0.0.1; reads and writes give up after some seconds. */
int dial(const char *address);

void send_all(int fd, const char *data, size_t size);

/* Bytes read, 0 at the end of file. */
size_t receive(int fd, char *data, size_t size);

/* Reads exactly `size` bytes, which must be `expected`. */
void expect(int fd, const char *expected, size_t size);

/* A message like no other, and its upper case: two connections that are mixed up are noticed. */
void make_message(unsigned client, unsigned long turn, char *message, char *expected);

#endif
