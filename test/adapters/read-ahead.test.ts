import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { JobRing } from '../../src/adapters/job-ring.ts';
import type { StoredFile } from '../../src/adapters/object-file.ts';
import { type ObjectStore, openObjectStore } from '../../src/adapters/object-store.ts';
import { ReadAhead, type ReaderTask, type ReadTask } from '../../src/adapters/read-ahead.ts';
import { pathBytes, setXattr } from '../../src/adapters/syscalls.ts';
import { concatBytes } from '../../src/formats/bytes.ts';
import { ascii, type ByteString, hex } from '../../src/formats/encoding.ts';
import { buildVerityTree } from '../../src/formats/fsverity.ts';
import { bundleProgram } from '../../tools/bundle.ts';

/** Around the borders of one, two and three levels of a Merkle tree. */
const SIZES = [0, 1, 4095, 4096, 4097, 8192, 128 * 4096, 128 * 4096 + 1];
const COUNT = 400;

const BUNDLE = path.join(import.meta.dirname, `../../.cache/cli/${process.pid}`);

let repo = '';
const checksums: ByteString[] = [];
/** Does not fit a slot, so only the caller can read it. */
let large = ascii('');
const MISSING = ascii('ff'.repeat(32));

function objectFile(checksum: string): string {
  return path.join(repo, 'objects', checksum.slice(0, 2), `${checksum.slice(2)}.file`);
}

/** A file object under a made-up checksum, which nothing here looks at. */
function add(write: (file: string) => void): ByteString {
  const checksum = ascii(hex(nodeHasher.sha256(Buffer.from(String(checksums.length)))));
  mkdirSync(path.dirname(objectFile(checksum)), { recursive: true });
  write(objectFile(checksum));
  checksums.push(checksum);
  return checksum;
}

function content(size: number): Buffer {
  return Buffer.alloc(size, `${size} bytes `);
}

beforeAll(() => {
  repo = mkdtempSync(path.join(tmpdir(), 'sealroot-ahead-'));
  writeFileSync(path.join(repo, 'config'), '[core]\nrepo_version=1\nmode=bare\n');
  for (const size of SIZES) add((file) => writeFileSync(file, content(size), { mode: 0o640 }));
  add((file) => symlinkSync('a/target', file));
  const attribute = (file: string, bytes: number): void => {
    writeFileSync(file, 'x');
    setXattr(pathBytes(file), ascii('user.one'), Buffer.alloc(bytes, 1));
    setXattr(pathBytes(file), ascii('user.two'), Buffer.from([0, 255]));
  };
  add((file) => attribute(file, 100));
  large = add((file) => attribute(file, 300));
  while (checksums.length < COUNT) add((file) => writeFileSync(file, String(checksums.length)));
});
afterAll(() => {
  for (const folder of [repo, BUNDLE]) rmSync(folder, { recursive: true, force: true });
});

function store(keepTrees: boolean): ObjectStore {
  return openObjectStore(repo, { threads: 0, keepTrees });
}

/** For comparing: a Buffer is not equal to the Uint8Array of the same bytes. */
function plain(file: StoredFile | undefined): unknown {
  const text = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString('hex');
  if (file === undefined) return undefined;
  const { digest, tree, xattrs, ...rest } = file;
  const entries = [...xattrs].map(([name, value]) => [name, text(value)]);
  return {
    ...rest,
    xattrs: entries,
    digest: text(digest),
    root: text(tree?.rootHash),
    blocks: text(tree?.blocks),
  };
}

function objectsTask(): ReadTask {
  return { kind: 'objects', repo, digests: 'compute', keepTrees: true, algorithm: 'sha256' };
}

const ALL_TREES =
  SIZES.reduce((sum, size) => sum + JobRing.treeBytes(size), 0) + COUNT * JobRing.treeBytes(1);

describe('the program of the threads', () => {
  it('reads what is published, trees included, and ends when the ring is closed', async () => {
    await bundleProgram(BUNDLE);
    const ring = new JobRing(COUNT + 1, ALL_TREES);
    const { slots, memory } = ring;
    const workerData: ReaderTask = { task: objectsTask(), slots, treeBytes: ALL_TREES, memory };
    const worker = new Worker(path.join(BUNDLE, 'file-reader.js'), { workerData });
    await new Promise((resolve) => worker.once('online', resolve));
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    const all = [MISSING, ...checksums];
    // The first half one by one, so that the thread sleeps in between.
    for (const [i, checksum] of all.slice(0, COUNT / 2).entries()) {
      ring.publish(checksum);
      while (!ring.isDone(i)) ring.waitUntilDone(i);
    }
    for (const checksum of all.slice(COUNT / 2)) ring.publish(checksum);
    const direct = store(true);
    for (const [i, checksum] of all.entries()) {
      while (!ring.isDone(i)) ring.waitUntilDone(i);
      const known = checksum !== MISSING && checksum !== large;
      expect(plain(ring.result(i)), checksum).toEqual(known ? plain(direct.file(checksum)) : undefined);
    }
    expect(ring.take()).toBeUndefined();
    ring.close();
    expect(await ended).toBe(0);
  });
});

