/** What the refusal cases do to a disk, on a small ext4: the changes are as named, and e2fsck finds no other. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { copyDisk, Ext4Image } from '../../vm-tests/tamper.ts';

/** As if a partition: the file system does not begin where the file does. */
const OFFSET = 1 << 20;
const ENVIRONMENT = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const CONTENT = Buffer.alloc(10_000, 'sealed ');

let folder: string;
let disk: Ext4Image;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'sealroot-tamper-test-'));
  const image = path.join(folder, 'base.raw');
  execFileSync('truncate', ['-s', '33M', image]);
  execFileSync(
    'mkfs.ext4',
    ['-q', '-F', '-O', 'verity', '-b', '4096', '-E', `offset=${OFFSET}`, image, '8192'],
    {
      env: ENVIRONMENT,
    },
  );
  const base = new Ext4Image(image, OFFSET);
  base.makeDirectory('/d');
  base.replace('/d/file', CONTENT, { verity: true });
});
afterAll(() => rmSync(folder, { recursive: true }));

beforeEach(() => {
  const image = path.join(folder, 'copy.raw');
  copyDisk(path.join(folder, 'base.raw'), image);
  disk = new Ext4Image(image, OFFSET);
});

function changedBytes(before: Buffer, after: Buffer): number[] {
  const changed: number[] = [];
  for (let start = 0; start < before.length; start += 4096) {
    const end = start + 4096;
    if (before.subarray(start, end).equals(after.subarray(start, end))) continue;
    for (let i = start; i < end; i++) if (before[i] !== after[i]) changed.push(i);
  }
  return changed;
}

describe('Ext4Image', () => {
  it('replace() writes a verity file whose metadata stands behind its end', () => {
    expect(disk.hasVerity('/d/file')).toBe(true);
    expect(disk.read('/d/file')).toEqual(CONTENT);
    disk.requireClean();
  });

  it('replace() without verity keeps the bytes and drops the protection', () => {
    disk.replace('/d/file', CONTENT, { verity: false });
    expect(disk.hasVerity('/d/file')).toBe(false);
    expect(disk.read('/d/file')).toEqual(CONTENT);
    expect(disk.list('/d')).toEqual(['file']);
    disk.requireClean();
  });

  it('flipBit() changes one bit of the whole disk, and it is that of the file', () => {
    const before = readFileSync(disk.image);
    disk.flipBit('/d/file', 5000, 3);
    const after = readFileSync(disk.image);
    expect(changedBytes(before, after)).toHaveLength(1);
    const expected = Buffer.from(CONTENT);
    expected[5000] = (expected[5000] ?? 0) ^ 8;
    expect(disk.read('/d/file')).toEqual(expected);
    disk.requireClean();
  });

  it('flipBit() refuses an offset behind the last block', () => {
    expect(() => disk.flipBit('/d/file', 1 << 24)).toThrow('lies in no block');
  });

  it('remove() unlinks', () => {
    disk.remove('/d/file');
    expect(disk.list('/d')).toEqual([]);
    disk.requireClean();
  });

  it('rename() keeps a directory and what it holds', () => {
    disk.makeDirectory('/d/old');
    disk.replace('/d/old/file', CONTENT, { verity: false });
    disk.rename('/d', 'old', 'new');
    expect(disk.list('/d').sort()).toEqual(['file', 'new']);
    expect(disk.read('/d/new/file')).toEqual(CONTENT);
    disk.requireClean();
  });

  it('makeNode() and makeLink() put something else into a place, below the root too', () => {
    disk.rename('/', 'd', 'kept');
    disk.makeNode('/d', 'p');
    disk.makeNode('/kept/zero', 'c', 1, 5);
    disk.makeLink('/kept/link', '/nowhere');
    expect(disk.list('/').sort()).toEqual(['d', 'kept', 'lost+found']);
    expect(disk.list('/kept').sort()).toEqual(['file', 'link', 'zero']);
    expect(disk.readLink('/kept/link')).toBe('/nowhere');
    disk.requireClean();
  });

  it('resize() makes a file sparse', () => {
    disk.replace('/d/file', CONTENT, { verity: false });
    disk.resize('/d/file', 1 << 24);
    const grown = disk.read('/d/file');
    expect([grown.length, grown.subarray(0, CONTENT.length).equals(CONTENT)]).toEqual([1 << 24, true]);
    disk.requireClean();
  });

  it('fails where debugfs only complains', () => {
    expect(() => disk.remove('/d/missing')).toThrow('cannot change');
  });
});
