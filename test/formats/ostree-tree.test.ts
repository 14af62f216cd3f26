import { describe, expect, it } from 'vitest';
import { ascii, type ByteString, hex, parseHex } from '../../src/formats/encoding.ts';
import { badInput, SealrootError } from '../../src/formats/errors.ts';
import { decode, encode, type ValueOf } from '../../src/formats/gvariant.ts';
import type { Commit } from '../../src/formats/ostree-objects.ts';
import { type ObjectSource, type OstreeFile, treeFromCommit } from '../../src/formats/ostree-tree.ts';
import {
  checksumsOf,
  nthChecksum,
  parseArchiveHeader,
  parseDirMeta,
  parseDirTree,
  parseOstreeMeta,
} from '../../src/formats/ostree-tree-objects.ts';
import {
  isValidName,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  type TreeNode,
  validateTree,
} from '../../src/formats/tree.ts';

function failure(action: () => unknown): SealrootError {
  try {
    action();
  } catch (error) {
    if (error instanceof SealrootError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** A checksum by number; the objects here are not hashed. */
function sum(number: number): string {
  return number.toString(16).padStart(64, '0');
}

function sumBytes(number: number): Uint8Array {
  return parseHex(sum(number), 'checksum');
}

function bigEndian(value: number): number {
  return new DataView(Uint32Array.of(value).buffer).getUint32(0, false);
}

const NUL_X = Uint8Array.of(0x78, 0);

function owned(mode: number, xattrs: ValueOf<'a(ayay)'> = []): Uint8Array {
  return encode('(uuua(ayay))', [bigEndian(1000), bigEndian(70_000), bigEndian(mode), xattrs]);
}

function dirTree(
  files: Record<string, number>,
  directories: Record<string, [number, number]> = {},
): Uint8Array {
  return encode('(a(say)a(sayay))', [
    Object.entries(files).map(([name, file]) => [ascii(name), sumBytes(file)] as const),
    Object.entries(directories).map(
      ([name, [tree, meta]]) => [ascii(name), sumBytes(tree), sumBytes(meta)] as const,
    ),
  ]);
}

const COMMIT: Commit = {
  metadata: new Map(),
  related: [],
  subject: ascii(''),
  body: ascii(''),
  timestamp: 0n,
  rootTree: sum(1),
  rootMeta: sum(2),
};

class MemorySource implements ObjectSource {
  /** Every file that was asked for. */
  readonly asked: string[] = [];
  readonly trees = new Map<string, Uint8Array>();
  readonly metas = new Map([[sum(2), owned(S_IFDIR | 0o755)]]);
  readonly files = new Map<string, OstreeFile>();

  #get<T>(map: Map<string, T>, checksum: string): T {
    const found = map.get(checksum);
    if (found === undefined) throw badInput('object-missing', `cannot read object ${checksum}: not here`);
    return found;
  }

  dirTree(checksum: string): Uint8Array {
    return this.#get(this.trees, checksum);
  }

  dirMeta(checksum: string): Uint8Array {
    return this.#get(this.metas, checksum);
  }

  file(checksum: string): OstreeFile {
    this.asked.push(checksum);
    return this.#get(this.files, checksum);
  }
}

function child(node: TreeNode, ...names: string[]): TreeNode | undefined {
  return names.reduce<TreeNode | undefined>((at, name) => at?.children?.get(name as ByteString), node);
}

const OWNER = { uid: 5, gid: 6, xattrs: new Map() };

describe('treeFromCommit()', () => {
  it('maps objects to nodes with mtime 0 and one link', () => {
    const source = new MemorySource();
    const digest = ascii('\x07'.repeat(32));
    source.trees.set(sum(1), dirTree({ file: 16, empty: 17, link: 18 }, { usr: [3, 2] }));
    source.trees.set(sum(3), dirTree({ 'same-file': 16 }));
    source.files.set(sum(16), { ...OWNER, mode: S_IFREG | 0o4755, size: 9, digest });
    source.files.set(sum(17), { ...OWNER, mode: S_IFREG | 0o644, size: 0 });
    source.files.set(sum(18), { ...OWNER, mode: S_IFLNK | 0o777, size: 0, target: ascii('usr/bin') });
    const root = treeFromCommit(COMMIT, source);
    const payload = `00/${'0'.repeat(60)}10.file`;
    const plain = { rdev: 0, nlink: 1, mtimeSec: 0n, mtimeNsec: 0, xattrs: new Map() };
    const file = { ...plain, mode: 0o104755, uid: 5, gid: 6, size: 9, payload, digest };
    expect(child(root, 'file')).toEqual(file);
    expect(child(root, 'usr', 'same-file')).toEqual(file);
    expect(child(root, 'usr', 'same-file')).not.toBe(child(root, 'file'));
    expect(source.asked.sort()).toEqual([sum(16), sum(17), sum(18)]);
    expect(child(root, 'empty')).toEqual({ ...plain, mode: 0o100644, uid: 5, gid: 6, size: 0 });
    expect(child(root, 'link')).toEqual({
      ...plain,
      mode: 0o120777,
      uid: 5,
      gid: 6,
      size: 7,
      payload: 'usr/bin',
    });
    expect(root).toMatchObject({ mode: 0o40755, uid: 1000, gid: 70_000, size: 0 });
  });

  it('asks once for an object that several names have, also where objects are announced', () => {
    const source = new MemorySource();
    const jobs: (number | undefined)[] = [];
    const announcing: ObjectSource = {
      dirTree: (checksum) => source.dirTree(checksum),
      dirMeta: (checksum) => source.dirMeta(checksum),
      announce: (checksums) =>
        checksums.places.map((_, i) => Number.parseInt(nthChecksum(checksums, i), 16) - 10),
      file: (checksum, job) => {
        jobs.push(job);
        return source.file(checksum);
      },
    };
    // The job of the last is none.
    source.trees.set(sum(1), dirTree({ a: 16, b: 17, c: 16, d: 9 }, { usr: [3, 2] }));
    source.trees.set(sum(3), dirTree({ a: 17, b: 9 }));
    for (const one of [16, 17, 9]) source.files.set(sum(one), { ...OWNER, mode: S_IFREG | 0o644, size: 0 });
    treeFromCommit(COMMIT, announcing);
    expect(source.asked.sort()).toEqual([sum(9), sum(16), sum(17)]);
    expect(jobs.sort()).toEqual([-1, 6, 7]);
  });

  it('adds the mount points that are missing, and no others', () => {
    const source = new MemorySource();
    source.trees.set(sum(1), dirTree({ boot: 17 }, { etc: [3, 2] }));
    source.trees.set(sum(3), dirTree({}));
    source.files.set(sum(17), { ...OWNER, mode: S_IFREG | 0o644, size: 0 });
    const root = treeFromCommit(COMMIT, source);
    expect([...(root.children?.keys() ?? [])].sort()).toEqual(['boot', 'etc', 'sysroot', 'usr', 'var']);
    expect(child(root, 'boot')?.mode).toBe(0o100644);
    expect(child(root, 'etc')?.uid).toBe(1000);
    expect(child(root, 'var')).toMatchObject({ mode: 0o40755, uid: 0, gid: 0 });
  });

  it('names the path that needs a missing object', () => {
    const source = new MemorySource();
    source.trees.set(sum(1), dirTree({}, { usr: [3, 2] }));
    source.trees.set(sum(3), dirTree({ tool: 99 }, {}));
    const error = failure(() => treeFromCommit(COMMIT, source));
    expect(error.code).toBe('object-missing');
    expect(error.message).toBe(`cannot read object ${sum(99)}: not here, needed for "/usr/tool"`);
    source.trees.set(sum(3), dirTree({}, { lib: [98, 2] }));
    expect(failure(() => treeFromCommit(COMMIT, source)).message).toContain('needed for "/usr/lib/"');
    source.trees.set(sum(3), dirTree({}, { lib: [3, 97] }));
    expect(failure(() => treeFromCommit(COMMIT, source)).message).toContain('needed for "/usr/lib/"');
  });

  it('refuses a directory that holds itself', () => {
    const source = new MemorySource();
    source.trees.set(sum(1), dirTree({}, { again: [1, 2] }));
    expect(failure(() => treeFromCommit(COMMIT, source)).code).toBe('tree-too-deep');
  });

  it('refuses few dirtrees that name very many directories, before memory is gone', () => {
    const source = new MemorySource();
    const wide: Record<string, [number, number]> = {};
    for (let i = 0; i < 500; i++) wide[`d${i}`] = [3, 2];
    source.trees.set(sum(1), dirTree({}, wide));
    source.trees.set(sum(3), dirTree({}, wide));
    expect(failure(() => treeFromCommit(COMMIT, source, { maxNodes: 2_000 })).code).toBe('tree-too-large');
  });
});

const REGULAR: OstreeFile = { ...OWNER, mode: S_IFREG | 0o644, size: 3 };
const LINK: OstreeFile = { ...OWNER, mode: S_IFLNK | 0o777, size: 0, target: ascii('a') };
const label = (bytes: number) => new Map([[ascii('user.x'), new Uint8Array(bytes)]]);

describe('the tree of treeFromCommit()', () => {
  function treeOf(file: OstreeFile, meta: ValueOf<'a(ayay)'> = []): TreeNode {
    const source = new MemorySource();
    source.trees.set(sum(1), dirTree({ first: 15, file: 16 }, { usr: [3, 4] }));
    source.trees.set(sum(3), dirTree({}));
    source.metas.set(sum(4), owned(S_IFDIR | 0o755, meta));
    source.files.set(sum(15), REGULAR);
    source.files.set(sum(16), file);
    return treeFromCommit(COMMIT, source);
  }

  it.each<[string, OstreeFile]>([
    ['tree-number-invalid', { ...REGULAR, mode: 2 ** 32 + S_IFREG }],
    ['tree-number-invalid', { ...REGULAR, uid: -1 }],
    ['tree-number-invalid', { ...REGULAR, gid: 2 ** 32 }],
    ['tree-number-invalid', { ...REGULAR, size: 0.5 }],
    ['tree-file-too-large', { ...REGULAR, size: 2 ** 53 + 2 }],
    ['tree-digest-invalid', { ...REGULAR, digest: ascii('x'.repeat(31)) }],
    ['tree-type-invalid', { ...REGULAR, mode: 0o644 }],
    ['tree-target-invalid', { ...LINK, target: undefined }],
    ['tree-target-invalid', { ...LINK, target: ascii('') }],
    ['tree-target-invalid', { ...LINK, target: ascii('a\0') }],
    ['tree-target-invalid', { ...LINK, target: ascii('x'.repeat(4096)) }],
    ['tree-xattr-invalid', { ...REGULAR, xattrs: new Map([[ascii('a\0'), new Uint8Array(1)]]) }],
    ['tree-xattrs-too-large', { ...REGULAR, xattrs: label(32_743) }],
  ])('is valid, or there is an error: %s', (code, file) => {
    const error = failure(() => treeOf(file));
    expect(error.code).toBe(code);
    expect(error.message).toContain('"/file"');
  });

  it('is valid, or there is an error: xattrs of a directory', () => {
    const error = failure(() => treeOf(REGULAR, [[Uint8Array.of(0x78, 0), new Uint8Array(32_748)]]));
    expect(error.message).toContain('"/usr" has 32768 bytes of xattrs');
    expect(treeOf(REGULAR, [[Uint8Array.of(0x78, 0), new Uint8Array(32_747)]]).children?.size).toBe(7);
  });

  it.each<[string, OstreeFile]>([
    ['4 GiB', { ...REGULAR, size: 2 ** 32, digest: ascii('x'.repeat(32)) }],
    ['a digest of SHA-512', { ...REGULAR, digest: ascii('x'.repeat(64)) }],
    ['all the xattrs that fit', { ...REGULAR, xattrs: label(32_742) }],
    ['a long target', { ...LINK, target: ascii('x'.repeat(4095)) }],
  ])('may have a file with %s', (_, file) => {
    const tree = treeOf(file);
    expect(child(tree, 'file')).toMatchObject({ mode: file.mode, size: file.target?.length ?? file.size });
    expect(() => validateTree(tree)).not.toThrow();
  });

  it.each([
    [2048, undefined],
    [2049, 'tree-too-deep'],
  ])('has %i levels: %s', (levels, code) => {
    const source = new MemorySource();
    source.trees.set(sum(3), dirTree({ file: 15 }));
    source.files.set(sum(15), REGULAR);
    for (let i = 0; i < levels - 1; i++) {
      source.trees.set(
        i === levels - 2 ? sum(1) : sum(100 + i),
        dirTree({}, { d: [i === 0 ? 3 : 99 + i, 2] }),
      );
    }
    const build = () => validateTree(treeFromCommit(COMMIT, source));
    if (code === undefined) expect(build).not.toThrow();
    else expect(failure(() => treeFromCommit(COMMIT, source)).code).toBe(code);
  });
});

describe('parseDirTree()', () => {
  it.each(['', '.', '..', 'a/b', 'x'.repeat(256)])('refuses the name %j', (name) => {
    expect(failure(() => parseDirTree(dirTree({ [name]: 1 }))).code).toBe('dirtree-malformed');
    expect(failure(() => parseDirTree(dirTree({}, { [name]: [1, 2] }))).code).toBe('dirtree-malformed');
  });

  it.each<[string, string[], string[]]>([
    ['file and directory', ['a'], ['a']],
    ['file and directory, out of order', ['b', 'a'], ['a', 'c']],
    ['two files', ['a', 'b', 'b', 'c'], []],
    ['two files, out of order', ['c', 'a', 'b', 'a'], []],
    ['two files beside a directory', ['a', 'a'], ['d']],
    ['two directories', [], ['d', 'e', 'd']],
  ])('refuses a name of %s', (_, files, directories) => {
    const bytes = encode('(a(say)a(sayay))', [
      files.map((name) => [ascii(name), sumBytes(1)] as const),
      directories.map((name) => [ascii(name), sumBytes(1), sumBytes(2)] as const),
    ]);
    const repeated = [...files, ...directories].find((name, i, all) => all.indexOf(name) !== i);
    expect(failure(() => parseDirTree(bytes)).message).toBe(
      `cannot read dirtree: "${repeated}" stands in it twice`,
    );
  });

  it('takes names in any order', () => {
    const { files, checksums, directories } = parseDirTree(
      dirTree({ b: 1, c: 2, a: 3 }, { e: [4, 5], d: [6, 7] }),
    );
    expect(files.map((name, i) => [name, nthChecksum(checksums, i)])).toEqual([
      ['b', sum(1)],
      ['c', sum(2)],
      ['a', sum(3)],
    ]);
    expect([...directories]).toEqual([
      ['e', { tree: sum(4), meta: sum(5) }],
      ['d', { tree: sum(6), meta: sum(7) }],
    ]);
  });
});

describe('checksumsOf()', () => {
  it('gives back each of them', () => {
    const digits = [sum(1), 'ab'.repeat(32), sum(2)];
    expect(digits.map((_, i) => nthChecksum(checksumsOf(digits), i))).toEqual(digits);
  });

  it.each(['', 'zz'.repeat(32), sum(1).slice(1), `${sum(1)}0`])('refuses "%s"', (digits) => {
    const error = failure(() => checksumsOf([sum(1), digits]));
    expect(error.code).toBe('checksum-malformed');
    expect(error.message).toBe(`cannot read "${digits}": not a checksum`);
  });
});

describe('parseDirTree() beside the decoder of all types', () => {
  /** By the decoder alone; undefined where one of them has to refuse it. */
  function decoded(bytes: Uint8Array): unknown {
    try {
      const [files, directories] = decode('(a(say)a(sayay))', bytes, 'dirtree', Number.POSITIVE_INFINITY);
      const names = [...files, ...directories].map(([name]) => name);
      const sums = [...files, ...directories].flatMap(([, ...rest]) => rest);
      const isValid = names.every(isValidName) && new Set(names).size === names.length;
      if (!isValid || !sums.every(({ length }) => length === 32)) return undefined;
      return {
        files: files.map(([name, one]) => [name, hex(one)]),
        directories: directories.map(([name, tree, meta]) => [name, hex(tree), hex(meta)]),
      };
    } catch {
      return undefined;
    }
  }

  function parsed(bytes: Uint8Array): unknown {
    try {
      const { files, checksums, directories } = parseDirTree(bytes);
      return {
        files: files.map((name, i) => [name, nthChecksum(checksums, i)]),
        directories: [...directories].map(([name, { tree, meta }]) => [name, tree, meta]),
      };
    } catch {
      return undefined;
    }
  }

  function named(names: readonly string[], [first, second] = [0, 0]): Uint8Array {
    const sums = names.map((_, i) => sumBytes(1 + i));
    return encode('(a(say)a(sayay))', [
      names.slice(0, first).map((name, i) => [ascii(name), sums[i] as Uint8Array] as const),
      names
        .slice(first, first + second)
        .map((name, i) => [ascii(name), sums[i] as Uint8Array, sums[0] as Uint8Array] as const),
    ]);
  }

  it('makes the same of names of every length, and of lists around the sizes of offsets', () => {
    const long = Array.from({ length: 255 }, (_, i) => 'x'.repeat(1 + i));
    const many = Array.from({ length: 2000 }, (_, i) => `name-${10_000 + i}`);
    for (const name of long) {
      for (const counts of [
        [1, 0],
        [0, 1],
      ] as const) {
        const bytes = named([name], [...counts]);
        expect(parsed(bytes)).toEqual(decoded(bytes));
        expect(parsed(bytes)).toBeDefined();
      }
    }
    for (const [first, second] of [
      [0, 0],
      [5, 0],
      [0, 4],
      [6, 3],
      [200, 0],
      [0, 100],
      [1400, 3],
      [3, 1400],
    ] as const) {
      const bytes = named(many, [first, second]);
      expect(parsed(bytes)).toEqual(decoded(bytes));
      expect(parsed(bytes)).toBeDefined();
    }
  });

  function offsets(width: number, ...values: number[]): Uint8Array {
    return Uint8Array.from(values.flatMap((value) => [value & 0xff, value >> 8].slice(0, width)));
  }

  /** With offsets that are as wide as is asked for, whatever the rules say: of the tree, of a list, of its tuples. */
  function wide(names: readonly string[], widths: readonly [number, number, number]): Uint8Array {
    const [ofTree, ofList, ofTuple] = widths;
    const tuples = names.map((name) =>
      Buffer.concat([Buffer.from(`${name}\0`), sumBytes(1), offsets(ofTuple, name.length + 1)]),
    );
    const ends = tuples.map((_, i) => Buffer.concat(tuples.slice(0, i + 1)).length);
    const list = Buffer.concat([...tuples, offsets(ofList, ...ends)]);
    return Uint8Array.from(Buffer.concat([list, offsets(ofTree, list.length)]));
  }

  it.each<[string, readonly string[], readonly [number, number, number], boolean]>([
    ['as they have to be', ['a', 'b'.repeat(150)], [1, 1, 1], true],
    ['of a tuple too narrow', ['a'.repeat(230)], [2, 2, 1], false],
    ['of a tuple wide', ['a'.repeat(230)], [2, 2, 2], true],
    ['of a tuple too wide', ['a'], [1, 1, 2], false],
    ['of a list too wide', ['a'.repeat(96), 'b'.repeat(89)], [2, 2, 1], false],
    ['of a list as narrow as it can be', ['a'.repeat(96), 'b'.repeat(89)], [2, 1, 1], true],
    ['of the tree too wide', ['a'.repeat(96), 'b'.repeat(88)], [2, 1, 1], false],
    ['of the tree as narrow as it can be', ['a'.repeat(96), 'b'.repeat(88)], [1, 1, 1], true],
  ])('takes and refuses the same with offsets %s', (_, names, widths, isTaken) => {
    const bytes = wide(names, widths);
    expect(parsed(bytes)).toEqual(decoded(bytes));
    expect(parsed(bytes) !== undefined).toBe(isTaken);
  });

  it.each([
    ['small', named(['a', 'b', 'c', 'd'], [2, 2])],
    ['with offsets of two bytes', named(['a', 'bb', 'ccc', 'd', 'ee', 'f', 'g', 'h'], [5, 3])],
  ])('takes and refuses the same when any byte is another: a tree that is %s', (_, bytes) => {
    const different: string[] = [];
    for (let at = 0; at < bytes.length; at++) {
      for (let value = 0; value < 256; value++) {
        const altered = Uint8Array.from(bytes);
        altered[at] = value;
        const same = JSON.stringify(parsed(altered)) === JSON.stringify(decoded(altered));
        if (!same) different.push(`${at}: ${value}`);
      }
    }
    expect(different).toEqual([]);
    for (let end = 0; end < bytes.length; end++) {
      expect(parsed(bytes.subarray(0, end)), String(end)).toEqual(decoded(bytes.subarray(0, end)));
    }
  });
});

describe('parseDirMeta() and parseOstreeMeta()', () => {
  it('read big endian numbers and xattrs', () => {
    const xattrs: ValueOf<'a(ayay)'> = [[NUL_X, Uint8Array.of(1, 2)]];
    const expected = { uid: 1000, gid: 70_000, xattrs: new Map([['x', Uint8Array.of(1, 2)]]) };
    expect(parseDirMeta(owned(0o40755, xattrs))).toEqual({ ...expected, mode: 0o40755 });
    expect(parseOstreeMeta(owned(0o104755, xattrs))).toEqual({ ...expected, mode: 0o104755 });
  });

  it('refuse types that do not belong there', () => {
    for (const mode of [0o100644, 0o20644, 0o755, 0o1040755]) {
      expect(failure(() => parseDirMeta(owned(mode))).code).toBe('object-malformed');
    }
    for (const mode of [0o40755, 0o20644, 0o10644, 0o644]) {
      expect(failure(() => parseOstreeMeta(owned(mode))).code).toBe('object-malformed');
    }
  });

  it.each<[string, ValueOf<'a(ayay)'>]>([
    ['without terminator', [[Uint8Array.of(0x78, 0x79), new Uint8Array(0)]]],
    ['that is empty', [[Uint8Array.of(0), new Uint8Array(0)]]],
    ['of no bytes', [[new Uint8Array(0), new Uint8Array(0)]]],
    ['with NUL inside', [[Uint8Array.of(0x78, 0, 0x78, 0), new Uint8Array(0)]]],
    [
      'that comes twice',
      [
        [NUL_X, new Uint8Array(0)],
        [NUL_X, new Uint8Array(1)],
      ],
    ],
  ])('refuse an xattr name %s', (_, xattrs) => {
    expect(failure(() => parseDirMeta(owned(S_IFDIR, xattrs))).code).toBe('object-malformed');
  });
});

function archiveHeader(size: bigint, mode: number, target = '', rdev = 0): Uint8Array {
  const sizeSwapped = new DataView(BigUint64Array.of(size).buffer).getBigUint64(0, false);
  const variant = encode('(tuuuusa(ayay))', [sizeSwapped, 0, 0, bigEndian(mode), rdev, ascii(target), []]);
  const out = new Uint8Array(8 + variant.length);
  new DataView(out.buffer).setUint32(0, variant.length, false);
  out.set(variant, 8);
  return out;
}

describe('parseArchiveHeader()', () => {
  it('reads what upstream ostree wrote', () => {
    // c6/88010b... of the vectors, "hello": size 6, mode 0104755.
    const text = `0000001a00000000${'0'.repeat(14)}06${'0'.repeat(16)}000089ed000000000019cb48cdc9c9e70200`;
    expect(parseArchiveHeader(parseHex(text, 'header'))).toEqual({
      ...{ size: 6, uid: 0, gid: 0, mode: 0o104755, xattrs: new Map(), contentOffset: 34 },
    });
  });

  it('reads a link', () => {
    expect(parseArchiveHeader(archiveHeader(0n, 0o120777, 'usr'))).toMatchObject({ target: 'usr', size: 0 });
  });

  it.each<[string, Uint8Array]>([
    ['a file with a link target', archiveHeader(0n, 0o100644, 'usr')],
    ['a link without target', archiveHeader(0n, 0o120777)],
    ['a device', archiveHeader(0n, 0o20644)],
    ['a device number', archiveHeader(0n, 0o100644, '', 1)],
    ['a size beyond 2^53', archiveHeader(2n ** 53n, 0o100644)],
    ['padding that is not zero', archiveHeader(0n, 0o100644).fill(1, 7, 8)],
  ])('refuses %s', (_, bytes) => {
    expect(failure(() => parseArchiveHeader(bytes)).code).toBe('object-malformed');
  });

  it('refuses a length past the end', () => {
    expect(failure(() => parseArchiveHeader(archiveHeader(1n, 0o100644).subarray(0, 30))).code).toBe(
      'truncated',
    );
  });
});
