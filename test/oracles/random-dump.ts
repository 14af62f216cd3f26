/**
 * Random trees as dump text, for fast-check: every kind of node, odd names, sizes around each limit of the layout,
 * shared and unshared xattrs, hard links forwards and backwards. Written without our own dump code, which is under
 * test. Two inputs are left out because the reference's own `dump` misreads them: a backing path whose length is
 * 3 modulo 4 (it appends bytes of what follows), and an xattr with neither suffix nor value at the end of its area.
 */

import fc from 'fast-check';

export interface RandomNode {
  name: string;
  line: (path: string, allPaths: readonly string[]) => string;
  linkable: boolean;
  children: RandomNode[];
}

const byte = fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code));
const nameByte = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...'abAB019-_.~+=') },
  { weight: 1, arbitrary: byte },
);

function text(unit: fc.Arbitrary<string>, min: number, max: number): fc.Arbitrary<string> {
  return fc.string({ unit, minLength: min, maxLength: max });
}

const name = fc
  .oneof(
    { weight: 8, arbitrary: text(nameByte, 1, 12) },
    { weight: 1, arbitrary: text(nameByte, 200, 255) },
    { weight: 1, arbitrary: fc.constantFrom('00', 'ff', '7f', '-', '.-x', '...', '!', '\x01', '\xff\xfe') },
  )
  .filter((value) => !value.includes('/') && value !== '.' && value !== '..');

/** One form for every byte that could be misread; the parser needs fewer escapes, see `escapeLazily`. */
export function escapeAll(value: string): string {
  let out = '';
  for (const char of value) {
    const code = char.charCodeAt(0);
    out +=
      code > 0x20 && code < 0x7f && char !== '\\' && char !== '='
        ? char
        : `\\x${code.toString(16).padStart(2, '0')}`;
  }
  return out;
}

/** Only what the parser cannot do without, in the short forms where there are any. */
function escapeLazily(value: string): string {
  return value.replace(/[\\ \n\r\t]|\0/g, (char) => {
    const short = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }[char];
    return short ?? (char === ' ' ? '\\x20' : '\\x00');
  });
}

const id = fc.constantFrom('0', '0', '0', '1000', '65535', '65536', '4294967295');
const nlink = fc.constantFrom('1', '1', '1', '2', '65535', '65536');
const mtime = fc.constantFrom(
  '0.0',
  '0.0',
  '0.0',
  '1.0',
  '-1.0',
  '1700000000.999999999',
  '0.1',
  '-5000000000.3',
);
const permissions = fc.constantFrom(0o644, 0o755, 0, 0o7777, 0o4711);

const key = fc.oneof(
  fc.constantFrom(
    ...[
      'security.selinux',
      'user.a',
      'user.',
      'trusted.b',
      'trusted.overlay.redirect',
      'trusted.overlay.overlay.x',
    ],
    ...['system.posix_acl_accessfoo', 'system.posix_acl_default', 'security.capability', 'lustre.x', 'plain'],
    ...['user.overlay.opaque', 'trusted.overlay.opaque', 'trusted.overlay.metacopy'],
  ),
  text(nameByte, 1, 60).map((suffix) => `user.${suffix}`),
);
const value = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('shared', 'system_u:object_r:usr_t:s0\0', 'x', 'y'.repeat(300)) },
  {
    weight: 2,
    arbitrary: text(
      fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
      1,
      40,
    ),
  },
  { weight: 1, arbitrary: fc.integer({ min: 1000, max: 5000 }).map((size) => 'v'.repeat(size)) },
);
const xattrs = fc
  .oneof(
    { weight: 15, arbitrary: fc.constant<[string, string][]>([]) },
    {
      weight: 15,
      arbitrary: fc.uniqueArray(fc.tuple(key, value), { maxLength: 5, selector: ([name]) => name }),
    },
    {
      // More than the 128 shared ones that an inode can refer to.
      weight: 1,
      arbitrary: fc.constant(
        Array.from({ length: 140 }, (_, i): [string, string] => [`user.many${i}`, 'many']),
      ),
    },
  )
  .map((list) => list.map(([name, content]) => ` ${escapeAll(name)}=${escapeAll(content)}`).join(''));

const attributes = fc.record({ permissions, uid: id, gid: id, nlink, mtime, xattrs });
type Attributes = typeof attributes extends fc.Arbitrary<infer T> ? T : never;

interface Fields {
  type: number;
  size?: number;
  rdev?: number;
  payload?: string;
  content?: string;
  digest?: string;
}

function line(path: string, a: Attributes, f: Fields): string {
  const mode = (f.type | a.permissions).toString(8);
  const { size = 0, rdev = 0, payload = '-', content = '-', digest = '-' } = f;
  return `${path} ${size} ${mode} ${a.nlink} ${a.uid} ${a.gid} ${rdev} ${a.mtime} ${payload} ${content} ${digest}${a.xattrs}\n`;
}

function leaf(fields: fc.Arbitrary<Fields>): fc.Arbitrary<RandomNode> {
  return fc.record({ name, a: attributes, f: fields }).map(({ name, a, f }) => ({
    name,
    linkable: true,
    children: [],
    line: (path) => line(path, a, f),
  }));
}

