/**
 * /run/ostree-booted: what the initramfs tells ostree in the running system, a GVariant `a{sv}`. Keys, types and
 * order are those that ostree-prepare-root of ostree 2026.4 writes (src/libotcore/otcore.h names them); its readers
 * are libostree, which finds the booted deployment by device and inode, ostree-remount and `ostree admin status`.
 */

import { ascii, type ByteString } from './encoding.ts';
import { encode, makeVariant, type VariantValue } from './gvariant.ts';
import type { RootPolicy } from './policy-root.ts';

export interface BootRecord {
  /** st_dev and st_ino of the deployment's directory on the physical root. */
  readonly device: bigint;
  readonly inode: bigint;
  readonly rootTransient: RootPolicy['rootTransient'];
  /** undefined: the root is the deployment's own tree. */
  readonly composefs: ComposefsRecord | undefined;
  readonly sysrootReadonly: boolean;
  /** The directory in memory that takes what is written to /etc. */
  readonly transientEtc: ByteString | undefined;
}

export interface ComposefsRecord {
  readonly verity: boolean;
  /** The key file whose key verified the commit. */
  readonly keypath: ByteString | undefined;
}

export function encodeBootRecord(record: BootRecord): Uint8Array {
  const { rootTransient, composefs, transientEtc } = record;
  const entries: [string, VariantValue][] = [
    ['backing-root-device-inode', makeVariant('(tt)', [record.device, record.inode])],
    ['root.transient', makeVariant('b', rootTransient !== 'no')],
    ['root.transient-ro', makeVariant('b', rootTransient === 'read-only')],
  ];
  if (composefs?.keypath !== undefined)
    entries.push(['composefs.signed', makeVariant('s', composefs.keypath)]);
  if (composefs !== undefined) {
    entries.push(['composefs', makeVariant('b', true)]);
    entries.push(['composefs.verity', makeVariant('b', composefs.verity)]);
  }
  entries.push(['sysroot-ro', makeVariant('b', record.sysrootReadonly)]);
  if (transientEtc !== undefined) entries.push(['transient-etc', makeVariant('s', transientEtc)]);
  return encode('a{sv}', new Map(entries.map(([key, value]) => [ascii(key), value])));
}
