/** rebuild-image=yes on a disk that does not give the image: the refusal stays, and says what was missing. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildPrepareRoot } from '../../initrd/build.ts';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { libcFunction } from '../../src/adapters/libc.ts';
import { pathBytes, setXattr } from '../../src/adapters/syscalls.ts';
import { ascii, parseHex, utf8 } from '../../src/formats/encoding.ts';
import { writeImage } from '../../src/formats/erofs-write.ts';
import { verityDigest } from '../../src/formats/fsverity.ts';
import { encode, makeVariant } from '../../src/formats/gvariant.ts';
import { COMPOSEFS_DIGEST_KEY, encodeCommit, parseCommit } from '../../src/formats/ostree-objects.ts';
import { treeFromCommit } from '../../src/formats/ostree-tree.ts';
import { NO_XATTRS, S_IFDIR, S_IFREG, type TreeNode } from '../../src/formats/tree.ts';
import { commit, sha256, signed, UNTAMPERED } from '../formats/mutation-inputs.ts';
import { codeOf, makeRig, put, type Rig } from './prepare-root-rig.ts';

const VECTOR_OBJECTS = join(import.meta.dirname, '../vectors/upstream-signed/repo/objects');
const { rootTree, rootMeta } = parseCommit(commit, 'commit');

let binary = '';
let rig: Rig;

beforeAll(async () => {
  binary = await buildPrepareRoot();
});
afterEach(() => rig.remove());

/** A rig without image, and with the dirtrees and dirmetas of its commit. */
function withoutImage(policy: string): Rig {
  const conf = utf8(`[composefs]\nenabled=signed\n[sealroot]\n${policy}`);
  const stage = makeRig(binary, { ...UNTAMPERED, conf });
  unlinkSync(join(stage.deployment, '.ostree.cfs'));
  const objects = dirname(dirname(stage.object('commit')));
  for (const folder of readdirSync(VECTOR_OBJECTS)) {
    const names = readdirSync(join(VECTOR_OBJECTS, folder));
    for (const name of names.filter((one) => /\.(dirtree|dirmeta)$/.test(one))) {
      put(join(objects, folder, name), readFileSync(join(VECTOR_OBJECTS, folder, name)));
    }
  }
  return stage;
}

/** The line that refuses. */
async function refusal(): Promise<string> {
  const { status, stderr } = await rig.run();
  expect([status, codeOf(stderr)]).toEqual([1, 'image-missing']);
  return stderr;
}

async function reason(): Promise<string> {
  const stderr = await refusal();
  return /and building it again failed: (.*?); deploy/.exec(stderr)?.[1] ?? stderr;
}

