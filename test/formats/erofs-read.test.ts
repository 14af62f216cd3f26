import { describe, expect, it } from 'vitest';
import { dumpImage } from '../../src/formats/dump.ts';
import { hex } from '../../src/formats/encoding.ts';
import { type ImagePlan, type Inode, planImage } from '../../src/formats/erofs-plan.ts';
import { imageObjects, readImage } from '../../src/formats/erofs-read.ts';
import { emitImage, layoutImage } from '../../src/formats/erofs-write.ts';
import { SealrootError } from '../../src/formats/errors.ts';
import { BACKING, DIGEST, FIXTURE_DUMP, fixtureImage, fixtureTree } from './image-fixture.ts';
import { MUTATIONS } from './image-mutations.ts';

const image = fixtureImage();

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

type Craft = [what: string, change: (inodes: Inode[], plan: ImagePlan) => void, code: string, fact: string];

function inodeAt(inodes: Inode[], ...path: string[]): Inode {
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
      [inodes[b], inodes[c]] = [inodes[c] as Inode, inodes[b] as Inode];
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
    'a whiteout with content',
    (inodes) => Object.assign(inodeAt(inodes, 'w', 'gone'), { size: 4, content: new Uint8Array(4) }),
    'composefs-whiteout-invalid',
    '4 bytes',
  ],
  [
    'too much inline content',
    (inodes) => Object.assign(inodeAt(inodes, 'b'), { size: 6000, content: new Uint8Array(6000) }),
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
    'a root whiteout with another owner',
    (inodes) => {
      inodeAt(inodes, '7f').node.uid = 1;
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

  it.each(MUTATIONS)('refuses an image with a change: %s', (_, change, code, fact) => {
    const bytes = image.slice();
    change(new DataView(bytes.buffer), bytes);
    expect(Buffer.from(bytes).equals(image)).toBe(false);
    const error = refusal(bytes);
    expect(error.code).toMatch(code.endsWith('-') ? new RegExp(`^${code}`) : new RegExp(`^${code}$`));
    expect(error.message).toMatch(/^cannot read image: /);
    expect(error.message).toContain(fact);
  });

  it.each(CRAFTED)('refuses a consistent image that composefs never writes: %s', (_, change, code, fact) => {
    const plan = planImage(fixtureTree(), 1);
    change(plan.inodes, plan);
    for (const [i, inode] of plan.inodes.entries()) inode.ino = i;
    expect(refusal(emitImage(plan, layoutImage(plan)))).toMatchObject({
      code,
      message: expect.stringContaining(fact),
    });
  });

  it('refuses blocks behind the last one', () => {
    const longer = Buffer.concat([image, new Uint8Array(4096)]);
    longer.writeUInt32LE(longer.length / 4096, 1060);
    expect(refusal(longer)).toMatchObject({
      code: 'composefs-not-canonical',
      message: `cannot read image: it has ${longer.length} bytes, composefs would write ${image.length}`,
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
    // A prime step meets every kind of structure; all offsets would take minutes.
    for (let i = 0; i < image.length; i += 211) {
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

describe('imageObjects()', () => {
  it('lists backing files with their digests', () => {
    const objects = imageObjects(image).map(({ digest, ...rest }) => ({
      ...rest,
      digest: digest && hex(digest),
    }));
    expect(objects).toEqual([{ path: '/c', payload: BACKING, size: 5000000, digest: DIGEST }]);
  });
});
