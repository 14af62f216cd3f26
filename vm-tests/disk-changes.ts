/**
 * In which blocks a disk differs from the one that it is a copy of: so that a guest can make the change, and take it
 * back, without a disk of its own for each change.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { libcFunction } from '../src/adapters/libc.ts';

export const BLOCK_BYTES = 4096;
const CHUNK_BYTES = 1 << 20;

export interface ChangedBlock {
  /** Counted from the beginning of the disk. */
  readonly number: number;
  readonly former: Buffer;
  readonly changed: Buffer;
}

/** `copy` is sparse; only where it holds data it can differ, for nothing punches holes into it. */
export function changedBlocks(original: string, copy: string): ChangedBlock[] {
  return withFile(original, 'r', (before) => withFile(copy, 'r', (after) => compare(before, after)));
}

/** The copy is its original again. */
export function restoreBlocks(copy: string, blocks: readonly ChangedBlock[]): void {
  withFile(copy, 'r+', (file) => {
    for (const { number, former } of blocks) writeSync(file, former, 0, BLOCK_BYTES, number * BLOCK_BYTES);
  });
}

/** Those that lie side by side together. */
export function runsOf(blocks: readonly ChangedBlock[]): ChangedBlock[][] {
  const runs: ChangedBlock[][] = [];
  for (const block of blocks) {
    const run = runs.at(-1);
    if (run?.at(-1)?.number === block.number - 1) run.push(block);
    else runs.push([block]);
  }
  return runs;
}

function compare(before: number, after: number): ChangedBlock[] {
  const blocks: ChangedBlock[] = [];
  const former = Buffer.alloc(CHUNK_BYTES);
  const changed = Buffer.alloc(CHUNK_BYTES);
  for (const [start, end] of dataRanges(after)) {
    for (let at = start; at < end; at += CHUNK_BYTES) {
      const length = Math.min(CHUNK_BYTES, end - at);
      readSync(before, former, 0, length, at);
      readSync(after, changed, 0, length, at);
      if (former.compare(changed, 0, length, 0, length) === 0) continue;
      for (let offset = 0; offset < length; offset += BLOCK_BYTES) {
        const [old, own] = [blockAt(former, offset), blockAt(changed, offset)];
        if (!old.equals(own)) blocks.push({ number: (at + offset) / BLOCK_BYTES, former: old, changed: own });
      }
    }
  }
  return blocks;
}

/** A copy: the chunk is used again. */
function blockAt(chunk: Buffer, offset: number): Buffer {
  return Buffer.from(chunk.subarray(offset, offset + BLOCK_BYTES));
}

const lseek = libcFunction('int64_t lseek(int fd, int64_t offset, int whence)');
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** Where a file holds data, in multiples of its file system's blocks. */
function* dataRanges(file: number): Generator<[start: number, end: number]> {
  for (let end = 0; ; ) {
    const start = Number(lseek(file, end, SEEK_DATA));
    // ENXIO: only a hole is left.
    if (start < 0) return;
    end = Number(lseek(file, start, SEEK_HOLE));
    yield [start, end];
  }
}

function withFile<T>(name: string, flags: string, action: (file: number) => T): T {
  const file = openSync(name, flags);
  try {
    return action(file);
  } finally {
    closeSync(file);
  }
}
