/** The block device under a btrfs, whose files are on an anonymous one. */

import { type ByteString, toByteString } from '../src/formats/encoding.ts';
import type { PhysicalRoot } from './deployment.ts';
import * as sys from './sys.ts';

/** linux/btrfs.h: _IOR(0x94, 31, struct btrfs_ioctl_fs_info_args), _IOWR(0x94, 30, struct btrfs_ioctl_dev_info_args). */
const BTRFS_IOC_FS_INFO = 0x8400941f;
const FS_INFO_BYTES = 1024;
const BTRFS_IOC_DEV_INFO = 0xd000941e;
const DEV_INFO_BYTES = 4096;
const DEV_INFO_PATH = 3072;
/** Ids of removed devices are skipped; a root on one device has a small one. */
const MAX_DEVICE_ID = 64n;

/** The one device of a btrfs; undefined for another file system or several devices. */
export function btrfsDevice(root: PhysicalRoot): sys.DeviceNumber | undefined {
  const info = new Uint8Array(FS_INFO_BYTES);
  const view = new DataView(info.buffer);
  try {
    const fd = sys.open(root.place, sys.O_RDONLY | sys.O_DIRECTORY);
    sys.ioctl(fd, BTRFS_IOC_FS_INFO, info, `inspect ${root.path}`);
    const maxId = view.getBigUint64(0, true);
    if (view.getBigUint64(8, true) !== 1n) return undefined;
    for (let id = 1n; id <= maxId && id <= MAX_DEVICE_ID; id++) {
      const path = btrfsDevicePath(fd, id, root.path);
      const status = path === undefined ? undefined : sys.statusAt(path, true);
      if (status?.type === sys.S_IFBLK) return status.represents;
    }
  } catch (error) {
    // Only a convenience for systemd hangs on it, and "not btrfs" is an error of the first call.
    if (!(error instanceof sys.KernelError)) throw error;
  }
  return undefined;
}

function btrfsDevicePath(fd: sys.Descriptor, id: bigint, name: string): ByteString | undefined {
  const info = new Uint8Array(DEV_INFO_BYTES);
  new DataView(info.buffer).setBigUint64(0, id, true);
  try {
    sys.ioctl(fd, BTRFS_IOC_DEV_INFO, info, `inspect device ${id} of ${name}`);
  } catch (error) {
    if (sys.errnoOf(error) === 'ENODEV') return undefined;
    throw error;
  }
  const path = info.subarray(DEV_INFO_PATH);
  return toByteString(path.subarray(0, path.indexOf(0)));
}
