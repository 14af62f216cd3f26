import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dumpImage } from '../../src/formats/dump.ts';
import { parseDump } from '../../src/formats/dump-read.ts';
import { ascii, type ByteString, fromByteString, hex } from '../../src/formats/encoding.ts';
import { findingText } from '../../src/formats/erofs-findings.ts';
import { layoutImage } from '../../src/formats/erofs-places.ts';
import { type ImagePlan, planImage } from '../../src/formats/erofs-plan.ts';
import { checkImage, imageObjects, readImage } from '../../src/formats/erofs-read.ts';
import { emitImage, writeImage } from '../../src/formats/erofs-write.ts';
import { SealrootError } from '../../src/formats/errors.ts';
import { MAX_DEPTH, type TreeNode, type validateTree } from '../../src/formats/tree.ts';
import { randomDump } from '../oracles/random-dump.ts';
import { type CraftedInode, craftedInodes, planOf } from './crafted-plan.ts';
import { BACKING, DIGEST, FIXTURE_DUMP, fixtureImage, fixtureTree, locate } from './image-fixture.ts';
import { MUTATIONS } from './image-mutations.ts';
import { rewriteImage } from './rewrite-image.ts';

const image = fixtureImage();

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

type Craft = [
  what: string,
  change: (inodes: CraftedInode[], plan: ImagePlan) => void,
  code: string,
  fact: string,
];

function inodeAt(inodes: CraftedInode[], ...path: string[]): CraftedInode {
  let inode = inodes[0];
  for (const name of path) inode = inode?.entries.find((entry) => entry.name === name)?.inode;
  if (inode === undefined) throw new Error(`the fixture has no ${path.join('/')}`);
  return inode;
}

/** Written by our own writer, so that nothing but the named thing is wrong. */
const CRAFTED: Craft[] = [
  [
    'inodes in another order',
    (inodes) => {
      const [b, c] = [inodes.indexOf(inodeAt(inodes, 'c')), inodes.indexOf(inodeAt(inodes, 'd'))];
      [inodes[b], inodes[c]] = [inodes[c] as CraftedInode, inodes[b] as CraftedInode];
    },
    'composefs-order-invalid',
    'breadth-first',
  ],
  [
    'the same xattr twice',
    (inodes) => {
      const b = inodeAt(inodes, 'b');
      b.xattrs = [...b.xattrs, ...b.xattrs];
    },
    'erofs-xattr-duplicate',
    '"user.only"',
  ],
  [
    'an xattr that several inodes have, in each of them',
    (inodes) => {
      for (const { name, uses } of [{ name: 'user.shared', uses: 1 }]) {
        for (const entry of inodeAt(inodes, 'd').xattrs) if (entry.name.key === name) entry.uses = uses;
      }
    },
    'composefs-xattr-sharing',
    'is not shared',
  ],
  [
    'a shared xattr that one inode has',
    (inodes, plan) => {
      for (const entry of inodeAt(inodes, 'b').xattrs) plan.xattrs.useAgain(entry);
    },
    'composefs-xattr-sharing',
    'has 1 users',
  ],
  [
    'xattrs in another order',
    (inodes) => {
      const w = inodeAt(inodes, 'w');
      w.xattrs = [...w.xattrs].reverse();
    },
    'composefs-xattr-order',
    'name order',
  ],
  [
    'an xattr under another prefix than its own',
    (inodes) => {
      for (const { name } of inodeAt(inodes, 'b').xattrs) {
        const head = fromByteString(`\x09\0\0\0${name.key}` as ByteString);
        Object.assign(name, { head, headBytes: head.length });
      }
    },
    'composefs-xattr-prefix',
    'prefix 0, expected 1',
  ],
  [
    'too many bytes of xattrs',
    (inodes, plan) => {
      const value = 'x'.repeat(32767 - 12 - 7 - 6 + 1) as ByteString;
      inodeAt(inodes, 'b').xattrs = [plan.xattrs.use(plan.xattrs.name(ascii('user.b')), value)];
    },
    'composefs-xattrs-too-large',
    '32768 bytes',
  ],
  [
    'an extended inode that would fit a compact one',
    (inodes) => {
      const { node } = inodeAt(inodes, 'b');
      // Asked twice: once for the form, once for the bytes.
      let asked = 0;
      Object.defineProperty(node, 'uid', { get: () => (asked++ === 0 ? 70000 : 0) });
    },
    'composefs-inode-form-mismatch',
    'extended',
  ],
  [
    'a whiteout with content',
    (inodes) => {
      const inode = inodeAt(inodes, 'w', 'gone');
      inode.node = { ...inode.node, mode: inode.mode, size: 4, content: new Uint8Array(4) };
    },
    'composefs-whiteout-invalid',
    '4 bytes',
  ],
  [
    'too much inline content',
    (inodes) => {
      Object.assign(inodeAt(inodes, 'b').node, { size: 6000, content: new Uint8Array(6000) });
    },
    'composefs-content-too-large',
    '6000',
  ],
  [
    'a root that does not hide all objects',
    (inodes) => {
      const root = inodeAt(inodes);
      inodes.splice(inodes.indexOf(inodeAt(inodes, '7f')), 1);
      root.entries = root.entries.filter(({ name }) => name !== '7f');
    },
    'composefs-root-whiteout-missing',
    '7f',
  ],
  [
    'a root that is not opaque',
    (inodes) => {
      const root = inodeAt(inodes);
      root.xattrs = root.xattrs.filter(({ name }) => name.key !== 'trusted.overlay.opaque');
    },
    'composefs-root-not-opaque',
    'trusted.overlay.opaque=y',
  ],
  [
    'a root whiteout with another owner',
    (inodes) => {
      const inode = inodeAt(inodes, '7f');
      inode.node = { ...inode.node, uid: 1 };
    },
    'composefs-whiteout-invalid',
    '"7f"',
  ],
];

