/* The kinds of load. Each prints its results in lines of "NAME NUMBER", and ends the program if a reply is wrong. */
#ifndef KINDS_H
#define KINDS_H

#include <sys/types.h>

/* Users with consecutive uids. A count of 0 means the user that runs the program. */
struct users {
    uid_t first;
    unsigned count;
};

/* Makes short connections by concurrent clients: connect, send 64 bytes, half-close, read to the end. This lasts for
 * `seconds`, with at most `most` connections per client (0: no limit). For each connection a client acts as the next
 * of the users, which takes root. */
void load_connections(const char *address, unsigned clients, double seconds, unsigned long most, struct users users);

/* Sends 64 bytes on one connection and waits for the answer, again and again. */
void load_pingpong(const char *address, double seconds);

/* Sends a text again and again, as fast as the peer reads, on a connection (for a filter: a socket pair), and reads
 * the answer at the same time. */
void load_bulk(int fd, double seconds, const char *text_path, const char *expected_path);

/* Starts a program with a socket as standard input and output; returns our end of the socket. */
int run_filter(char **command);

/* Opens connections, gets an answer on each, prints "held COUNT", and holds them until standard input ends. */
void load_hold(const char *address, unsigned count);

/* Attacks as the user `uid` until killed; takes root. Prints "attacking" when the attack has begun. The kinds:
 *   idle              opens 200 connections and sends nothing
 *   slow              opens 200 connections and sends a byte a second on each
 *   unread            opens 200 connections, sends as much as the peer takes, and reads nothing
 *   flood             connects and closes, again and again
 *   fill              tries to hold 2,000 connections, and replaces each that is refused
 *   datagrams         sends datagrams as fast as the peer takes them, and reads the answers
 *   datagrams-unread  the same from an unconnected socket, and reads nothing: the kernel queues at most
 *                     net.unix.max_dgram_qlen answers for it
 *   datagrams-connected  the same from a connected socket, for which the kernel queues as many as the server sends */
void load_attack(const char *kind, const char *path, uid_t uid);

/* As the user `uid`, which takes root, connects, sends a line and reads the answer, `count` times with pauses of 10 ms;
 * or the same by datagrams. Prints the waits, and how many were refused or not answered within `patience` seconds. */
void load_victim(const char *path, uid_t uid, unsigned count, double patience, int is_datagram);

#endif
