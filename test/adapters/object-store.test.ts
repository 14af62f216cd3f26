import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { deflateRawSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DigestCache } from '../../src/adapters/digest-cache.ts';
import { NO_METADATA } from '../../src/adapters/file-ring.ts';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { buildImage } from '../../src/adapters/image.ts';
import { inodeStatus } from '../../src/adapters/inode-status.ts';
import { openObjectStore } from '../../src/adapters/object-store.ts';
import { pathBytes, setXattr } from '../../src/adapters/syscalls.ts';
import { ascii, hex, toByteString, utf8 } from '../../src/formats/encoding.ts';
import { SealrootError } from '../../src/formats/errors.ts';
import { verityDigest } from '../../src/formats/fsverity.ts';
import { encode } from '../../src/formats/gvariant.ts';
import { checksumsOf } from '../../src/formats/ostree-tree-objects.ts';
import { S_IFREG } from '../../src/formats/tree.ts';
import { compileFileReader } from '../../tools/bundle.ts';

const VECTORS = path.join(import.meta.dirname, '../vectors/upstream-signed');
const ONE = '76a7b26144caf4962f108093326dd79506af8deab4e887e425865a00949027fb';
/** Objects of that commit: a file ("hello\n", mode 04755), the root's dirtree and dirmeta. */
const HELLO = 'c688010bf754528d6f28cb951a5ba57b572aa355124acb4f305afedb810e09df';
const ROOT_TREE = 'dc23f1e07f6bcc950964ffba645a61b127dfa28f407199c375ac9b211652102c';
const ROOT_META = '446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488';

let folder = '';
let repo = '';

let library: URL;
let libraryFolder = '';
beforeAll(async () => {
  libraryFolder = mkdtempSync(path.join(tmpdir(), 'sealroot-reader-'));
  library = pathToFileURL(await compileFileReader(libraryFolder));
});
afterAll(() => rmSync(libraryFolder, { recursive: true }));

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'sealroot-store-'));
  repo = path.join(folder, 'repo');
  cpSync(path.join(VECTORS, 'repo'), repo, { recursive: true });
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function objectFile(checksum: string, type: string, root = repo): string {
  return path.join(root, 'objects', checksum.slice(0, 2), `${checksum.slice(2)}.${type}`);
}

