#!/bin/sh
# Puts upperd into place and takes it away again. Called by make as: install.sh install|uninstall,
# with DESTDIR (where to stage, empty for this machine), PREFIX, SYSCONFDIR, PYTHON and SYSTEM (not empty: use the
# distribution's packages of what upperd needs) in the environment.
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

# The first folder of these that is there has to be ours to write to.
check_rights() {
    for folder in "$DESTDIR$PREFIX" "$DESTDIR$SYSCONFDIR"; do
        until test -d "$folder"; do folder=$(dirname "$folder"); done
        if ! test -w "$folder"; then
            echo "$1: $folder cannot be written to: run it as root (sudo make $1)" >&2
            exit 1
        fi
    done
}

# Shows what a command prints only where it fails.
quietly() {
    said=$("$@" 2>&1) || { echo "$said" >&2 && return 1; }
}

# The launch scripts name the real interpreter: a shim would look at the caller's environment.
resolve_python() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "install: upperd needs Python 3.11 or later: make install PYTHON=python3.12" >&2
        exit 1
    }
    python=$("$PYTHON" -c 'import os, sys; print(os.path.realpath(sys.executable))')
    case $python in
    /home/* | /root/* | /run/user/*)
        echo "install: $python lies in a home folder, which the service cannot see" \
            "(ProtectHome=); name another: make install PYTHON=/usr/bin/python3" >&2
        exit 1
        ;;
    esac
}

# What upperd needs of other packages, as pip has it.
requirements() {
    "$python" -I - "$here/../pyproject.toml" <<'EOF'
import sys, tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
print("\n".join(project["dependencies"]))
EOF
}

# What upperd needs, into a folder, by pip from an environment of its own, which goes again.
fetch_requirements() { # folder
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "install: $python has no venv module: apt-get install python3-venv; or use Debian's packages of what" \
            "upperd needs: make install SYSTEM=1" >&2
        exit 1
    fi
    tools=$(mktemp -d)
    trap 'rm -rf "$tools"' EXIT
    "$python" -m venv "$tools/venv"
    requirements >"$tools/requirements"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --use-pep517 \
        --root-user-action=ignore --target "$1" --requirement "$tools/requirements"
    rm -rf "$1/bin" # scripts that need the environment of pip
}

# The folder of the distribution's packages of what upperd needs.
find_system_packages() {
    # As the distribution names it: its next release has another behind this name.
    python=$(command -v "$PYTHON")
    # -s: what is in the caller's home folder is not the distribution's.
    packages=$("$python" -Is - 2>/dev/null <<'EOF'
import os, daemon, lockfile, psutil, rich, sdnotify

print(os.path.dirname(os.path.dirname(os.path.realpath(psutil.__file__))))
EOF
    ) || {
        echo "install: SYSTEM=1 takes Debian's packages: apt-get install python3-daemon python3-psutil python3-rich" \
            "python3-sdnotify" >&2
        exit 1
    }
}

# Beside the old package, which a running daemon may still read; the exchange takes two renames.
install_package() {
    new=$DESTDIR$LIBDIR.new packages=
    rm -rf "$new"
    install -d "$new"
    if test -n "$SYSTEM"; then find_system_packages; else fetch_requirements "$new"; fi
    cp -R "$here/../upperd" "$new/upperd"
    find "$new" -name __pycache__ -prune -exec rm -rf {} +
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

sys.path[:0] = "$LIBDIR${packages:+:$packages}".split(":")
from $2 import main

sys.exit(main())
EOF
    chmod 755 "$DESTDIR$BINDIR/$1"
}

install_file() { # source, destination
    install -D -m 644 "$here/$1" "$DESTDIR$2"
}

# What has to be executable, so that the launch scripts work: the interpreter, its libraries, and what we have of it.
# Of a distribution's Python the versions that may come, and the libraries of each architecture.
exec_paths() {
    echo "$BINDIR/upperd $python"
    if test -n "$SYSTEM"; then
        for version in 11 12 13 14 15 16; do echo "-/usr/bin/python3.$version -/usr/lib/python3.$version"; done
        for machine in x86_64 i386 aarch64 arm riscv64 powerpc64le s390x loongarch64; do
            for abi in gnu gnueabihf; do echo "-/usr/lib/$machine-linux-$abi"; done
        done
        echo "-/usr/lib64 $packages"
    else
        "$python" -I -c 'import sysconfig as python; print(python.get_path("platstdlib"), python.get_config_var("LIBDIR"))'
        # Of Debian each architecture has a folder for itself.
        "$python" -I -c 'import sysconfig as python; print("-/usr/lib/" + (python.get_config_var("MULTIARCH") or "none"))'
        echo "-/usr/lib64"
        echo "$LIBDIR"
    fi
}

install_service() { # source, destination
    install_file "$1" "$2"
    sed -i "s,@BINDIR@,$BINDIR,; s,@SYSCONFDIR@,$SYSCONFDIR,; s,@EXECPATHS@,$executable," "$DESTDIR$2"
}

install_all() {
    check_rights install
    resolve_python
    is_upgrade=$(test -e "$DESTDIR$BINDIR/upperd" && echo yes || true)
    install_package
    install_command upperd upperd.service.cli
    install_command upperctl upperd.ctl.main
    install_file upperd.socket "$UNITDIR/upperd.socket"
    install_file upperd-tcp.socket "$UNITDIR/upperd-tcp.socket"
    install_file upperd@.socket "$UNITDIR/upperd@.socket"
    install_file user/upperd.socket "$USERUNITDIR/upperd.socket"
    executable=$(exec_paths | tr '\n' ' ' | sed 's/ *$//')
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
        quietly systemd-sysusers "$SYSUSERS"
        own_folders
        systemctl daemon-reload
    fi
    say_what_comes_next
}

# An earlier version had them for the daemon's user.
own_folders() {
    for folder in /run/upperd /run/upperd-*; do
        test ! -d "$folder" || chown root:root "$folder"
        test ! -h "$folder/state" || rm "$folder/state" # nothing of ours: systemd makes a folder
    done
}

say_what_comes_next() {
    version=$("$python" -I -c 'import sys; sys.path[:0] = [sys.argv[1]]; import upperd; print(upperd.__version__)' \
        "$DESTDIR$LIBDIR")
    cat <<EOF
upperd $version is installed${DESTDIR:+ in $DESTDIR}:
  commands       $BINDIR/upperd, $BINDIR/upperctl
  program        $LIBDIR${packages:+, with what is in $packages}
  units          $UNITDIR, $USERUNITDIR
  options        $CONFIG
  manual         man 8 upperd, man 1 upperctl
EOF
    if ! on_this_machine; then return; fi
    if test -n "$is_upgrade"; then
        echo "Next: systemctl restart upperd    # the new version serves; no client is turned away"
    else
        echo "Next: systemctl enable --now upperd"
        echo "      usermod -aG upperd USER     # members of the group may connect, after their next login"
        echo "      upperctl send hello"
    fi
}

stop_everything() {
    units="upperd.socket upperd-tcp.socket upperd.service"
    quietly systemctl unmask $units
    quietly systemctl disable --now $units
    # Of the templates: those that run, and the links of all that are enabled.
    quietly systemctl stop "upperd@*.socket" "upperd@*.service"
    quietly systemctl disable upperd@.socket upperd@.service
    systemctl reset-failed $units "upperd@*" 2>/dev/null || true # none had failed
}

remove_user() {
    if getent passwd upperd >/dev/null; then quietly userdel upperd; fi
    # userdel leaves a group that has other members.
    if getent group upperd >/dev/null; then quietly groupdel upperd; fi
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
    check_rights uninstall
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
    echo "upperd is uninstalled${DESTDIR:+ from $DESTDIR}."
}

"${1}_all"
