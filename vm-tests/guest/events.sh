# Sourced by scripts in a guest, POSIX sh. What they say goes to the virtio console /dev/hvc0, one JSON object a line;
# the harness (guest-events.ts) takes anything else there for a fault.
# event NAME [KEY VALUE]...   one event; a value of digits is sent as a number.
# capture NAME COMMAND...     runs a command and sends its exit status and its output, in base64 because that may be
#                             anything; returns the status.
# The last event of every guest is `event done status N`.

# The initramfs of the fast boot has busybox only; a whole system has coreutils.
bb=
for candidate in /run/case/busybox /bin/busybox; do
    [ -n "$bb" ] || [ ! -x "$candidate" ] || bb=$candidate
done

event() {
    # A tty would write CR LF, and echo what comes back.
    $bb stty raw -echo </dev/hvc0
    json="{\"event\":\"$1\""
    shift
    while [ $# -gt 1 ]; do
        case $2 in
            '' | *[!0-9]* | 0[0-9]*) value="\"$(printf '%s' "$2" | $bb tr '\n\t' '  ' | $bb sed 's/[\\"]/\\&/g')\"" ;;
            *) value=$2 ;;
        esac
        json="$json,\"$1\":$value"
        shift 2
    done
    printf '%s}\n' "$json" >/dev/hvc0
}

capture() {
    name=$1
    shift
    "$@" >/run/captured 2>&1
    status=$?
    event "$name" status "$status" output "$($bb base64 -w 0 </run/captured)"
    return "$status"
}
