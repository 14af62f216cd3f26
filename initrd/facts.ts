/** What the plan has to know about the machine. Reads, changes nothing. */

import { ascii, type ByteString, printable } from '../src/formats/encoding.ts';
import type { MountFacts } from '../src/formats/mount-plan.ts';
import type { Policy } from '../src/formats/policy.ts';
import type { Deployment, PhysicalRoot } from './deployment.ts';
import { typeBelow } from './files.ts';
import { seldom } from './load.ts';
import { warn } from './report.ts';
import * as sys from './sys.ts';

type MachineFacts = Omit<MountFacts, 'trust' | 'kernel' | 'hasImage'>;

export function gatherFacts(root: PhysicalRoot, deployment: Deployment, policy: Policy): MachineFacts {
  return {
    root: root.place,
    deployment: deployment.path,
    stateroot: deployment.stateroot,
    device: deviceNumber(deployment.status.device),
    inode: deployment.status.inode,
    rootBlockDevice: rootBlockDevice(root),
    hasBootEntries: typeBelow(root, ascii('boot/loader')) === sys.S_IFLNK,
    mountsVar: sys.statusAt(ascii('/run/ostree/initramfs-mount-var')) !== undefined,
    transientEtc: policy.etcTransient ? seldom().placeForEtc() : undefined,
    usrOverlay: policy.sealed ? unusedOverlay(root, deployment) : seldom().usrOverlayOf(root, deployment),
  };
}

/** No signature covers what `ostree admin unlock --hotfix` keeps beside the deployment. */
function unusedOverlay(root: PhysicalRoot, { path }: Deployment): undefined {
  const work = `${root.place}/${path}/.usr-ovl-work` as ByteString;
  if (sys.statusAt(work) !== undefined) warn(`cannot mount ${printable(work)} over /usr: the boot is sealed`);
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
  return device.major > 0 ? device : seldom().btrfsDevice(root);
}
