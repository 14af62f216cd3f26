/** The threads of C beside the code that reads the same files in JavaScript. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { constants, deflateRawSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FileRing, type KnownObjects, NO_JOB } from '../../src/adapters/file-ring.ts';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { inodeStatus, STAMP_BYTES } from '../../src/adapters/inode-status.ts';
import { ObjectFileReader, type RepoMode, type StoredFile } from '../../src/adapters/object-file.ts';
import { ReadAhead, type ReadAheadOptions } from '../../src/adapters/read-ahead.ts';
import { pathBytes, setXattr } from '../../src/adapters/syscalls.ts';
import { concatBytes } from '../../src/formats/bytes.ts';
import { ascii, type ByteString, fromByteString, hex, utf8 } from '../../src/formats/encoding.ts';
import { SealrootError } from '../../src/formats/errors.ts';
import { buildVerityTree } from '../../src/formats/fsverity.ts';
import { encode } from '../../src/formats/gvariant.ts';
import { checksumsOf } from '../../src/formats/ostree-tree-objects.ts';
import { S_IFLNK, S_IFREG } from '../../src/formats/tree.ts';
import { compileFileReader } from '../../tools/bundle.ts';

/** Around the borders of one, two and three levels of a Merkle tree, and of what is read at once. */
const SIZES = [0, 1, 4095, 4096, 4097, 8192, 32 * 4096, 32 * 4096 + 1, 128 * 4096, 128 * 4096 + 1];
/** More than the slots that most tests have. */
const COUNT = 400;
const MODES: readonly RepoMode[] = ['bare', 'bare-user', 'bare-user-only', 'archive'];

let folder = '';
let library: URL;
const checksums: ByteString[] = [];
const unfit = new Map<RepoMode, ByteString[]>();
const MISSING = ascii('ff'.repeat(32));
const BROKEN = ascii('ee'.repeat(32));

function objectsOf(mode: RepoMode): string {
  return path.join(folder, mode);
}

function objectPath(mode: RepoMode, checksum: string): string {
  const extension = mode === 'archive' ? 'filez' : 'file';
  return path.join(objectsOf(mode), checksum.slice(0, 2), `${checksum.slice(2)}.${extension}`);
}

function content(size: number): Buffer {
  return Buffer.alloc(size, `${size} bytes `);
}

interface Sample {
  /** The modes in which its target or xattrs do not fit a slot. */
  readonly tooLong?: readonly RepoMode[];
  readonly content?: Buffer;
  readonly target?: string;
  readonly xattrs?: readonly (readonly [string, Buffer])[];
}

function swapped(value: number): number {
  return Buffer.from(Uint32Array.of(value).buffer).readUInt32BE(0);
}

function archived(bytes: Buffer, target: string | undefined, xattrs: Sample['xattrs']): Buffer {
  const type = target === undefined ? S_IFREG | 0o4711 : S_IFLNK | 0o777;
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(bytes.length));
  const owner = [size.readBigUInt64BE(), swapped(7), swapped(8), swapped(type), 0] as const;
  const header = encode('(tuuuusa(ayay))', [...owner, ascii(target ?? ''), listOf(xattrs)]);
  const head = Buffer.alloc(8);
  head.writeUInt32BE(header.length);
  return Buffer.concat([head, header, target === undefined ? deflateRawSync(bytes) : Buffer.alloc(0)]);
}

function listOf(xattrs: Sample['xattrs'] = []): (readonly [Uint8Array, Uint8Array])[] {
  return xattrs.map(([name, value]) => [utf8(`${name}\0`), value]);
}

