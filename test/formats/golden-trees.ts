/**
 * Fixed trees and the fs-verity digests of their images. A digest that changes is a commit that no longer boots: none
 * of these may ever change. The reference writes the same images (oracles/golden.test.ts), and so does the runtime of
 * the initramfs, which is why nothing here is made of dump text.
 */

import { type ByteString, fromByteString, toByteString } from '../../src/formats/encoding.ts';
import {
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
  type TreeNode,
} from '../../src/formats/tree.ts';

type Fields = Partial<TreeNode> & { attributes?: Record<string, string> };

function node(mode: number, { attributes = {}, ...fields }: Fields = {}): TreeNode {
  const xattrs = new Map<ByteString, Uint8Array>();
  for (const [name, value] of Object.entries(attributes)) {
    xattrs.set(name as ByteString, fromByteString(value as ByteString));
  }
  const common = { uid: 0, gid: 0, rdev: 0, nlink: 1, size: 0, mtimeSec: 0n, mtimeNsec: 0, xattrs };
  return { mode, ...common, ...fields };
}

function dir(children: Record<string, TreeNode> = {}, fields: Fields = {}): TreeNode {
  const map = new Map(Object.entries(children)) as Map<ByteString, TreeNode>;
  return node(S_IFDIR | 0o755, { children: map, ...fields });
}

function inline(size: number, fields: Fields = {}): TreeNode {
  const content = new Uint8Array(size).map((_, i) => (i * 7 + size) % 256);
  return node(S_IFREG | 0o644, { size, content, ...fields });
}

function external(size: number, fields: Fields = {}): TreeNode {
  const digest = toByteString(new Uint8Array(32).map((_, i) => (i * 31 + (size % 251)) % 256));
  const payload = `ab/object-${size}.file` as ByteString;
  return node(S_IFREG | 0o644, { size, payload, digest, ...fields });
}

function link(target: string, fields: Fields = {}): TreeNode {
  return node(S_IFLNK | 0o777, { payload: target as ByteString, size: target.length, ...fields });
}

function named<T>(
  keys: readonly T[],
  name: (key: T) => string,
  make: (key: T) => TreeNode,
): Record<string, TreeNode> {
  const out: Record<string, TreeNode> = {};
  for (const key of keys) out[name(key)] = make(key);
  return out;
}

function types(): TreeNode {
  return dir({
    file: inline(5),
    suid: inline(5, { mode: S_IFREG | 0o6755 }),
    tmp: dir({}, { mode: S_IFDIR | 0o1777 }),
    block: node(S_IFBLK | 0o660, { rdev: 0x801 }),
    char: node(S_IFCHR | 0o666, { rdev: 0x103 }),
    large: node(S_IFCHR | 0o600, { rdev: 0xfff00fff }),
    fifo: node(S_IFIFO | 0o600),
    sock: node(S_IFSOCK | 0o600),
    link: link('file'),
    white: dir({ out: node(S_IFCHR) }),
  });
}

function names(): TreeNode {
  const all = [
    '\x01',
    '-',
    '.-x',
    '..x',
    '...',
    ' ',
    '=',
    '\\',
    '\n',
    '\x7f',
    '\x80',
    '\xff\xfe',
    '00',
    'ff',
    'fe0',
  ];
  return dir({
    ...named(
      all,
      (name) => name,
      () => inline(1),
    ),
    [`${'n'.repeat(254)}\xff`]: dir({ 'z\xefl': inline(2) }),
  });
}

