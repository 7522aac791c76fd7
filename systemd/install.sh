#!/bin/sh
# Installs and uninstalls upperd. make calls it as: install.sh install|uninstall, with these environment variables:
# DESTDIR (the staging folder; empty: this machine), PREFIX, SYSCONFDIR, PYTHON and SYSTEM (not empty: use the
# distribution's packages of upperd's dependencies).
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

# Exits unless we may write to each of these folders, or to its nearest parent that exists.
check_rights() {
    for folder in "$DESTDIR$PREFIX" "$DESTDIR$SYSCONFDIR"; do
        until test -d "$folder"; do folder=$(dirname "$folder"); done
        if ! test -w "$folder"; then
            echo "$1: $folder cannot be written to: run it as root (sudo make $1)" >&2
            exit 1
        fi
    done
}

# Runs a command, and shows its output only if it fails.
quietly() {
    said=$("$@" 2>&1) || { echo "$said" >&2 && return 1; }
}

# The launch scripts name the real interpreter: a shim, such as pyenv's, would depend on the caller's environment.
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

# Prints upperd's dependencies in the format of pip.
requirements() {
    "$python" -I - "$here/../pyproject.toml" <<'EOF'
import sys, tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
print("\n".join(project["dependencies"]))
EOF
}

# Installs upperd's dependencies into a folder, by pip from a temporary virtual environment.
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
    rm -rf "$1/bin" # these scripts need the temporary environment
}

# Finds the folder of the distribution's packages of upperd's dependencies.
find_system_packages() {
    # Keep the distribution's name: in its next release the name refers to another version.
    python=$(command -v "$PYTHON")
    # -s: ignore packages in the caller's home folder.
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

# Installs beside the old package, which a running daemon may still read, then exchanges the two by two renames.
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

# -I and -S: neither the caller's environment nor other packages influence what is imported.
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

# Prints the paths that must be executable for the launch scripts to work: the interpreter, its libraries, and our own
# folder. For a distribution's Python these include future versions, and the libraries of every architecture.
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
        # Debian has a library folder for each architecture.
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
    # Keep the operator's changes.
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

# Makes root the owner of the folders: an earlier version gave them to the daemon's user.
own_folders() {
    for folder in /run/upperd /run/upperd-*; do
        test ! -d "$folder" || chown root:root "$folder"
        test ! -h "$folder/state" || rm "$folder/state" # a link cannot be ours: systemd makes a folder
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
    # Stop the running instances of the templates, and disable all that are enabled.
    quietly systemctl stop "upperd@*.socket" "upperd@*.service"
    quietly systemctl disable upperd@.socket upperd@.service
    systemctl reset-failed $units "upperd@*" 2>/dev/null || true # none had failed
}

remove_user() {
    if getent passwd upperd >/dev/null; then quietly userdel upperd; fi
    # userdel leaves a group that has other members.
    if getent group upperd >/dev/null; then quietly groupdel upperd; fi
}

# Removes the configuration file, unless the operator has changed it.
remove_config() {
    if cmp -s "$here/upperd.toml" "$DESTDIR$CONFIG"; then
        rm "$DESTDIR$CONFIG"
    elif test -e "$DESTDIR$CONFIG"; then
        echo "uninstall: $DESTDIR$CONFIG was changed and is kept" >&2
    fi
}

# Removes empty folders that a fresh Debian does not have, since we may have made them.
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
