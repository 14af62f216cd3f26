import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { diskCreate, parseSize } from '../../src/commands/disk-create.ts';

const MIB = 1024 * 1024;
const VECTORS = join(import.meta.dirname, '../vectors/upstream-signed');

describe('diskCreate()', () => {
  it('refuses a size that cannot hold the system before it writes anything', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sealroot-disk-create-'));
    try {
      const made = diskCreate({
        repo: join(VECTORS, 'repo'),
        ref: '76a7b26144caf4962f108093326dd79506af8deab4e887e425865a00949027fb',
        os: 'test',
        pubkeys: [join(VECTORS, 'key1.pub')],
        output: join(folder, 'disk.raw'),
        size: '1023M',
      });
      await expect(made).rejects.toMatchObject({
        kind: 'usage',
        code: 'disk-too-small',
        message: 'cannot create a disk of 1023M: at least 1024M are needed',
      });
      expect(readdirSync(folder)).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('parseSize()', () => {
  it.each([
    ['4G', 4096 * MIB],
    ['900M', 900 * MIB],
    ['1T', 1024 * 1024 * MIB],
    ['2048K', 2 * MIB],
    [String(5 * MIB + 1), 5 * MIB],
  ])('reads %s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(['', '4g', '4 G', '-1', '1.5G', '0x10', 'G'])('refuses "%s"', (text) => {
    expect(() => parseSize(text)).toThrow(expect.objectContaining({ code: 'size-malformed', kind: 'usage' }));
  });
});
