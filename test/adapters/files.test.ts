import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readBounded, readBoundedIfExists, writeAtomically } from '../../src/adapters/files.ts';
import { utf8 } from '../../src/formats/encoding.ts';
import { SealrootError } from '../../src/formats/errors.ts';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'sealroot-files-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof SealrootError) return error.code;
    throw error;
  }
  return 'no error';
}

describe('readBounded()', () => {
  it('reads a file of exactly the allowed size, and refuses one byte more', () => {
    const file = path.join(folder, 'file');
    writeFileSync(file, 'abc');
    expect(readBounded(file, 3)).toEqual(utf8('abc'));
    expect(codeOf(() => readBounded(file, 2))).toBe('file-too-large');
  });

  it('reads files that claim to be empty, and bounds them all the same', () => {
    const whole = readFileSync('/proc/self/limits');
    expect(Buffer.from(readBounded('/proc/self/limits', 65536))).toEqual(whole);
    expect(codeOf(() => readBounded('/proc/self/limits', 100))).toBe('file-too-large');
  });

  it('refuses what is no regular file, without waiting for it', () => {
    execFileSync('mkfifo', [path.join(folder, 'fifo')]);
    for (const file of [path.join(folder, 'fifo'), folder, '/dev/zero']) {
      expect(codeOf(() => readBounded(file, 10))).toBe('not-a-regular-file');
    }
  });

  it('tells a missing file from an unreadable one', () => {
    const missing = path.join(folder, 'missing');
    expect(codeOf(() => readBounded(missing, 10))).toBe('file-missing');
    expect(readBoundedIfExists(missing, 10)).toBeUndefined();
    symlinkSync('loop', path.join(folder, 'loop'));
    expect(codeOf(() => readBoundedIfExists(path.join(folder, 'loop'), 10))).toBe('file-access-failed');
  });
});

describe('writeAtomically()', () => {
  it('gives the file exactly the mode asked for, whatever the umask', async () => {
    const before = process.umask(0o077);
    try {
      await writeAtomically(path.join(folder, 'public'), utf8('x'), 0o644);
      await writeAtomically(path.join(folder, 'secret'), utf8('y'), 0o600);
    } finally {
      process.umask(before);
    }
    expect(statSync(path.join(folder, 'public')).mode & 0o7777).toBe(0o644);
    expect(statSync(path.join(folder, 'secret')).mode & 0o7777).toBe(0o600);
    expect(readdirSync(folder).sort()).toEqual(['public', 'secret']);
  });

  it('replaces a file, and a link instead of its target', async () => {
    const target = path.join(folder, 'target');
    writeFileSync(target, 'old');
    symlinkSync('target', path.join(folder, 'link'));
    await writeAtomically(path.join(folder, 'link'), utf8('new'), 0o644);
    expect(lstatSync(path.join(folder, 'link')).isFile()).toBe(true);
    expect(readFileSync(target, 'utf8')).toBe('old');
  });

  it('never overwrites when exclusive, and leaves nothing behind', async () => {
    const file = path.join(folder, 'file');
    await writeAtomically(file, utf8('first'), 0o600, { exclusive: true });
    await expect(writeAtomically(file, utf8('second'), 0o600, { exclusive: true })).rejects.toMatchObject({
      code: 'file-exists',
    });
    expect(readFileSync(file, 'utf8')).toBe('first');
    expect(readdirSync(folder)).toEqual(['file']);
  });

  it('leaves nothing behind when the name is taken by a directory', async () => {
    mkdirSync(path.join(folder, 'taken'));
    await expect(writeAtomically(path.join(folder, 'taken'), utf8('x'), 0o644)).rejects.toMatchObject({
      code: 'file-access-failed',
    });
    expect(readdirSync(folder)).toEqual(['taken']);
    await expect(writeAtomically(path.join(folder, 'no', 'file'), utf8('x'), 0o644)).rejects.toMatchObject({
      code: 'file-missing',
    });
  });
});