describe('rebuild-image', () => {
  it.each(['', 'rebuild-image=no\n'])('is asked for by nothing but the policy: %j', async (policy) => {
    rig = withoutImage(policy);
    expect(await refusal()).not.toContain('building it again');
  });

  it('names the object that is missing, and what it was needed for', async () => {
    rig = withoutImage('rebuild-image=yes\n');
    expect(await reason()).toMatch(/^cannot open object [0-9a-f]{64}\.file: ENOENT, needed for "\/[ -~]+"$/);
    unlinkSync(rig.object('dirtree', rootTree));
    expect(await reason()).toMatch(/^cannot open .*\.dirtree: ENOENT, needed for "\/"$/);
  });

  it('parses nothing whose checksum is another', async () => {
    rig = withoutImage('rebuild-image=yes\n');
    for (const [type, checksum] of [
      ['dirtree', rootTree],
      ['dirmeta', rootMeta],
    ] as const) {
      const file = rig.object(type, checksum);
      const bytes = readFileSync(file);
      writeFileSync(file, Buffer.concat([bytes, Buffer.of(0)]));
      expect(await reason()).toMatch(`cannot use object ${checksum}.${type}: its SHA-256 is `);
      writeFileSync(file, bytes);
    }
  });

  it.each<[string, (file: string) => void, RegExp]>([
    ['a FIFO', (file) => execFileSync('mkfifo', [file]), /^cannot use object \S+: it is no file/],
    ['a directory', (file) => put(join(file, 'x'), ''), /^cannot use object \S+: it is no file/],
    ['a file without fs-verity', (file) => put(file, 'x'), /^cannot measure object \S+: E/],
  ])('refuses %s in the place of a file', async (_, make, expected) => {
    rig = withoutImage('rebuild-image=yes\n');
    const [, missing = ''] = /object ([0-9a-f]{64})\.file/.exec(await reason()) ?? [];
    put(join(dirname(rig.object('file', missing)), 'x'), '');
    make(rig.object('file', missing));
    expect(await reason()).toMatch(expected);
  });

  it.each<[string, (file: string) => void, RegExp]>([
    ['a FIFO', (file) => execFileSync('mkfifo', [file]), /^cannot read \S+: it is of type 0o10000, expected/],
    ['a directory', (file) => put(join(file, 'x'), ''), /^cannot read \S+: it is of type 0o40000, expected/],
    ['a link', (file) => symlinkSync('x', file), /^cannot open \S+: ELOOP, its path holds a link/],
    [
      'more than a dirtree can be',
      (file) => execFileSync('truncate', ['--size=129M', file]),
      /^cannot read \S+: 135266304 bytes, at most 134217728/,
    ],
  ])('refuses %s in the place of a dirtree', async (_, make, expected) => {
    rig = withoutImage('rebuild-image=yes\n');
    const file = rig.object('dirtree', rootTree);
    unlinkSync(file);
    make(file);
    expect(await reason()).toMatch(expected);
  });

  it('does not follow a link on the way to a file', async () => {
    rig = withoutImage('rebuild-image=yes\n');
    const [, missing = ''] = /object ([0-9a-f]{64})\.file/.exec(await reason()) ?? [];
    const folder = dirname(rig.object('file', missing));
    // An empty file needs no fs-verity.
    put(join(`${folder}-moved`, `${missing.slice(2)}.file`), '');
    rmSync(folder, { recursive: true, force: true });
    symlinkSync(basename(`${folder}-moved`), folder);
    expect(await reason()).toMatch(/^cannot open object [0-9a-f]{64}\.file: ELOOP, needed for /);
  });

  it('does not follow what stands in the place of the repository', async () => {
    rig = withoutImage('rebuild-image=yes\n');
    const objects = dirname(dirname(rig.object('commit')));
    cpSync(objects, `${objects}-moved`, { recursive: true });
    // The verdict needs commit and signature, so the trap is set for the dirtree's folder only.
    const folder = dirname(rig.object('dirtree', rootTree));
    rmSync(folder, { recursive: true });
    execFileSync('ln', ['-s', `../objects-moved/${rootTree.slice(0, 2)}`, folder]);
    expect(await reason()).toMatch(/its path holds a link/);
  });

  it('does not follow a link on the way to a file, either', async () => {
    rig = withoutImage('rebuild-image=yes\n');
    const [, missing = ''] = /object ([0-9a-f]{64})\.file/.exec(await reason()) ?? [];
    const folder = dirname(rig.object('file', missing));
    put(join(rig.sysroot, 'ostree/repo/objects/elsewhere', `${missing.slice(2)}.file`), 'x');
    if (existsSync(folder)) renameSync(folder, `${folder}-moved`);
    symlinkSync('elsewhere', folder);
    expect(await reason()).toMatch(/^cannot open object [0-9a-f]{64}\.file: ELOOP/);
  });
});

/** A commit of one folder of empty files, all of them one object, and of folders with one more each; and its objects. */
function folderOf(files: number, xattrs: TreeNode['xattrs'] = NO_XATTRS, folders = 0) {
  const empty = 'ab'.repeat(32);
  const numbered = <T>(name: string, count: number, value: (i: number) => T) =>
    Array.from({ length: count }, (_, i) => [ascii(`${name}-${i}`), value(i)] as const).sort(([a], [b]) =>
      a < b ? -1 : 1,
    );
  const bigEndianMode = new DataView(Uint32Array.of(S_IFDIR | 0o755).buffer).getUint32(0, false);
  const dirMeta = encode('(uuua(ayay))', [0, 0, bigEndianMode, []]);
  const meta = sha256(dirMeta);
  const file = () => parseHex(empty, 'file');
  const dirTrees = new Map<string, Uint8Array>();
  const dirTree = (bytes: Uint8Array) => {
    const checksum = sha256(bytes);
    dirTrees.set(checksum, bytes);
    return checksum;
  };
  const below = numbered('folder', folders, (i) =>
    dirTree(encode('(a(say)a(sayay))', [[[ascii(`file-${i}`), file()]], []])),
  );
  const tree = dirTree(
    encode('(a(say)a(sayay))', [
      numbered('file', files, file),
      below.map(([name, sum]) => [name, parseHex(sum, 'dirtree'), parseHex(meta, 'dirmeta')] as const),
    ]),
  );
  const parsed = { ...parseCommit(commit), rootTree: tree, rootMeta: meta };
  const read = { mode: S_IFREG | 0o644, uid: 0, gid: 0, size: 0, xattrs };
  const source = {
    dirTree: (checksum: string) => dirTrees.get(checksum) as Uint8Array,
    dirMeta: () => dirMeta,
    file: () => read,
  };
  const digest = verityDigest(writeImage(treeFromCommit(parsed, source)), nodeHasher);
  const metadata = new Map(parsed.metadata).set(COMPOSEFS_DIGEST_KEY, makeVariant('ay', digest));
  const objects = [
    ...[...dirTrees].map(([checksum, bytes]) => ['dirtree', checksum, bytes] as const),
    ['dirmeta', meta, dirMeta],
    ['file', empty, ''],
  ] as const;
  return { inputs: signed(encodeCommit({ ...parsed, metadata })), objects };
}