function refusal(bytes: Uint8Array): SealrootError {
  try {
    readImage(bytes);
  } catch (error) {
    if (error instanceof SealrootError) return error;
    throw error;
  }
  expect.unreachable('accepted');
}

describe('readImage()', () => {
  it('reads what the tree said', () => {
    expect(text(dumpImage(image))).toBe(FIXTURE_DUMP);
  });

  it('reads an image wherever it stands in memory', () => {
    const bytes = new Uint8Array(image.length + 3);
    for (const offset of [1, 2, 3]) {
      bytes.set(image, offset);
      expect(text(dumpImage(bytes.subarray(offset, offset + image.length)))).toBe(FIXTURE_DUMP);
    }
  });

  it.each(MUTATIONS)('refuses an image with a change: %s', (_, change, code, fact) => {
    const bytes = image.slice();
    change(new DataView(bytes.buffer), bytes);
    expect(Buffer.from(bytes).equals(image)).toBe(false);
    const { findings } = checkImage(bytes, 1000);
    const [first] = findings;
    expect(first?.code).toBe(code);
    const error = refusal(bytes);
    expect(error.code).toBe(code);
    expect(error.message).toBe(`cannot read image: ${first && findingText(first)}`);
    expect(error.message).toContain(fact);
  });

  it('has a table of mutations that is long and says each once', () => {
    expect(MUTATIONS.length).toBeGreaterThanOrEqual(60);
    expect(new Set(MUTATIONS.map(([what]) => what)).size).toBe(MUTATIONS.length);
  });

  it.each(CRAFTED)('refuses a consistent image that composefs never writes: %s', (_, change, code, fact) => {
    const plan = planImage(fixtureTree(), 1);
    const inodes = craftedInodes(plan);
    change(inodes, plan);
    const crafted = planOf(inodes, plan);
    expect(refusal(emitImage(crafted, layoutImage(crafted)))).toMatchObject({
      code,
      message: expect.stringContaining(fact),
    });
  });

  it('refuses directories below directories without end', () => {
    const tree = parseDump(Buffer.from('/ 0 40755 3 0 0 0 0.0 - - -\n'));
    let at: TreeNode = tree;
    for (let depth = 0; depth <= MAX_DEPTH; depth++) {
      const below: TreeNode = { ...at, children: new Map() };
      at.children?.set(ascii('d'), below);
      at = below;
    }
    const plan = planImage(tree, 1);
    expect(refusal(emitImage(plan, layoutImage(plan)))).toMatchObject({ code: 'erofs-too-deep' });
  });

  it('refuses blocks behind the last one', () => {
    const longer = Buffer.concat([image, new Uint8Array(4096)]);
    longer.writeUInt32LE(longer.length / 4096, 1060);
    expect(refusal(longer)).toMatchObject({
      code: 'composefs-superblock-mismatch',
      message:
        'cannot read image: the field "number of blocks" is 8, composefs would write 7, at offset 1060 (0x424)',
    });
  });

  it('refuses an image that is cut anywhere, or longer', () => {
    for (let length = 0; length < image.length; length += 997) {
      expect(() => readImage(image.slice(0, length))).toThrow(SealrootError);
    }
    expect(() => readImage(Buffer.concat([image, new Uint8Array(4096)]))).toThrow(SealrootError);
  });

  it('reads no image in two ways: a flipped bit is refused or gives another tree', () => {
    const dump = text(dumpImage(image));
    // A small step that meets every kind of structure at another bit each time.
    for (let i = 0; i < image.length; i += 37) {
      const bytes = image.slice();
      bytes[i] = (bytes[i] ?? 0) ^ (1 << (i % 8));
      let changed: string;
      try {
        changed = text(dumpImage(bytes));
      } catch (error) {
        if (!(error instanceof SealrootError)) throw new Error(`bit at ${i}: ${error}`);
        continue;
      }
      if (changed === dump) expect.unreachable(`the bit flipped at ${i} makes no difference`);
    }
  });
});

/** A directory of 301 names, which fill one block and a little more behind the inode. */
function wideImage(): Uint8Array {
  const lines = Array.from(
    { length: 301 },
    (_, i) => `/${String(i).padStart(3, '0')} 0 100644 1 0 0 0 0.0 - - -`,
  );
  const dump = [
    '/ 0 40755 3 0 0 0 0.0 - - -',
    '/d 0 40755 2 0 0 0 0.0 - - -',
    ...lines.map((line) => `/d${line}`),
  ];
  return writeImage(parseDump(Buffer.from(dump.join('\n'))));
}

