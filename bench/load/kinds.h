/* The kinds of load. Each prints what it found, "NAME NUMBER" a line, and ends the program where a reply is wrong. */
#ifndef KINDS_H
#define KINDS_H

#include <sys/types.h>

/* Users of consecutive uids; a count of 0: the user who runs this. */
struct users {
    uid_t first;
    unsigned count;
};

/* Short connections by some clients at once: connect, 64 bytes, half-close, read to the end. They go on for that many
 * seconds, and each client makes `most` of them at most (0: any number). Each client acts as all of the users in turn,
 * another one for each connection (root). */
void load_connections(const char *address, unsigned clients, double seconds, unsigned long most, struct users users);

/* Sends 64 bytes on one connection, waits for the answer, again and again. */
void load_pingpong(const char *address, double seconds);

/* Sends a text again and again, as fast as it is taken, on a connection (or a socket pair, for a filter) and reads the
 * answer at the same time. */
void load_bulk(int fd, double seconds, const char *text_path, const char *expected_path);

/* A program with a socket as standard input and output; returns our end of it. */
int run_filter(char **command);

/* Opens connections, has each answer, says so, and holds them until standard input ends. */
void load_hold(const char *address, unsigned count);

/* One attacker, as the user `uid` (root), until it is killed. It says "attacking" when it does. Its kind:
 *   idle              opens 200 connections and is silent
 *   slow              the same, with a byte a second on each
 *   unread            the same, sends all that is taken, and reads nothing
 *   flood             connects and closes, again and again
 *   fill              wants 2,000 connections, and another one for each that is refused
 *   datagrams         sends datagrams as fast as they are taken, and reads the answers
 *   datagrams-unread  the same from a socket that is not connected, and reads nothing: the kernel keeps
 *                     net.unix.max_dgram_qlen answers for it
 *   datagrams-connected  the same from one that is, for which the kernel keeps all that the server may send */
void load_attack(const char *kind, const char *path, uid_t uid);

/* Connects as the user `uid` (root), sends a line, has the answer; or by datagrams. So many times, one each 10 ms;
 * prints the waits, and how many were refused or not answered within `patience` seconds. */
void load_victim(const char *path, uid_t uid, unsigned count, double patience, int is_datagram);

#endif
