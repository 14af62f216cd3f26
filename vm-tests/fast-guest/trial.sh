# One trial, in a mount namespace of its own with a /run of its own: the initramfs as the trial wants it, the disk, and
# prepare-root as in any boot. Sends one event. Whatever is mounted by then goes with the namespace.
trial=$1
. /case/events.sh
mount -t tmpfs -o mode=0755 run /run
mount -t tmpfs -o mode=0755 keys /etc/ostree
cp "$trial"/keys/* /etc/ostree/
mount --bind "$trial/prepare-root.conf" /usr/lib/sealroot/prepare-root.conf
# Without one it is the kernel's own.
[ ! -e "$trial/cmdline" ] || mount --bind "$trial/cmdline" /proc/cmdline
# Read-only, so that all that differs afterwards is what the trial wrote to the disk before.
mount -t ext4 -o ro /dev/vda2 /sysroot || exit 1

before=$(cat /proc/self/mountinfo)
# A prepare-root that waits for ever fails its own trial, not those after it.
timeout -s KILL 120 /usr/lib/sealroot/sealroot-prepare-root /sysroot >/run/output 2>&1
status=$?
# Its watcher looks only once a second whether the program is gone, and keeps this namespace alive until then.
killall -q timeout
left=1
[ "$before" != "$(cat /proc/self/mountinfo)" ] || left=0
booted=0
[ ! -e /run/ostree-booted ] || booted=1
# Where a root stands now, what is in it has to be readable.
inside=0
if [ "$left" -eq 1 ]; then
    chroot /sysroot /bin/cat /usr/lib/os-release >/dev/null 2>>/run/output || inside=$?
    while read -r id parent device root place rest; do
        case $place in /sysroot | /sysroot/*) echo "mount: $place $rest" ;; esac
    done </proc/self/mountinfo >>/run/output
fi
read -r uptime rest </proc/uptime
event trial name "${trial##*/}" status "$status" left "$left" booted "$booted" inside "$inside" \
    centiseconds "${uptime%.*}${uptime#*.}" output "$($bb base64 -w 0 </run/output)"
