/**
 * The reader beside the kernel's own: an image of which the kernel says that it is broken must never pass our gates.
 * Mounts in a mount namespace of its own; needs root.
 */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkImage } from '../../src/formats/erofs-read.ts';
import { fixtureImage } from '../formats/image-fixture.ts';
import { MUTATIONS } from '../formats/image-mutations.ts';

const FLIPS = 300;

/** Mounts each image, walks it (`ls -l` asks for xattrs, too), reads the files, and says what became of it. */
const WALK = `
mkdir mount
for i in $(seq 0 $(($1 - 1))); do
  if mount -t erofs -o ro,loop $i.cfs mount 2>/dev/null; then
    if ls -lR mount >/dev/null 2>error &&
      find mount -type f -exec head -qc 65536 {} + >/dev/null 2>>error && [ ! -s error ]
    then echo fine; else echo broken; fi
    umount mount
  else echo refused; fi
done`;

let work = '';

beforeAll(() => {
  work = mkdtempSync(path.join(tmpdir(), 'sealroot-reader-'));
});

afterAll(() => rmSync(work, { recursive: true, force: true }));

function kernelSays(images: readonly Uint8Array[]): string[] {
  const folder = mkdtempSync(path.join(work, 'images-'));
  for (const [i, image] of images.entries()) writeFileSync(path.join(folder, `${i}.cfs`), image);
  const namespace = ['--mount', '--propagation', 'private'];
  const argv = [...namespace, 'sh', '-c', WALK, 'sh', String(images.length)];
  return execFileSync('unshare', argv, { cwd: folder, timeout: 240_000 }).toString().trim().split('\n');
}

function flipped(image: Uint8Array, seed: number): Uint8Array {
  const bytes = image.slice();
  const random = Math.imul(seed + 1, 0x9e3779b1) >>> 0;
  const at = random % image.length;
  bytes[at] = (bytes[at] ?? 0) ^ (1 << (random >>> 29));
  return bytes;
}

describe('the kernel', () => {
  it('finds nothing in an image that we do not find', () => {
    const image = fixtureImage();
    const mutated = MUTATIONS.map(([, change]) => {
      const bytes = image.slice();
      change(new DataView(bytes.buffer), bytes);
      return bytes;
    });
    const images = [image, ...mutated, ...Array.from({ length: FLIPS }, (_, i) => flipped(image, i))];
    const verdicts = kernelSays(images);
    expect(verdicts).toHaveLength(images.length);
    expect(verdicts[0]).toBe('fine');
    const missed = images.filter((bytes, i) => verdicts[i] !== 'fine' && checkImage(bytes, 1).count === 0);
    expect(missed).toEqual([]);
    expect(verdicts.filter((verdict) => verdict === 'refused').length).toBeGreaterThan(3);
    expect(verdicts.filter((verdict) => verdict === 'broken').length).toBeGreaterThan(10);
  });
});