function xattrs(): TreeNode {
  const label = { 'security.selinux': 'system_u:object_r:root_t:s0\0' };
  const many: Record<string, string> = {};
  for (let i = 0; i < 140; i++) many[`user.${1000 + i}`] = 'v';
  return dir(
    {
      acl: inline(1, { attributes: { 'system.posix_acl_access': '\x02\0\0\0', ...label } }),
      default: dir({}, { attributes: { 'system.posix_acl_default': '\x02\0\0\0', ...label } }),
      first: external(9, { attributes: many }),
      second: external(9, { attributes: many }),
      nested: dir(
        {},
        { attributes: { 'trusted.overlay.opaque': 'y', 'trusted.overlay.overlay.opaque': 'y' } },
      ),
      empty: inline(1, { attributes: { 'user.empty': '', lustre: 'x' } }),
      long: inline(1, { attributes: { 'user.long': 'x'.repeat(32000) } }),
    },
    { attributes: label },
  );
}

function sizes(): TreeNode {
  const contents = [1, 64, 2047, 2048, 2049, 4095, 4096, 4097, 5000];
  const files = [1, 4096, 4097, 2 ** 32 - 1, 2 ** 32, 2 ** 43, 2 ** 43 + 1, 2 ** 53];
  return dir({
    ...named(
      contents,
      (size) => `in-${size}`,
      (size) => inline(size),
    ),
    ...named(
      files,
      (size) => `ex-${size}`,
      (size) => external(size),
    ),
    ...named(
      [1, 4000, 4030, 4031, 4032, 4095],
      (size) => `ln-${size}`,
      (size) => link('t'.repeat(size)),
    ),
    none: node(S_IFREG | 0o600),
    bare: node(S_IFREG | 0o600, { size: 7 }),
  });
}

function wide(): TreeNode {
  const numbers: number[] = [];
  for (let i = 0; i < 3000; i++) numbers.push((i * 7919) % 3000);
  const few = numbers.slice(0, 200);
  return dir({
    wide: dir(
      named(
        numbers,
        (i) => `entry-${i}`,
        (i) => external(1 + (i % 17)),
      ),
    ),
    deep: few.reduce((below) => dir({ d: below }), dir()),
  });
}

function links(): TreeNode {
  const target = external(99, { nlink: 3 });
  const early = { ...target, hardlink: target };
  return dir({ a: dir({ early }), m: target, z: dir({ late: { ...target, hardlink: early } }) });
}

function times(): TreeNode {
  return dir(
    {
      before: inline(1, { mtimeSec: -1n, mtimeNsec: 999_999_999 }),
      after: inline(1, { mtimeSec: 2n ** 33n, mtimeNsec: 1 }),
      ids: inline(1, { uid: 65536, gid: 2 ** 32 - 1 }),
      count: inline(1, { nlink: 65536 }),
    },
    { mtimeSec: 1_700_000_000n },
  );
}

export const GOLDEN_TREES: readonly (readonly [name: string, tree: () => TreeNode])[] = [
  ['empty', () => dir()],
  ['types', types],
  ['names', names],
  ['xattrs', xattrs],
  ['sizes', sizes],
  ['wide', wide],
  ['links', links],
  ['times', times],
];

/** SHA-256, blocks of 4096 bytes, no salt; format versions 0 to 1, as ostree asks for. */
export const GOLDEN_DIGESTS: Readonly<Record<string, string>> = {
  empty: '8f589e8f57ecb88823736b0d857ddca1e1068a23e264fad164b28f7038eb3682',
  types: '0b55bc256e268d7ce4b5c2923aa3edce8b594a16c3e1a6dbe5e970c2e2e762d0',
  names: '8b6234bdeed38a5c569ea7abcf5131b08c5c1c311e35722cf856bafb3e0d490d',
  xattrs: 'bd62930976b5015c23114fc89796ae9baf94f9e87decac6ea70c448ee52ffe92',
  sizes: '4116a2513d21c5f17bacfe6679458ea238dffb8f34007b0c38403362ed41d3a2',
  wide: '46c1e03ef25ad3b214a66af63cea5d652b5f972b9fc20cadab1382ccf4bcf232',
  links: '31f22f7da1802c2e050ece5a2ee04e68a789b15b21d7fbd0d4902f4d455e8c15',
  times: '4d38da1447f0475a58da69f8e6919f663b38a672c89a35965c92bde1fbc5773c',
};
