import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openObjectStore } from '../../src/adapters/object-store.ts';
import { doubtOfTree } from '../../src/commands/tree-trust.ts';

const VECTORS = join(import.meta.dirname, '../vectors/upstream-signed');
/** Signed by key1. */
const ONE = '76a7b26144caf4962f108093326dd79506af8deab4e887e425865a00949027fb';
const DEFAULT_KEYS = 'usr/etc/ostree/initramfs-root-binding.key';

let tree = '';

beforeEach(() => {
  tree = mkdtempSync(join(tmpdir(), 'sealroot-tree-trust-'));
});
afterEach(() => rmSync(tree, { recursive: true, force: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(tree, path)), { recursive: true });
  writeFileSync(join(tree, path), text);
}

function putPolicy(...more: string[]): void {
  put('usr/lib/sealroot/prepare-root.conf', ['[composefs]', 'enabled=signed', ...more, ''].join('\n'));
}

function putKeys(name: string, path = DEFAULT_KEYS): void {
  put(path, '');
  copyFileSync(join(VECTORS, name), join(tree, path));
}

const doubt = () => doubtOfTree(tree, openObjectStore(join(VECTORS, 'repo')), ONE);

describe('doubtOfTree()', () => {
  it('has none of a tree with the key that signed it, wherever the policy says it is', () => {
    putPolicy();
    putKeys('key1.pub');
    expect(doubt()).toBeUndefined();
    putPolicy('keypath=/usr/share/keys/our.pub');
    putKeys('key2.pub');
    putKeys('key1.pub', 'usr/share/keys/our.pub');
    expect(doubt()).toBeUndefined();
  });

  it.each(['usr/share/keys/our.pub', 'etcetera/our.pub'])('looks for the keys in /%s', (path) => {
    putPolicy(`keypath=/${path}`);
    putKeys('key1.pub');
    putKeys('key2.pub', path);
    expect(doubt()).toContain('would refuse it at boot: ');
  });

  it('names what would be refused: another key, a revoked one, a ref, a policy that is not sealed', () => {
    putPolicy();
    putKeys('key2.pub');
    const prefix = `keys and policy in the tree of commit ${ONE} would refuse it at boot: `;
    expect(doubt()).toContain(`${prefix}cannot verify commit ${ONE}: none of `);
    putKeys('key1.pub');
    putKeys('key1.pub', `${DEFAULT_KEYS}.revoked`);
    expect(doubt()).toMatch(/would refuse it at boot: .* is revoked$/);
    rmSync(join(tree, `${DEFAULT_KEYS}.revoked`));
    putPolicy('[sealroot]', 'refs=os/other');
    expect(doubt()).toMatch(/would refuse it at boot: .*the policy wants one of os\/other$/);
    put('usr/lib/sealroot/prepare-root.conf', '[composefs]\nenabled=perhaps\n');
    expect(doubt()).toContain(prefix);
    put('usr/lib/sealroot/prepare-root.conf', '[composefs]\nenabled=yes\n');
    expect(doubt()).toBe(`the policy in the tree of commit ${ONE} is not sealed: its boot verifies nothing`);
  });

  it('has none of a tree that does not say what its initramfs has', () => {
    expect(doubt()).toBeUndefined();
    putPolicy();
    expect(doubt()).toBeUndefined();
  });
});
