/** A directory as C reads it beside what this thread reads of it: the same tree, the same errors. */
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DirectoryLister, NOT_LISTED } from '../../src/adapters/directory-list.ts';
import {
  addXattrs,
  hasContent,
  readContent,
  type ScanHelp,
  type ScanOptions,
  scanDirectory,
} from '../../src/adapters/directory-source.ts';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { SourceReader } from '../../src/adapters/source-reader.ts';
import { pathBytes, setXattr } from '../../src/adapters/syscalls.ts';
import { VerityComputer } from '../../src/adapters/verity.ts';
import { ascii, type ByteString, fromByteString, hex, toByteString } from '../../src/formats/encoding.ts';
import { type VerityAlgorithm, verityDigest } from '../../src/formats/fsverity.ts';
import { NO_XATTRS, type TreeNode } from '../../src/formats/tree.ts';
import { compileFileReader } from '../../tools/bundle.ts';

let folder = '';
let library: URL;
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'sealroot-source-'));
  library = pathToFileURL(await compileFileReader(folder));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const NO_LIBRARY = pathToFileURL('/no/such/library.so');
const USUAL: ScanOptions = { xattrs: 'all', skipDevices: false, epoch: false, hardlinks: false };
const ACL = '0200000001000600ffffffff02000600e803000004000400ffffffff10000600ffffffff20000400ffffffff';

interface How {
  readonly options?: Partial<ScanOptions>;
  readonly slots?: number;
  readonly threads?: number;
  /** Without this, only the ring of files is used. */
  readonly lists?: boolean;
  readonly where?: URL;
  /** What happens between the scan and the reading of files. */
  readonly meanwhile?: () => void;
  readonly algorithm?: VerityAlgorithm;
}

interface Scanned {
  readonly root: TreeNode;
  /** Files that this thread had to read, and those whose xattrs it had to. */
  readonly read: number;
  readonly xattrs: number;
}

/** As mkcomposefs does it. */
function scan(tree: string, how: How = {}): Scanned {
  const { slots = 4, threads = 1, lists = true, where = library, algorithm = 'sha256', meanwhile } = how;
  const options = { ...USUAL, ...how.options };
  const reader = new SourceReader({ xattrs: options.xattrs, algorithm, threads, slots, library: where });
  const ringOnly: ScanHelp = { announce: (file) => reader.announce(file, NOT_LISTED) };
  try {
    const { root, files } = scanDirectory(pathBytes(tree), options, lists ? reader : ringOnly);
    meanwhile?.();
    const computer = new VerityComputer({ algorithm, blockSize: 4096 });
    const count = { read: 0, xattrs: 0 };
    for (const file of files) {
      reader.finish(file);
      if (!file.hasXattrs) {
        count.xattrs++;
        addXattrs(file, options.xattrs);
      }
      if (hasContent(file)) continue;
      count.read++;
      readContent(file, computer);
    }
    return { root, ...count };
  } finally {
    reader.close();
  }
}

const inJavaScript = (tree: string, options?: Partial<ScanOptions>) =>
  scan(tree, { where: NO_LIBRARY, ...(options && { options }) });

/** All of a tree, for comparing; links by the number of the node that they lead to. */
function plain(root: TreeNode): unknown[] {
  const numbers = new Map<TreeNode, number>();
  const out: unknown[] = [];
  const visit = (name: string, node: TreeNode) => {
    numbers.set(node, numbers.size);
    const { hardlink, children, xattrs, content, digest, index: _, ...rest } = node;
    if (hardlink !== undefined) {
      out.push([name, numbers.get(hardlink)]);
      return;
    }
    const text = (bytes: Uint8Array | undefined) => bytes && hex(bytes);
    const entries = [...xattrs].map(([key, value]) => [key, text(value)]);
    out.push([name, rest, text(content), digest && text(fromByteString(digest)), entries, children?.size]);
    for (const [below, child] of children ?? []) visit(`${name}/${below}`, child);
  };
  visit('', root);
  return out;
}

function tree(): string {
  return mkdtempSync(path.join(folder, 'tree-'));
}

