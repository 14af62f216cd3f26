#!/bin/bash
# Puts the sealed boot into the initramfs: the verifier, the one policy it obeys, the public keys it trusts.
# What is wrong with those is said here, where the image is built, and not first on the machine that would
# not boot; the verifier checks all of it again. `exit 1` because dracut ignores what install() returns.

# dracut sets initdir, moddir and systemdsystemunitdir.
# shellcheck disable=SC2154

# 255: only when asked for, which 50-sealroot.conf does. Never 1: dracut would go on without the module.
check() { return 255; }

depends() { echo systemd-initrd; }

installkernel() {
    # Not only what this machine uses: loop is for kernels before 6.12, whose erofs cannot mount a file.
    hostonly='' instmods -c erofs overlay loop || sealroot_fail "kernel module erofs, overlay or loop is missing"
}

sealroot_fail() {
    dfatal "sealroot: cannot build a sealed initramfs: $*"
    exit 1
}

install() {
    local root="${dracutsysrootdir-}" policy="${initdir}/usr/lib/sealroot/prepare-root.conf" checked key unit part
    inst_simple /usr/lib/sealroot/sealroot-prepare-root || sealroot_fail "/usr/lib/sealroot/sealroot-prepare-root is missing"
    if [[ -e $root/usr/lib/sealroot/prepare-root.conf ]]; then
        cat "$root/usr/lib/sealroot/prepare-root.conf" > "$policy"
    else # the last value counts, so /etc is merged over /usr/lib by standing after it
        : > "$policy"
        for part in "$root"/{usr/lib,etc}/ostree/prepare-root.conf; do
            if [[ -e $part ]]; then awk 1 "$part" >> "$policy"; fi
        done
    fi
    [[ -s $policy ]] || sealroot_fail "no policy in sealroot/prepare-root.conf or ostree/prepare-root.conf"
    # The program that will read it at boot reads it here, with the keys beside it.
    checked=$("$root/usr/lib/sealroot/sealroot-prepare-root" --check-policy "$policy" "$root" 2>&1) || sealroot_fail "$checked"
    key=$(sed -n 's/^keypath=//p' <<< "$checked")
    # An unsealed boot asks for no keys, unless a kernel argument seals it.
    if [[ -e $root$key ]] || grep -qx sealed=true <<< "$checked"; then inst_simple "$key" || sealroot_fail "$key cannot be copied"; fi
    if [[ -e $root$key.revoked ]]; then inst_simple "$key.revoked" || sealroot_fail "$key.revoked cannot be copied"; fi

    inst_simple "$systemdsystemunitdir/sealroot-prepare-root.service" || sealroot_fail "sealroot-prepare-root.service is missing"
    for unit in initrd-root-fs.target initrd-switch-root.service; do
        $SYSTEMCTL -q --root "$initdir" add-requires "$unit" sealroot-prepare-root.service || sealroot_fail "$unit cannot require the verifier"
    done
    # Loaded while the disk is looked for, not one after the other when each is mounted: most of the unit's time went there.
    mkdir -p "$initdir/etc/modules-load.d"
    printf '%s\n' erofs overlay > "$initdir/etc/modules-load.d/sealroot.conf"
    # The reference's verifier would mount what this policy does not allow, should its module be here too.
    $SYSTEMCTL -q --root "$initdir" mask ostree-prepare-root.service

    # Kernel arguments and credentials can ask this generator for a root shell, or to mask the verifier.
    $SYSTEMCTL -q --root "$initdir" mask debug-shell.service
    mkdir -p "$initdir/etc/systemd/system-generators"
    ln -sf /dev/null "$initdir/etc/systemd/system-generators/systemd-debug-generator"

    # Last, since a policy may permit the shell.
    if grep -qx shell=true <<< "$checked"; then return 0; fi
    inst_script "$moddir/no-shell.sh" /usr/lib/sealroot/no-shell
    for unit in emergency rescue dracut-emergency; do
        inst_simple "$moddir/no-shell.conf" "/etc/systemd/system/$unit.service.d/50-sealroot.conf"
    done
}