/** The same file in repositories of all modes, under a made-up checksum that nothing here looks at. */
function add({ content: bytes = Buffer.alloc(0), target, xattrs = [], tooLong = [] }: Sample): void {
  const checksum = ascii(hex(nodeHasher.sha256(Buffer.from(String(checksums.length)))));
  for (const mode of MODES) {
    const file = objectPath(mode, checksum);
    mkdirSync(path.dirname(file), { recursive: true });
    if (mode === 'archive') {
      writeFileSync(file, archived(bytes, target, xattrs));
      continue;
    }
    const linked = target !== undefined && mode !== 'bare-user';
    if (linked) symlinkSync(target, file);
    else writeFileSync(file, target === undefined ? bytes : `${target}\0`);
    if (mode === 'bare' && !linked) {
      chmodSync(file, 0o640);
      for (const [name, value] of xattrs) setXattr(pathBytes(file), ascii(name), value);
    }
    if (mode !== 'bare-user') continue;
    const type = target === undefined ? S_IFREG | 0o4711 : S_IFLNK | 0o777;
    const meta = encode('(uuua(ayay))', [swapped(7), swapped(8), swapped(type), listOf(xattrs)]);
    setXattr(pathBytes(file), ascii('user.ostreemeta'), meta);
  }
  checksums.push(checksum);
  for (const mode of tooLong) unfit.set(mode, [...(unfit.get(mode) ?? []), checksum]);
}

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'sealroot-ahead-'));
  library = pathToFileURL(await compileFileReader(folder));
  for (const size of SIZES) add({ content: content(size) });
  add({ target: 'a/target' });
  add({ target: 't'.repeat(300) });
  add({ target: 't'.repeat(500), tooLong: MODES });
  add({ target: 't'.repeat(3000), tooLong: MODES });
  const value = (name: string, bytes: number) => [name, Buffer.alloc(bytes, 7)] as const;
  const [one, two] = ['user.one', 'user.two'];
  add({ content: content(3), xattrs: [value(one, 100), [two, Buffer.from([0, 255])]] });
  add({ content: content(3), xattrs: [value(one, 0)] });
  // 376 bytes are there for xattrs: the value that fills them, and the one that does not fit.
  add({ content: content(3), xattrs: [value(one, 364)], tooLong: ['bare-user', 'archive'] });
  for (const size of [365, 3000]) {
    add({ content: content(3), xattrs: [value(one, size)], tooLong: ['bare', 'bare-user', 'archive'] });
  }
  const longName = value(`user.${'n'.repeat(240)}`, 1);
  const inOneXattr: readonly RepoMode[] = ['bare-user', 'archive'];
  add({ content: content(3), xattrs: [value(one, 200), longName], tooLong: ['bare', ...inOneXattr] });
  // After the first there is room for lengths and name of the second, and none for a value.
  add({ content: content(3), xattrs: [value(one, 352), value(two, 352)], tooLong: ['bare', ...inOneXattr] });
  while (checksums.length < COUNT) add({ content: content(checksums.length) });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** For comparing: a Buffer is not equal to the Uint8Array of the same bytes. */
function plain(file: StoredFile): unknown {
  const text = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString('hex');
  const { mode, uid, gid, size, target, digest, tree, xattrs } = file;
  const entries = [...xattrs].map(([name, value]) => [name, text(value)]);
  return {
    ...{ mode, uid, gid, size, target, entries },
    digest: digest && text(fromByteString(digest)),
    root: text(tree?.rootHash),
    blocks: text(tree?.blocks),
  };
}

function headOf(file: Buffer): Buffer {
  return file.subarray(0, 8 + file.readUInt32BE(0));
}

/** All of the content is in it, but not that this was all. */
function unended(bytes: Buffer): Buffer {
  return deflateRawSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH });
}

/** An archived object that claims another size. */
function withSize(file: Buffer, size: number): Buffer {
  const changed = Buffer.from(file);
  changed.writeBigUInt64BE(BigInt(size), 8);
  return changed;
}

interface Rig {
  readonly ahead: ReadAhead<StoredFile>;
  /** What the calling thread had to read in JavaScript, in that order. */
  readonly reads: string[];
  direct(checksum: string): StoredFile;
}

interface RigOptions extends Partial<ReadAheadOptions<StoredFile>> {
  readonly mode?: RepoMode;
  readonly threads?: number;
  readonly withXattrs?: boolean;
  /** A file in the place of the library. */
  readonly instead?: string;
}

const ALL_TREES = 2 * COUNT * FileRing.treeBytes(1) + 8 * FileRing.treeBytes(129 * 4096);

