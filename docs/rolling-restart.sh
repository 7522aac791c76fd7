#!/bin/sh
# Restarts daemons behind HAProxy one after the other, so that no request is lost or even moved:
#
#     rolling-restart.sh a b c
#
# HAProxy is told first (haproxy.cfg, stats socket). RESTART is the command that restarts one, by its name.
set -eu

ADMIN=${ADMIN:-/run/haproxy/admin.sock}
RESTART=${RESTART:-restart_instance}
SESSIONS=5 STATUS=18 # fields of "show stat" (HAProxy's management guide, 9.1)

restart_instance() {
    systemctl restart "upperd@$1"
}

admin() {
    echo "$1" | socat -t 10 - "UNIX-CONNECT:$ADMIN"
}

figure() { # server, field
    admin "show stat" | awk -F, -v name="$1" -v field="$2" '$1 == "upperd" && $2 == name { print $field }'
}

wait_for() { # server, field, value, tenths of a second at most
    left=$4
    until test "$(figure "$1" "$2")" = "$3"; do
        left=$((left - 1))
        test "$left" -gt 0 || return 1
        sleep 0.1
    done
}

for name; do
    admin "set server upperd/$name state drain"
    # A conversation may go on for hours: the daemon ends it, once it is quiet for a second.
    wait_for "$name" "$SESSIONS" 0 100 || true
    $RESTART "$name"
    admin "set server upperd/$name state ready"
    # The others stay as they are if this one does not come back.
    wait_for "$name" "$STATUS" UP 600 || { echo "$name is not UP: giving up" >&2; exit 1; }
done
