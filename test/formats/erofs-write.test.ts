import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { nodeHasher } from '../../src/adapters/hasher.ts';
import { parseDump } from '../../src/formats/dump-read.ts';
import { ascii, hex, toByteString } from '../../src/formats/encoding.ts';
import { chunkBits, chunkCount, splitXattrName, xxh32 } from '../../src/formats/erofs-layout.ts';
import { checkImage, readImage } from '../../src/formats/erofs-read.ts';
import { writeImage } from '../../src/formats/erofs-write.ts';
import { verityDigest } from '../../src/formats/fsverity.ts';
import { formatDump } from './format-dump.ts';
import { FIXTURE_IMAGE_SHA256, FIXTURE_IMAGE_VERITY, fixtureImage } from './image-fixture.ts';

function imageOf(lines: string, options = {}): Uint8Array {
  return writeImage(parseDump(Buffer.from(lines, 'latin1')), options);
}

function versionOf(image: Uint8Array): number {
  return new DataView(image.buffer).getUint32(12, true);
}

const ROOT = '/ 0 40755 2 0 0 0 0.0 - - -\n';
const WHITEOUT = '/w 0 20644 1 0 0 0 0.0 - - -\n';

describe('writeImage()', () => {
  it('writes the bytes of mkcomposefs', () => {
    const image = fixtureImage();
    expect(createHash('sha256').update(image).digest('hex')).toBe(FIXTURE_IMAGE_SHA256);
    expect(hex(verityDigest(image, nodeHasher))).toBe(FIXTURE_IMAGE_VERITY);
  });

  it('uses format version 1 only for a whiteout, and only if allowed', () => {
    expect(versionOf(imageOf(ROOT))).toBe(0);
    expect(versionOf(imageOf(ROOT + WHITEOUT))).toBe(1);
    expect(versionOf(imageOf(ROOT + WHITEOUT, { maxVersion: 0 }))).toBe(0);
    expect(versionOf(imageOf(ROOT, { minVersion: 1 }))).toBe(1);
    expect(versionOf(imageOf(ROOT, { minVersion: 1, maxVersion: 0 }))).toBe(1);
  });

  it('does not depend on the order in which a tree was made', () => {
    const a = '/a 1 100644 1 0 0 0 0.0 x - -\n';
    const b = '/b 0 40755 2 0 0 0 0.0 - - - user.a=1 user.b=2\n';
    const swapped = b.replace('user.a=1 user.b=2', 'user.b=2 user.a=1');
    expect(imageOf(ROOT + a + b)).toEqual(imageOf(ROOT + swapped + a));
  });

  it('takes the size of a directory from its entries, whatever its node says', () => {
    const line = (size: number) => `${ROOT}/d ${size} 40755 2 70000 0 0 0.0 - - -\n`;
    expect(imageOf(line(5_000_000_000))).toEqual(imageOf(line(0)));
  });

  it('shares the digests and paths that several files have, and no others, also when all look alike', () => {
    // In the tables that find them, all of these begin at the same place.
    const digits = (i: number) => (i * 32768).toString(16).padStart(8, '0');
    const digest = (i: number) => `00${(i & 31).toString(16)}0${(i >> 5).toString(16).padStart(2, '0')}`;
    let files = '';
    for (let i = 0; i < 500; i++) {
      for (const name of i % 3 === 0 ? [`${i}`, `${i}-again`] : [`${i}`]) {
        files += `/${name} 9 100644 1 0 0 0 0.0 ab/${digits(i)}.file - ${digest(i).padEnd(64, '1')}\n`;
      }
    }
    const image = imageOf(ROOT + files);
    expect(checkImage(image, 10).findings).toEqual([]);
    const [, ...read] = toByteString(formatDump(readImage(image))).split('\n');
    expect(read.sort()).toEqual(files.split('\n').sort());
  });

  it('makes the same image where it is told that paths have digests, in whatever mixture', () => {
    const paths = ['-', ...Array.from({ length: 90 }, (_, i) => `ab/${'c'.repeat(i % 3)}${10 + i}.file`)];
    // Of a path always the same; some have those of others, some none, some that of SHA-512.
    const digestOf = (path: number) => {
      const first = 10_000_000 + 7919 * (path % 2 === 0 ? path % 11 : path);
      return path % 7 === 6 ? '-' : `${first}`.padEnd(path % 7 === 5 ? 128 : 64, '0');
    };
    const labels = ['', ' user.a=1', ' security.selinux=x', ' security.selinux=x user.b=22', ' zz.behind=1'];
    let seed = 1;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % below;
    };
    for (let run = 0; run < 20; run++) {
      let files = '';
      for (let i = 0; i < 60; i++) {
        const path = random(paths.length);
        const file =
          random(9) === 0
            ? '0 100644 1 0 0 0 0.0 - - -'
            : `9 100644 1 0 0 0 0.0 ${paths[path]} - ${digestOf(path)}`;
        files += `/${i} ${file}${labels[random(labels.length)]}\n`;
      }
      const image = imageOf(ROOT + files);
      expect(imageOf(ROOT + files, { pathsHaveDigests: true })).toEqual(image);
      expect(checkImage(image, 10).findings).toEqual([]);
      const [, ...read] = toByteString(formatDump(readImage(image))).split('\n');
      expect(read.sort()).toEqual(files.split('\n').sort());
    }
  });

  it('refuses an xattr that libcomposefs cannot replace', () => {
    // Its account of a node's xattrs starts at zero, so replacing a longer value would make it negative.
    const line = WHITEOUT.replace('\n', ` user.overlay.whiteout=${'v'.repeat(99)}\n`);
    expect(() => imageOf(ROOT + line)).toThrow('no space to set xattr user.overlay.whiteout (-60 bytes)');
  });

  it('refuses a tree that no longer is what was validated', () => {
    const tree = parseDump(
      Buffer.from(`${ROOT}/a 0 100644 1 0 0 0 0.0 - - -\n/h 0 @100644 0 0 0 0 0.0 /a - -\n`),
    );
    tree.children?.delete(ascii('a'));
    expect(() => writeImage(tree)).toThrow('cannot write image: tree has changed');
  });
});

