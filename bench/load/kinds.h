/* The kinds of load. Each prints what it found, "NAME NUMBER" a line, and ends the program where a reply is wrong. */
#ifndef KINDS_H
#define KINDS_H

#include <sys/types.h>

/* Short connections by some clients at once: connect, 64 bytes, half-close, read to the end. They go on for that many
 * seconds, and each client makes `most` of them at most (0: any number). With uids, they take turns. */
void load_connections(const char *address, unsigned clients, double seconds, unsigned long most, const uid_t *uids,
                      unsigned uid_count);

/* Sends 64 bytes on one connection, waits for the answer, again and again. */
void load_pingpong(const char *address, double seconds);

/* Sends a text again and again, as fast as it is taken, on a connection (or a socket pair, for a filter) and reads the
 * answer at the same time. */
void load_bulk(int fd, double seconds, const char *text_path, const char *expected_path);

/* A program with a socket as standard input and output; returns our end of it. */
int run_filter(char **command);

/* Opens connections, has each answer, says so, and holds them until standard input ends. */
void load_hold(const char *address, unsigned count);

#endif
