/**
 * /run/ostree-booted: what the initramfs tells ostree in the running system, a GVariant `a{sv}`. Keys, types and
 * order are those that ostree-prepare-root of ostree 2025.2 writes (src/libotcore/otcore.h names them); its readers
 * are libostree, which finds the booted deployment by device and inode, ostree-remount and `ostree admin status`.
 */

import { ascii, type ByteString } from './encoding.ts';
import { encode, makeVariant, type VariantValue } from './gvariant.ts';

export interface BootRecord {
  /** st_dev and st_ino of the deployment's directory on the physical root. */
  readonly device: bigint;
  readonly inode: bigint;
  /** The key file whose key verified the commit. */
  readonly keypath: ByteString;
  readonly sysrootReadonly: boolean;
}

/** The record of a sealed boot: composefs, with fs-verity required and the signature verified, nothing transient. */
export function encodeBootRecord(record: BootRecord): Uint8Array {
  const entries: [string, VariantValue][] = [
    ['backing-root-device-inode', makeVariant('(tt)', [record.device, record.inode])],
    ['composefs.signed', makeVariant('s', record.keypath)],
    ['composefs', makeVariant('b', true)],
    ['composefs.verity', makeVariant('b', true)],
    ['root.transient', makeVariant('b', false)],
    ['sysroot-ro', makeVariant('b', record.sysrootReadonly)],
  ];
  return encode('a{sv}', new Map(entries.map(([key, value]) => [ascii(key), value])));
}