function rig({ mode = 'bare', threads = 1, withXattrs = true, instead, ...options }: RigOptions = {}): Rig {
  const { digests = 'compute', algorithm = 'sha256', treeBytes = 0 } = options;
  const { keepTrees = treeBytes > 0 } = options;
  const reader = new ObjectFileReader({ mode, digests, withXattrs, keepTrees, algorithm });
  const direct = (checksum: string) => {
    const file = reader.read(objectPath(mode, checksum));
    if (file === undefined) throw new Error(`${checksum} is missing`);
    return file;
  };
  const reads: string[] = [];
  const ahead = new ReadAhead<StoredFile>({
    source: reader.ringSource,
    folder: pathBytes(objectsOf(mode)),
    digests,
    algorithm,
    slots: 64,
    keepTrees,
    treeBytes,
    threads,
    finished: (checksum, file) => reader.fromRing(file, checksum),
    read: (checksum) => {
      reads.push(checksum);
      return direct(checksum);
    },
    library: instead === undefined ? library : pathToFileURL(path.join(folder, instead)),
    ...options,
  });
  return { ahead, reads, direct };
}

/** Announces all, asks for all, and compares; returns what the ring did not read. */
function compareAll({ ahead, reads, direct }: Rig): string[] {
  // As directories name them: few or many at once, some again.
  for (const [from, to] of [
    [0, 1],
    [1, 8],
    [4, COUNT],
    [0, COUNT],
  ] as const) {
    const jobs = ahead.announce(checksumsOf(checksums.slice(from, to)));
    const isRead = jobs[0] !== NO_JOB;
    expect(jobs).toEqual(checksums.slice(from, to).map((_, i) => (isRead ? from + i : NO_JOB)));
    expect(ahead.announced).toBe(to);
  }
  for (const checksum of checksums)
    expect(plain(ahead.file(checksum)), checksum).toEqual(plain(direct(checksum)));
  ahead.close();
  return reads;
}

