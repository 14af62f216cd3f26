/**
 * What makes a whole system testable without touching its sealed image: a unit that runs the script of a case from
 * a disk with the serial number `sealroot-case`. Its output is events on /dev/hvc0; see guest/events.sh.
 */
import { chmod, copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** Serial number of the read-only virtio disk that holds the script, padded with NUL bytes. */
export const CASE_DISK_SERIAL = 'sealroot-case';

const GUEST_FOLDER = path.join(import.meta.dirname, 'guest');
const GUEST_FILES = ['run-case', 'events.sh'];

/** Work of a first boot and of a calendar that a test neither needs nor wants to wait for. */
const MASKED = [
  ...['ldconfig.service', 'systemd-journal-catalog-update.service', 'systemd-hwdb-update.service'],
  ...[
    'systemd-update-done.service',
    'systemd-firstboot.service',
    'apt-daily.timer',
    'apt-daily-upgrade.timer',
  ],
  ...['dpkg-db-backup.timer', 'e2scrub_all.timer', 'e2scrub_reap.service', 'fstrim.timer', 'man-db.timer'],
];

/** Changes an ordinary (not yet ostree) tree in place. */
export async function installGuest(tree: string): Promise<void> {
  const programs = path.join(tree, 'usr/lib/sealroot-test');
  const units = path.join(tree, 'usr/lib/systemd/system');
  await mkdir(programs, { recursive: true });
  for (const name of GUEST_FILES) await copyFile(path.join(GUEST_FOLDER, name), path.join(programs, name));
  await chmod(path.join(programs, 'run-case'), 0o755);
  await copyFile(path.join(GUEST_FOLDER, 'sealroot-case.service'), path.join(units, 'sealroot-case.service'));
  // Not wanted by the disk's device unit: systemd knows the disk from the initramfs, and a device that is there
  // already when the root is switched pulls nothing in. Without such a disk the script does nothing.
  const wants = path.join(units, 'multi-user.target.wants');
  await mkdir(wants, { recursive: true });
  await symlink('../sealroot-case.service', path.join(wants, 'sealroot-case.service'));

  const configured = path.join(tree, 'etc/systemd/system');
  await mkdir(configured, { recursive: true });
  for (const unit of MASKED) await symlink('/dev/null', path.join(configured, unit));
  await writeFile(path.join(tree, 'etc/hostname'), 'sealroot-test\n');
  await writeFile(path.join(tree, 'etc/machine-id'), '');
}
