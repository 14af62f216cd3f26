import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DigestCache, type DigestCacheOptions, digestCachePath } from '../../src/adapters/digest-cache.ts';
import { NO_METADATA } from '../../src/adapters/file-ring.ts';
import { inodeStatus, STAMP_BYTES } from '../../src/adapters/inode-status.ts';
import type { StoredFile } from '../../src/adapters/object-file.ts';
import { pathBytes } from '../../src/adapters/syscalls.ts';
import { ascii, hex, toByteString } from '../../src/formats/encoding.ts';
import { S_IFLNK, S_IFREG } from '../../src/formats/tree.ts';

let folder = '';
let file = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'sealroot-cache-'));
  mkdirSync(path.join(folder, 'objects'));
  file = path.join(folder, 'cache/digests');
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

/** By then what the tests write has settled. */
const LATER: DigestCacheOptions = { now: () => Date.now() + 3000 };

function open(options: DigestCacheOptions = {}): DigestCache {
  return new DigestCache(file, { ...LATER, ...options });
}

function checksum(number: number): string {
  return number.toString(16).padStart(8, '0').repeat(8);
}

function object(number: number): string {
  return path.join(folder, 'objects', String(number));
}

function regular(number: number): StoredFile {
  return {
    mode: S_IFREG | 0o644,
    uid: 4_000_000_000 + (number % 1000),
    gid: 4_294_967_295,
    size: 2 ** 40 + 2 ** 31 + number,
    xattrs: new Map([
      [ascii('user.a'), Uint8Array.of(0, 255)],
      [ascii('user.b'), new Uint8Array(0)],
    ]),
    digest: toByteString(new Uint8Array(32).fill(number)),
  };
}

const LINK: StoredFile = {
  mode: S_IFLNK | 0o777,
  uid: 1,
  gid: 2,
  size: 0,
  xattrs: new Map(),
  target: ascii('a/b'),
};

function stampOf(file: string): Buffer {
  return Buffer.from(inodeStatus(pathBytes(file), file).stamp, 'latin1');
}

/** Adds an object that is there, as who reads it would. */
function add(cache: DigestCache, number: number, file = regular(number)): void {
  cache.add(checksum(number), stampOf(object(number)), file);
}

/** Checksum and stamp. */
const ENTRY_BYTES = 32 + STAMP_BYTES;

/** The number of its entry, as the threads' library finds it, and the stamp. */
function entryOf({ known }: DigestCache, wanted: string): [entry: number, stamp: Uint8Array] | undefined {
  let found: [number, Uint8Array] | undefined;
  let first = 0;
  for (const { stamps, count } of known) {
    const all = Array.from({ length: count }, (_, i) => hex(stamps, i * ENTRY_BYTES, i * ENTRY_BYTES + 32));
    expect(all).toEqual(all.toSorted());
    const at = all.indexOf(wanted);
    if (at >= 0) found = [first + at, stamps.subarray(at * ENTRY_BYTES + 32, (at + 1) * ENTRY_BYTES)];
    first += count;
  }
  return found;
}

/** The form of one metadata object, of which nothing but the length is looked at here. */
function metadata(text: string): Uint8Array {
  return Buffer.from(`meta${text}`);
}

/**
 * Writes the cache at the end of a run that has asked for these metadata objects: `all`, of which those `beyond` are not
 * in the first file, and those that were `read` in neither.
 */
function save(cache: DigestCache, all = NO_METADATA, beyond = all, read = beyond): string | undefined {
  cache.end((first) => [all, beyond, read][first] as Uint8Array);
  return cache.save();
}

/** What the cache knows of an object, if its inode is what it was. */
function find(cache: DigestCache, number: number): StoredFile | undefined {
  const known = entryOf(cache, checksum(number));
  if (known === undefined || !readdirSync(path.join(folder, 'objects')).includes(String(number)))
    return undefined;
  const [entry, stamp] = known;
  return stampOf(object(number)).equals(stamp) ? cache.file(entry) : undefined;
}

/** Keeps objects `numbers` as another process would, and writes the cache. */
function keep(numbers: readonly number[], options: DigestCacheOptions = {}): void {
  const cache = open(options);
  for (const number of numbers) {
    writeFileSync(object(number), String(number));
    add(cache, number);
  }
  expect(save(cache)).toBeUndefined();
}

function found(number: number, options: DigestCacheOptions = {}): StoredFile | undefined {
  return find(open(options), number);
}