describe('chunkBits()', () => {
  it.each([
    [1, 12, 1],
    [4096, 12, 1],
    [4097, 13, 1],
    [2 ** 20, 20, 1],
    [2 ** 20 + 1, 21, 1],
    [2 ** 31, 31, 1],
    [2 ** 32, 32, 1],
    [2 ** 32 + 1, 33, 1],
    [2 ** 33 + 1, 34, 1],
    [2 ** 43, 43, 1],
    [2 ** 43 + 1, 43, 2],
    [2 ** 53, 43, 1024],
  ])('covers %i bytes with chunks of 2^%i', (size, bits, count) => {
    expect([chunkBits(size), chunkCount(size)]).toEqual([bits, count]);
  });
});

describe('xxh32()', () => {
  // Test vectors of the xxHash specification's reference implementation.
  it.each([
    ['', 0, 0x02cc5d05],
    ['a', 0, 0x550d7456],
    ['abc', 0, 0x32d153ff],
    ['Nobody inspects the spammish repetition', 0, 0xe2293b2f],
  ])('hashes %j', (text, seed, hash) => {
    expect(xxh32(ascii(text), seed)).toBe(hash);
  });
});

describe('splitXattrName()', () => {
  it.each([
    ['user.a', 1, 'a'],
    ['system.posix_acl_access', 2, ''],
    ['system.posix_acl_accessfoo', 2, 'foo'],
    ['trusted.overlay.x', 4, 'overlay.x'],
    ['security.selinux', 6, 'selinux'],
    ['lustre.x', 0, 'lustre.x'],
  ])('stores %s under its prefix', (key, index, suffix) => {
    expect(splitXattrName(ascii(key))).toEqual({ index, suffix });
  });
});
