#include "kinds.h"
#include "samples.h"
#include "wire.h"

#include <linux/securebits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct plan {
    const char *address;
    double seconds;
    unsigned long most;
    struct users users;
    unsigned clients;
    pthread_barrier_t start;
};

struct client {
    struct plan *plan;
    pthread_t thread;
    unsigned index;
    unsigned long turn;
    struct samples samples;
};

/* Threads started from now on keep their capabilities when they act as another user (capabilities(7)). This saves a
 * system call per connection: they need not become root again in between. */
static void keep_capabilities(void) {
    if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0)
        fail(EXIT_LOAD, "acting as other users takes root");
}

/* Changes the uid of this thread only. The C library's setresuid() would change all threads (credentials(7)). The
 * server sees the effective uid at the time of connect(2) (SO_PEERCRED). */
static void act_as(uid_t uid) {
    if (syscall(SYS_setresuid, -1, uid, -1) < 0)
        fail(EXIT_LOAD, "acting as other users takes root");
}

/* The clients start evenly spaced among the users, so that none comes just after another client of the same user. */
static uid_t choose_user(const struct client *client) {
    const struct plan *plan = client->plan;
    unsigned long start = (unsigned long)client->index * plan->users.count / plan->clients;
    return plan->users.first + (uid_t)((start + client->turn) % plan->users.count);
}

static void make_connection(struct client *client) {
    char message[MESSAGE_SIZE], expected[MESSAGE_SIZE], rest;
    const struct plan *plan = client->plan;
    make_message(client->index, client->turn, message, expected);
    if (plan->users.count)
        act_as(choose_user(client));
    double begin = now();
    int fd = dial(plan->address);
    send_all(fd, message, sizeof message);
    shutdown(fd, SHUT_WR);
    expect(fd, expected, sizeof expected);
    if (receive(fd, &rest, 1) != 0)
        fail(EXIT_WRONG, "wrong reply: more than was sent");
    close(fd);
    add_sample(&client->samples, now() - begin);
}

static void *run_client(void *argument) {
    struct client *client = argument;
    const struct plan *plan = client->plan;
    pthread_barrier_wait(&client->plan->start);
    double end = now() + plan->seconds;
    do
        make_connection(client);
    while (++client->turn != plan->most && now() < end);
    return NULL;
}

void load_connections(const char *address, unsigned count, double seconds, unsigned long most, struct users users) {
    struct plan plan = {address, seconds, most, users, count, {{0}}};
    struct samples all = {0};
    struct client *clients = calloc(count, sizeof *clients);
    if (!clients)
        fail(EXIT_LOAD, "out of memory");
    if (users.count)
        keep_capabilities();
    pthread_barrier_init(&plan.start, NULL, count + 1);
    for (unsigned index = 0; index < count; index++) {
        clients[index] = (struct client){.plan = &plan, .index = index};
        if (pthread_create(&clients[index].thread, NULL, run_client, &clients[index]) != 0)
            fail(EXIT_LOAD, "cannot start a thread");
    }
    pthread_barrier_wait(&plan.start);
    double begin = now();
    for (unsigned index = 0; index < count; index++)
        pthread_join(clients[index].thread, NULL);
    double elapsed = now() - begin;
    for (unsigned index = 0; index < count; index++) {
        add_samples(&all, &clients[index].samples);
        free(clients[index].samples.seconds);
    }
    printf("count %zu\nrate %.2f\n", all.count, (double)all.count / elapsed);
    print_samples(&all);
    free(all.seconds);
    free(clients);
}
