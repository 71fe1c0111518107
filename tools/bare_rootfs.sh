#!/usr/bin/env bash
# Try `make demo` where nothing is installed: a Debian root file system with Python, make and certificates only.
#
#     sudo tools/bare_rootfs.sh [what make gets, default demo; e.g. "demo ARGS='--max-frames 50'"]
#
# What it proves: the committed tree names the system libraries that are missing, works after the line that it names,
# works a second time, and works without a network once installed. Prints times and sizes.
# Needs root and debootstrap. Nothing of the machine is visible inside but what these name:
#     BARE_ROOT    where the root file system is made, and kept for the next time   (/tmp/posepipe-bare)
#     BARE_SUITE   Debian suite (bookworm)     BARE_MIRROR  package mirror (http://deb.debian.org/debian)
#     BARE_BIND    folders to show inside, read-only, e.g. a folder of wheels       (none)
#     BARE_COPY    files to copy inside, e.g. /etc/pip.conf and a CA bundle         (none)
#     PIP_*        pip's own variables are passed on
set -euo pipefail

target=${1:-demo}
root=${BARE_ROOT:-/tmp/posepipe-bare}
suite=${BARE_SUITE:-bookworm}
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

[ "$(id -u)" = 0 ] || { echo "This needs root: sudo $0" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "This needs debootstrap: apt-get install debootstrap" >&2; exit 2; }
# A mount namespace of its own: whatever is mounted below goes away with this process.
[ "${IN_NAMESPACE:-}" = 1 ] || IN_NAMESPACE=1 exec unshare --mount "$0" "$@"

step() { printf '\n== %s\n' "$*"; }

inside() { # [-n] COMMAND: run it in the root file system; -n: without a network
    local net=()
    [ "$1" = -n ] && { net=(unshare --net); shift; }
    local pip
    mapfile -t pip < <(env | grep '^PIP_' || true)
    ${net[@]+"${net[@]}"} env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8 "${pip[@]}" \
        chroot "$root" bash -c "cd /root/posepipe 2>/dev/null || cd /root; $1"
}

if [ ! -x "$root/usr/bin/make" ]; then
    step "debootstrap $suite into $root"
    debootstrap --variant=minbase --include=python3,python3-venv,make,ca-certificates "$suite" "$root" \
        ${BARE_MIRROR:+"$BARE_MIRROR"} | tail -n 1
fi
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
for folder in ${BARE_BIND:-}; do
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
    mount -o remount,bind,ro "$root$folder"
done
for file in /etc/resolv.conf /etc/hosts ${BARE_COPY:-}; do
    mkdir -p "$root$(dirname "$file")"
    cp -L "$file" "$root$file"
done

step "the committed tree of $repo"
rm -rf "$root/root/posepipe"
mkdir -p "$root/root/posepipe"
git -C "$repo" archive HEAD | tar -x -C "$root/root/posepipe"
git -C "$repo" log -1 --format='%h %s'

step "make $target, bare"
if inside "make $target" >"$root/tmp/bare.log" 2>&1; then
    echo "works without any system library"
else
    cat "$root/tmp/bare.log"
    line=$(grep -o 'apt-get update.*' "$root/tmp/bare.log" | tail -n 1 || true)
    [ -n "$line" ] || { echo "FAILED: it did not name what to install" >&2; exit 1; }
    step "the line it names: $line"
    before=$(du -sm --one-file-system "$root/usr" | cut -f1)
    inside "export DEBIAN_FRONTEND=noninteractive; $line" >"$root/tmp/apt.log" 2>&1 || { tail "$root/tmp/apt.log"; exit 1; }
    echo "$(($(du -sm --one-file-system "$root/usr" | cut -f1) - before)) MB of system libraries"
fi

step "make $target"
start=$(date +%s.%N)
inside "make $target"
first=$(date +%s.%N)
step "make $target again, without a network"
inside -n "make $target"
second=$(date +%s.%N)

step "result"
awk -v a="$start" -v b="$first" -v c="$second" 'BEGIN { printf "first %.1f s, again (no network) %.1f s\n", b - a, c - b }'
inside "du -sm --apparent-size .venv | cut -f1 | sed 's/\$/ MB .venv (apparent)/'; du -sm .venv | cut -f1 | sed 's/\$/ MB .venv (on disk)/'
    .venv/bin/python -m pip list 2>/dev/null | grep -ciE '^(torch|nvidia)' | sed 's/\$/ packages of torch or CUDA/'
    ls -l out/demo 2>/dev/null || true"
