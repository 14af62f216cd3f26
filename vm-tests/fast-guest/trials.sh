# Sourced by /init before it mounts the root. Each folder of /trials is a boot that is tried and taken back: the blocks
# in which its disk differs are written, prepare-root runs in a mount namespace of its own (trial.sh), and the blocks
# are written back, so that the next finds the disk as it was. What came of it is the host's to judge.

# /dev/vdb holds the blocks, in a row; each line of `blocks`: how many, where the changed ones and where the former
# ones begin there, where they belong on /dev/vda2.
write_blocks() {
    while read -r count changed former to; do
        [ "$2" = changed ] && from=$changed || from=$former
        dd if=/dev/vdb of=/dev/vda2 bs=4096 count="$count" skip="$from" seek="$to" conv=notrunc,fsync 2>/dev/null ||
            finish 1 "$1: cannot write blocks"
    done <"$1/blocks"
}

for trial in /trials/[0-9]*; do
    write_blocks "$trial" changed
    # A file system that finds itself damaged would note that on the disk, mounted read-only or not.
    blockdev --setro /dev/vda2
    unshare -m sh /trials/trial.sh "$trial" || finish 1 "$trial: ended with status $?"
    # The end of a namespace frees its mounts a moment later.
    while [ -e /sys/fs/ext4/vda2 ]; do :; done
    blockdev --setrw /dev/vda2
    write_blocks "$trial" former
done