const name = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'b', 'Z', '.', '-', '\n'), minLength: 1, maxLength: 3 }).map(ascii),
  fc.uint8Array({ min: 0x80, max: 0xff, minLength: 1, maxLength: 4 }).map((bytes) => toByteString(bytes)),
  fc.constantFrom(ascii('n'.repeat(255)), ascii('m'.repeat(200))),
);
/** As a Date: a number before 1970 means now. */
const time = fc
  .constantFrom(0, 1, -1500, 1_700_000_000_000, 2 ** 31 * 1000, 2 ** 32 * 1000 + 250)
  .map((milliseconds) => new Date(milliseconds));
const xattr = fc.record({
  name: fc.constantFrom('user.a', 'user.b', 'user.overlay.opaque', `user.${'x'.repeat(200)}`),
  bytes: fc.constantFrom(0, 1, 40, 300, 352, 700),
});
const entry = fc.record({
  name,
  kind: fc.constantFrom('file', 'file', 'file', 'directory', 'directory', 'link', 'name', 'fifo'),
  size: fc.constantFrom(0, 1, 63, 64, 65, 4096, 5000),
  target: fc.constantFrom('t', 'u'.repeat(300), 'v'.repeat(4095)),
  time,
  xattrs: fc.array(xattr, { maxLength: 3 }),
  acl: fc.boolean(),
  /** Which of the directories so far it is in, and which of the files another name of. */
  at: fc.nat(),
});

type Entry = typeof entry extends fc.Arbitrary<infer T> ? T : never;

interface Grown {
  readonly directories: Buffer[];
  readonly files: Buffer[];
}

/** A name that is taken is left out; so is what has no room in a path. */
function grow({ directories, files }: Grown, one: Entry): void {
  const parent = directories[one.at % directories.length] as Buffer;
  const target = Buffer.concat([parent, Buffer.from('/'), Buffer.from(one.name, 'latin1')]);
  if (one.name === '.' || one.name === '..' || target.length > 3000) return;
  if (lstatSync(target, { throwIfNoEntry: false }) !== undefined) return;
  const other = files[one.at % files.length];
  if (one.kind === 'directory') {
    mkdirSync(target);
    directories.push(target);
  } else if (one.kind === 'link') {
    symlinkSync(one.target, target);
    lutimesSync(target, one.time, one.time);
  } else if (one.kind === 'fifo') execFileSync('xargs', ['-0', 'mkfifo'], { input: target });
  else if (one.kind === 'name' && other !== undefined) linkSync(other, target);
  else {
    writeFileSync(target, Buffer.alloc(one.size, one.target));
    files.push(target);
  }
  if (one.kind !== 'file' && one.kind !== 'directory') return;
  const bytes = toByteString(target);
  for (const { name: key, bytes: size } of one.xattrs) setXattr(bytes, ascii(key), Buffer.alloc(size, key));
  if (one.acl) setXattr(bytes, ascii('system.posix_acl_access'), Buffer.from(ACL, 'hex'));
  utimesSync(target, one.time, one.time);
}