describe('JobRing', () => {
  it('hands out each job that is published once, and none before', () => {
    const ring = new JobRing(2, 0);
    expect(ring.take()).toBeUndefined();
    for (const name of [ascii('a'), ascii('b')]) ring.publish(name);
    expect([ring.take(), ring.take(), ring.take()]).toEqual([0, 1, undefined]);
  });
});

describe('a slot of a JobRing', () => {
  const REST = { mode: 0o100644, uid: 1, gid: 2, size: 0 };
  /** What comes out when this was read. */
  function passed(file: StoredFile, treeBytes = 0): StoredFile | undefined {
    const ring = new JobRing(2, treeBytes);
    for (const name of [ascii('a'), ascii('b')]) ring.publish(name);
    const job = ring.take() ?? -1;
    ring.work(job, () => file);
    // Whatever happens to the slot, the next one is not touched.
    expect([job, ring.isDone(1), ring.name(1)]).toEqual([0, false, 'b']);
    return ring.result(job);
  }

  it('holds xattrs and target up to its end, and nothing of what is longer', () => {
    // 248 bytes, of which lengths of name and value take four.
    const xattr = (size: number): StoredFile => ({
      ...REST,
      xattrs: new Map([[ascii('user.a'), new Uint8Array(size).fill(7)]]),
    });
    const target = (size: number): StoredFile => ({ ...xattr(8), target: ascii('t'.repeat(size)) });
    for (const file of [xattr(238), target(230)]) expect(plain(passed(file))).toEqual(plain(file));
    for (const file of [xattr(239), target(231)]) expect(passed(file)).toBeUndefined();
  });

  it('holds a tree for which there is room, and no more', () => {
    const tree = { rootHash: new Uint8Array(32).fill(1), blocks: new Uint8Array(4096).fill(2) };
    const file: StoredFile = { ...REST, xattrs: new Map(), tree };
    expect(plain(passed(file, 4096 + 32))).toEqual(plain(file));
    expect(passed(file, 4096)).toBeUndefined();
  });
});

describe('ReadAhead', () => {
  function readAhead(slots: number, treeBytes: number): { ahead: ReadAhead; reads: string[] } {
    const direct = store(true);
    const reads: string[] = [];
    const options = { task: objectsTask(), slots, treeBytes, threads: 0 };
    const read = (checksum: string) => {
      reads.push(checksum);
      return direct.file(checksum);
    };
    return { ahead: new ReadAhead(options, read), reads };
  }

  it('answers as the store itself does, with more files than slots, and reads each once', () => {
    const { ahead, reads } = readAhead(64, ALL_TREES);
    for (const checksum of [...checksums, ...checksums]) ahead.announce(checksum);
    const direct = store(true);
    for (const checksum of checksums)
      expect(plain(ahead.file(checksum))).toEqual(plain(direct.file(checksum)));
    const twice = reads.filter((checksum, i) => reads.indexOf(checksum) !== i);
    expect(twice.filter((checksum) => checksum !== large)).toEqual([]);
    ahead.close();
  });

  it('answers in any order, and for files that were not announced', () => {
    const { ahead } = readAhead(16, 0);
    const [first = MISSING, second = MISSING, third = MISSING] = checksums.slice(3);
    ahead.announce(first);
    ahead.announce(second);
    const direct = store(true);
    for (const checksum of [third, second, first])
      expect(plain(ahead.file(checksum))).toEqual(plain(direct.file(checksum)));
  });

  it('leaves a file whose name fits no slot to the caller', () => {
    const long = ascii('x'.repeat(285));
    const names: string[] = [];
    const read = (name: string) => {
      names.push(name);
      return store(false).file(checksums[0] as string);
    };
    const ahead = new ReadAhead({ task: objectsTask(), slots: 1, treeBytes: 0, threads: 0 }, read);
    // With one slot the second of what was published would wait for the first.
    for (const name of [long, MISSING]) ahead.announce(name);
    expect(names).toEqual([]);
    ahead.file(long);
    expect(names).toEqual([long]);
  });

  it('throws what the store throws, when the file is asked for and not before', () => {
    const { ahead } = readAhead(2, 0);
    for (const checksum of [MISSING, ...checksums.slice(0, 8)]) ahead.announce(checksum);
    expect(ahead.file(checksums[7] as ByteString).size).toBe(128 * 4096 + 1);
    expect(() => ahead.file(MISSING)).toThrow(`cannot read object ${MISSING}.file: not in repository`);
  });
});

describe('the Merkle trees of a store', () => {
  it.each(SIZES.slice(1).map((size, i) => [size, i + 1] as const))('of %i bytes', (size, i) => {
    const { rootHash, levels } = buildVerityTree(content(size), nodeHasher);
    const { tree } = store(true).file(checksums[i] as string);
    expect(Buffer.compare(tree?.rootHash ?? Buffer.of(), rootHash)).toBe(0);
    expect(Buffer.compare(tree?.blocks ?? Buffer.of(), concatBytes(levels.toReversed()))).toBe(0);
    expect(JobRing.treeBytes(size)).toBe(32 + levels.reduce((sum, level) => sum + level.length, 0));
  });

  it('are not kept unless they are asked for', () => {
    expect(store(false).file(checksums[5] as string)).not.toHaveProperty('tree');
  });
});
