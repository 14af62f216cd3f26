#!/bin/sh
# Installs what the project's scripts need, then runs the given command: Debian packages for QEMU, libostree, the
# disk tools and musl, and the npm packages of the lock file. Installs nothing when all of it is there.
# Mirrors and registries are those the machine is configured for. What cannot work is said before anything starts.
set -eu
cd "$(dirname "$0")/.."

packages="build-essential python3 pkg-config libgirepository1.0-dev libcairo2-dev gir1.2-glib-2.0 gir1.2-ostree-1.0
ostree zlib1g-dev musl-tools qemu-system-x86 qemu-utils ovmf mmdebstrap debian-archive-keyring busybox-static cpio zstd xz-utils
libcap2-bin e2fsprogs dosfstools mtools fdisk util-linux shellcheck"

fail() {
    printf 'sealroot: error: %s\nsealroot: hint: %s\n' "$1" "$2" >&2
    exit 4
}

what="npm run ${npm_lifecycle_event:-SCRIPT}"
wanted=$(node -p "require('./package.json').engines.node")
# shellcheck disable=SC2016 # JavaScript
node -e '
const [have, want] = process.argv.slice(1).map((version) => version.replace(/^\D+/, "").split(".").map(Number));
process.exit(have[0] > want[0] || (have[0] === want[0] && have[1] >= want[1]) ? 0 : 1);
' "$(node --version)" "$wanted" ||
    fail "cannot $what: Node.js $(node --version), expected $wanted" "Debian trixie's own will do, bookworm's is too old"
if [ ! -x /usr/bin/dpkg-query ] || [ "$(dpkg --print-architecture)" != amd64 ]; then
    fail "cannot $what: this is no Debian for amd64" "a virtual machine or a privileged container with one will do"
fi
# Not only apt: Debian trees belong to root and are entered with chroot, the tests mount and use loop devices.
# PATH stays, for sudo would not find a Node.js that is not Debian's.
# shellcheck disable=SC2016 # for the reader's shell
[ "$(id -u)" -eq 0 ] || fail "cannot $what: not root" 'sudo env "PATH=$PATH" '"$what"
unshare --mount --pid --fork true 2>/dev/null ||
    fail "cannot $what: root may not make namespaces here" "a container has to be a privileged one"

missing=
for package in $packages; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "installing Debian packages:$missing" >&2
    export DEBIAN_FRONTEND=noninteractive
    # To update, a mirror that cannot be reached is but a warning, and then install says what it could not get.
    # shellcheck disable=SC2086 # a list of words
    { apt-get update -q && apt-get install -q -y --no-install-recommends $missing; } >&2 ||
        fail "cannot install Debian packages: apt-get ended with status $?, its reason stands above" \
            "repeat this when 'apt-get update' and 'apt-get install$missing' work"
fi

# node-gtk is compiled here: without the prebuilt download that its install script would try first, with the
# headers that stand beside node, and without its debug lines on standard output.
stamp=node_modules/.installed-lock
current=$(node --version; cat package-lock.json)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$current" ]; then
    echo "installing npm packages; compiling one of them takes two minutes" >&2
    prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
    if [ -z "${npm_config_nodedir:-}" ] && [ -f "$prefix/include/node/node.h" ]; then
        export npm_config_nodedir="$prefix"
    fi
    CXXFLAGS=-DNDEBUG JOBS=2 npm_config_build_from_source=true npm ci --no-audit --no-fund >&2 ||
        fail "cannot install npm packages: npm ci ended with status $?, its reason stands above" \
            "repeat this when 'npm ci' works here"
    printf '%s\n' "$current" >"$stamp"
fi
PATH="$PWD/node_modules/.bin:$PATH" exec "$@"
