/** A valid image with one field changed, and the error that names it. */

import { BACKING, fixtureImage, locate, locateEntry } from './image-fixture.ts';

const image = fixtureImage();

/** [what is changed, where and to what, the error's code, a part of its message] */
export type Mutation = [
  what: string,
  change: (view: DataView, bytes: Uint8Array) => void,
  code: string,
  fact: string,
];

const at = (path: string) => locate(image, path).offset;
const tail = (path: string) => locate(image, path).tailOffset;
const xattrs = (path: string) => locate(image, path).xattrOffset;
const nid = (path: string) => locate(image, path).nid;
const find = (needle: string) => Buffer.from(image).indexOf(needle, 0, 'latin1');

export const MUTATIONS: Mutation[] = [
  // The first gate: EROFS.
  ['the EROFS magic', (v) => v.setUint32(1024, 0, true), 'erofs-magic-invalid', 'at offset 1024 (0x400)'],
  ['an unknown incompatible feature', (v) => v.setUint32(1104, 0x8, true), 'erofs-feature-unknown', '0x8'],
  ['the block size', (v) => v.setUint8(1036, 9), 'erofs-block-size-unsupported', '2^9'],
  ['the number of blocks', (v) => v.setUint32(1060, 1, true), 'erofs-size-mismatch', '1 blocks'],
  ['the root inode, inside the header', (v) => v.setUint16(1038, 3, true), 'erofs-nid-invalid', 'number 3 '],
  [
    'the root inode, a file',
    (v) => v.setUint16(1038, nid('/b'), true),
    'erofs-root-invalid',
    'not a directory',
  ],
  [
    'an unknown bit of an inode format',
    (v) => v.setUint16(at('/b'), 0x14, true),
    'erofs-inode-format-unknown',
    '0x14',
  ],
  ['a compressed data layout', (v) => v.setUint16(at('/b'), 0x2, true), 'erofs-inode-format-unknown', '0x2'],
  ['a mode without file type', (v) => v.setUint16(at('/b') + 4, 0o644, true), 'erofs-inode-invalid', '0o644'],
  [
    "a file type that is not the entry's",
    (v) => v.setUint16(at('/d/e/fifo') + 4, 0o140644, true),
    'erofs-file-type-mismatch',
    '/d/e/fifo',
  ],
  [
    "the entry's file type",
    (v) => v.setUint8(locateEntry(image, '/d', 'link') + 10, 1),
    'erofs-file-type-mismatch',
    'type 1',
  ],
  [
    'a FIFO with data',
    (v) => v.setUint32(at('/d/e/fifo') + 8, 4, true),
    'erofs-inode-invalid',
    'cannot have this data',
  ],
  [
    'a file size beyond 2^53',
    (v) => v.setUint32(at('/c') + 12, 0x200001, true),
    'erofs-inode-invalid',
    'exceeds 2^53',
  ],
  [
    'a tail that crosses its block',
    (v) => v.setUint32(at('/d/link') + 8, 4095, true),
    'erofs-inode-invalid',
    'crosses a block',
  ],
  [
    'a data block beyond the image',
    (v) => v.setUint32(at('/a-block') + 16, 1000, true),
    'erofs-inode-invalid',
    '1 data blocks',
  ],
  ['a data block that is in use', (v) => v.setUint32(at('/a-block') + 16, 0, true), 'erofs-overlap', 'share'],
  [
    'an inode number beyond the image',
    (v) => v.setUint32(locateEntry(image, '/d', 'link'), 99999, true),
    'erofs-nid-invalid',
    '99999',
  ],
  [
    'an inode number above 2^32',
    (v) => v.setUint32(locateEntry(image, '/d', 'link') + 4, 1, true),
    'erofs-nid-invalid',
    'outside',
  ],
  [
    'an inode inside another',
    (v) => v.setUint32(locateEntry(image, '/d', 'link'), nid('/c') + 1, true),
    'erofs-',
    '',
  ],
  [
    'a directory below itself',
    (v) => v.setUint32(locateEntry(image, '/d', 'e'), nid('/d'), true),
    'erofs-directory-repeated',
    '"/d/e"',
  ],
  [
    'a directory with two names',
    (v) => v.setUint32(locateEntry(image, '/', 'w'), nid('/d'), true),
    'erofs-directory-repeated',
    '"/w"',
  ],
  [
    '".." that is another directory',
    (v) => v.setUint32(locateEntry(image, '/d/e', '..'), nid('/'), true),
    'erofs-dot-invalid',
    '/d/e/..',
  ],
  ['"." renamed', (_, b) => b.set([0x2d], tail('/d/e') + 48), 'erofs-', ''],
  [
    'names out of order',
    (_, b) => b.set([0x7a], find('charfifo')),
    'erofs-directory-unsorted',
    '"fifo" follows "zhar"',
  ],
  [
    'a name twice',
    (_, b) => b.set(Buffer.from('char'), find('charfifo') + 4),
    'erofs-name-duplicate',
    '"char" follows "char"',
  ],
  ['a slash in a name', (_, b) => b.set([0x2f], find('charfifo') + 1), 'erofs-name-invalid', '"c/ar"'],
  ['a NUL in a name', (_, b) => b.set([0], find('charfifo') + 1), 'erofs-name-invalid', '\\x00'],
  [
    'name offsets that go back',
    (v) => v.setUint16(locateEntry(image, '/d/e', 'char') + 8, 1, true),
    'erofs-directory-invalid',
    'empty or beyond',
  ],
  [
    'a first name offset inside an entry',
    (v) => v.setUint16(tail('/d/e') + 8, 13, true),
    'erofs-directory-invalid',
    'names at 13',
  ],
  ['more xattrs than the image has', (v) => v.setUint16(at('/w/gone') + 2, 0xffff, true), 'erofs-', ''],
  [
    'an xattr longer than its area',
    (v) => v.setUint16(xattrs('/b') + 14, 500, true),
    'erofs-xattr-invalid',
    'does not fit',
  ],
  ['an unknown xattr prefix', (v) => v.setUint8(xattrs('/b') + 13, 5), 'erofs-xattr-invalid', 'prefix 5'],
  [
    'a shared xattr beyond the image',
    (v) => v.setUint32(xattrs('/d/e') + 12, 0xffffff, true),
    'erofs-xattr-invalid',
    'does not fit',
  ],
  [
    'too many shared xattrs',
    (v) => v.setUint8(xattrs('/d/e') + 4, 9),
    'erofs-xattr-invalid',
    '9 shared xattrs',
  ],
  ['a chunk that has data', (v) => v.setUint32(tail('/c'), 0, true), 'erofs-chunk-invalid', 'has data'],
  ['the chunk size', (v) => v.setUint32(at('/c') + 16, 3, true), 'erofs-chunk-invalid', '2^15'],
  [
    'a file that is the whole image',
    (v) => {
      v.setUint32(at('/a-block') + 8, image.length, true);
      v.setUint32(at('/a-block') + 16, 0, true);
    },
    'erofs-overlap',
    'more bytes are used',
  ],
  // The second gate: composefs.
  ['the composefs magic', (v) => v.setUint32(0, 0, true), 'composefs-magic-invalid', 'at offset 0 (0x0)'],
  ['the header version', (v) => v.setUint32(4, 2, true), 'composefs-version-unknown', 'version 2'],
  ['the format version', (v) => v.setUint32(12, 2, true), 'composefs-version-unknown', 'version 2'],
  [
    'an ACL flag without ACLs',
    (v) => v.setUint32(8, 1, true),
    'composefs-not-canonical',
    'at offset 8 (0x8)',
  ],
  [
    'a byte between header and superblock',
    (_, b) => b.set([1], 500),
    'composefs-not-canonical',
    'at offset 500',
  ],
  ['a compatible feature', (v) => v.setUint32(1032, 7, true), 'composefs-not-canonical', 'at offset 1032'],
  ['the volume name', (_, b) => b.set([65], 1088), 'composefs-not-canonical', 'at offset 1088'],
  ['the inode count', (v) => v.setUint32(1040, 1, true), 'composefs-not-canonical', 'at offset 1040'],
  [
    "an inode's own number",
    (v) => v.setUint32(at('/b') + 20, 0, true),
    'composefs-not-canonical',
    'composefs would write',
  ],
  [
    'reserved bytes of an inode',
    (v) => v.setUint32(at('/b') + 28, 1, true),
    'composefs-not-canonical',
    'composefs would write',
  ],
  [
    'the name filter',
    (v) => v.setUint32(xattrs('/b'), 0, true),
    'composefs-not-canonical',
    'composefs would write',
  ],
  [
    'the last byte of the padding',
    (_, b) => b.set([1], b.length - 1),
    'composefs-not-canonical',
    `at offset ${image.length - 1}`,
  ],
  [
    "a directory's link count",
    (v) => v.setUint16(at('/d') + 6, 9, true),
    'composefs-nlink-mismatch',
    'link count 9',
  ],
  [
    "the root's opaque mark",
    (_, b) => b.set([0x6e], find('overlay.opaquey') + 14),
    'composefs-xattr-unexpected',
    'overlay.opaque',
  ],
  [
    'a metacopy of another version',
    (_, b) => b.set([1], find('\x00\x24\x00\x01')),
    'composefs-metacopy-invalid',
    '36 bytes',
  ],
  [
    'a metacopy of another algorithm',
    (_, b) => b.set([2], find('\x00\x24\x00\x01') + 3),
    'composefs-metacopy-invalid',
    '36 bytes',
  ],
  [
    'no metacopy',
    (_, b) => b.set(Buffer.from('unknown.'), find('overlay.metacopy')),
    'composefs-metacopy-invalid',
    'do not fit',
  ],
  [
    'a redirect without slash',
    (_, b) => b.set([0x2e], find(`/${BACKING}`)),
    'composefs-redirect-invalid',
    'not a backing path',
  ],
  [
    'an unescaped overlay xattr',
    (_, b) => b.set(Buffer.from('redirecT'), find('redirect/')),
    'composefs-xattr-unexpected',
    'redirecT',
  ],
  [
    'a whiteout in a directory',
    (v) => v.setUint32(at('/d/e/char') + 16, 0, true),
    'composefs-whiteout-invalid',
    '"char"',
  ],
  ['a NUL in a link target', (_, b) => b.set([0], find('target')), 'composefs-target-invalid', 'NUL'],
];
