import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pathBytes } from '../../src/adapters/syscalls.ts';
import { readPieces } from '../../src/adapters/whole-file.ts';

const KIB = 1024;
const PIECE = 256 * KIB;

let folder = '';
let file = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'sealroot-pieces-'));
  file = path.join(folder, 'file');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Piece {
  readonly bytes: Buffer;
  readonly isLast: boolean;
}

/** What is given to someone who uses of each piece what `used` says. */
function piecesOf(name: string, used: (bytes: number) => number): Piece[] {
  const pieces: Piece[] = [];
  const fd = openSync(name, 'r');
  try {
    readPieces(fd, pathBytes(name), (bytes, isLast) => {
      pieces.push({ bytes: Buffer.from(bytes), isLast });
      return used(bytes.length);
    });
  } finally {
    closeSync(fd);
  }
  return pieces;
}

/** Bytes that no two places have in common. */
function content(bytes: number): Buffer {
  return Buffer.from(Uint32Array.from({ length: Math.ceil(bytes / 4) }, (_, i) => i).buffer, 0, bytes);
}

describe('readPieces()', () => {
  it.each([0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 7])('gives all of %i bytes once', (size) => {
    const bytes = content(size);
    writeFileSync(file, bytes);
    const pieces = piecesOf(file, (length) => length);
    expect(Buffer.concat(pieces.map((piece) => piece.bytes)).equals(bytes)).toBe(true);
    expect(pieces.map(({ isLast }) => isLast)).toEqual(pieces.map((_, i) => i === pieces.length - 1));
  });

  it('gives again what was not used, with what is behind it', () => {
    const bytes = content(3 * PIECE);
    writeFileSync(file, bytes);
    let from = 0;
    for (const { bytes: piece } of piecesOf(file, (length) => Math.min(length, 1000))) {
      expect(piece.equals(bytes.subarray(from, from + piece.length))).toBe(true);
      from += Math.min(piece.length, 1000);
    }
  });

  it('gives twice as much each time when nothing is used, up to 512 MiB', () => {
    writeFileSync(file, '');
    truncateSync(file, 512 * KIB * KIB + 1);
    const sizes: number[] = [];
    const fd = openSync(file, 'r');
    const use = (bytes: Uint8Array) => {
      sizes.push(bytes.length);
      return 0;
    };
    expect(() => readPieces(fd, pathBytes(file), use)).toThrow(
      'cannot read input: more than 536870912 bytes',
    );
    closeSync(fd);
    expect(sizes).toEqual(Array.from({ length: 12 }, (_, i) => PIECE * 2 ** i));
  });

  it('waits for as much as a pipe gives', async () => {
    execFileSync('mkfifo', [file]);
    const lines = 'for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.01; done';
    const writer = spawn('sh', ['-c', `exec >"$0"; ${lines}`, file]);
    const ended = new Promise((resolve) => writer.once('exit', resolve));
    expect(piecesOf(file, (length) => length)).toEqual([
      { bytes: Buffer.from('1\n2\n3\n4\n5\n6\n7\n8\n9\n'), isLast: true },
    ]);
    expect(await ended).toBe(0);
  });
});
