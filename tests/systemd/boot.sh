#!/bin/sh
# Boots a throw-away copy of a system in a container: boot.sh ROOM NAME SYSTEM [NSPAWN-OPTION...]
# SYSTEM is the folder of its root file system, "/" for the running one; nothing is written there.
# To be called in a mount namespace of its own: every mount then ends with the last process in it,
# however the tests end.
set -eu

room=$1
name=$2
system=$3
shift 3

mount -t tmpfs -o mode=755,size=1G upperd-test "$room"
mkdir "$room/upper" "$room/scratch" "$room/root"
mount -t overlay -o "lowerdir=$system,upperdir=$room/upper,workdir=$room/scratch" overlay "$room/root"

# Another machine than the host. An absent file would mean a first boot, with all its questions.
tr -d - </proc/sys/kernel/random/uuid >"$room/root/etc/machine-id"

# bpf is for IPAddressDeny=. @clock is refused by the container otherwise, so nobody could see that the
# service refuses it too; it can be read only, for want of the capability.
# Neither the host's services (multi-user.target) nor its overdue timers are wanted.
exec systemd-nspawn --quiet --register=no --keep-unit --private-network --notify-ready=yes \
    --system-call-filter="@clock bpf" --machine="$name" --directory="$room/root" "$@" \
    --boot systemd.unit=basic.target systemd.mask=timers.target
