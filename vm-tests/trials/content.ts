/** What stands in the commit, its detached metadata and the image. */
import { concatBytes } from '../../src/formats/bytes.ts';
import { ascii, utf8 } from '../../src/formats/encoding.ts';
import { SUPER } from '../../src/formats/erofs-layout.ts';
import { makeVariant, type VariantValue } from '../../src/formats/gvariant.ts';
import {
  COMPOSEFS_DIGEST_KEY,
  ED25519_SIGNATURES_KEY,
  encodeCommitMeta,
  parseCommitMeta,
} from '../../src/formats/ostree-objects.ts';
import { imageWithBackdoor } from '../another-image.ts';
import { commitOfImage, deployInstead, metadataWith, otherCommit, signatureOf } from '../other-commit.ts';
import type { RefusalCase } from '../refusal.ts';
import { verityPlaces } from '../tamper.ts';
import type { Trial } from '../trials.ts';

const HUNDRED_MIB = 100 << 20;

type Which = 'commitPath' | 'commitMetaPath' | 'imagePath';

/** Other bytes in the place of a file's. */
function rewritten(which: Which, change: (bytes: Buffer, stage: RefusalCase) => Uint8Array) {
  return (stage: RefusalCase) => {
    const bytes = change(stage.disk.read(stage[which]), stage);
    stage.disk.replace(stage[which], bytes, { verity: which === 'imagePath' });
  };
}

const half = (bytes: Buffer) => bytes.subarray(0, bytes.length / 2);
const grown = (which: Which) => (stage: RefusalCase) => stage.disk.resize(stage[which], HUNDRED_MIB);

const COMMIT: readonly Trial[] = [
  {
    title: 'no commit',
    refused: 'commit-missing',
    tamper: ({ disk, commitPath }) => disk.remove(commitPath),
  },
  {
    title: 'half a commit',
    refused: 'commit-checksum-mismatch',
    tamper: rewritten('commitPath', half),
  },
  {
    title: 'an empty commit',
    refused: 'commit-checksum-mismatch',
    tamper: rewritten('commitPath', () => new Uint8Array(0)),
  },
  { title: 'a commit of 100 MiB', refused: 'file-too-large', tamper: grown('commitPath') },
  {
    title: 'a signed commit without a digest',
    refused: 'digest-missing',
    tamper(stage) {
      const other = otherCommit(stage, (commit) => {
        const metadata = new Map(commit.metadata);
        metadata.delete(COMPOSEFS_DIGEST_KEY);
        return { ...commit, metadata };
      });
      deployInstead(stage, other);
    },
  },
];

/** The other deployment is as valid as this one: it boots from its own place (cases/altered-commit.ts). */
function swap(title: string, refused: string, which: readonly Which[]): Trial {
  return {
    title,
    refused,
    tamper(stage) {
      const image = imageWithBackdoor(stage.disk.read(stage.imagePath));
      const { commit, commitmeta } = commitOfImage(stage, image);
      const others = { commitPath: commit, commitMetaPath: commitmeta, imagePath: image };
      for (const one of which) rewritten(one, () => others[one])(stage);
    },
  };
}

const SWAPPED: readonly Trial[] = [
  swap("another deployment's commit, metadata and image in this one's place", 'commit-checksum-mismatch', [
    'commitPath',
    'commitMetaPath',
    'imagePath',
  ]),
  swap("another deployment's image", 'image-digest-mismatch', ['imagePath']),
  swap("another deployment's signature", 'signature-none-valid', ['commitMetaPath']),
];

/** A variant in a variant, and so on. */
function nested(levels: number): VariantValue {
  let value = makeVariant('y', 0);
  for (let i = 0; i < levels; i++) value = makeVariant('v', value);
  return value;
}

/** Ends of the two signatures in the array of arrays, as the framing offsets say: the second ends where the first does. */
function overlapping(signature: Uint8Array): Uint8Array {
  const bytes = metadataWith([signature, signature]);
  const framing = Buffer.from([64, 128, 0, ...utf8('aay')]);
  const at = Buffer.from(bytes).indexOf(framing);
  if (at < 0) throw new Error('cannot find the framing offsets of the signatures');
  bytes[at] = 128;
  bytes[at + 1] = 64;
  return bytes;
}

