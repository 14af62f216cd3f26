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
    for (const checksum of [MISSING, ...checksums]) ring.publish(checksum);
    const direct = store(true);
    for (const [i, checksum] of [MISSING, ...checksums].entries()) {
      while (!ring.isDone(i)) ring.waitUntilDone(i);
      const known = checksum !== MISSING && checksum !== large;
      expect(plain(ring.result(i)), checksum).toEqual(known ? plain(direct.file(checksum)) : undefined);
    }
    expect(ring.take()).toBeUndefined();
    ring.close();
    expect(await ended).toBe(0);
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
