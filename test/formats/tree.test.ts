import { describe, expect, it } from 'vitest';
import { ascii } from '../../src/formats/encoding.ts';
import { SealrootError } from '../../src/formats/errors.ts';
import { resolveHardlink, type TreeNode, validateTree } from '../../src/formats/tree.ts';

function node(mode: number, more: Partial<TreeNode> = {}): TreeNode {
  const base = {
    mode,
    uid: 0,
    gid: 0,
    rdev: 0,
    nlink: 1,
    size: 0,
    mtimeSec: 0n,
    mtimeNsec: 0,
    xattrs: new Map(),
  };
  return { ...base, ...more };
}

function rootWith(children: Record<string, TreeNode>): TreeNode {
  return node(0o40755, {
    children: new Map(Object.entries(children).map(([name, child]) => [ascii(name), child])),
  });
}

const file = () => node(0o100644);
const xattr = (key: string, size: number) => new Map([[ascii(key), new Uint8Array(size)]]);

function deep(levels: number): TreeNode {
  let top = node(0o40755);
  for (let i = 0; i < levels; i++) top = rootWith({ d: top });
  return top;
}

function circle(): TreeNode {
  const first = file();
  const second = node(0o100644, { hardlink: first });
  first.hardlink = second;
  return rootWith({ a: first, b: second });
}

function repeated(): TreeNode {
  const shared = file();
  return rootWith({ a: shared, b: shared });
}

function linkTo(target: TreeNode, others: Record<string, TreeNode> = {}): TreeNode {
  return rootWith({ link: node(0o100644, { hardlink: target }), ...others });
}

function linkToDirectory(): TreeNode {
  const dir = node(0o40755);
  return linkTo(dir, { dir });
}

const REFUSED: [what: string, tree: () => TreeNode, code: string][] = [
  ['a root that is a file', file, 'tree-root-not-directory'],
  ['a mode without file type', () => rootWith({ a: node(0o644) }), 'tree-type-invalid'],
  ['the name ".."', () => rootWith({ '..': file() }), 'tree-name-invalid'],
  ['an empty name', () => rootWith({ '': file() }), 'tree-name-invalid'],
  ['a slash in a name', () => rootWith({ 'a/b': file() }), 'tree-name-invalid'],
  ['a NUL in a name', () => rootWith({ 'a\0': file() }), 'tree-name-invalid'],
  ['a name of 256 bytes', () => rootWith({ ['n'.repeat(256)]: file() }), 'tree-name-invalid'],
  ['a uid beyond 32 bits', () => rootWith({ a: node(0o100644, { uid: 2 ** 32 }) }), 'tree-number-invalid'],
  ['a size that is no integer', () => rootWith({ a: node(0o100644, { size: 0.5 }) }), 'tree-number-invalid'],
  [
    'an mtime beyond 64 bits',
    () => rootWith({ a: node(0o100644, { mtimeSec: 2n ** 63n }) }),
    'tree-number-invalid',
  ],
  ['a file over 2^53 bytes', () => rootWith({ a: node(0o100644, { size: 2 ** 54 }) }), 'tree-file-too-large'],
  [
    'children of a file',
    () => rootWith({ a: node(0o100644, { children: new Map() }) }),
    'tree-children-not-directory',
  ],
  [
    'content that is not size bytes',
    () => rootWith({ a: node(0o100644, { size: 2, content: new Uint8Array(1) }) }),
    'tree-content-invalid',
  ],
  [
    'content of a FIFO',
    () => rootWith({ a: node(0o10644, { content: new Uint8Array(1) }) }),
    'tree-content-invalid',
  ],
  [
    'a NUL in a backing path',
    () => rootWith({ a: node(0o100644, { payload: ascii('a\0') }) }),
    'tree-payload-invalid',
  ],
  [
    'a short digest',
    () => rootWith({ a: node(0o100644, { digest: ascii('\0'.repeat(31)) }) }),
    'tree-digest-invalid',
  ],
  ['a link without target', () => rootWith({ a: node(0o120777) }), 'tree-target-invalid'],
  [
    'a target of 4096 bytes',
    () => rootWith({ a: node(0o120777, { payload: ascii('t'.repeat(4096)) }) }),
    'tree-target-invalid',
  ],
  [
    'an empty xattr name',
    () => rootWith({ a: node(0o100644, { xattrs: xattr('', 1) }) }),
    'tree-xattr-invalid',
  ],
  [
    'an xattr of 65536 bytes',
    () => rootWith({ a: node(0o100644, { xattrs: xattr('a', 65536) }) }),
    'tree-xattr-invalid',
  ],
  [
    '32768 bytes of xattrs',
    () => rootWith({ a: node(0o100644, { xattrs: xattr('a', 32768 - 20) }) }),
    'tree-xattrs-too-large',
  ],
  ['2049 levels', () => deep(2049), 'tree-too-deep'],
  ['a node with two names', repeated, 'tree-node-repeated'],
  ['hard links in a circle', circle, 'hardlink-loop'],
  ['a hard link out of the tree', () => linkTo(file()), 'hardlink-target-missing'],
  ['a hard link to a directory', linkToDirectory, 'hardlink-to-directory'],
];

describe('validateTree()', () => {
  it.each(REFUSED)('refuses %s', (_, tree, code) => {
    let error: unknown;
    try {
      validateTree(tree());
    } catch (caught) {
      error = caught;
    }
    if (!(error instanceof SealrootError)) expect.unreachable(`accepted or crashed: ${error}`);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(/^cannot use tree: "\//);
  });

  it('accepts what stands at the limits', () => {
    const target = file();
    const tree = rootWith({
      target,
      link: node(0o100644, { hardlink: node(0o100644, { hardlink: target }) }),
      ['n'.repeat(255)]: node(0o100644, { xattrs: xattr('a', 32767 - 20), size: 2 ** 53 }),
      symlink: node(0o120777, { payload: ascii('t'.repeat(4095)) }),
    });
    expect(validateTree(tree)).toBe(tree);
    expect(validateTree(deep(2047))).toBeDefined();
  });
});

describe('resolveHardlink()', () => {
  it('follows chains and notices circles that the first link is not part of', () => {
    const target = file();
    const chain = node(0o100644, { hardlink: node(0o100644, { hardlink: target }) });
    expect(resolveHardlink(chain)).toBe(target);
    const [a, b, c] = [file(), file(), file()];
    a.hardlink = b;
    b.hardlink = c;
    c.hardlink = b;
    expect(resolveHardlink(a)).toBeUndefined();
  });
});
