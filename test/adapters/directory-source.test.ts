import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fillDigestStore } from '../../src/adapters/digest-store.ts';
import {
  readContent,
  type ScanOptions,
  SourceError,
  scanDirectory,
} from '../../src/adapters/directory-source.ts';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { openOutput } from '../../src/adapters/output-file.ts';
import { pathBytes } from '../../src/adapters/syscalls.ts';
import { VerityComputer } from '../../src/adapters/verity.ts';
import { ascii, hex } from '../../src/formats/encoding.ts';
import { verityDigest } from '../../src/formats/fsverity.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'sealroot-directory-'));
  mkdirSync(path.join(folder, 'tree/below'), { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const OPTIONS: ScanOptions = { xattrs: 'none', skipDevices: false, epoch: false, hardlinks: false };

function scan(options: Partial<ScanOptions> = {}) {
  return scanDirectory(pathBytes(path.join(folder, 'tree')), { ...OPTIONS, ...options });
}

const computer = new VerityComputer();

function replaceFile(target: string): void {
  rmSync(target);
  writeFileSync(target, Buffer.alloc(100));
}

function write(name: string, size: number): string {
  const target = path.join(folder, 'tree', name);
  writeFileSync(target, Buffer.alloc(size, name));
  return target;
}

describe('scanDirectory() and readContent()', () => {
  it('puts files of up to 64 bytes into the image and names the others by digest', () => {
    write('below/inline', 64);
    const external = write('external', 65);
    write('empty', 0);
    const { root, files } = scan();
    for (const file of files) readContent(file, computer);
    expect(root.children?.get(ascii('below'))?.children?.get(ascii('inline'))?.content?.length).toBe(64);
    const digest = hex(verityDigest(readFileSync(external), nodeHasher));
    expect(root.children?.get(ascii('external'))).toMatchObject({
      size: 65,
      payload: `${digest.slice(0, 2)}/${digest.slice(2)}`,
    });
    expect(files).toHaveLength(2);
  });

  it('keeps seconds before 1970 and nanoseconds apart', () => {
    utimesSync(write('old', 0), new Date(-1500), new Date(-1500));
    const old = scan().root.children?.get(ascii('old'));
    expect([old?.mtimeSec, old?.mtimeNsec]).toEqual([-2n, 500_000_000]);
    expect(scan({ epoch: true }).root.children?.get(ascii('old'))?.mtimeSec).toBe(0n);
  });

  it('makes the first name of a file the file, in the order of the tree', () => {
    const first = write('below/z', 100);
    linkSync(first, path.join(folder, 'tree/c'));
    linkSync(first, path.join(folder, 'tree/below/a'));
    const linked = scan({ hardlinks: true });
    const file = linked.root.children?.get(ascii('below'))?.children?.get(ascii('a'));
    expect([file?.hardlink, file?.nlink, linked.files.length]).toEqual([undefined, 3, 1]);
    expect(linked.root.children?.get(ascii('c'))?.hardlink).toBe(file);
    expect(scan().files).toHaveLength(3);
  });

  it.each([
    ['grows', (target: string) => writeFileSync(target, 'x', { flag: 'a' })],
    ['shrinks', (target: string) => writeFileSync(target, 'x')],
    ['is replaced', replaceFile],
    ['is rewritten with the same size', (target: string) => writeFileSync(target, Buffer.alloc(100, 'y'))],
  ])('refuses a file that %s after it was seen', (_, change) => {
    const target = write('file', 100);
    const [file] = scan().files;
    change(target);
    expect(() => file && readContent(file, computer)).toThrow(
      /^cannot use ".*\/tree\/file": it changes while it is read$/,
    );
  });

  it('names what it cannot read', () => {
    const target = write('file', 100);
    const [file] = scan().files;
    rmSync(target);
    expect(() => file && readContent(file, computer)).toThrow(new SourceError(pathBytes(target), 'ENOENT'));
  });
});

describe('fillDigestStore()', () => {
  it('adds no object whose file has changed, and leaves nothing of it behind', () => {
    const target = write('file', 5000);
    const { files } = scan();
    for (const file of files) readContent(file, computer);
    writeFileSync(target, Buffer.alloc(5000, 'other'));
    const store = path.join(folder, 'store');
    expect(() => fillDigestStore(pathBytes(store), files)).toThrow('it changes while it is read');
    expect(
      readdirSync(store, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()),
    ).toEqual([]);
  });
});

describe('openOutput()', () => {
  it('touches nothing before it writes', () => {
    const target = path.join(folder, 'output');
    writeFileSync(target, 'old');
    const write = openOutput(pathBytes(target));
    expect([readFileSync(target, 'utf8'), readdirSync(folder).sort()]).toEqual(['old', ['output', 'tree']]);
    write(Buffer.from('new'));
    expect([readFileSync(target, 'utf8'), readdirSync(folder).sort()]).toEqual(['new', ['output', 'tree']]);
  });

  it.each([[''], ['no-such-folder/x'], ['tree']])('refuses %j at once', (name) => {
    expect(() => openOutput(pathBytes(name && path.join(folder, name)))).toThrow(SourceError);
  });
});
