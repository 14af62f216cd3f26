/** What the plan has to know about the machine. Reads, changes nothing. */

import { ascii, type ByteString, toByteString } from '../src/formats/encoding.ts';
import type { MountFacts } from '../src/formats/mount-plan.ts';
import type { Deployment, PhysicalRoot } from './deployment.ts';
import { typeBelow } from './files.ts';
import * as sys from './sys.ts';

type MachineFacts = Omit<MountFacts, 'trust' | 'kernel'>;

export function gatherFacts(root: PhysicalRoot, deployment: Deployment): MachineFacts {
  return {
    root: root.place,
    deployment: deployment.path,
    stateroot: deployment.stateroot,
    device: deviceNumber(deployment.status.device),
    inode: deployment.status.inode,
    rootBlockDevice: rootBlockDevice(root),
    hasBootEntries: typeBelow(root, ascii('boot/loader')) === sys.S_IFLNK,
    mountsVar: sys.statusAt(ascii('/run/ostree/initramfs-mount-var')) !== undefined,
  };
}

/** dev_t as the C libraries and stat(2) of 64-bit systems encode it; libostree compares it with st_dev. */
export function deviceNumber({ major, minor }: sys.DeviceNumber): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return (
    ((high & 0xfffff000n) << 32n) | ((high & 0xfffn) << 8n) | ((low & 0xffffff00n) << 12n) | (low & 0xffn)
  );
}

/** systemd's own find first; else the device of the file system, which btrfs hides behind an anonymous one. */
function rootBlockDevice(root: PhysicalRoot): sys.DeviceNumber | undefined {
  const found = sys.statusAt(ascii('/dev/gpt-auto-root'), true);
  if (found?.type === sys.S_IFBLK) return found.represents;
  const { device } = sys.statusOf(root.fd, root.path);
  return device.major > 0 ? device : btrfsDevice(root);
}

/** linux/btrfs.h: _IOR(0x94, 31, struct btrfs_ioctl_fs_info_args), _IOWR(0x94, 30, struct btrfs_ioctl_dev_info_args). */
const BTRFS_IOC_FS_INFO = 0x8400941f;
const FS_INFO_BYTES = 1024;
const BTRFS_IOC_DEV_INFO = 0xd000941e;
const DEV_INFO_BYTES = 4096;
const DEV_INFO_PATH = 3072;
/** Ids of removed devices are skipped; a root on one device has a small one. */
const MAX_DEVICE_ID = 64n;

/** The one device of a btrfs; undefined for another file system or several devices. */
function btrfsDevice(root: PhysicalRoot): sys.DeviceNumber | undefined {
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
