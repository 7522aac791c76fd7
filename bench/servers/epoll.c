/* epoll PATH: one thread that serves every connection. */
#include "upper.h"

#include <sys/epoll.h>
#include <sys/resource.h>

struct connection {
    int fd;
    size_t size, sent; /* bytes in the block, and how many were sent */
    char *block;       /* data that waits to be sent; else NULL */
};

static char shared[BLOCK];

static void end(struct connection *connection) {
    close(connection->fd);
    free(connection->block);
    free(connection);
}

static void wait_for(int epoll, struct connection *connection, int what, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(epoll, what, connection->fd, &event) < 0)
        end(connection);
}

static void take(int epoll, int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct connection *connection = fd < 0 ? NULL : calloc(1, sizeof *connection);
    if (!connection)
        return;
    connection->fd = fd;
    wait_for(epoll, connection, EPOLL_CTL_ADD, EPOLLIN);
}

/* Keeps the data that the socket did not take until it does; nothing is read in the meantime. */
static void keep(int epoll, struct connection *connection, const char *rest, size_t size) {
    connection->block = malloc(size);
    if (!connection->block)
        return end(connection);
    memcpy(connection->block, rest, size);
    connection->size = size;
    connection->sent = 0;
    wait_for(epoll, connection, EPOLL_CTL_MOD, EPOLLOUT);
}

static void answer(int epoll, struct connection *connection) {
    ssize_t got = read(connection->fd, shared, sizeof shared);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            end(connection);
        return;
    }
    upper(shared, (size_t)got);
    ssize_t sent = send(connection->fd, shared, (size_t)got, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return end(connection);
    if (sent < got)
        keep(epoll, connection, shared + (sent > 0 ? sent : 0), (size_t)(got - (sent > 0 ? sent : 0)));
}

static void go_on(int epoll, struct connection *connection) {
    size_t size = connection->size - connection->sent;
    ssize_t sent = send(connection->fd, connection->block + connection->sent, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return end(connection);
    connection->sent += sent > 0 ? (size_t)sent : 0;
    if (connection->sent < connection->size)
        return;
    free(connection->block);
    connection->block = NULL;
    wait_for(epoll, connection, EPOLL_CTL_MOD, EPOLLIN);
}

int main(int argc, char **argv) {
    struct epoll_event events[64], ours = {.events = EPOLLIN};
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int listener = listen_on(argc > 1 ? argv[1] : NULL), epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ours) < 0)
        return 1;
    for (;;) {
        int count = epoll_wait(epoll, events, 64, -1);
        for (int index = 0; index < count; index++) {
            struct connection *connection = events[index].data.ptr;
            if (!connection)
                take(epoll, listener);
            else if (connection->block)
                go_on(epoll, connection);
            else
                answer(epoll, connection);
        }
    }
}