describe('a directory that C reads', () => {
  it('is the one that JavaScript reads, for random trees', () => {
    const options = fc.record({
      xattrs: fc.constantFrom('all', 'all', 'user', 'none'),
      skipDevices: fc.boolean(),
      epoch: fc.boolean(),
      hardlinks: fc.boolean(),
    });
    const how = fc.record({
      slots: fc.constantFrom(1, 4, 100),
      threads: fc.constantFrom(0, 1),
      lists: fc.constantFrom(true, true, false),
    });
    let listed = 0;
    const check = (entries: readonly Entry[], choice: ScanOptions, way: Omit<How, 'options'>) => {
      const root = tree();
      const grown = { directories: [Buffer.from(root)], files: [] };
      for (const one of entries) grow(grown, one);
      const found = scan(root, { ...way, options: choice });
      expect(plain(found.root)).toEqual(plain(inJavaScript(root, choice).root));
      listed += found.root.children?.size ?? 0;
      rmSync(root, { recursive: true });
    };
    fc.assert(fc.property(fc.array(entry, { maxLength: 25 }), options, how, check), { numRuns: 60 });
    expect(listed).toBeGreaterThan(60);
  });

  it.each<VerityAlgorithm>(['sha256', 'sha512'])('has files with the digest of %s, or small', (algorithm) => {
    const root = tree();
    const sizes = [1, 63, 64, 65, 4095];
    // Blocks are hashed sixteen at once; those of the tree, too, if there are enough.
    for (const blocks of [1, 2, 8, 9, 10, 15, 16, 17, 24, 25, 31, 32, 33, 41, 57, 129, 1153, 2049]) {
      sizes.push(blocks * 4096 - 1, blocks * 4096, blocks * 4096 + 1);
    }
    for (const size of sizes) writeFileSync(path.join(root, String(size)), Buffer.alloc(size, `${size} `));
    const found = scan(root, { algorithm });
    expect([found.read, found.xattrs]).toEqual([0, 0]);
    for (const size of sizes) {
      const bytes = Buffer.alloc(size, `${size} `);
      const { content, digest } = found.root.children?.get(ascii(String(size))) as TreeNode;
      if (size <= 64) expect(hex(content as Uint8Array)).toBe(hex(bytes));
      else
        expect(hex(fromByteString(digest as ByteString))).toBe(
          hex(verityDigest(bytes, nodeHasher, { algorithm, blockSize: 4096 })),
        );
    }
  });

  it('has one map for equal xattrs, and the one without any for none', () => {
    const root = tree();
    for (const [file, value] of Object.entries({ a: 'x', b: 'x', c: 'y', d: '' })) {
      const target = path.join(root, file);
      writeFileSync(target, file === 'b' ? '' : 'content');
      if (value !== '') setXattr(pathBytes(target), ascii('user.a'), Buffer.from(value));
    }
    const { children } = scan(root).root;
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((file) => children?.get(ascii(file))?.xattrs);
    expect([a === c, c?.get(ascii('user.a')), d]).toEqual([false, Uint8Array.of(0x79), NO_XATTRS]);
    expect([a, b].map((map) => map?.get(ascii('user.a')))).toEqual([
      Uint8Array.of(0x78),
      Uint8Array.of(0x78),
    ]);
    writeFileSync(path.join(root, 'e'), 'more');
    setXattr(pathBytes(path.join(root, 'e')), ascii('user.a'), Buffer.from('x'));
    const again = scan(root).root.children;
    expect(again?.get(ascii('e'))?.xattrs).toBe(again?.get(ascii('a'))?.xattrs);
    expect(d).toBe(NO_XATTRS);
  });

  it('has only the xattrs that are asked for', () => {
    const root = tree();
    for (const file of ['full', 'empty']) {
      const target = path.join(root, file);
      writeFileSync(target, file === 'full' ? 'content' : '');
      setXattr(pathBytes(target), ascii('user.a'), Buffer.from('x'));
      setXattr(pathBytes(target), ascii('system.posix_acl_access'), Buffer.from(ACL, 'hex'));
    }
    for (const file of ['full', 'empty']) {
      const names = (xattrs: ScanOptions['xattrs']) => [
        ...(scan(root, { options: { xattrs } }).root.children?.get(ascii(file))?.xattrs.keys() ?? []),
      ];
      expect(names('all').toSorted()).toEqual(['system.posix_acl_access', 'user.a']);
      expect(names('user')).toEqual(['user.a']);
      expect(names('none')).toEqual([]);
    }
    const target = path.join(root, 'other');
    writeFileSync(target, '');
    setXattr(pathBytes(target), ascii('system.posix_acl_access'), Buffer.from(ACL, 'hex'));
    const other = scan(root, { options: { xattrs: 'user' } }).root.children?.get(ascii('other'));
    expect(other?.xattrs).toBe(NO_XATTRS);
  });

  it('leaves xattrs that have no room in a slot to the caller, and no more than those', () => {
    // 376 bytes are there for content, then lengths and name of "user.a" and its value.
    for (const [content, value, xattrs, names] of [
      [5000, 366, 0, ['user.a']],
      [5000, 367, 1, ['user.a']],
      [64, 302, 0, ['user.a']],
      [64, 303, 1, ['user.a']],
      // After the first there is room for lengths and name of the second, and none for a value.
      [5000, 356, 1, ['user.a', 'user.b']],
    ] as const) {
      const root = tree();
      const target = path.join(root, 'file');
      writeFileSync(target, Buffer.alloc(content));
      for (const name of names) setXattr(pathBytes(target), ascii(name), Buffer.alloc(value, 'v'));
      const found = scan(root);
      expect([found.read, found.xattrs], `${content} ${value}`).toEqual([0, xattrs]);
      expect(plain(found.root)).toEqual(plain(inJavaScript(root).root));
    }
  });

  it('uses the memory of a list again when it has gone through it', () => {
    const root = tree();
    mkdirSync(path.join(root, 'a/b'), { recursive: true });
    const reader = new SourceReader({ xattrs: 'all', algorithm: 'sha256', threads: 0, library });
    const first = reader.lister?.list(pathBytes(root), NOT_LISTED) ?? NOT_LISTED;
    reader.lister?.drop(first);
    scanDirectory(pathBytes(root), USUAL, reader);
    expect([first > 0, reader.lister?.list(pathBytes(root), NOT_LISTED)]).toEqual([true, first]);
    reader.close();
  });

  it('leaves a path that has no room in a slot to the caller', () => {
    for (const [bytes, read] of [
      [491, 0],
      [492, 1],
    ] as const) {
      const root = tree();
      const below = path.join(root, 'd'.repeat(200));
      mkdirSync(below);
      const deepest = path.join(below, 'e'.repeat(bytes - 100 - below.length));
      mkdirSync(deepest);
      const target = path.join(deepest, 'f'.repeat(bytes - 1 - deepest.length));
      writeFileSync(target, 'content');
      setXattr(pathBytes(target), ascii('user.a'), Buffer.from('value'));
      for (const lists of [true, false]) {
        const found = scan(root, { lists });
        // Its xattrs are read at once.
        expect([found.read, found.xattrs], String(bytes)).toEqual([read, 0]);
        expect(plain(found.root)).toEqual(plain(inJavaScript(root).root));
      }
    }
  });

  it.each([
    ['its content', 5000, 0, (file: string) => appendFileSync(file, 'x')],
    ['its short content', 5, 0, (file: string) => appendFileSync(file, 'x')],
    ['its xattrs', 5000, 0, (file: string) => setXattr(pathBytes(file), ascii('user.a'), Buffer.from('new'))],
    ['its xattrs of many bytes', 5, 700, (file: string) => utimesSync(file, 1, 1)],
  ])('has no file that changes %s after it was seen', (_, size, bytes, change) => {
    for (const where of [library, NO_LIBRARY]) {
      const root = tree();
      const [file, first] = [path.join(root, 'z'), path.join(root, 'a')];
      for (const target of [first, file]) writeFileSync(target, Buffer.alloc(size));
      for (const target of [first, file])
        setXattr(pathBytes(target), ascii('user.a'), Buffer.alloc(bytes, 'v'));
      expect(() => scan(root, { where, threads: 0, meanwhile: () => change(file) })).toThrow(
        /^cannot use ".*\/z": it changes while it is read$/,
      );
    }
  });

  it('has no file whose xattrs are read after it has changed, its content being there', () => {
    const root = tree();
    const target = path.join(root, 'file');
    writeFileSync(target, 'content');
    setXattr(pathBytes(target), ascii('user.a'), Buffer.alloc(700));
    const reader = new SourceReader({ xattrs: 'all', algorithm: 'sha256', threads: 0, library });
    const { files } = scanDirectory(pathBytes(root), USUAL, reader);
    const [file] = files;
    if (file === undefined) throw new Error('no file');
    reader.finish(file);
    reader.close();
    expect([file.hasXattrs, file.node.content?.length]).toEqual([false, 7]);
    utimesSync(target, 1, 1);
    expect(() => addXattrs(file, 'all')).toThrow('it changes while it is read');
  });

  it('ends where a path is too long, as it does in JavaScript', () => {
    const root = tree();
    const step = 'd'.repeat(200);
    // Names below a folder that is entered, for no path leads there.
    const left = 4095 - root.length;
    const script = `cd "$1"; while [ "$2" -gt "$i" ]; do mkdir ${step}; cd ${step}; i=$((i + 201)); done; touch "$3"`;
    for (const [last, fits] of [
      [0, true],
      [1, false],
    ] as const) {
      const depth = Math.floor(left / 201);
      const file = 'f'.repeat(left - depth * 201 - 1 + last);
      execFileSync('sh', ['-ec', `i=0; ${script}`, 'sh', root, String(depth * 201), file]);
      for (const xattrs of ['all', 'none'] as const) {
        const both = [library, NO_LIBRARY].map((where) => {
          try {
            return plain(scan(root, { where, options: { xattrs } }).root);
          } catch (error) {
            return String(error);
          }
        });
        expect(both[0]).toEqual(both[1]);
        expect(typeof both[0] === 'string' && both[0].endsWith('ENAMETOOLONG')).toBe(!fits);
      }
      execFileSync('rm', ['-r', root]);
      mkdirSync(root);
    }
  });
});

