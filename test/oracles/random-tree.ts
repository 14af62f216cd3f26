/** File trees on disk for comparisons: single entries, and whole random ones that a seed reproduces. Needs root. */

import { chmodSync, lchownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathBytes, setXattr } from '../../src/adapters/syscalls.ts';
import { ascii, utf8 } from '../../src/formats/encoding.ts';

/** Mulberry32: 32 bits of state are plenty here, and the same tree comes out on every machine. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let bits = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) % limit;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T;
  }
}

/** `size` bytes that differ from block to block and from file to file. */
export function file(folder: string, name: string, size: number): string {
  const target = path.join(folder, name);
  const content = Buffer.alloc(size);
  for (let at = 0; at < size; at += 512) content.write(`${name} ${at} `, at);
  writeFileSync(target, content, { mode: 0o644 });
  return target;
}

export function directory(folder: string, name: string): string {
  const target = path.join(folder, name);
  mkdirSync(target, { mode: 0o755 });
  return target;
}

export function link(folder: string, name: string, target: string): string {
  symlinkSync(target, path.join(folder, name));
  return path.join(folder, name);
}

export function xattr(target: string, name: string, value: string): void {
  setXattr(pathBytes(target), ascii(name), utf8(value));
}

const NAME_PARTS = ['a', 'Z', '-', '.x', ' ', '\n', '\\', '=', 'ä', '日本', 'lib', '00', '~'];
const FILE_MODES = [0o644, 0o755, 0o600, 0o4755, 0o2755, 0o6711, 0o1644, 0];
const OWNERS = [0, 1, 1000, 65534, 65535, 65536, 4_000_000_000];
const SIZES = [0, 0, 1, 63, 4095, 4096, 4097, 70_000, 300_000];
const XATTRS = ['user.a', 'user.b', 'trusted.c', 'trusted.overlay.redirect', 'user.overlay.x', 'security.d'];
const VALUES = ['', 'v', 'shared value', 'x'.repeat(300)];

/** Some two hundred entries: nested directories, one crowded, with odd names, owners, modes, sizes and xattrs. */
export function growRandomTree(root: string, seed: number): void {
  const random = new Random(seed);
  const folders = [root];
  for (let i = 0; i < 200; i++) {
    const folder = random.pick(folders);
    const name = `${random.pick(NAME_PARTS)}${random.pick(NAME_PARTS)}${i}`;
    const kind = random.below(10);
    const isLink = kind >= 8;
    let target: string;
    if (kind < 2) {
      target = directory(folder, name);
      folders.push(target);
    } else if (isLink)
      target = link(folder, name, `${random.pick(NAME_PARTS)}/`.repeat(1 + random.below(300)));
    else target = file(folder, name, random.pick(SIZES));
    decorate(target, isLink, random);
  }
  const crowded = directory(root, 'crowded');
  for (let i = 0; i < 300; i++) file(crowded, `${'n'.repeat(random.below(200))}${i}`, i % 3);
}

function decorate(target: string, isLink: boolean, random: Random): void {
  lchownSync(target, random.pick(OWNERS), random.pick(OWNERS));
  // After chown, which clears the setuid bits.
  if (!isLink) chmodSync(target, random.pick(FILE_MODES));
  for (let i = random.below(4); i > 0; i--) {
    const name = random.pick(XATTRS);
    // The kernel allows user.* on files and directories only.
    if (!isLink || !name.startsWith('user.')) xattr(target, name, random.pick(VALUES));
  }
}
