/* The client of the benchmark, in C so that its own speed is not the limit. It verifies every byte of every answer.
 *
 *   load connections ADDRESS CLIENTS SECONDS MOST [FIRST_UID USERS]
 *   load pingpong ADDRESS SECONDS
 *   load bulk ADDRESS SECONDS TEXT EXPECTED
 *   load filter SECONDS TEXT EXPECTED PROGRAM [ARGUMENT ...]
 *   load hold ADDRESS COUNT
 *   load attack KIND PATH UID
 *   load victim PATH UID COUNT SECONDS stream|datagram
 *
 * ADDRESS is the path of a Unix socket, or a port of 127.0.0.1. The results go to standard output, in lines of
 * "NAME NUMBER": count, refused, bytes; rate in 1/s; throughput in MiB/s; p50 and p99 in microseconds; longest in
 * milliseconds. Exit status 1: the server did not answer (the reason is on standard error), 3: it gave a wrong answer,
 * 64: wrong usage. */
#include "kinds.h"
#include "wire.h"

#include <stdlib.h>
#include <string.h>

static void run_connections(int count, char **words) {
    struct users users = {0};
    if (count == 6)
        users = (struct users){(uid_t)strtoul(words[4], NULL, 10), (unsigned)atoi(words[5])};
    load_connections(words[0], (unsigned)atoi(words[1]), atof(words[2]), strtoul(words[3], NULL, 10), users);
}

int main(int argc, char **argv) {
    const char *kind = argc > 1 ? argv[1] : "";
    char **words = argv + 2;
    int count = argc - 2;
    if (strcmp(kind, "connections") == 0 && (count == 4 || count == 6) && atoi(words[1]) > 0)
        run_connections(count, words);
    else if (strcmp(kind, "pingpong") == 0 && count == 2)
        load_pingpong(words[0], atof(words[1]));
    else if (strcmp(kind, "bulk") == 0 && count == 4)
        load_bulk(dial(words[0]), atof(words[1]), words[2], words[3]);
    else if (strcmp(kind, "filter") == 0 && count >= 4)
        load_bulk(run_filter(words + 3), atof(words[0]), words[1], words[2]);
    else if (strcmp(kind, "hold") == 0 && count == 2)
        load_hold(words[0], (unsigned)atoi(words[1]));
    else if (strcmp(kind, "attack") == 0 && count == 3)
        load_attack(words[0], words[1], (uid_t)strtoul(words[2], NULL, 10));
    else if (strcmp(kind, "victim") == 0 && count == 5)
        load_victim(words[0], (uid_t)strtoul(words[1], NULL, 10), (unsigned)atoi(words[2]), atof(words[3]),
                    strcmp(words[4], "datagram") == 0);
    else
        fail(EXIT_USAGE, "usage: load connections|pingpong|bulk|filter|hold|attack|victim ... (see main.c)");
    return 0;
}