describe('ReadAhead', () => {
  it.each([
    2 ** 31,
    2 ** 32 - 1,
    2 ** 32,
    5 * 2 ** 32 + 7,
  ])('tells the size of a file of %d bytes', (size) => {
    const { ahead, reads } = rig({ mode: 'bare-user-only', digests: 'none' });
    const checksum = ascii(size.toString(16).padStart(64, '0'));
    const file = objectPath('bare-user-only', checksum);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, '');
    truncateSync(file, size);
    ahead.announce(checksumsOf([checksum]));
    expect(ahead.file(checksum).size).toBe(size);
    expect(reads).toEqual([]);
    expect(inodeStatus(pathBytes(file), file).size).toBe(size);
    rmSync(file);
    ahead.close();
  });

  it.each(MODES)('reads objects of mode %s as the store itself does, threads or none', (mode) => {
    for (const threads of [0, 1, 3]) {
      expect(compareAll(rig({ mode, threads })), String(threads)).toEqual(unfit.get(mode));
    }
  });

  it.each([
    ['that ends early', (file: Buffer) => file.subarray(0, -2)],
    ['whose stream has no end', (file: Buffer) => Buffer.concat([headOf(file), unended(content(8192))])],
    ['with more content than its header says', (file: Buffer) => withSize(file, 4096)],
    ['with less content than its header says', (file: Buffer) => withSize(file, 8193)],
    ['with a damaged stream', (file: Buffer) => file.fill(0xff, file.length - 6)],
    ['without a header', () => Buffer.alloc(8)],
    ['with a header that is longer than the file', (file: Buffer) => file.subarray(0, 20)],
  ])('leaves an archived object %s to the caller', (_, change) => {
    const { ahead, reads } = rig({ mode: 'archive' });
    const file = objectPath('archive', BROKEN);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, change(archived(content(8192), undefined, [])));
    ahead.announce(checksumsOf([BROKEN]));
    expect(() => ahead.file(BROKEN)).toThrow(SealrootError);
    expect(reads).toEqual([BROKEN]);
    ahead.close();
  });

  it.each<RigOptions>([
    { algorithm: 'sha512' },
    { digests: 'none' },
    { digests: 'measure-first' },
    { withXattrs: false },
    { treeBytes: ALL_TREES },
    { slots: 1 },
    { slots: 4096 },
  ])('does so with %j', (options) => {
    const links = unfit.get('bare-user-only');
    expect(compareAll(rig(options))).toEqual(options.withXattrs === false ? links : unfit.get('bare'));
  });

  it('lets the caller read a file whose tree has no room', () => {
    const reads = compareAll(rig({ treeBytes: FileRing.treeBytes(1) * 3 }));
    expect(reads.length).toBeGreaterThan(COUNT - 10);
  });

  it('keeps trees when it is asked to, even without room for any', () => {
    expect(compareAll(rig({ keepTrees: true })).length).toBeGreaterThan(COUNT - 10);
  });

  it('lets the caller read everything where there is no library, or none for this machine', () => {
    writeFileSync(path.join(folder, 'other.so'), 'not a library');
    for (const instead of ['nothing.so', 'other.so'])
      expect(compareAll(rig({ instead }))).toHaveLength(COUNT);
  });

  it('answers in any order, for files that were not announced, and after it was closed', () => {
    const { ahead, reads, direct } = rig({ slots: 16 });
    const [first = MISSING, second = MISSING, third = MISSING, fourth = MISSING] = checksums.slice(3);
    ahead.announce(checksumsOf([first, second, fourth]));
    for (const checksum of [third, second, first])
      expect(plain(ahead.file(checksum))).toEqual(plain(direct(checksum)));
    ahead.close();
    ahead.announce(checksumsOf([third]));
    expect(plain(ahead.file(fourth))).toEqual(plain(direct(fourth)));
    expect(reads).toEqual([third, fourth]);
  });

  it('throws what the caller throws, when the file is asked for and not before', () => {
    const { ahead, reads } = rig({ slots: 2 });
    ahead.announce(checksumsOf([MISSING, ...checksums.slice(0, 8)]));
    expect(ahead.file(checksums[7] as ByteString).size).toBe(32 * 4096 + 1);
    expect(() => ahead.file(MISSING)).toThrow(`${MISSING} is missing`);
    expect(reads).toEqual([MISSING]);
    ahead.close();
  });

  it.each<[string, RepoMode, (file: string) => void]>([
    ['a directory', 'bare', mkdirSync],
    ['a link in a mode that has none', 'bare-user', (file) => symlinkSync('target', file)],
    ['a link in another mode that has none', 'archive', (file) => symlinkSync('target', file)],
  ])('leaves %s to the caller', (_, mode, make) => {
    const { ahead, reads } = rig({ mode, digests: 'none' });
    const file = objectPath(mode, BROKEN);
    mkdirSync(path.dirname(file), { recursive: true });
    rmSync(file, { force: true });
    make(file);
    ahead.announce(checksumsOf([BROKEN]));
    expect(() => ahead.file(BROKEN)).toThrow(SealrootError);
    expect(reads).toEqual([BROKEN]);
    ahead.close();
    rmSync(file, { recursive: true });
  });

  it('looks at no byte behind those that it is given', () => {
    const { ahead } = rig();
    const bytes = Uint8Array.from({ length: 40 }, (_, i) => i);
    expect(ahead.announce({ bytes, places: [8, 0] })).toEqual([0, 1]);
    expect(() => ahead.announce({ bytes, places: [9] })).toThrow('a checksum ends behind 40');
    ahead.close();
  });

  it('opens nothing for a name that is no checksum, and leaves one that fits no slot to the caller', () => {
    const { ahead, reads } = rig();
    const names = ['zz'.repeat(32), `${checksums[0]}z`, 'x'.repeat(492)].map(ascii);
    for (const name of names) {
      mkdirSync(path.dirname(objectPath('bare', name)), { recursive: true });
      writeFileSync(objectPath('bare', name).slice(0, 250), 'x');
      expect(() => checksumsOf([name])).toThrow('not a checksum');
      try {
        ahead.file(name);
      } catch {
        // Whoever reads it says what is wrong with it.
      }
    }
    expect(reads).toEqual(names);
    ahead.close();
  });
});