describe('DirectoryLister', () => {
  function entries<T>(lister: DirectoryLister, list: number, what: (entry: number) => T): T[] {
    const found: T[] = [];
    let entry = lister.first(list);
    for (let left = lister.entries(list); left > 0; left--, entry = lister.next(entry))
      found.push(what(entry));
    return found;
  }

  const names = (lister: DirectoryLister, list: number) =>
    entries(lister, list, (entry) => lister.name(entry));
  const targets = (lister: DirectoryLister, list: number) =>
    entries(lister, list, (entry) => [lister.name(entry), lister.target(entry), lister.xattrs(entry)]);

  it('lists nothing for what is no directory', () => {
    const root = tree();
    writeFileSync(path.join(root, 'file'), '');
    symlinkSync('.', path.join(root, 'link'));
    const lister = DirectoryLister.open(true, library) as DirectoryLister;
    for (const below of ['file', 'link', 'missing', 'x'.repeat(5000)]) {
      expect(lister.list(pathBytes(path.join(root, below)), NOT_LISTED), below).toBe(NOT_LISTED);
    }
    expect(lister.list(pathBytes(root), NOT_LISTED)).toBeGreaterThan(0);
  });

  it('lists hundreds of names in the order of their bytes', () => {
    const root = tree();
    const expected: string[] = [];
    for (let i = 0; i < 900; i++) expected.push(`${i % 7}-${'n'.repeat(i % 240)}-${i}`);
    for (const file of expected) writeFileSync(path.join(root, file), '');
    const lister = DirectoryLister.open(true, library) as DirectoryLister;
    const list = lister.list(pathBytes(root), NOT_LISTED);
    expect(names(lister, list)).toEqual(expected.sort());
  });

  it('writes nothing behind its room, whatever ends there', () => {
    const root = tree();
    setXattr(pathBytes(root), ascii('user.a'), Buffer.from('of the directory'));
    for (const file of ['a', 'b']) {
      writeFileSync(path.join(root, file), '');
      setXattr(pathBytes(path.join(root, file)), ascii('user.b'), Buffer.from('of the file'));
    }
    for (const link of ['0', 'z']) symlinkSync(`target of ${link}`, path.join(root, link));
    const whole = DirectoryLister.open(true, library) as DirectoryLister;
    const expected = targets(whole, whole.list(pathBytes(root), NOT_LISTED));
    const bytes = whole.words.findLastIndex((word) => word !== 0) * 4 + 4;
    let listed = 0;
    for (let end = 4096; end <= bytes + 16; end += 4) {
      const lister = DirectoryLister.open(true, library, end) as DirectoryLister;
      const list = lister.list(pathBytes(root), NOT_LISTED);
      const behind = lister.words.subarray(end / 4, end / 4 + 4096);
      expect(
        behind.every((word) => word === 0),
        String(end),
      ).toBe(true);
      if (end < bytes) expect(list, String(end)).toBe(NOT_LISTED);
      if (list === NOT_LISTED) continue;
      listed++;
      expect(targets(lister, list)).toEqual(expected);
    }
    expect(listed).toBeGreaterThan(1);
  });

  it('keeps a list while those below it are read, and uses its memory again', () => {
    const root = tree();
    for (const below of ['a', 'b']) {
      mkdirSync(path.join(root, below));
      writeFileSync(path.join(root, below, `in-${below}`), '');
    }
    const lister = DirectoryLister.open(true, library) as DirectoryLister;
    const list = lister.list(pathBytes(root), NOT_LISTED);
    const first = lister.first(list);
    const below = lister.list('nothing' as ByteString, first);
    expect([names(lister, below), names(lister, list)]).toEqual([['in-a'], ['a', 'b']]);
    expect(lister.list('x'.repeat(6000) as ByteString, NOT_LISTED)).toBe(NOT_LISTED);
    expect([names(lister, below), names(lister, list)]).toEqual([['in-a'], ['a', 'b']]);
    lister.drop(below);
    expect(lister.list('nothing' as ByteString, lister.next(first))).toBe(below);
    expect(names(lister, below)).toEqual(['in-b']);
    expect(lister.status(first).mode).toBe(statSync(path.join(root, 'a')).mode);
  });
});
