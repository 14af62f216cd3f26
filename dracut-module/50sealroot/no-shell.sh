#!/bin/sh
# Ends a boot that failed or was refused, as on-failure of the policy says. By default the machine halts, so that the
# reason stays on the screen; then rd.emergency=reboot, poweroff or halt may choose, and none of them opens anything.

# shellcheck source=/dev/null
. /usr/lib/dracut-lib.sh
action=$(/usr/lib/sealroot/sealroot-prepare-root --failure-action)
[ "$action" = reboot ] || [ "$action" = poweroff ] || action=$(getarg rd.emergency)
case $action in
    reboot | poweroff | halt) ;;
    *) action=halt ;;
esac
echo "sealroot: the boot has failed and a sealed initramfs opens no shell: $action"
# dracut's own scripts wait for this one, and what they would do next is what rd.emergency says: halt -f, at once and
# without the policy. They lose their connection to systemd the moment that it begins to shut down, and would be faster.
systemctl kill --signal=STOP 'dracut-[!e]*.service' 2>/dev/null
exec systemctl --force "$action"