describe('the second gate', () => {
  it('wants directory blocks to be full', () => {
    const bytes = wideImage();
    const view = new DataView(bytes.buffer);
    const dir = locate(bytes, '/d');
    expect({ blocks: dir.blocks, tail: dir.tail > 0 }).toEqual({ blocks: 1, tail: true });
    // The last entry of the block becomes the first one behind the inode, as far as there is room up to the next inode.
    expect((32 - ((dir.xattrEnd + dir.tail) % 32)) % 32).toBeGreaterThanOrEqual(15);
    const block = dir.union * 4096;
    const first = readEntries(bytes, block, 4096);
    const rest = readEntries(bytes, dir.xattrEnd, dir.tail);
    rest.unshift(first.pop() as RawEntry);
    writeEntries(bytes, block, 4096, first);
    writeEntries(bytes, dir.xattrEnd, dir.tail + 15, rest);
    view.setUint32(dir.offset + 8, dir.size + 15, true);
    expect(checkImage(bytes, 10).findings.map(({ code, path }) => [code, path])).toEqual([
      ['composefs-directory-packing', '/d'],
    ]);
  });

  it('lets through what the writer writes, and nothing that would be written differently', () => {
    for (const dump of fc.sample(randomDump, { numRuns: 60, seed: 20261122 })) {
      let tree: ReturnType<typeof validateTree>;
      let written: Uint8Array;
      try {
        tree = parseDump(dump);
        written = writeImage(tree);
      } catch (error) {
        // The format cannot hold a few of them.
        expect(error).toMatchObject({ code: 'overlay-xattrs-too-large' });
        continue;
      }
      expect(checkImage(written, 3)).toMatchObject({ findings: [], count: 0 });
      expect(Buffer.from(rewriteImage(written)).equals(written)).toBe(true);
    }
  });

  it('shares 128 xattrs of an inode and wants the others inline', () => {
    const xattrs = Array.from({ length: 140 }, (_, i) => `user.${i + 100}=v`).join(' ');
    const files = ['a', 'b', 'c'].map((name) => `/${name} 0 100644 1 0 0 0 0.0 - - - ${xattrs}`);
    const dump = ['/ 0 40755 2 0 0 0 0.0 - - -', ...files].join('\n');
    const written = writeImage(parseDump(Buffer.from(dump)));
    expect(checkImage(written, 3).findings).toEqual([]);
    expect(Buffer.from(rewriteImage(written)).equals(written)).toBe(true);
  });
});

describe('the second gate, of xattrs that are nearly the same', () => {
  const same = 'x'.repeat(40);
  const lines = ['a', 'b', 'c'].map((name) => `/${name} 0 100644 1 0 0 0 0.0 - - - user.many=${name}${same}`);
  const written = writeImage(parseDump(Buffer.from(['/ 0 40755 2 0 0 0 0.0 - - -', ...lines].join('\n'))));

  it('lets those through that differ in one byte only', () => {
    expect(checkImage(written, 3).findings).toEqual([]);
  });

  it('wants to have the same ones shared, and names them in the order of their places', () => {
    const bytes = Buffer.from(written);
    const places = ['a', 'b', 'c'].map((name) => bytes.indexOf(`${name}${same}`));
    for (const at of places) bytes[at] = 0x61;
    const { findings } = checkImage(bytes, 9);
    expect(findings.map(({ code, offset }) => [code, offset])).toEqual(
      places.map((at) => ['composefs-xattr-sharing', at - 'many'.length - 4]),
    );
  });
});

interface RawEntry {
  head: Buffer;
  name: Buffer;
}

function readEntries(bytes: Uint8Array, start: number, length: number): RawEntry[] {
  const chunk = Buffer.from(bytes.slice(start, start + length));
  const count = chunk.readUInt16LE(8) / 12;
  return Array.from({ length: count }, (_, i) => {
    const from = chunk.readUInt16LE(12 * i + 8);
    const to = i + 1 < count ? chunk.readUInt16LE(12 * i + 20) : from + 3;
    return { head: chunk.subarray(12 * i, 12 * i + 12), name: chunk.subarray(from, to) };
  });
}

function writeEntries(bytes: Uint8Array, start: number, length: number, entries: RawEntry[]): void {
  const out = Buffer.alloc(length);
  let nameOffset = 12 * entries.length;
  for (const [i, { head, name }] of entries.entries()) {
    head.copy(out, 12 * i);
    out.writeUInt16LE(nameOffset, 12 * i + 8);
    name.copy(out, nameOffset);
    nameOffset += name.length;
  }
  bytes.set(out, start);
}

describe('imageObjects()', () => {
  it('lists backing files with their digests', () => {
    const objects = imageObjects(image).map(({ digest, ...rest }) => ({
      ...rest,
      digest: digest && hex(fromByteString(digest)),
    }));
    expect(objects).toEqual([{ path: '/c', payload: BACKING, size: 5000000, digest: DIGEST }]);
  });
});