// Some that several files have, and some that are nearly the same.
const digest = fc.oneof(
  { weight: 3, arbitrary: text(fc.constantFrom(...'0123456789abcdef'), 64, 64) },
  { weight: 2, arbitrary: fc.constantFrom('5'.repeat(64), `${'5'.repeat(62)}65`, `6${'5'.repeat(63)}`) },
);
const payload = fc
  .oneof(
    digest.map((hex) => `${hex.slice(0, 2)}/${hex.slice(2)}`),
    text(nameByte, 1, 100),
    text(nameByte, 4000, 4095),
  )
  .map((path) => (path.length % 4 === 3 ? path.slice(1) : path))
  .filter((path) => path.length > 0 && path !== '-');
const externalSize = fc.oneof(
  fc.constantFrom(1, 4096, 4097, 1 << 20, 2 ** 32, 2 ** 43, 2 ** 43 + 1, 2 ** 50, 1016 * 2 ** 43, 2 ** 53),
  fc.integer({ min: 1, max: 100000 }),
);

const external = leaf(
  fc
    .record({ size: externalSize, payload: fc.option(payload, { freq: 8 }), digest: fc.option(digest) })
    .map((f) => ({
      type: 0o100000,
      size: f.size,
      ...(f.payload === null ? {} : { payload: escapeLazily(f.payload) }),
      ...(f.digest === null ? {} : { digest: f.digest }),
    })),
);
const inline = leaf(
  fc
    .tuple(
      fc.oneof(fc.integer({ min: 0, max: 70 }), fc.constantFrom(2048, 2049, 4095, 4096, 4097, 5000)),
      byte,
    )
    .map(([size, fill]) => ({
      type: 0o100000,
      size,
      content: size === 0 ? '-' : escapeAll(fill.repeat(size)),
    })),
);
const symlink = leaf(
  fc
    .oneof({ weight: 5, arbitrary: text(byte, 1, 60) }, { weight: 1, arbitrary: text(nameByte, 3800, 4095) })
    .map((target) => ({ type: 0o120000, payload: target === '-' ? '\\x2d' : escapeLazily(target) })),
);
const special = leaf(
  fc.oneof(
    fc.constantFrom<Fields>({ type: 0o010000 }, { type: 0o140000 }, { type: 0o020000, rdev: 0, size: 7 }),
    fc
      .tuple(fc.constantFrom(0o020000, 0o060000), fc.integer({ min: 1, max: 0xffffffff }))
      .map(([type, rdev]) => ({ type, rdev })),
  ),
);
const hardlink: fc.Arbitrary<RandomNode> = fc.record({ name, pick: fc.nat() }).map(({ name, pick }) => ({
  name,
  linkable: false,
  children: [],
  line: (path, allPaths) =>
    allPaths.length === 0
      ? `${path} 0 100644 1 0 0 0 0.0 - - -\n`
      : `${path} 0 @100644 0 0 0 0 0.0 ${allPaths[pick % allPaths.length]} - -\n`,
}));

const anyLeaf = fc.oneof(
  { weight: 6, arbitrary: external },
  { weight: 3, arbitrary: inline },
  { weight: 3, arbitrary: symlink },
  { weight: 2, arbitrary: special },
  { weight: 1, arbitrary: hardlink },
);

function directory(depth: number): fc.Arbitrary<RandomNode> {
  const child =
    depth === 0
      ? anyLeaf
      : fc.oneof({ weight: 3, arbitrary: anyLeaf }, { weight: 1, arbitrary: directory(depth - 1) });
  const few = fc.uniqueArray(child, { maxLength: 8, selector: (node) => node.name });
  const crowd = fc.integer({ min: 100, max: 400 }).map((count) =>
    Array.from(
      { length: count },
      (_, i): RandomNode => ({
        name: `crowded-directory-entry-${i}`,
        linkable: true,
        children: [],
        line: (path) => `${path} 0 100644 1 0 0 0 0.0 - - -\n`,
      }),
    ),
  );
  const children = fc.oneof({ weight: 12, arbitrary: few }, { weight: 1, arbitrary: crowd });
  return fc.record({ name, a: attributes, children }).map(({ name, a, children }) => ({
    name,
    linkable: false,
    children,
    line: (path) => line(path, a, { type: 0o040000 }),
  }));
}

function collect(node: RandomNode, path: string, visit: (node: RandomNode, path: string) => void): void {
  visit(node, path);
  for (const child of node.children) collect(child, `${path}/${escapeAll(child.name)}`, visit);
}

/** Whole dumps, root first. */
export const randomDump: fc.Arbitrary<Buffer> = directory(3).map((root) => {
  const linkable: string[] = [];
  collect(root, '', (node, path) => {
    if (node.linkable) linkable.push(path);
  });
  const lines: string[] = [];
  collect(root, '', (node, path) => lines.push(node.line(path === '' ? '/' : path, linkable)));
  return Buffer.from(lines.join(''), 'latin1');
});