describe('the stamp of an object', () => {
  /** Asks for one object of that mode with that stamp; what was said of it, and whether it was read. */
  function ask(mode: RepoMode, checksum: ByteString, stamp: Buffer | undefined, meanwhile = () => {}) {
    let said: Uint8Array | 'unchanged' | undefined;
    const { ahead, reads } = rig({
      mode,
      known: [known(stamp === undefined ? [] : [[checksum, stamp]])],
      finished: (_, { stamp: found }) => {
        said = found;
        return EMPTY;
      },
      unchanged: () => {
        said = 'unchanged';
        return EMPTY;
      },
    });
    ahead.announce(checksumsOf([checksum]));
    meanwhile();
    ahead.file(checksum);
    ahead.close();
    expect(reads).toEqual([]);
    return said;
  }

  function known(stamps: readonly (readonly [ByteString, Buffer])[]): KnownObjects {
    const entries = stamps.map(([checksum, stamp]) => Buffer.concat([Buffer.from(checksum, 'hex'), stamp]));
    return { stamps: Buffer.concat(entries), count: stamps.length, metadata: new Uint8Array(0) };
  }

  function stampOf(file: string): Buffer {
    return Buffer.from(inodeStatus(pathBytes(file), file).stamp, 'latin1');
  }

  const EMPTY: StoredFile = { mode: S_IFREG, uid: 0, gid: 0, size: 0, xattrs: new Map() };

  it.each(MODES)('comes with it, and is enough for one that still has it, in mode %s', (mode) => {
    // Files, and links.
    for (const checksum of checksums.slice(0, SIZES.length + 2)) {
      const stamp = stampOf(objectPath(mode, checksum));
      expect(stamp.equals(ask(mode, checksum, undefined) as Uint8Array)).toBe(true);
      expect(ask(mode, checksum, stamp)).toBe('unchanged');
      for (let at = 0; at < stamp.length; at++) {
        const other = Buffer.from(stamp);
        other[at] = (other[at] ?? 0) ^ 1;
        expect(stamp.equals(ask(mode, checksum, other) as Uint8Array), String(at)).toBe(true);
      }
    }
  });

  it.each([1, 2, 7, 300])('is found among those of %i others, by all digits of the checksum', (others) => {
    const [object = MISSING] = checksums;
    const stamp = stampOf(objectPath('bare', object));
    const other = Buffer.alloc(stamp.length);
    // As near to it as there are: with each of its digits changed, and then any.
    const near = Array.from({ length: 64 }, (_, at) => {
      const digit = object[at] === 'f' ? '0' : 'f';
      return ascii(object.slice(0, at) + digit + object.slice(at + 1));
    });
    const all = [...near, ...checksums.slice(1)].slice(0, others);
    const unchanged: number[] = [];
    const note = (entry: number) => {
      unchanged.push(entry);
      return EMPTY;
    };
    const stamps = [...all.map((checksum) => [checksum, other] as const), [object, stamp] as const];
    stamps.sort(([a], [b]) => (a < b ? -1 : 1));
    const { ahead } = rig({ known: [known(stamps)], unchanged: note, finished: () => EMPTY });
    ahead.announce(checksumsOf([object]));
    ahead.file(object);
    ahead.close();
    expect(unchanged).toEqual([stamps.findIndex(([checksum]) => checksum === object)]);
    const without = rig({
      known: [
        known(stamps.filter(([checksum]) => checksum !== object).map(([checksum]) => [checksum, stamp])),
      ],
      unchanged: note,
      finished: () => EMPTY,
    });
    without.ahead.announce(checksumsOf([object]));
    without.ahead.file(object);
    without.ahead.close();
    expect(unchanged).toHaveLength(1);
  });

  it('is compared once for each object, be it known or not, and by its job or its name', () => {
    const some = checksums.slice(0, 8);
    const stamps = some
      .filter((_, i) => i % 2 === 0)
      .map((object) => [object, stampOf(objectPath('bare', object))] as const);
    stamps.sort(([a], [b]) => (a < b ? -1 : 1));
    const said: string[] = [];
    const say = (what: string) => {
      said.push(what);
      return EMPTY;
    };
    const { ahead } = rig({
      known: [known(stamps)],
      unchanged: (entry) => say(stamps[entry]?.[0] ?? ''),
      finished: (checksum) => say(checksum),
    });
    const [a, b, c, d] = some as [ByteString, ByteString, ByteString, ByteString];
    expect(ahead.announce(checksumsOf([a, b, b, a]))).toEqual([0, 1, 1, 0]);
    expect(ahead.announce(checksumsOf([c, a, d, b]))).toEqual([2, 0, 3, 1]);
    expect(ahead.announced).toBe(4);
    ahead.file(d);
    ahead.file(c, 2);
    ahead.close();
    expect(said).toEqual([a, b, c, d]);
  });

  it('counts that was added last, of two of an object, and entries are numbered through', () => {
    const [a, b, c] = checksums.slice(0, 3).toSorted() as [ByteString, ByteString, ByteString];
    const [stampA, stampB, stampC] = [a, b, c].map((object) => stampOf(objectPath('bare', object))) as [
      Buffer,
      Buffer,
      Buffer,
    ];
    const other = Buffer.alloc(STAMP_BYTES);
    const said: (number | string)[] = [];
    const say = (what: number | string) => {
      said.push(what);
      return EMPTY;
    };
    const first: [ByteString, Buffer][] = [
      [a, stampA],
      [b, other],
      [c, stampC],
    ];
    const later: [ByteString, Buffer][] = [
      [b, stampB],
      [c, other],
    ];
    const { ahead } = rig({ known: [known(first), known(later)], unchanged: say, finished: say });
    expect(ahead.announce(checksumsOf([c, b, a, b, c]))).toEqual([0, 1, 2, 1, 0]);
    expect([b, c].map((object) => ahead.file(object))).toEqual([EMPTY, EMPTY]);
    ahead.close();
    expect(said).toEqual([c, 3]);
  });

  it('cannot be taken from more than two', () => {
    const [object = MISSING] = checksums;
    const one = known([[object, stampOf(objectPath('bare', object))]]);
    const { ahead, reads } = rig({ known: [one, one, one] });
    expect(ahead.announce(checksumsOf([object]))).toEqual([NO_JOB]);
    ahead.file(object);
    expect(reads).toEqual([object]);
  });

  it('is not compared where none is known', () => {
    const [first, second] = [checksums[1] as ByteString, ascii('cc'.repeat(32))];
    const file = objectPath('bare', second);
    mkdirSync(path.dirname(file), { recursive: true });
    // Another name of one inode has one stamp, and one slot has both jobs.
    linkSync(objectPath('bare', first), file);
    const unchanged: number[] = [];
    const note = (entry: number) => {
      unchanged.push(entry);
      return EMPTY;
    };
    const { ahead } = rig({ slots: 1, known: [known([[first, stampOf(file)]])], unchanged: note });
    ahead.announce(checksumsOf([first]));
    ahead.announce(checksumsOf([second]));
    ahead.file(second);
    ahead.close();
    rmSync(file);
    expect(unchanged).toEqual([0]);
  });

  it('is none for an object that changes while it is read', () => {
    const checksum = ascii('dd'.repeat(32));
    const file = objectPath('bare', checksum);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, '');
    // Nothing is stored of it, and it is read for long enough.
    truncateSync(file, 512 * 1024 * 1024);
    const isOpen = () =>
      readdirSync('/proc/self/fd').some((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`) === file;
        } catch {
          return false; // the one of the folder itself
        }
      });
    const said = ask('bare', checksum, undefined, () => {
      while (!isOpen());
      utimesSync(file, 1, 1);
    });
    expect(said).toBeUndefined();
    rmSync(file);
  });
});

describe('a metadata object', () => {
  /** That knows what stands in these files; undefined: and notes nothing for the next. */
  function ring(files?: readonly Uint8Array[]): FileRing {
    const options = { source: 'bare', folder: pathBytes(objectsOf('bare')), digests: 'none' } as const;
    const rest = { algorithm: 'sha512', slots: 1, keepTrees: false, treeBytes: 0 } as const;
    const known = files?.map((metadata) => ({ stamps: new Uint8Array(0), count: 0, metadata }));
    return FileRing.open({ ...options, ...rest, known }, library) as FileRing;
  }

  function placeOf(checksum: string, type: string): string {
    return path.join(objectsOf('bare'), checksum.slice(0, 2), `${checksum.slice(2)}.${type}`);
  }

  function place(checksum: string, type: string): string {
    const file = placeOf(checksum, type);
    mkdirSync(path.dirname(file), { recursive: true });
    rmSync(file, { force: true });
    return file;
  }

  function put(bytes: Uint8Array, checksum = hex(nodeHasher.sha256(bytes)), type = 'dirtree'): string {
    writeFileSync(place(checksum, type), bytes);
    return checksum;
  }

  it.each([0, 1, 500, 65536])('of %i bytes is read', (size) => {
    const reader = ring();
    const checksum = put(content(size));
    const first = reader.metadata(checksum, 'dirtree');
    expect(first && Buffer.compare(first, content(size))).toBe(0);
    // A copy: the next one leaves it as it is.
    reader.metadata(put(Buffer.from('another')), 'dirtree');
    expect(first && Buffer.compare(first, content(size))).toBe(0);
    reader.close();
  });

  it('that is large, missing, damaged or none is left to the caller', () => {
    const reader = ring();
    expect(reader.metadata(put(content(65537)), 'dirtree')).toBeUndefined();
    expect(reader.metadata(put(content(9)), 'dirmeta')).toBeUndefined();
    for (const at of [0, 1, 62, 63]) {
      const checksum = hex(nodeHasher.sha256(content(10)));
      const other = checksum.slice(0, at) + (checksum[at] === '0' ? '1' : '0') + checksum.slice(at + 1);
      expect(reader.metadata(put(content(10), other), 'dirtree'), String(at)).toBeUndefined();
    }
    const nothing = hex(nodeHasher.sha256(new Uint8Array()));
    execFileSync('mkfifo', [place(nothing, 'dirtree')]);
    const folderName = 'aa'.repeat(32);
    mkdirSync(place(folderName, 'dirtree'));
    const names = [nothing, folderName, 'zz'.repeat(32), '', `${MISSING}0`, MISSING.slice(1)];
    for (const name of names) expect(reader.metadata(name, 'dirtree'), name).toBeUndefined();
    // As much of a type as there is room for.
    expect(reader.metadata(put(content(11), undefined, 'x'.repeat(13)), 'x'.repeat(14))).toBeUndefined();
    reader.close();
  });

  const NONE = new Uint8Array(4);

  /** What a run leaves behind that asks for those: all of them that are not in one of the first so many files. */
  function usedBy(checksums: readonly string[], files: readonly Uint8Array[] = [], first = 0): Uint8Array {
    const reader = ring(files.length === 0 ? [NONE] : files);
    expect(checksums.filter((checksum) => reader.metadata(checksum, 'dirtree') === undefined)).toEqual([]);
    const used = reader.usedMetadata(first);
    reader.close();
    return used;
  }

  /** Enough of them for every table to grow. */
  function many(): string[] {
    return Array.from({ length: 5000 }, (_, i) => put(Buffer.from(`object ${i} ${'x'.repeat(i % 500)}`)));
  }

  it('that an earlier run has read is known without its file, and so it is to the next run', () => {
    const checksums = many();
    const used = usedBy(checksums);
    const bytes = [0, 1, 4999].map((i) => readFileSync(placeOf(checksums[i] as string, 'dirtree')));
    for (const checksum of checksums) place(checksum, 'dirtree');
    const again = usedBy(checksums.toReversed(), [used]);
    expect(again.length).toBe(used.length);
    const reader = ring([again]);
    for (const [i, at] of [0, 1, 4999].entries()) {
      const found = reader.metadata(checksums[at] as string, 'dirmeta');
      expect(found && Buffer.compare(found, bytes[i] as Buffer)).toBe(0);
    }
    reader.close();
    // Those of one run only.
    expect(usedBy(checksums.slice(0, 1), [again]).length).toBe(4 + 40 + (bytes[0] as Buffer).length);
  });

  it('that was not in what was left first is added to it', () => {
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((text) => put(Buffer.from(text))) as [
      string,
      string,
      string,
      string,
    ];
    const first = usedBy([b, a]);
    const later = usedBy([c, a], [first], 1);
    expect(later).toEqual(usedBy([c]));
    expect(usedBy([a, b, c], [first, later], 1)).toEqual(later);
    expect(usedBy([a, b, c], [first, later], 2)).toEqual(NONE);
    expect(usedBy([a, d, c], [first, later], 1)).toEqual(usedBy([c, d]));
    expect(usedBy([a, d, c], [first, later], 2)).toEqual(usedBy([d]));
    expect(usedBy([a, d, c], [first, later])).toEqual(usedBy([a, c, d]));
    for (const checksum of [a, b, c]) place(checksum, 'dirtree');
    expect(usedBy([c, b, a], [first, later])).toHaveLength(4 + 3 * 41);
    // A third one is none.
    const reader = ring([NONE, first, later]);
    expect([a, c].map((checksum) => reader.metadata(checksum, 'dirtree'))).toEqual([
      Uint8Array.of(97),
      undefined,
    ]);
    reader.close();
  });

  it('that was damaged where it was left first is known where it was added', () => {
    const checksum = put(Buffer.from('the object'));
    const damaged = Buffer.from(usedBy([checksum])).fill(0, 44, 45);
    const later = usedBy([checksum], [damaged], 1);
    place(checksum, 'dirtree');
    expect(usedBy([checksum], [damaged, later], 2)).toEqual(NONE);
  });

  it('is looked for in the repository where what is known is something else', () => {
    const bytes = Buffer.from('the object');
    const checksum = put(bytes);
    const used = Buffer.from(usedBy([checksum]));
    const altered = (at: number, value: number) => {
      const copy = Buffer.from(used);
      copy.writeUInt32LE(value, at);
      return copy;
    };
    const files = {
      'the whole': [used, true],
      'a byte is another': [altered(44, 0), false],
      'the checksum is another': [altered(4, 0), false],
      'it begins behind the end': [altered(36, 11), false],
      'it begins far behind the end': [altered(36, 0xffffffff), false],
      'it ends behind the end': [altered(40, 11), false],
      'it is longer than all memory': [altered(40, 0xffffffff), false],
      'there are none': [altered(0, 0), false],
      'there are more than it has room for': [altered(0, 2), false],
      'there are as many as a word can say': [altered(0, 0xffffffff), false],
      'it ends in the number': [used.subarray(0, 3), false],
      'it ends in the entry': [used.subarray(0, 43), false],
      'it ends in the bytes': [used.subarray(0, 53), false],
    } as const;
    for (const [what, [file, isKnown]] of Object.entries(files)) {
      put(bytes, checksum);
      expect(usedBy([checksum], [file]), what).toEqual(new Uint8Array(used));
      place(checksum, 'dirtree');
      const reader = ring([file]);
      expect(reader.metadata(checksum, 'dirtree') !== undefined, what).toBe(isKnown);
      for (const name of ['', checksum.slice(1), `${checksum}0`, 'zz'.repeat(32)])
        expect(reader.metadata(name, 'dirtree')).toBeUndefined();
      reader.close();
    }
  });

  it('that is large is not taken from what is known', () => {
    for (const [size, isKnown] of [
      [65536, true],
      [65537, false],
    ] as const) {
      const bytes = content(size);
      const head = Uint32Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, size);
      const file = Buffer.concat([new Uint8Array(head.buffer), bytes]);
      file.set(nodeHasher.sha256(bytes), 4);
      const checksum = hex(nodeHasher.sha256(bytes));
      place(checksum, 'dirtree');
      const reader = ring([file]);
      expect(reader.metadata(checksum, 'dirtree') !== undefined, String(size)).toBe(isKnown);
      reader.close();
    }
  });

  it('that is a commit is read, and not kept', () => {
    const bytes = Buffer.from('a commit');
    const checksum = put(bytes, undefined, 'commit');
    const reader = ring([NONE]);
    expect(reader.metadata(checksum, 'commit')).toBeDefined();
    expect(reader.usedMetadata(0)).toEqual(NONE);
    reader.close();
    put(bytes);
    const other = ring([usedBy([checksum])]);
    place(checksum, 'commit');
    expect(other.metadata(checksum, 'commit')).toBeUndefined();
    other.close();
  });

  it('is not kept where nobody asks for it', () => {
    const reader = ring();
    expect(reader.metadata(put(content(5)), 'dirtree')).toBeDefined();
    expect(reader.usedMetadata(0)).toEqual(NONE);
    reader.close();
  });
});

describe('the library', () => {
  it('stays loaded while node exits: threads that nobody ended still run in it', () => {
    const dynamic = execFileSync('readelf', ['--dynamic', fileURLToPath(library)], { encoding: 'utf8' });
    expect(dynamic).toContain('NODELETE');
  });
});

describe('the trees that a ring keeps', () => {
  it.each(SIZES.slice(1).map((size, i) => [size, i + 1] as const))('of %i bytes', (size, i) => {
    const { rootHash, levels } = buildVerityTree(content(size), nodeHasher);
    const { ahead } = rig({ treeBytes: ALL_TREES });
    const checksum = checksums[i] as ByteString;
    ahead.announce(checksumsOf([checksum]));
    const { tree } = ahead.file(checksum);
    ahead.close();
    expect(Buffer.compare(tree?.rootHash ?? Buffer.of(), rootHash)).toBe(0);
    expect(Buffer.compare(tree?.blocks ?? Buffer.of(), concatBytes(levels.toReversed()))).toBe(0);
    expect(FileRing.treeBytes(size)).toBe(64 + levels.reduce((sum, level) => sum + level.length, 0));
  });
});
