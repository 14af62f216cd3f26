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
const tail = (path: string) => locate(image, path).xattrEnd;
const xattrs = (path: string) => locate(image, path).xattrStart;
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
  ['a mode without file type', (v) => v.setUint16(at('/b') + 4, 0o644, true), 'erofs-mode-invalid', '0o644'],
  [
    "a file type that is not the entry's",
    (v) => v.setUint16(at('/d/e/fifo') + 4, 0o140644, true),
    'erofs-file-type-mismatch',
    '"fifo" has type 5',
  ],
  [
    "the entry's file type",
    (v) => v.setUint8(locateEntry(image, '/d', 'link') + 10, 1),
    'erofs-file-type-mismatch',
    'type 1',
  ],
  ['a FIFO with data', (v) => v.setUint32(at('/d/e/fifo') + 8, 4, true), 'erofs-data-unexpected', 'has data'],
  [
    'a file size beyond 2^53',
    (v) => v.setUint32(at('/c') + 12, 0x200001, true),
    'erofs-inode-size-invalid',
    'exceeds 2^53',
  ],
  [
    'a tail that crosses its block',
    (v) => v.setUint32(at('/d/link') + 8, 4095, true),
    'erofs-tail-invalid',
    'crosses a block',
  ],
  [
    'a data block beyond the image',
    (v) => v.setUint32(at('/a-block') + 16, 1000, true),
    'erofs-block-invalid',
    '1 data blocks',
  ],
  [
    'a data block that is in use',
    (v) => v.setUint32(at('/a-block') + 16, 0, true),
    'erofs-overlap',
    'in use for something else',
  ],
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
    'erofs-inode-format-unknown',
    '0x3e8',
  ],
  [
    'a directory below itself',
    (v) => v.setUint32(locateEntry(image, '/d', 'e'), nid('/d'), true),
    'erofs-directory-repeated',
    'of "/d/e"',
  ],
  [
    'a directory with two names',
    (v) => v.setUint32(locateEntry(image, '/', 'w'), nid('/d'), true),
    'erofs-directory-repeated',
    'of "/w"',
  ],
  [
    '".." that is another directory',
    (v) => v.setUint32(locateEntry(image, '/d/e', '..'), nid('/'), true),
    'erofs-dot-invalid',
    '".." is another directory',
  ],
  ['"." renamed', (_, b) => b.set([0x2d], tail('/d/e') + 48), 'erofs-directory-repeated', 'of "/d/e/-"'],
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
    'do not follow the entries',
  ],
  [
    'more xattrs than the image has',
    (v) => v.setUint16(at('/w/gone') + 2, 0xffff, true),
    'erofs-inode-truncated',
    'beyond the image',
  ],
  [
    'an xattr longer than its area',
    (v) => v.setUint16(xattrs('/b') + 14, 500, true),
    'erofs-xattr-truncated',
    'does not fit',
  ],
  [
    'an unknown xattr prefix',
    (v) => v.setUint8(xattrs('/b') + 13, 5),
    'erofs-xattr-name-invalid',
    'prefix 5',
  ],
  [
    'a shared xattr beyond the image',
    (v) => v.setUint32(xattrs('/d/e') + 12, 0xffffff, true),
    'erofs-xattr-truncated',
    'does not fit',
  ],
  [
    'too many shared xattrs',
    (v) => v.setUint8(xattrs('/d/e') + 4, 9),
    'erofs-xattr-truncated',
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
    'in use for something else',
  ],
  [
    'where inode numbers count from',
    (v) => v.setUint32(1064, 1, true),
    'erofs-meta-block-unsupported',
    'block 1',
  ],
  ['a tail of 3000 bytes', (v) => v.setUint8(at('/a-block'), 4), 'erofs-tail-invalid', '3000 bytes'],
  [
    'a directory without entries',
    (v) => v.setUint8(at('/d/e') + 8, 11),
    'erofs-directory-invalid',
    'do not follow',
  ],
  ['a directory in blocks', (v) => v.setUint8(at('/d/e'), 0), 'erofs-overlap', 'in use'],
  // The second gate: composefs.
  ['the composefs magic', (v) => v.setUint32(0, 0, true), 'composefs-magic-invalid', 'at offset 0 (0x0)'],
  ['the header version', (v) => v.setUint32(4, 2, true), 'composefs-version-unknown', 'version 2'],
  ['the format version', (v) => v.setUint32(12, 2, true), 'composefs-version-unknown', 'version 2'],
  [
    'an ACL flag without ACLs',
    (v) => v.setUint32(8, 1, true),
    'composefs-flags-mismatch',
    'at offset 8 (0x8)',
  ],
  [
    'a byte between header and superblock',
    (_, b) => b.set([1], 500),
    'composefs-padding-not-zero',
    'at offset 500',
  ],
  [
    'a compatible feature',
    (v) => v.setUint32(1032, 7, true),
    'composefs-superblock-mismatch',
    'at offset 1032',
  ],
  ['the volume name', (_, b) => b.set([65], 1088), 'composefs-padding-not-zero', 'at offset 1088'],
  [
    'the inode count, to more than any image has',
    (v) => v.setUint32(1040, 0xffffffff, true),
    'composefs-superblock-mismatch',
    'is 4294967295',
  ],
  ['the inode count', (v) => v.setUint32(1040, 1, true), 'composefs-superblock-mismatch', 'at offset 1040'],
  [
    "an inode's own number",
    (v) => v.setUint32(at('/b') + 20, 0, true),
    'composefs-inode-number-mismatch',
    'has the number 0',
  ],
  [
    'reserved bytes of an inode',
    (v) => v.setUint32(at('/b') + 28, 1, true),
    'composefs-padding-not-zero',
    'in an inode',
  ],
  [
    'the name filter',
    (v) => v.setUint32(xattrs('/b'), 0, true),
    'composefs-xattr-filter-mismatch',
    '0xefffffff',
  ],
  [
    'the last byte of the padding',
    (_, b) => b.set([1], b.length - 1),
    'composefs-padding-not-zero',
    `at offset ${image.length - 1}`,
  ],
  [
    "a directory's link count",
    (v) => v.setUint16(at('/d') + 6, 9, true),
    'erofs-nlink-mismatch',
    'link count is 9',
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
    'no xattr metacopy',
  ],
  [
    'a redirect without slash',
    (_, b) => b.set([0x2e], find(`/${BACKING}`)),
    'composefs-redirect-invalid',
    'not the backing path',
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
  ['the superblock checksum', (v) => v.setUint32(1028, 1, true), 'composefs-superblock-mismatch', 'checksum'],
  ['an extension slot', (v) => v.setUint8(1037, 1), 'composefs-superblock-mismatch', 'extension slots'],
  [
    'a later build time',
    (v) => v.setUint32(1048, 2000, true),
    'composefs-superblock-mismatch',
    'would write 1000',
  ],
  ['later nanoseconds', (v) => v.setUint32(1056, 6, true), 'composefs-superblock-mismatch', 'would write 5'],
  [
    'a compact inode: bytes 12 to 15',
    (v) => v.setUint8(at('/b') + 12, 1),
    'composefs-padding-not-zero',
    'in an inode',
  ],
  [
    'an extended inode: bytes 6 and 7',
    (v) => v.setUint8(at('/c') + 7, 1),
    'composefs-padding-not-zero',
    'in an inode',
  ],
  [
    'an extended inode: bytes 48 to 63',
    (v) => v.setUint8(at('/c') + 63, 1),
    'composefs-padding-not-zero',
    'in an inode',
  ],
  [
    'reserved bytes before xattrs',
    (v) => v.setUint8(xattrs('/b') + 5, 1),
    'composefs-padding-not-zero',
    'before xattrs',
  ],
  [
    'the padding of an xattr',
    (v) => v.setUint8(xattrs('/b') + 21, 1),
    'composefs-padding-not-zero',
    'behind an xattr',
  ],
  [
    'the padding of a shared xattr',
    (v) => v.setUint8(find('sharedyes') + 9, 1),
    'composefs-padding-not-zero',
    'behind an xattr',
  ],
  [
    'the reserved byte of a directory entry',
    (v) => v.setUint8(locateEntry(image, '/d', 'link') + 11, 1),
    'composefs-padding-not-zero',
    'in a directory entry',
  ],
  [
    'a byte behind a tail',
    (v) => v.setUint8(tail('/d/link') + 6, 1),
    'composefs-padding-not-zero',
    'before an inode',
  ],
  [
    'a byte between xattrs and data',
    (v) => v.setUint8(locate(image, '/').union * 4096 - 1, 1),
    'composefs-padding-not-zero',
    'between xattrs and data',
  ],
  [
    'the union of a FIFO',
    (v) => v.setUint8(at('/d/e/fifo') + 16, 1),
    'composefs-block-mismatch',
    'first block is 1',
  ],
  [
    'the union of a link',
    (v) => v.setUint8(at('/d/link') + 16, 1),
    'composefs-block-mismatch',
    'first block is 1',
  ],
  [
    'the high bits of a chunk format',
    (v) => v.setUint8(at('/c') + 18, 1),
    'composefs-block-mismatch',
    'chunk format',
  ],
  [
    'the prefix of an xattr',
    (v) => v.setUint8(xattrs('/b') + 13, 6),
    'composefs-xattr-filter-mismatch',
    'expected 0x',
  ],
  [
    "a root whiteout's mode",
    (v) => v.setUint16(at('/7f') + 4, 0o20600, true),
    'composefs-whiteout-invalid',
    '"7f"',
  ],
  [
    "a root whiteout's link count",
    (v) => v.setUint16(at('/7f') + 6, 2, true),
    'composefs-whiteout-invalid',
    '"7f"',
  ],
  [
    "a root whiteout's owner",
    (v) => v.setUint16(at('/7f') + 24, 2, true),
    'composefs-whiteout-invalid',
    '"7f"',
  ],
  [
    'a name for the inode of another',
    (v) => v.setUint32(locateEntry(image, '/', 'a-block'), nid('/b'), true),
    'composefs-inode-number-mismatch',
    'has the number',
  ],
  ['a shorter file', (v) => v.setUint8(at('/b') + 8, 4), 'composefs-padding-not-zero', 'before an inode'],
  ['a link without target', (v) => v.setUint8(at('/d/link') + 8, 0), 'composefs-target-invalid', '0 bytes'],
];
