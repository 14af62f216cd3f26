/** A small bootable tree in a sealed commit: what disks and deployments are made of in these tests. */

import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keygen } from '../../src/commands/keygen.ts';
import { seal } from '../../src/commands/seal.ts';

export const REF = 'os/stable';

export interface SealedRepo {
  /** Holds everything; whoever asks for it removes it. */
  folder: string;
  repo: string;
  commit: string;
  digest: string;
  publicKey: string;
  secretKey: string;
  /** A key that signed nothing. */
  otherKey: string;
  kernel: Buffer;
  initramfs: Buffer;
}

/** Bytes that repeat in no short period, so that no two blocks are alike. */
export function filling(size: number, seed: number): Buffer {
  const bytes = Buffer.alloc(size);
  let state = seed + 1;
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[at] = state >>> 16;
  }
  return bytes;
}

/** Sizes at the borders of verity blocks, tree levels and metadata alignment. */
export const BORDER_SIZES = [1, 64, 4095, 4096, 4097, 65535, 65536, 65537, 524288, 524289, 3_000_000];

export async function makeSealedRepo(): Promise<SealedRepo> {
  const folder = mkdtempSync(join(tmpdir(), 'sealroot-oracle-'));
  const tree = join(folder, 'tree');
  const kernel = filling(100_000, 1);
  const initramfs = filling(200_000, 2);
  makeTree(tree, kernel, initramfs);
  const repo = join(folder, 'repo');
  execFileSync('ostree', [`--repo=${repo}`, 'init', '--mode=bare']);
  execFileSync(
    'ostree',
    [`--repo=${repo}`, 'commit', `--branch=${REF}`, `--tree=dir=${tree}`, '--bootable'],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  const { publicKey, secretKey } = await keygen({ out: join(folder, 'keys') });
  const other = await keygen({ out: join(folder, 'other') });
  const { commit, digest } = await seal({ repo, ref: REF, keys: [secretKey] });
  return { folder, repo, commit, digest, publicKey, secretKey, otherKey: other.publicKey, kernel, initramfs };
}

function makeTree(tree: string, kernel: Buffer, initramfs: Buffer): void {
  const modules = join(tree, 'usr/lib/modules/6.12.0');
  for (const path of [
    'usr/bin',
    'usr/etc',
    'usr/share',
    'boot',
    'sysroot',
    'var',
    'proc',
    'sys',
    'dev',
    'run',
    'tmp',
  ]) {
    mkdirSync(join(tree, path), { recursive: true });
  }
  mkdirSync(modules, { recursive: true });
  symlinkSync('sysroot/ostree', join(tree, 'ostree'));
  symlinkSync('usr/bin', join(tree, 'bin'));
  writeFileSync(join(modules, 'vmlinuz'), kernel);
  writeFileSync(join(modules, 'initramfs.img'), initramfs);
  writeFileSync(join(tree, 'usr/lib/os-release'), 'ID=test\nVERSION_ID=1\nPRETTY_NAME="Test 1"\n');
  symlinkSync('../usr/lib/os-release', join(tree, 'usr/etc/os-release'));
  for (const size of BORDER_SIZES) writeFileSync(join(tree, `usr/share/size-${size}`), filling(size, size));
  writeFileSync(join(tree, 'usr/share/empty'), '');
  writeFileSync(join(tree, 'usr/bin/twin'), 'two names\n');
  linkSync(join(tree, 'usr/bin/twin'), join(tree, 'usr/bin/brother'));
  writeFileSync(join(tree, 'usr/bin/ping'), filling(70_000, 7));
  chmodSync(join(tree, 'usr/bin/ping'), 0o755);
  execFileSync('setcap', ['cap_net_raw+ep', join(tree, 'usr/bin/ping')]);
}
