import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BLOCK_BYTES, changedBlocks, restoreBlocks, runsOf } from '../../vm-tests/disk-changes.ts';

let folder: string;
let original: string;
let copy: string;

/** Three blocks of data at the beginning, and a hole up to 64 MiB. */
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealroot-blocks-'));
  original = join(folder, 'original');
  copy = join(folder, 'copy');
  writeFileSync(original, Buffer.alloc(3 * BLOCK_BYTES, 'a'));
  truncateSync(original, 64 << 20);
  copyFileSync(original, copy);
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(at: number, text: string): void {
  restoreBlocks(copy, [{ number: at, former: Buffer.alloc(BLOCK_BYTES, text), changed: Buffer.alloc(0) }]);
}

describe('changedBlocks()', () => {
  it('finds nothing in an equal copy', () => {
    expect(changedBlocks(original, copy)).toEqual([]);
  });

  it('finds changes in data and in holes, with what was there, and restoreBlocks() takes them back', () => {
    for (const number of [1, 2, 9000, 16383]) write(number, 'b');
    const blocks = changedBlocks(original, copy);
    expect(blocks.map(({ number }) => number)).toEqual([1, 2, 9000, 16383]);
    expect(blocks.map(({ former }) => former[0])).toEqual([0x61, 0x61, 0, 0]);
    expect(blocks.every(({ changed }) => changed.equals(Buffer.alloc(BLOCK_BYTES, 'b')))).toBe(true);
    restoreBlocks(copy, blocks);
    expect(readFileSync(copy).equals(readFileSync(original))).toBe(true);
  });
});

describe('runsOf()', () => {
  it('puts neighbours together', () => {
    for (const number of [0, 1, 2, 5, 7, 8]) write(number, 'b');
    const runs = runsOf(changedBlocks(original, copy));
    expect(runs.map((run) => run.map(({ number }) => number))).toEqual([[0, 1, 2], [5], [7, 8]]);
  });
});