function failure(action: () => unknown): SealrootError {
  try {
    action();
  } catch (error) {
    if (error instanceof SealrootError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** An empty repository of another mode, with one file object under a made-up checksum. */
function otherRepo(mode: string): { root: string; checksum: string; file: string } {
  const root = path.join(folder, mode);
  const checksum = 'ab'.repeat(32);
  const file = objectFile(checksum, 'file', root);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(path.join(root, 'config'), `[core]\nrepo_version=1\nmode=${mode}\n`);
  return { root, checksum, file };
}

function ostreeMeta(mode: number): Uint8Array {
  const bigEndian = (value: number) => new DataView(Uint32Array.of(value).buffer).getUint32(0, false);
  const xattrs = [[utf8('user.x\0'), utf8('value')]] as const;
  return encode('(uuua(ayay))', [bigEndian(7), bigEndian(8), bigEndian(mode), xattrs]);
}

describe('buildImage()', () => {
  it('writes the image that upstream ostree wrote for the same commit, whose digest upstream signed', () => {
    const { image, digest } = buildImage(openObjectStore(repo), ONE);
    expect(Buffer.compare(image, readFileSync(path.join(VECTORS, 'one.cfs')))).toBe(0);
    expect(hex(digest)).toBe('e2b8c0916e4be4b0911b3bb636bef716e87be784a32f254a89a1ea4853c71410');
  });

  it('reports each file that it reads', () => {
    const seen: number[] = [];
    buildImage(openObjectStore(repo), ONE, { onProgress: ({ files }) => seen.push(files) });
    expect(seen.length).toBeGreaterThan(3);
    expect(seen).toEqual(seen.map((_, i) => i + 1));
  });

  it('names object and path when an object is missing', () => {
    rmSync(objectFile(HELLO, 'filez'));
    const error = failure(() => buildImage(openObjectStore(repo), ONE));
    expect(error.code).toBe('object-missing');
    expect(error.message).toContain(
      `cannot read object ${HELLO}.filez: not in repository ${repo}, needed for "/`,
    );
  });
});

describe('openObjectStore()', () => {
  it.each([
    ['repo-mode-unsupported', '[core]\nrepo_version=1\nmode=bare-split-xattrs\n'],
    ['repo-parent-relative', '[core]\nrepo_version=1\nmode=archive\nparent=../other\n'],
    ['keyfile-malformed', 'mode=archive\n'],
  ])('refuses a repository with %s', (code, config) => {
    writeFileSync(path.join(repo, 'config'), config);
    expect(failure(() => openObjectStore(repo)).code).toBe(code);
  });

  it('refuses a folder that is no repository, and one that is its own parent', () => {
    expect(failure(() => openObjectStore(folder)).code).toBe('not-a-repository');
    writeFileSync(path.join(repo, 'config'), `[core]\nmode=archive\nparent=${repo}\n`);
    expect(failure(() => openObjectStore(repo)).code).toBe('repo-parents');
  });

  it('finds in the parent what is not in the repository itself', () => {
    const { root } = otherRepo('bare-user');
    writeFileSync(path.join(root, 'config'), `[core]\nmode=bare-user\nparent=${repo}\n`);
    const store = openObjectStore(root);
    expect(hex(buildImage(store, ONE).digest)).toBe(hex(buildImage(openObjectStore(repo), ONE).digest));
    expect(store.commitMeta(ONE)).toEqual(openObjectStore(repo).commitMeta(ONE));
    expect(store.filePath(HELLO)).toBe(objectFile(HELLO, 'filez'));
    expect(store.fileSize(HELLO)).toBe(6);
  });
});

describe('ObjectStore', () => {
  it('gives commit and detached metadata as they lie there', () => {
    const store = openObjectStore(repo);
    for (const opened of [store, openObjectStore(repo, { library })]) {
      expect(Buffer.from(opened.commit(ONE))).toEqual(readFileSync(path.join(VECTORS, 'one.commit')));
    }
    expect(Buffer.from(store.commitMeta(ONE) ?? [])).toEqual(
      readFileSync(path.join(VECTORS, 'one.commitmeta')),
    );
    rmSync(objectFile(ONE, 'commitmeta'));
    expect(store.commitMeta(ONE)).toBeUndefined();
  });

  it('refuses a partial commit by name', () => {
    mkdirSync(path.join(repo, 'state'));
    writeFileSync(path.join(repo, 'state', `${ONE}.commitpartial`), '');
    for (const options of [{}, { library }]) {
      const error = failure(() => openObjectStore(repo, options).commit(ONE));
      expect([error.code, error.kind]).toEqual(['commit-partial', 'refused']);
    }
  });

  it.each([
    ['commit', ONE, 'commit-missing', 'commit-checksum-mismatch'],
    ['dirtree', ROOT_TREE, 'object-missing', 'object-corrupt'],
    ['dirmeta', ROOT_META, 'object-missing', 'object-corrupt'],
  ] as const)('names a %s that is missing, and one that does not fit its checksum', (type, checksum, missing, corrupt) => {
    const read = { commit: 'commit', dirtree: 'dirTree', dirmeta: 'dirMeta' } as const;
    const file = objectFile(checksum, type);
    const altered = Buffer.concat([readFileSync(file), Buffer.of(0)]);
    for (const options of [{}, { library }]) {
      writeFileSync(file, altered);
      const error = failure(() => openObjectStore(repo, options)[read[type]](checksum));
      expect(error.code).toBe(corrupt);
      expect(error.message).toContain(checksum);
      expect(error.message).toContain(hex(nodeHasher.sha256(altered)));
      rmSync(file);
      expect(failure(() => openObjectStore(repo, options)[read[type]](checksum)).code).toBe(missing);
    }
  });

  it.each(['file', 'filePath', 'fileSize'] as const)('says of a file that it is missing: %s()', (read) => {
    const { root, checksum } = otherRepo('bare');
    const error = failure(() => openObjectStore(root)[read](checksum));
    expect([error.code, error.message]).toEqual([
      'object-missing',
      `cannot read object ${checksum}.file: not in repository ${root}`,
    ]);
  });

  it.each([
    'file',
    'filePath',
    'fileSize',
  ] as const)('tells what it cannot look at from what is missing: %s()', (read) => {
    const { root, checksum, file } = otherRepo('bare');
    rmSync(path.dirname(file), { recursive: true });
    writeFileSync(path.dirname(file), 'no folder');
    const error = failure(() => openObjectStore(root)[read](checksum));
    expect([error.kind, error.message]).toEqual(['system', `cannot read ${file}: ENOTDIR`]);
  });

  it('keeps no file open', () => {
    const store = openObjectStore(repo);
    const open = () => readdirSync('/proc/self/fd').length;
    const before = open();
    for (let i = 0; i < 20; i++) store.file(HELLO);
    writeFileSync(objectFile(HELLO, 'filez'), 'damaged');
    for (let i = 0; i < 20; i++) failure(() => store.file(HELLO));
    // Others in this process may open and close files meanwhile, but not so many.
    expect(open()).toBeLessThan(before + 20);
  });

  it('takes only checksums for names', () => {
    for (const name of ['', '..', `${ONE}/`, ONE.toUpperCase(), `../${ONE.slice(3)}`]) {
      for (const options of [{}, { library }]) {
        expect(failure(() => openObjectStore(repo, options).commit(name)).code).toBe('checksum-malformed');
      }
    }
  });
});

describe('ObjectStore with a cache', () => {
  /** Long after the repository was copied. */
  const open = () => new DigestCache(path.join(folder, 'cache'), { now: () => Date.now() + 3000 });

  function announced(cache: DigestCache, from = repo) {
    const store = openObjectStore(from, { cache, library });
    store.announce(checksumsOf([HELLO]));
    try {
      return store.file(HELLO);
    } finally {
      store.release();
    }
  }

  it('reads an object once, and again when it is another file', () => {
    const first = open();
    const read = announced(first);
    expect(first.save()).toBeUndefined();
    // What it says from now on can only be what it has kept.
    writeFileSync(objectFile(HELLO, 'filez'), 'not deflated');
    expect(() => announced(open())).toThrow('cannot read');
    cpSync(path.join(VECTORS, 'repo'), repo, { recursive: true });
    expect(announced(open())).toEqual(read);
  });

  it('takes the word of the cache for an object whose inode has not changed', () => {
    const cache = open();
    const file = objectFile(HELLO, 'filez');
    const made = {
      mode: S_IFREG,
      uid: 7,
      gid: 8,
      size: 9,
      xattrs: new Map(),
      digest: ascii('\0'.repeat(32)),
    };
    cache.add(HELLO, Buffer.from(inodeStatus(pathBytes(file), file).stamp, 'latin1'), made);
    cache.end(() => NO_METADATA);
    expect(cache.save()).toBeUndefined();
    expect(announced(open())).toEqual(made);
  });

  it('knows dirtrees and dirmetas by their checksums, and the commit only if it is there', () => {
    const first = open();
    const { image } = buildImage(openObjectStore(repo, { cache: first, library }), ONE);
    expect(first.save()).toBeUndefined();
    const objects = readdirSync(path.join(repo, 'objects'), { recursive: true, encoding: 'utf8' });
    const remove = (type: string) => {
      for (const name of objects) if (name.endsWith(`.${type}`)) rmSync(path.join(repo, 'objects', name));
    };
    for (const type of ['dirtree', 'dirmeta']) remove(type);
    expect(failure(() => buildImage(openObjectStore(repo), ONE)).code).toBe('object-missing');
    const again = buildImage(openObjectStore(repo, { cache: open(), library }), ONE);
    expect(Buffer.compare(again.image, image)).toBe(0);
    remove('commit');
    const store = openObjectStore(repo, { cache: open(), library });
    expect(failure(() => buildImage(store, ONE)).code).toBe('commit-missing');
  });

  it('does not keep what a parent has', () => {
    const child = path.join(folder, 'child');
    mkdirSync(path.join(child, 'objects'), { recursive: true });
    writeFileSync(path.join(child, 'config'), `[core]\nmode=archive\nparent=${repo}\n`);
    const cache = open();
    expect(announced(cache, child).size).toBe(6);
    expect(cache.save()).toBeUndefined();
    expect(existsSync(path.join(folder, 'cache'))).toBe(false);
  });
});

describe('ObjectStore in mode archive', () => {
  it('reads a regular file', () => {
    const digest = toByteString(verityDigest(utf8('hello\n'), nodeHasher));
    const owner = { mode: 0o104755, uid: 0, gid: 0, xattrs: new Map() };
    expect(openObjectStore(repo).file(HELLO)).toEqual({ ...owner, size: 6, digest });
    expect(openObjectStore(repo, { digests: 'none' }).file(HELLO)).toEqual({ ...owner, size: 6 });
  });

  it.each<[string, (file: Buffer) => Buffer]>([
    ['nothing', () => Buffer.alloc(0)],
    ['a cut size of the header', (file) => file.subarray(0, 5)],
    ['a cut header', (file) => file.subarray(0, 20)],
    ['a cut stream', (file) => file.subarray(0, file.length - 2)],
    ['no stream', (file) => file.subarray(0, 34)],
    ['a stream of fewer bytes', (file) => Buffer.concat([file.subarray(0, 34), deflateRawSync('hell\n')])],
    ['a stream of more bytes', (file) => Buffer.concat([file.subarray(0, 34), deflateRawSync('hello\n\n')])],
    [
      'a stream of very many bytes',
      (file) => Buffer.concat([file.subarray(0, 34), deflateRawSync(Buffer.alloc(1e7))]),
    ],
    ['what is no deflate stream', (file) => Buffer.concat([file.subarray(0, 34), Buffer.of(0xff, 0xff)])],
  ])('refuses %s', (_, alter) => {
    const file = objectFile(HELLO, 'filez');
    writeFileSync(file, alter(readFileSync(file)));
    const error = failure(() => openObjectStore(repo).file(HELLO));
    expect(error.code).toBe('object-size-mismatch');
    expect(error.message).toContain(file);
  });

  it('stops inflating at the size in the header', () => {
    const file = objectFile(HELLO, 'filez');
    const bomb = deflateRawSync(Buffer.alloc(1e7));
    writeFileSync(file, Buffer.concat([readFileSync(file).subarray(0, 34), bomb]));
    expect(failure(() => openObjectStore(repo).file(HELLO)).message).toContain('holds more than 6 bytes');
  });

  it('refuses a header that claims more than metadata may have', () => {
    const file = objectFile(HELLO, 'filez');
    writeFileSync(file, Buffer.concat([Buffer.of(0xff, 0xff, 0xff, 0xff), readFileSync(file).subarray(4)]));
    expect(failure(() => openObjectStore(repo).file(HELLO)).code).toBe('object-malformed');
  });

  it('makes no room for a header that is longer than the object', () => {
    const file = objectFile(HELLO, 'filez');
    const size = readFileSync(file).length;
    writeFileSync(file, Buffer.concat([Buffer.of(7, 0, 0, 0), readFileSync(file).subarray(4)]));
    expect(failure(() => openObjectStore(repo).file(HELLO)).message).toBe(
      `cannot read ${file}: its header claims ${7 * 2 ** 24 + 8} bytes of ${size}`,
    );
  });

  it('refuses a link in place of an object', () => {
    const file = objectFile(HELLO, 'filez');
    rmSync(file);
    symlinkSync('/etc/passwd', file);
    expect(failure(() => openObjectStore(repo).file(HELLO)).code).toBe('not-a-regular-file');
  });
});

describe('ObjectStore', () => {
  it.each([
    'archive',
    'bare',
    'bare-user',
    'bare-user-only',
  ])('refuses a FIFO in place of an object in mode %s, without waiting for a writer', (mode) => {
    const { root, checksum, file } = otherRepo(mode);
    const object = mode === 'archive' ? `${file}z` : file;
    execFileSync('mkfifo', [object]);
    const error = failure(() => openObjectStore(root).file(checksum));
    expect([error.code, error.message]).toEqual([
      'not-a-regular-file',
      `cannot read ${object}: not a regular file`,
    ]);
  });
});

describe('ObjectStore in mode bare-user', () => {
  it('takes owner, mode and xattrs from user.ostreemeta', () => {
    const { root, checksum, file } = otherRepo('bare-user');
    writeFileSync(file, 'content', { mode: 0o600 });
    setXattr(pathBytes(file), ascii('user.ostreemeta'), ostreeMeta(0o100644));
    const xattrs = new Map([['user.x', utf8('value')]]);
    const digest = toByteString(verityDigest(utf8('content'), nodeHasher));
    expect(openObjectStore(root).file(checksum)).toEqual({
      mode: 0o100644,
      uid: 7,
      gid: 8,
      xattrs,
      size: 7,
      digest,
    });
    truncateSync(file);
    expect(openObjectStore(root).file(checksum)).toEqual({ mode: 0o100644, uid: 7, gid: 8, xattrs, size: 0 });
  });

  it('reads a link up to the first NUL', () => {
    const { root, checksum, file } = otherRepo('bare-user');
    writeFileSync(file, 'usr/bin\0rest');
    setXattr(pathBytes(file), ascii('user.ostreemeta'), ostreeMeta(0o120777));
    expect(openObjectStore(root).file(checksum)).toMatchObject({
      mode: 0o120777,
      target: 'usr/bin',
      size: 0,
    });
    writeFileSync(file, 'usr/bin');
    expect(openObjectStore(root).file(checksum)).toMatchObject({ target: 'usr/bin' });
    // The longest that Linux has, with libostree's NUL.
    writeFileSync(file, `${'x'.repeat(4095)}\0`);
    expect(openObjectStore(root).file(checksum).target).toHaveLength(4095);
    writeFileSync(file, 'x'.repeat(4097));
    expect(failure(() => openObjectStore(root).file(checksum)).code).toBe('object-size-mismatch');
  });

  it('refuses a link in place of an object', () => {
    const { root, checksum, file } = otherRepo('bare-user');
    symlinkSync('/etc/passwd', file);
    expect(failure(() => openObjectStore(root).file(checksum)).code).toBe('not-a-regular-file');
  });

  it('refuses an object without user.ostreemeta, and with a broken one', () => {
    const { root, checksum, file } = otherRepo('bare-user');
    writeFileSync(file, '');
    expect(failure(() => openObjectStore(root).file(checksum)).code).toBe('object-malformed');
    setXattr(pathBytes(file), ascii('user.ostreemeta'), ostreeMeta(0o100644).subarray(1));
    expect(failure(() => openObjectStore(root).file(checksum)).code).toBe('gvariant-malformed');
  });
});

describe('ObjectStore in modes bare and bare-user-only', () => {
  it('takes owner, mode and xattrs from the inode', () => {
    const { root, checksum, file } = otherRepo('bare');
    writeFileSync(file, 'x', { mode: 0o644 });
    setXattr(pathBytes(file), ascii('user.name'), utf8('value'));
    const { uid, gid, mode, xattrs } = openObjectStore(root).file(checksum);
    expect([uid, gid, mode]).toEqual([process.getuid?.(), process.getgid?.(), 0o100644]);
    expect(xattrs.get(ascii('user.name'))).toEqual(utf8('value'));
    writeFileSync(path.join(root, 'config'), '[core]\nmode=bare\ndisable-xattrs=true\n');
    expect(openObjectStore(root).file(checksum).xattrs.size).toBe(0);
  });

  it.each(['bare', 'bare-user-only'])('reads a link in mode %s', (mode) => {
    const { root, checksum, file } = otherRepo(mode);
    symlinkSync(Buffer.from('zi\xebl', 'latin1'), file);
    expect(openObjectStore(root).file(checksum)).toMatchObject({
      mode: 0o120777,
      target: 'zi\xebl',
      size: 0,
    });
    // lstat says 4: the bytes of the target, which are nobody's content.
    expect(openObjectStore(root).fileSize(checksum)).toBe(0);
  });

  it('gives everything to root in mode bare-user-only', () => {
    const { root, checksum, file } = otherRepo('bare-user-only');
    writeFileSync(file, 'x', { mode: 0o755 });
    setXattr(pathBytes(file), ascii('user.name'), utf8('value'));
    expect(openObjectStore(root).file(checksum)).toMatchObject({
      mode: 0o100755,
      uid: 0,
      gid: 0,
      xattrs: new Map(),
    });
  });
});
