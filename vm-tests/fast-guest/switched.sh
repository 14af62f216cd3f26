# Process 1 of the fast boot in the sealed root. The script runs under the sealed system's own shell; what watches it
# is the busybox from the initramfs, so that a broken root cannot make up its own success.
PATH=/run/case:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
. /run/case/events.sh
. /run/case/finish.sh
event switched-root
[ -e /run/case/script ] || finish 0
/bin/sh /run/case/script
finish $?
