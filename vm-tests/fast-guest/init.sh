#!/bin/busybox sh
# The fast boot's /init, without systemd: mount the disk, run prepare-root as the initramfs unit does, switch root,
# run the case's script there. Every step says on the event channel what came of it.
# Files beside it: /modules (loading order), /modules.d/NAME.ko, /case/ (script and what it needs), /trials/.
/bin/busybox mkdir -p /proc /sys /dev /run /sysroot
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=0755 run /run
exec </dev/console >/dev/console 2>&1
. /case/events.sh
. /case/finish.sh

while read -r module; do
    insmod "/modules.d/$module.ko" || finish 1 "insmod $module failed"
done </modules

# A case of the harness itself has no disk.
if [ -e /case/before-root ]; then
    . /case/before-root
    finish 0
fi

# Boots that are tried first (trials.ts); this one comes after them as if nothing had been.
[ ! -e /trials/trials.sh ] || . /trials/trials.sh

mode=ro
grep -qw rw /proc/cmdline && mode=rw
mount -t ext4 -o "$mode" /dev/vda2 /sysroot || finish 1 'mount of /dev/vda2 failed'
event sysroot-mounted

/usr/lib/sealroot/sealroot-prepare-root /sysroot
status=$?
event prepare-root status "$status"
[ "$status" -eq 0 ] || finish "$status"

mkdir /run/case
cp /case/* /bin/busybox /run/case/
for folder in proc sys dev run; do
    mount -o move "/$folder" "/sysroot/$folder" || finish 1 "mount of /$folder in the new root failed"
done
exec switch_root -c /dev/console /sysroot /run/case/busybox sh /run/case/switched.sh
