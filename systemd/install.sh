#!/bin/sh
# Puts upperd into place and takes it away again. Called by make as: install.sh install|uninstall,
# with DESTDIR (where to stage, empty for this machine), PREFIX, SYSCONFDIR, PYTHON, PIP and EXTRAS (of the package,
# such as "titles") in the environment.
set -eu

LIBDIR=$PREFIX/lib/upperd
BINDIR=$PREFIX/bin
UNITDIR=$PREFIX/lib/systemd/system
USERUNITDIR=$PREFIX/lib/systemd/user
CONFIG=$SYSCONFDIR/upperd/upperd.toml
SYSUSERS=$PREFIX/lib/sysusers.d/upperd.conf
MANDIR=$PREFIX/share/man
PAGES="upperctl.1 upperd.toml.5 upperd.7 upperd.8"
BASHDIR=$PREFIX/share/bash-completion/completions
ZSHDIR=$PREFIX/share/zsh/site-functions
FISHDIR=$PREFIX/share/fish/vendor_completions.d

here=$(dirname "$0")
umask 022

on_this_machine() {
    test -z "$DESTDIR" && test -d /run/systemd/system
}

# The launch scripts name the real interpreter: a shim would look at the caller's environment.
resolve_python() {
    python=$("$PYTHON" -c 'import os, sys; print(os.path.realpath(sys.executable))')
    case $python in
    /home/* | /root/* | /run/user/*)
        echo "install: $python lies in a home folder, which the service cannot see" \
            "(ProtectHome=); name another: make install PYTHON=/usr/bin/python3" >&2
        exit 1
        ;;
    esac
}

# Beside the old package, which a running daemon may still read; the exchange takes two renames.
install_package() {
    new=$DESTDIR$LIBDIR.new
    rm -rf "$new"
    "$PIP" --python "$python" install --quiet --disable-pip-version-check --no-compile \
        --root-user-action=ignore --target "$new" "$here/..${EXTRAS:+[$EXTRAS]}"
    # Not wanted: scripts that need the environment of pip, a note of where this checkout lies.
    rm -rf "$new/bin" "$new"/upperd-*.dist-info/direct_url.json
    "$python" -I -m compileall -q -s "$new" -p "$LIBDIR" "$new"
    rm -rf "$DESTDIR$LIBDIR.old"
    test ! -e "$DESTDIR$LIBDIR" || mv "$DESTDIR$LIBDIR" "$DESTDIR$LIBDIR.old"
    mv "$new" "$DESTDIR$LIBDIR"
    rm -rf "$DESTDIR$LIBDIR.old"
}

# -I and -S: neither the caller's environment nor other packages decide what is imported.
install_command() { # name, module
    install -d "$DESTDIR$BINDIR"
    cat >"$DESTDIR$BINDIR/$1" <<EOF
#!$python -IS
import sys

sys.path.insert(0, "$LIBDIR")
from $2 import main

sys.exit(main())
EOF
    chmod 755 "$DESTDIR$BINDIR/$1"
}

install_file() { # source, destination
    install -D -m 644 "$here/$1" "$DESTDIR$2"
}

install_service() { # source, destination
    install_file "$1" "$2"
    sed -i "s,@BINDIR@,$BINDIR,; s,@SYSCONFDIR@,$SYSCONFDIR," "$DESTDIR$2"
}

install_all() {
    resolve_python
    install_package
    install_command upperd upperd.service.cli
    install_command upperctl upperd.ctl.main
    install_file upperd.socket "$UNITDIR/upperd.socket"
    install_file upperd-tcp.socket "$UNITDIR/upperd-tcp.socket"
    install_file upperd@.socket "$UNITDIR/upperd@.socket"
    install_file user/upperd.socket "$USERUNITDIR/upperd.socket"
    install_service upperd.service "$UNITDIR/upperd.service"
    install_service upperd@.service "$UNITDIR/upperd@.service"
    install_service user/upperd.service "$USERUNITDIR/upperd.service"
    # What the operator has changed stays.
    test -e "$DESTDIR$CONFIG" || install_file upperd.toml "$CONFIG"
    install_file upperd.sysusers "$SYSUSERS"
    for page in $PAGES; do
        install_file "../man/$page" "$MANDIR/man${page##*.}/$page"
    done
    install_file completion/upperctl.bash "$BASHDIR/upperctl"
    install_file completion/_upperctl "$ZSHDIR/_upperctl"
    install_file completion/upperctl.fish "$FISHDIR/upperctl.fish"
    if on_this_machine; then
        systemd-sysusers "$SYSUSERS"
        systemctl daemon-reload
    fi
}

stop_everything() {
    units="upperd.socket upperd-tcp.socket upperd.service"
    systemctl unmask --quiet $units
    systemctl disable --quiet --now $units
    # Of the templates: those that run, and the links of all that are enabled.
    systemctl stop "upperd@*.socket" "upperd@*.service"
    systemctl disable --quiet upperd@.socket upperd@.service
    systemctl reset-failed $units "upperd@*" 2>/dev/null || true # none had failed
}

remove_user() {
    if getent passwd upperd >/dev/null; then userdel upperd; fi
    # userdel leaves a group that has other members.
    if getent group upperd >/dev/null; then groupdel upperd; fi
}

# A file that was changed is the operator's.
remove_config() {
    if cmp -s "$here/upperd.toml" "$DESTDIR$CONFIG"; then
        rm "$DESTDIR$CONFIG"
    elif test -e "$DESTDIR$CONFIG"; then
        echo "uninstall: $DESTDIR$CONFIG was changed and is kept" >&2
    fi
}

# Those that a fresh Debian does not have, so they may be ours.
remove_empty_folders() {
    for folder in "$UNITDIR" "$USERUNITDIR" "${UNITDIR%/*}" "${SYSUSERS%/*}" \
        "$MANDIR/man1" "$MANDIR/man5" "$MANDIR/man7" "$MANDIR/man8" \
        "$BASHDIR" "${BASHDIR%/*}" "$ZSHDIR" "${ZSHDIR%/*}" "$FISHDIR" "${FISHDIR%/*}" "${CONFIG%/*}"; do
        if test -d "$DESTDIR$folder"; then
            rmdir --ignore-fail-on-non-empty "$DESTDIR$folder"
        fi
    done
}

uninstall_all() {
    if on_this_machine && test -e "$UNITDIR/upperd.service"; then stop_everything; fi
    rm -rf "$DESTDIR$LIBDIR"
    rm -f "$DESTDIR$BINDIR/upperd" "$DESTDIR$BINDIR/upperctl" "$DESTDIR$SYSUSERS" \
        "$DESTDIR$UNITDIR/upperd.socket" "$DESTDIR$UNITDIR/upperd-tcp.socket" "$DESTDIR$UNITDIR/upperd.service" \
        "$DESTDIR$UNITDIR/upperd@.socket" "$DESTDIR$UNITDIR/upperd@.service" \
        "$DESTDIR$USERUNITDIR/upperd.socket" "$DESTDIR$USERUNITDIR/upperd.service" \
        "$DESTDIR$BASHDIR/upperctl" "$DESTDIR$ZSHDIR/_upperctl" "$DESTDIR$FISHDIR/upperctl.fish"
    for page in $PAGES; do
        rm -f "$DESTDIR$MANDIR/man${page##*.}/$page"
    done
    remove_config
    remove_empty_folders
    if test -z "$DESTDIR"; then
        rm -rf /run/upperd /run/upperd-*
        remove_user
    fi
    if on_this_machine; then systemctl daemon-reload; fi
}

"${1}_all"
