# `finish STATUS [REASON]` sends the mandatory last event and ends the machine, without systemd.
finish() {
    event done status "$1" reason "${2:-}"
    $bb sync
    # Setting anything waits until the serial line has sent all (TCSADRAIN): the end of a line was lost once.
    $bb stty -F /dev/console -echo
    $bb poweroff -f
    # Nothing comes back from here; if it does, the host's deadline sees it.
    while :; do $bb sleep 3600; done
}
