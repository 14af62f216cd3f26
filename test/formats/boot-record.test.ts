import { describe, expect, it } from 'vitest';
import { encodeBootRecord } from '../../src/formats/boot-record.ts';
import { ascii } from '../../src/formats/encoding.ts';
import { decode, openVariant } from '../../src/formats/gvariant.ts';

describe('encodeBootRecord()', () => {
  const bytes = encodeBootRecord({
    device: 0xfe01n,
    inode: 2n ** 63n + 5n,
    rootTransient: 'no',
    composefs: { verity: true, keypath: ascii('/etc/ostree/initramfs-root-binding.key') },
    transientEtc: undefined,
    sysrootReadonly: true,
  });
  const record = decode('a{sv}', bytes, 'record');

  it("has ostree's keys and types, in the order in which ostree writes them", () => {
    expect([...record].map(([key, value]) => `${key} ${value.type}`)).toEqual([
      'backing-root-device-inode (tt)',
      'root.transient b',
      'root.transient-ro b',
      'composefs.signed s',
      'composefs b',
      'composefs.verity b',
      'sysroot-ro b',
    ]);
  });

  it('has no word of composefs where there is none, and names the place of a transient /etc', () => {
    const record = { device: 1n, inode: 2n, sysrootReadonly: false, transientEtc: ascii('/run/x') } as const;
    const bytes = encodeBootRecord({ ...record, rootTransient: 'no', composefs: undefined });
    expect([...decode('a{sv}', bytes, 'record').keys()]).toEqual([
      'backing-root-device-inode',
      'root.transient',
      'root.transient-ro',
      'sysroot-ro',
      'transient-etc',
    ]);
  });

  it('carries what it was given', () => {
    const open = (key: string) => record.get(ascii(key)) ?? { type: '', data: new Uint8Array(0) };
    expect(openVariant(open('backing-root-device-inode'), '(tt)', 'id')).toEqual([0xfe01n, 2n ** 63n + 5n]);
    expect(openVariant(open('composefs.signed'), 's', 'key')).toBe('/etc/ostree/initramfs-root-binding.key');
    expect(openVariant(open('composefs'), 'b', 'flag')).toBe(true);
    expect(openVariant(open('composefs.verity'), 'b', 'flag')).toBe(true);
    expect(openVariant(open('root.transient'), 'b', 'flag')).toBe(false);
    expect(openVariant(open('sysroot-ro'), 'b', 'flag')).toBe(true);
  });
});
