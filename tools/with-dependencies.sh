#!/bin/sh
# Installs what the project's scripts need, then runs the given command: Debian packages for QEMU, libostree, the
# disk tools and musl, and the npm packages of the lock file. Does nothing when all of it is there.
# Needs root (or sudo) only when a package is missing; mirrors and registries are those the machine is configured for.
set -eu
cd "$(dirname "$0")/.."

packages="build-essential python3 pkg-config libgirepository1.0-dev libcairo2-dev gir1.2-glib-2.0 gir1.2-ostree-1.0
ostree musl-tools qemu-system-x86 qemu-utils ovmf mmdebstrap debian-archive-keyring busybox-static cpio zstd xz-utils
libcap2-bin e2fsprogs dosfstools mtools fdisk util-linux shellcheck"

missing=
for package in $packages; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "installing Debian packages:$missing" >&2
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "error: not root and no sudo; run: apt-get install$missing" >&2; exit 4; }
        as_root=sudo
    fi
    $as_root apt-get update -q >&2
    # shellcheck disable=SC2086 # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >&2
fi

# node-gtk is compiled here: without the prebuilt download that its install script would try first, with the
# headers that stand beside node, and without its debug lines on standard output.
stamp=node_modules/.installed-lock
current=$(node --version; cat package-lock.json)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$current" ]; then
    echo "installing npm packages" >&2
    prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
    if [ -z "${npm_config_nodedir:-}" ] && [ -f "$prefix/include/node/node.h" ]; then
        export npm_config_nodedir="$prefix"
    fi
    CXXFLAGS=-DNDEBUG JOBS=2 npm_config_build_from_source=true npm ci --no-audit --no-fund >&2
    printf '%s\n' "$current" >"$stamp"
fi
PATH="$PWD/node_modules/.bin:$PATH" exec "$@"
