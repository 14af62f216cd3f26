import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { diskCreate, diskSize, parseSize } from '../../src/commands/disk-create.ts';
import { sealroot, useCli } from './run-cli.ts';

const MIB = 1024 * 1024;
const VECTORS = join(import.meta.dirname, '../vectors/upstream-signed');
const ONE = '76a7b26144caf4962f108093326dd79506af8deab4e887e425865a00949027fb';

useCli();

describe('diskCreate()', () => {
  it('refuses a size that cannot hold the system before it writes anything', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sealroot-disk-create-'));
    try {
      const made = diskCreate({
        repo: join(VECTORS, 'repo'),
        ref: ONE,
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

describe('sealroot disk create', () => {
  it('names the system call that failed, and the path, when nobody has better words', () => {
    const folder = mkdtempSync(join(tmpdir(), 'sealroot-disk-create-'));
    try {
      const file = join(folder, 'file');
      writeFileSync(file, '');
      const commit = ['--repo', join(VECTORS, 'repo'), '--ref', ONE, '--pubkey', join(VECTORS, 'key1.pub')];
      expect(
        sealroot(['disk', 'create', ...commit, '--os', 'x', '--output', join(file, 'below/disk')]),
      ).toEqual({
        status: 4,
        stdout: '',
        stderr: `sealroot: error: cannot mkdir ${join(file, 'below')}: ENOTDIR\n`,
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('diskSize()', () => {
  it('leaves room for two updates, and is never less than 2 GiB', () => {
    expect(diskSize(undefined, 0)).toBe(2048 * MIB);
    expect(diskSize(undefined, 1024 * MIB + 1)).toBe((3 * 1024 + 1 + 1024) * MIB);
  });

  it('takes a size that holds the content and a fifth more, the ESP and 128 MiB, and nothing less', () => {
    expect(diskSize('1024M', 0)).toBe(1024 * MIB);
    expect(diskSize('1613M', 1024 * MIB)).toBe(1613 * MIB);
    expect(() => diskSize('1612M', 1024 * MIB)).toThrow(
      expect.objectContaining({
        code: 'disk-too-small',
        message: 'cannot create a disk of 1612M: at least 1613M are needed',
      }),
    );
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