/** Of a folder; the file has these xattrs. */
async function requireRebuilt(files: number, xattrs?: TreeNode['xattrs'], folders?: number): Promise<void> {
  const conf = utf8('[composefs]\nenabled=signed\n[sealroot]\nrebuild-image=yes\n');
  const { inputs, objects } = folderOf(files, xattrs, folders);
  rig = makeRig(binary, { ...UNTAMPERED, ...inputs, conf });
  unlinkSync(join(rig.deployment, '.ostree.cfs'));
  for (const [type, checksum, bytes] of objects) {
    const path = rig.object(type, checksum);
    put(path, bytes);
    if (type === 'file') for (const [name, value] of xattrs ?? []) setXattr(pathBytes(path), name, value);
  }
  const { status, stdout, stderr } = await rig.run('socket', ['--plan', '/sysroot']);
  expect(status, stderr).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ rebuiltFor: { code: 'image-missing' } });
}

const inotifyInit = libcFunction<number>('int inotify_init1(int)');
const inotifyAddWatch = libcFunction<number>('int inotify_add_watch(int, str, uint32_t)');
const [IN_CLOSE_NOWRITE, IN_OPEN] = [0x10, 0x20];
/** struct inotify_event without a name: s32 watch, u32 mask, cookie, length. */
const INOTIFY_EVENT_BYTES = 16;

/** From now on until the result is called, how often a file is opened. The kernel makes one of two same events in a row. */
function watchOpens(file: string): () => number {
  const fd = inotifyInit(constants.O_NONBLOCK);
  expect(inotifyAddWatch(fd, file, IN_OPEN | IN_CLOSE_NOWRITE)).toBeGreaterThan(0);
  return () => {
    const events = Buffer.alloc(1000 * INOTIFY_EVENT_BYTES);
    const length = readSync(fd, events);
    closeSync(fd);
    let opens = 0;
    for (let at = 0; at < length; at += INOTIFY_EVENT_BYTES) {
      if ((events.readUInt32LE(at + 4) & IN_OPEN) !== 0) opens++;
    }
    return opens;
  };
}

describe('a rebuild', () => {
  it('is tried once for all the deployments of a commit', async () => {
    const conf = utf8(
      '[composefs]\nenabled=signed\n[sealroot]\nrebuild-image=yes\non-failure=next-deployment\n',
    );
    const { inputs, objects } = folderOf(100);
    rig = makeRig(binary, { ...UNTAMPERED, ...inputs, conf });
    unlinkSync(join(rig.deployment, '.ostree.cfs'));
    for (const [type, checksum, bytes] of objects) put(rig.object(type, checksum), bytes);
    // Seen when all is read, since the digest is another then.
    const file = rig.object('file', 'ab'.repeat(32));
    chmodSync(file, 0o600);
    const refusals = async (): Promise<{ lines: number; reads: number }> => {
      const opens = watchOpens(file);
      const { status, stderr } = await rig.run();
      expect(status, stderr).toBe(1);
      const lines = stderr.match(/building it again failed: the digest of the image built/g) ?? [];
      return { lines: lines.length, reads: opens() };
    };
    // One line says why the boot is refused in the end.
    expect(await refusals()).toEqual({ lines: 2, reads: 1 });
    for (let serial = 1; serial < 32; serial++) mkdirSync(rig.deployment.replace(/0$/, `${serial}`));
    expect(await refusals()).toEqual({ lines: 33, reads: 1 });
  });

  it('has more memory than other boots', async () => {
    await requireRebuilt(90_000);
  });

  it('closes what it has read: a process may have 1,024 files open', async () => {
    await requireRebuilt(1, undefined, 1_100);
  });

  it.each([511, 512, 513, 1500])('takes xattrs with lists and values of %i bytes', async (bytes) => {
    const value = new Uint8Array(bytes).map((_, i) => i);
    // A list has a NUL behind each name.
    const names = Array.from({ length: Math.floor(bytes / 64) - 1 }, (_, i) => `user.${i}-`.padEnd(63, 'x'));
    names.push('user.'.padEnd(bytes - 64 * names.length - 1, 'y'));
    const empty = names.map((name) => [ascii(name), new Uint8Array(0)] as const);
    await requireRebuilt(1, new Map([...empty.slice(0, -1), [ascii(names.at(-1) ?? ''), value]]));
  });
});
