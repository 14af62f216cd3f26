import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { destroyKey, requireDestroyable } from '../../src/adapters/destroy-key.ts';

let folder = '';
let key = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealroot-destroy-'));
  key = join(folder, 'key');
  writeFileSync(key, 'secret');
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('destroyKey()', () => {
  it('overwrites the file before it removes the name', () => {
    const other = join(folder, 'other-name');
    linkSync(key, other);
    destroyKey(key);
    expect(existsSync(key)).toBe(false);
    expect(readFileSync(other)).toHaveLength('secret'.length);
    expect(readFileSync(other, 'latin1')).not.toBe('secret');
  });

  it('follows no link that was put in the place of the file', () => {
    const link = join(folder, 'link');
    symlinkSync(key, link);
    expect(() => destroyKey(link)).toThrow(
      expect.objectContaining({
        kind: 'system',
        code: 'key-not-destroyed',
        message: `cannot destroy secret key ${link}: ELOOP`,
      }),
    );
    expect(readFileSync(key, 'utf8')).toBe('secret');
  });

  it('says that the file is gone already', () => {
    rmSync(key);
    expect(() => destroyKey(key)).toThrow(
      expect.objectContaining({ code: 'key-not-destroyed', message: expect.stringMatching(/: ENOENT$/) }),
    );
  });
});

describe('requireDestroyable()', () => {
  it('accepts a file', () => {
    requireDestroyable(key);
    expect(readFileSync(key, 'utf8')).toBe('secret');
  });

  it.each(['link', 'folder'])('refuses a %s', (kind) => {
    const path = join(folder, kind);
    if (kind === 'link') symlinkSync(key, path);
    else mkdirSync(path);
    expect(() => requireDestroyable(path)).toThrow(
      expect.objectContaining({ kind: 'usage', code: 'key-not-destroyable' }),
    );
  });
});
