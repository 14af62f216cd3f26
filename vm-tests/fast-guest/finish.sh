# `finish STATUS [REASON]` sends the mandatory last event and ends the machine, without systemd.
finish() {
    event done status "$1" reason "${2:-}"
    $bb sync
    $bb poweroff -f
    # Nothing comes back from here; if it does, the host's deadline sees it.
    while :; do $bb sleep 3600; done
}
