# Sourced by scripts in the guest. `event NAME [KEY VALUE]...` sends one JSON object; a value that is a number is
# sent as one. `finish STATUS [REASON]` sends the mandatory last event and ends the machine.
# `capture NAME COMMAND...` runs a command and sends its status and its output, in base64 because that may be anything.
bb=/run/case/busybox
[ -x "$bb" ] || bb=/bin/busybox

event() {
    # A tty would write CR LF and could echo; raw passes bytes.
    $bb stty raw -echo </dev/hvc0
    json="{\"event\":\"$1\""
    shift
    while [ $# -gt 1 ]; do
        case $2 in
            '' | *[!0-9]*) value="\"$(printf '%s' "$2" | $bb sed 's/[\\"]/\\&/g' | $bb tr '\n\t' '  ')\"" ;;
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
    event "$name" status "$status" output "$($bb base64 -w 0 /run/captured)"
    return "$status"
}

finish() {
    event done status "$1" reason "${2:-}"
    sync
    $bb poweroff -f
    # Nothing comes back from here; if it does, the host's deadline sees it.
    while :; do $bb sleep 3600; done
}