/** What a cache file ends with. */
function withSum(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, createHash('sha256').update(bytes).digest()]);
}

/** For comparing: a part of a Buffer is not equal to the Uint8Array of the same bytes. */
function plain(stored: StoredFile | undefined): unknown {
  if (stored === undefined) return undefined;
  const { xattrs, ...rest } = stored;
  return {
    ...rest,
    xattrs: [...xattrs].map(([name, value]) => [name, [...value]]),
  };
}

describe('DigestCache', () => {
  it('knows in another process what was read', () => {
    keep([1, 2, 3]);
    symlinkSync('a/b', object(4));
    const cache = open();
    add(cache, 4, LINK);
    expect(save(cache)).toBeUndefined();
    for (const number of [1, 2, 3]) expect(plain(found(number))).toEqual(plain(regular(number)));
    expect(plain(found(4))).toEqual(plain(LINK));
    expect(found(5)).toBeUndefined();
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(path.dirname(file)).mode & 0o777).toBe(0o700);
    expect(readdirSync(path.dirname(file))).toEqual(['digests']);
  });

  it.each([
    ['is written to', () => writeFileSync(object(1), '1')],
    [
      'is another file of the same size',
      () => {
        writeFileSync(object(9), '2');
        renameSync(object(9), object(1));
      },
    ],
    ['has another mtime', () => utimesSync(object(1), 1, 1)],
    ['has another mode', () => chmodSync(object(1), 0o600)],
    ['has another name, too', () => linkSync(object(1), object(9))],
    ['is gone', () => rmSync(object(1))],
  ])('knows nothing of an object whose inode %s', (_, change) => {
    keep([1, 2]);
    change();
    expect(found(1)).toBeUndefined();
    expect(found(2)).toBeDefined();
  });

  it('keeps nothing of an object that could change again within the same tick', () => {
    keep([1], { now: Date.now });
    expect(found(1)).toBeUndefined();
  });

  it.each([
    ['is cut', (bytes: Buffer) => bytes.subarray(0, bytes.length - 1)],
    [
      'has a bit flipped',
      (bytes: Buffer) => {
        bytes[60] = (bytes[60] ?? 0) ^ 1;
        return bytes;
      },
    ],
    ['is empty', () => Buffer.alloc(0)],
    ['is another format', (bytes: Buffer) => Buffer.concat([Buffer.from('x'), bytes])],
    // The version is the last word of the magic. Whatever wrote it, wrote it well.
    ['is of another version', (bytes: Buffer) => withSum(bytes.subarray(0, -32).fill(1, 16, 17))],
    // One entry has 148 bytes, and its part eight.
    ['has not so many entries', (bytes: Buffer) => withSum(bytes.subarray(0, -32).fill(3, 20, 21))],
    // The third word behind the magic.
    ['has not so much metadata', (bytes: Buffer) => withSum(bytes.subarray(0, -32).fill(1, 30, 31))],
    ['ends behind its magic', (bytes: Buffer) => withSum(bytes.subarray(0, 20))],
  ])('takes a file that %s for none', (_, damage) => {
    keep([1]);
    writeFileSync(file, damage(readFileSync(file)));
    expect(found(1)).toBeUndefined();
    keep([2]);
    expect(found(2)).toBeDefined();
  });

  it('takes a file that others own or may write for none', () => {
    keep([1]);
    for (const mode of [0o620, 0o602]) {
      chmodSync(file, mode);
      expect(found(1)).toBeUndefined();
    }
    chmodSync(file, 0o600);
    expect(found(1)).toBeDefined();
    if (process.geteuid?.() !== 0) return; // only root can give files away
    chownSync(file, 65534, 65534);
    expect(found(1)).toBeUndefined();
  });

  it.each([
    ['link to one', () => symlinkSync('elsewhere', file)],
    ['folder', () => mkdirSync(path.join(file, 'full'), { recursive: true })],
  ])('takes a %s in place of the file for none', (_, put) => {
    keep([1]);
    renameSync(file, path.join(path.dirname(file), 'elsewhere'));
    put();
    expect(found(1)).toBeUndefined();
  });

  it('finds objects whatever their checksums begin with', () => {
    const spread = [0x3_0000, 0x1_0000, 0x1_0001, 0xffff_ffff, 7, 0x2_0000];
    keep(spread.slice(0, 4));
    keep(spread.slice(4));
    for (const number of spread) expect(found(number), number.toString(16)).toBeDefined();
  });

  it('replaces what it knew of an object, and moves what it knows of the others', () => {
    symlinkSync('a/b', object(4));
    keep([1]);
    const cache = open();
    add(cache, 4, LINK);
    expect(save(cache)).toBeUndefined();
    const { size } = statSync(file);
    // Another inode, for the clock may not have gone on. What the link has stands first now.
    writeFileSync(object(9), '');
    renameSync(object(9), object(1));
    keep([1]);
    expect(plain(found(4))).toEqual(plain(LINK));
    expect(plain(found(1))).toEqual(plain(regular(1)));
    expect(statSync(file).size).toBe(size);
  });

  it('writes xattrs that many objects have once', () => {
    keep([1]);
    const { size } = statSync(file);
    keep([2]);
    // The size of an entry without them.
    expect(statSync(file).size).toBe(size + 148);
    rmSync(file);
    keep([1, 2, 3]);
    expect(statSync(file).size).toBe(size + 2 * 148);
  });

  it('writes what a link has once, however often it is made again', () => {
    keep([1]);
    const again = () => {
      rmSync(object(4), { force: true });
      symlinkSync('a/b', object(4));
      const cache = open();
      add(cache, 4, LINK);
      expect(save(cache)).toBeUndefined();
      expect(plain(found(4))).toEqual(plain(LINK));
      return statSync(file).size;
    };
    const size = again();
    expect(again()).toBe(size);
  });

  it('writes no more than it has room for, even when that much is new', () => {
    keep([1, 2, 3]);
    keep([4, 5, 6], { maxEntries: 2 });
    expect([1, 2, 3, 4, 5, 6].filter((number) => found(number) !== undefined)).toEqual([4, 5]);
  });

  it('forgets what was asked for longest ago when there is no more room', () => {
    keep([1, 2, 3]);
    const cache = open({ maxEntries: 3 });
    writeFileSync(object(4), '4');
    for (const number of [1, 3]) find(cache, number);
    add(cache, 4);
    expect(save(cache)).toBeUndefined();
    expect([1, 2, 3, 4].map((number) => found(number) !== undefined)).toEqual([true, false, true, true]);
  });

  it('forgets what it has replaced when there is no more room', () => {
    keep([1, 2, 3]);
    keep([1, 4], { maxEntries: 3 });
    expect([1, 2, 3, 4].map((number) => found(number) !== undefined)).toEqual([true, true, false, true]);
    expect(open().known.map(({ count }) => count)).toEqual([3, 0]);
  });

  it('keeps the metadata objects of the run that read some last', () => {
    const known = () => open().known.map((part) => Buffer.from(part.metadata).toString());
    const inode = () => statSync(file).ino;
    expect(save(open(), metadata('first'))).toBeUndefined();
    expect(known()).toEqual(['metafirst', '']);
    const first = inode();
    // All of them were known.
    expect(save(open(), metadata('some'), metadata('some'), NO_METADATA)).toBeUndefined();
    expect(known()).toEqual(['metafirst', '']);
    expect(inode()).toBe(first);
    const much = metadata('m'.repeat(100));
    expect(save(open(), much)).toBeUndefined();
    expect(known()).toEqual([Buffer.from(much).toString(), '']);
    expect(inode()).not.toBe(first);
    // Also when there is no more room for all entries.
    keep([1]);
    symlinkSync('a/b', object(4));
    const cache = open();
    add(cache, 4, LINK);
    expect(save(cache)).toBeUndefined();
    const again = (options: DigestCacheOptions) => {
      writeFileSync(object(2), '2');
      const last = open(options);
      add(last, 2);
      expect(save(last, metadata('more'))).toBeUndefined();
    };
    again({ maxEntries: 2 });
    expect(known()).toEqual(['metamore', '']);
    expect(plain(found(2))).toEqual(plain(regular(2)));
    expect([1, 4].filter((number) => found(number) !== undefined).length).toBe(1);
    const { size } = statSync(file);
    again({});
    expect(statSync(file).size).toBe(size);
  });

  it('keeps the targets of links apart that have the xattrs of files', () => {
    const cache = open();
    const file = { ...regular(1), xattrs: LINK.xattrs };
    const other = { ...LINK, target: ascii('c') };
    for (const [number, stored] of [file, LINK, file, other].entries()) {
      writeFileSync(object(number), '');
      add(cache, number, stored);
    }
    expect(save(cache)).toBeUndefined();
    for (const [number, stored] of [file, LINK, file, other].entries())
      expect(plain(found(number))).toEqual(plain(stored));
  });

  it('is none with any byte damaged, but for those of metadata objects, which have checksums themselves', () => {
    const cache = open();
    writeFileSync(object(1), '1');
    add(cache, 1);
    expect(save(cache, metadata('data'))).toBeUndefined();
    const bytes = readFileSync(file);
    const metadataAt = bytes.indexOf('metadata');
    const bearable = Array.from(bytes.keys()).filter((at) => {
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] ?? 0) ^ 0x10;
      writeFileSync(file, damaged);
      return found(1) !== undefined;
    });
    expect(bearable).toEqual(Array.from('metadata', (_, i) => metadataAt + i));
  });

  it('remembers from run to run what was asked for last', () => {
    // Beginning differently, they have to be found in the order in which they are kept.
    const [a, b, c, d, e] = [0x1_0000, 0x2_0000, 0x3_0000, 0x4_0000, 0x5_0000] as const;
    keep([a, b, c]);
    const second = open();
    find(second, c);
    writeFileSync(object(d), '');
    add(second, d);
    expect(save(second)).toBeUndefined();
    keep([e], { maxEntries: 4 });
    expect([a, b, c, d, e].map((number) => found(number) !== undefined)).toEqual([
      true,
      false,
      true,
      true,
      true,
    ]);
  });

  describe('with many entries', () => {
    const MANY = Array.from({ length: 40 }, (_, i) => 100 + i);
    const later = () => `${file}.later`;
    const counts = () => open().known.map(({ count }) => count);
    const metadataOf = () => open().known.map((part) => Buffer.from(part.metadata).toString());
    const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

    /** As keep(), of a run with these metadata objects. */
    function keepWith(numbers: readonly number[], ...used: Uint8Array[]): void {
      const cache = open();
      for (const number of numbers) {
        writeFileSync(object(number), String(number));
        add(cache, number);
      }
      expect(save(cache, ...used)).toBeUndefined();
    }

    beforeEach(() => keepWith(MANY, metadata('all')));

    it('writes the few that are new into a file of their own', () => {
      const whole = readFileSync(file);
      keepWith([1, 2], metadata('all and one'), metadata('one'));
      keepWith([3], metadata('all and two'), metadata('two'));
      expect(readFileSync(file).equals(whole)).toBe(true);
      expect(counts()).toEqual([40, 3]);
      expect(metadataOf()).toEqual([metadata('all'), metadata('two')].map(text));
      for (const number of [...MANY, 1, 2, 3]) expect(plain(found(number))).toEqual(plain(regular(number)));
      expect(statSync(later()).mode & 0o777).toBe(0o600);
      expect(readdirSync(path.dirname(file)).toSorted()).toEqual(['digests', 'digests.later']);
    });

    it('writes all into one file when the other is no longer small', () => {
      keepWith([1, 2], metadata('all and one'), metadata('one'));
      // A fourth of 40 entries, each of which has a little more than those of the second file.
      keepWith([3, 4, 5, 6, 7, 8, 9, 10], metadata('all and two'), metadata('two'));
      expect(counts()).toEqual([40, 10]);
      keepWith([11, 12], metadata('all of them'), metadata('three'));
      expect(counts()).toEqual([52, 0]);
      expect(metadataOf()).toEqual([text(metadata('all of them')), '']);
      for (const number of [...MANY, 1, 2, 3, 11])
        expect(plain(found(number))).toEqual(plain(regular(number)));
      expect(readdirSync(path.dirname(file))).toEqual(['digests']);
    });

    it('writes all into one file when much metadata is new', () => {
      const { size } = statSync(file);
      const much = metadata('m'.repeat(size / 4));
      keepWith([1], much, much.subarray(0, size / 4 - 148));
      expect(counts()).toEqual([40, 1]);
      keepWith([2], much, much.subarray(0, size / 4 - 148));
      expect(counts()).toEqual([42, 0]);
      expect(metadataOf()).toEqual([text(much), '']);
    });

    it('takes the new one of an object that is in both files, also when they become one', () => {
      keepWith([1, 2]);
      for (const number of [1, 100]) {
        // Another inode.
        writeFileSync(object(999), 'x');
        renameSync(object(999), object(number));
      }
      const cache = open();
      for (const number of [1, 100]) add(cache, number, { ...regular(number), uid: 7 });
      expect(save(cache)).toBeUndefined();
      expect(counts()).toEqual([40, 3]);
      const changed = () => [1, 2, 100, 101].map((number) => found(number)?.uid === 7);
      expect(changed()).toEqual([true, false, true, false]);
      // That of object 1 is what it was at first.
      keepWith([1, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
      expect(counts()).toEqual([40 + 2 + 9, 0]);
      expect(changed()).toEqual([false, false, true, false]);
    });

    it('forgets what was asked for longest ago of both when there is no more room', () => {
      keepWith([1, 2]);
      const cache = open({ maxEntries: 42 });
      for (const number of MANY.slice(1)) find(cache, number);
      writeFileSync(object(3), '3');
      add(cache, 3);
      expect(save(cache)).toBeUndefined();
      expect(counts()).toEqual([42, 0]);
      const isKnown = [100, 101, 1, 2, 3].map((number) => found(number) !== undefined);
      expect(isKnown).toEqual([false, true, true, true, true]);
    });

    it('is not the worse when one of the files is damaged, or the other of another time', () => {
      keepWith([1, 2]);
      const damage = (name: string) => {
        const bytes = readFileSync(name);
        bytes[60] = (bytes[60] ?? 0) ^ 1;
        writeFileSync(name, bytes);
      };
      const before = readFileSync(later());
      damage(later());
      expect(counts()).toEqual([40, 0]);
      keepWith([3]);
      expect(counts()).toEqual([40, 1]);
      writeFileSync(later(), before);
      damage(file);
      expect(counts()).toEqual([0, 2]);
      for (const number of [1, 2]) expect(plain(found(number))).toEqual(plain(regular(number)));
      keepWith([3]);
      expect(counts()).toEqual([3, 0]);
      // Both have them: who removes the second was ended before.
      writeFileSync(later(), before);
      chmodSync(later(), 0o600);
      expect(counts()).toEqual([3, 2]);
      for (const number of [1, 2, 3]) expect(plain(found(number))).toEqual(plain(regular(number)));
    });

    it('says which file it cannot write', () => {
      mkdirSync(path.join(later(), 'full'), { recursive: true });
      const cache = open();
      writeFileSync(object(1), '1');
      add(cache, 1);
      expect(save(cache)).toBe(`cannot write ${later()}: EISDIR`);
      expect(counts()).toEqual([40, 0]);
    });
  });

  it('is not the worse for a second writer: the last one wins', () => {
    const [first, second] = [open(), open()];
    for (const [number, cache] of [
      [1, first],
      [2, second],
    ] as const) {
      writeFileSync(object(number), String(number));
      add(cache, number);
    }
    expect([save(first), save(second)]).toEqual([undefined, undefined]);
    expect([found(1), plain(found(2))]).toEqual([undefined, plain(regular(2))]);
  });

  it('says why it cannot write, and leaves nothing', () => {
    writeFileSync(object(1), '1');
    const cache = new DigestCache(path.join(object(1), 'cache'), LATER);
    add(cache, 1);
    expect(save(cache)).toBe(`cannot write ${object(1)}/cache: EEXIST`);
    expect(readdirSync(path.join(folder, 'objects'))).toEqual(['1']);

    mkdirSync(path.join(file, 'full'), { recursive: true });
    const other = open();
    add(other, 1);
    expect(save(other)).toBe(`cannot write ${file}: EISDIR`);
    expect(readdirSync(path.dirname(file))).toEqual(['digests']);
  });
});

describe('digestCachePath()', () => {
  it('is below the cache folder of the user, one for each repository', () => {
    vi.stubEnv('XDG_CACHE_HOME', '/x');
    expect(digestCachePath('/repo')).toMatch(/^\/x\/sealroot\/digests-[0-9a-f]{16}$/);
    expect(digestCachePath('/repo')).not.toBe(digestCachePath('/other'));
    vi.stubEnv('XDG_CACHE_HOME', 'relative');
    vi.stubEnv('HOME', '/home/a');
    expect(digestCachePath('/repo')).toMatch(/^\/home\/a\/\.cache\/sealroot\//);
    expect(digestCachePath(path.relative('.', '/repo'))).toBe(digestCachePath('/repo'));
    for (const home of ['relative', undefined]) {
      vi.stubEnv('HOME', home);
      expect(digestCachePath('/repo')).toBeUndefined();
    }
  });
});