const METADATA: readonly Trial[] = [
  {
    title: 'half of the detached metadata',
    refused: 'commitmeta-malformed',
    tamper: rewritten('commitMetaPath', half),
  },
  {
    title: 'empty detached metadata',
    refused: 'signatures-missing',
    tamper: rewritten('commitMetaPath', () => new Uint8Array(0)),
  },
  { title: 'detached metadata of 100 MiB', refused: 'file-too-large', tamper: grown('commitMetaPath') },
  {
    title: 'detached metadata with a byte behind their end',
    refused: 'commitmeta-malformed',
    tamper: rewritten('commitMetaPath', (bytes) => concatBytes([bytes, new Uint8Array(1)])),
  },
  {
    title: 'signatures that overlap',
    refused: 'commitmeta-malformed',
    tamper: rewritten('commitMetaPath', (_, stage) =>
      overlapping(signatureOf(stage, stage.disk.read(stage.commitPath))),
    ),
  },
  {
    title: 'signatures 10,000 variants deep',
    refused: 'commitmeta-malformed',
    tamper: rewritten('commitMetaPath', () =>
      encodeCommitMeta(new Map([[ED25519_SIGNATURES_KEY, nested(10_000)]])),
    ),
  },
  {
    title: 'a type 10,000 arrays deep beside the good signature',
    refused: 'commitmeta-malformed',
    tamper: rewritten('commitMetaPath', (bytes) => {
      const deep = { type: `${'a'.repeat(10_000)}y`, data: new Uint8Array(0) };
      return encodeCommitMeta(new Map([...parseCommitMeta(bytes), [ascii('note'), deep]]));
    }),
  },
];

/** A superblock that claims blocks of 2^255 bytes, and directories whose entries lead anywhere. */
function hostile(image: Buffer): Uint8Array {
  const bytes = Buffer.from(image);
  bytes[SUPER.BLKSZBITS] = 255;
  bytes.writeUInt16LE(0xffff, SUPER.ROOT_NID);
  bytes.fill(0xff, SUPER.END);
  return bytes;
}

/** A bit of struct fsverity_descriptor; the kernel refuses to open such a file. */
function descriptorBit(title: string, offset: number, bit: number): Trial {
  return {
    title: `an image whose fs-verity descriptor ${title}`,
    refused: 'image-unreadable',
    tamper({ disk, imagePath }) {
      const { descriptor } = verityPlaces(disk.read(imagePath).length);
      disk.flipBit(imagePath, descriptor + offset, bit);
    },
  };
}

/** ext4 has the descriptor's size in the last four bytes of its block. */
const DESCRIPTOR_SIZE = 4092;

const IMAGE: readonly Trial[] = [
  descriptorBit('is of another version', 0, 3),
  descriptorBit('names no hash', 1, 6),
  descriptorBit('is of another size of the file', 8, 0),
  descriptorBit('has no place in the file', DESCRIPTOR_SIZE + 2, 4),
  {
    title: 'a hostile EROFS of the right length, with fs-verity',
    refused: 'image-digest-mismatch',
    tamper: rewritten('imagePath', hostile),
  },
  {
    title: 'a hostile EROFS that the trusted key has signed leaves no mount',
    refused: 'mount-failed',
    status: 4,
    tamper(stage) {
      const image = hostile(stage.disk.read(stage.imagePath));
      deployInstead(stage, commitOfImage(stage, image), image);
    },
  },
  {
    title: 'an empty image',
    refused: 'image-unsafe',
    tamper: ({ disk, imagePath }) => disk.replace(imagePath, new Uint8Array(0), { verity: false }),
  },
];

export const CONTENT: readonly Trial[] = [...COMMIT, ...SWAPPED, ...METADATA, ...IMAGE];
