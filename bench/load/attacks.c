#include "kinds.h"
#include "samples.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MANY = 200, CROWD = 2000, DRIP_MILLISECONDS = 1000, PACE_MILLISECONDS = 10 };

static const char LINE[] = "a line of the victim's\n", ANSWER[] = "A LINE OF THE VICTIM'S\n";
enum { LINE_SIZE = sizeof LINE - 1 };

static struct sockaddr_un server = {.sun_family = AF_UNIX};

static void become(uid_t uid) {
    if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
        fail(EXIT_LOAD, "acting as another user takes root");
}

static void begin(const char *path, uid_t uid) {
    struct rlimit files;
    if (strlen(path) >= sizeof server.sun_path)
        fail(EXIT_USAGE, "the path is too long: %s", path);
    strcpy(server.sun_path, path);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    become(uid);
}

static void say_that_it_goes_on(void) {
    puts("attacking");
    fflush(stdout);
}

static int reach(int fd) {
    return connect(fd, (struct sockaddr *)&server, sizeof server);
}

/* A datagram socket that the server can answer: the kernel gives it a name. */
static int make_datagram_socket(int is_connected) {
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un any = {.sun_family = AF_UNIX};
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, offsetof(struct sockaddr_un, sun_path)) < 0)
        fail(EXIT_LOAD, "cannot make a socket: %s", strerror(errno));
    if (is_connected && reach(fd) < 0)
        fail(EXIT_LOAD, "cannot reach the server: %s", strerror(errno));
    return fd;
}

/* The attackers. They run until they are killed. */

/* Opens up to `most` connections, including those that wait in the backlog; returns their number. If the backlog is
 * full, gives up after a second. */
static int open_many(struct pollfd *held, int most) {
    struct timeval patience = {.tv_sec = 1};
    for (int index = 0; index < most; index++) {
        held[index] = (struct pollfd){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        setsockopt(held[index].fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        if (reach(held[index].fd) < 0)
            return index;
    }
    return most;
}

static void hold(void) {
    static struct pollfd held[MANY];
    open_many(held, MANY);
    say_that_it_goes_on();
    pause();
}

static void drip(void) {
    static struct pollfd held[MANY];
    int count = open_many(held, MANY);
    say_that_it_goes_on();
    for (;;) {
        for (int index = 0; index < count; index++)
            send(held[index].fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        poll(NULL, 0, DRIP_MILLISECONDS);
    }
}

/* Sends as much as the peer takes, and reads no answer. */
static void be_deaf(void) {
    static struct pollfd held[MANY];
    static char block[65536];
    int count = open_many(held, MANY);
    memset(block, 'x', sizeof block);
    for (int index = 0; index < count; index++)
        held[index].events = POLLOUT;
    say_that_it_goes_on();
    for (;;) {
        poll(held, (nfds_t)count, -1);
        for (int index = 0; index < count; index++) {
            if (held[index].revents & (POLLHUP | POLLERR))
                held[index].fd = -1;
            else if (held[index].revents)
                send(held[index].fd, block, sizeof block, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
    }
}

static void flood(void) {
    say_that_it_goes_on();
    for (;;) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        reach(fd);
        close(fd);
    }
}

/* Opens more connections than a queue holds, and replaces each that is refused. */
static void fill(void) {
    static struct pollfd held[CROWD];
    say_that_it_goes_on();
    for (int index = 0; index < CROWD; index++)
        held[index].fd = -1;
    for (;;) {
        for (int index = 0; index < CROWD; index++) {
            if (held[index].revents & POLLHUP) {
                close(held[index].fd);
                held[index].fd = -1;
            }
            if (held[index].fd >= 0)
                continue;
            held[index] = (struct pollfd){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
            reach(held[index].fd);
        }
        poll(held, CROWD, -1);
    }
}

static void send_datagrams(int is_connected, int is_deaf) {
    int fd = make_datagram_socket(is_connected);
    char answer[LINE_SIZE];
    say_that_it_goes_on();
    for (;;) {
        sendto(fd, LINE, LINE_SIZE, 0, (struct sockaddr *)(is_connected ? NULL : &server),
               is_connected ? 0 : sizeof server);
        while (!is_deaf && recv(fd, answer, sizeof answer, MSG_DONTWAIT) > 0)
            ;
    }
}

void load_attack(const char *kind, const char *path, uid_t uid) {
    begin(path, uid);
    if (strcmp(kind, "idle") == 0)
        hold();
    else if (strcmp(kind, "slow") == 0)
        drip();
    else if (strcmp(kind, "unread") == 0)
        be_deaf();
    else if (strcmp(kind, "flood") == 0)
        flood();
    else if (strcmp(kind, "fill") == 0)
        fill();
    else if (strcmp(kind, "datagrams") == 0)
        send_datagrams(1, 0);
    else if (strcmp(kind, "datagrams-unread") == 0)
        send_datagrams(0, 1);
    else if (strcmp(kind, "datagrams-connected") == 0)
        send_datagrams(1, 1);
    fail(EXIT_USAGE, "no such attack: %s", kind);
}

/* The victim. */

/* Asks once. Returns whether there was an answer; 0: refused, or none in time. */
static int ask(int is_datagram, double patience) {
    struct timeval limit = {.tv_sec = (time_t)patience};
    char answer[LINE_SIZE];
    size_t got = 0;
    int fd = is_datagram ? make_datagram_socket(1) : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if ((is_datagram || reach(fd) == 0) && send(fd, LINE, LINE_SIZE, MSG_NOSIGNAL) == LINE_SIZE) {
        ssize_t more;
        while (got < LINE_SIZE && (more = recv(fd, answer + got, LINE_SIZE - got, 0)) > 0)
            got += (size_t)more;
    }
    close(fd);
    if (got == LINE_SIZE && memcmp(answer, ANSWER, LINE_SIZE) != 0)
        fail(EXIT_WRONG, "wrong reply: %.*s", LINE_SIZE, answer);
    return got == LINE_SIZE;
}

void load_victim(const char *path, uid_t uid, unsigned count, double patience, int is_datagram) {
    struct samples samples = {0};
    unsigned refused = 0;
    double longest = 0.0, give_up = now() + 2 * patience;
    begin(path, uid);
    for (unsigned turn = 0; turn < count; turn++) {
        double start = now();
        if (refused && start > give_up) { /* once refused, stop asking after twice the patience */
            refused++;
            continue;
        }
        if (!ask(is_datagram, patience))
            refused++;
        double spent = now() - start;
        add_sample(&samples, spent);
        longest = spent > longest ? spent : longest;
        poll(NULL, 0, PACE_MILLISECONDS);
    }
    printf("count %u\nrefused %u\nlongest %.3f\n", count, refused, 1e3 * longest);
    print_samples(&samples);
}
