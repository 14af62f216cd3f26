import { describe, expect, it } from 'vitest';
import { encodeBootRecord } from '../../src/formats/boot-record.ts';
import { ascii } from '../../src/formats/encoding.ts';
import { decode, openVariant } from '../../src/formats/gvariant.ts';

describe('encodeBootRecord()', () => {
  const bytes = encodeBootRecord({
    device: 0xfe01n,
    inode: 2n ** 63n + 5n,
    keypath: ascii('/etc/ostree/initramfs-root-binding.key'),
    sysrootReadonly: true,
  });
  const record = decode('a{sv}', bytes, 'record');

  it("has ostree's keys and types, in the order in which ostree writes them", () => {
    expect([...record].map(([key, value]) => `${key} ${value.type}`)).toEqual([
      'backing-root-device-inode (tt)',
      'composefs.signed s',
      'composefs b',
      'composefs.verity b',
      'root.transient b',
      'sysroot-ro b',
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
