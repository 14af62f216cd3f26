#!/bin/sh
# Ends a boot that failed or was refused. By default the machine halts, so that the reason stays on the screen;
# rd.emergency=reboot, poweroff or halt chooses, and none of them opens anything.

# shellcheck source=/dev/null
. /usr/lib/dracut-lib.sh
action=$(getarg rd.emergency)
case $action in
    reboot | poweroff | halt) ;;
    *) action=halt ;;
esac
echo "sealroot: the boot has failed and a sealed initramfs opens no shell: $action"
exec systemctl --force "$action"
