import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openSysroot, readLoaderEntries, splitKernelArguments } from '../../src/adapters/sysroot.ts';

const folder = mkdtempSync(join(tmpdir(), 'sealroot-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('splitKernelArguments()', () => {
  it('splits at white space outside double quotes and keeps the quotes', () => {
    expect(splitKernelArguments(' root=LABEL=x  a="b c"\tquiet ')).toEqual([
      'root=LABEL=x',
      'a="b c"',
      'quiet',
    ]);
  });

  it('takes an unclosed quote to the end', () => {
    expect(splitKernelArguments('a "b c')).toEqual(['a', '"b c']);
  });

  it('finds none in an empty line', () => {
    expect(splitKernelArguments('')).toEqual([]);
  });
});

describe('readLoaderEntries()', () => {
  it('reads the fields of each entry, in the order of their names', () => {
    const entries = join(folder, 'boot/loader/entries');
    mkdirSync(entries, { recursive: true });
    writeFileSync(join(entries, 'ostree-2.conf'), 'title B\nlinux /ostree/b/vmlinuz\n');
    writeFileSync(join(entries, 'ostree-1.conf'), 'title A (ostree:1)\noptions  root=x  ostree=/o \n');
    writeFileSync(join(entries, 'README'), 'title C\n');
    const found = readLoaderEntries(folder);
    expect(found.map(({ file }) => file)).toEqual(['ostree-1.conf', 'ostree-2.conf']);
    expect(found[0]?.fields.get('options')).toBe('root=x  ostree=/o');
    expect(found[0]?.fields.get('title')).toBe('A (ostree:1)');
  });

  it('finds none where libostree has written none', () => {
    expect(readLoaderEntries(join(folder, 'nowhere'))).toEqual([]);
  });
});

describe('openSysroot()', () => {
  it('refuses a folder that is none', async () => {
    await expect(openSysroot(join(folder, 'boot'))).rejects.toMatchObject({
      code: 'sysroot-missing',
      kind: 'input',
    });
  });
});
