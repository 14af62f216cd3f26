/**
 * What somebody with write access to the disk can do, done to a copy: bits flipped where a file's bytes lie, files
 * replaced, removed, renamed. The ext4 is changed by debugfs, unmounted: it knows neither the immutable flag nor
 * fs-verity, so it stops at nothing, and it needs no kernel that could open such files.
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { nodeHasher } from '../src/adapters/hasher.ts';
import { runProgram } from '../src/adapters/run.ts';
import { roundUp } from '../src/formats/bytes.ts';
import { systemError } from '../src/formats/errors.ts';
import { buildVerityTree, VERITY_BLOCK_SIZE, verityDescriptor } from '../src/formats/fsverity.ts';

/** ext4 keeps verity metadata behind the data, at the next multiple of this (fs/ext4/verity.c). */
const METADATA_ALIGNMENT = 65536;
const EXTENTS_FLAG = 0x80000;
const VERITY_FLAG = 0x100000;

/** A copy that shares nothing with its origin; sparse, so that it costs what is used. */
export function copyDisk(from: string, to: string): void {
  execFileSync('cp', ['--sparse=always', '--reflink=auto', from, to]);
}

/** The ext4 file system at `offset` of the raw disk `image`; every change is complete when the call returns. */
export class Ext4Image {
  readonly image: string;
  readonly offset: number;

  constructor(image: string, offset: number) {
    this.image = image;
    this.offset = offset;
  }

  get #device(): string {
    return `${this.image}?offset=${this.offset}`;
  }

  /** debugfs exits with 0 when a command fails; what it says on stderr behind its banner is the failure. */
  #debugfs(commands: readonly string[], write = false): string {
    const mode = write ? ['-w'] : [];
    const input = `${commands.join('\n')}\n`;
    const { stdout, stderr } = runProgram(['debugfs', ...mode, '-f', '-', this.#device], { input });
    const complaint = stderr.split('\n').slice(1).join('\n').trim();
    if (complaint !== '') {
      throw systemError('tamper-failed', `cannot change ${this.image}: ${commands.join('; ')}: ${complaint}`);
    }
    // With -f debugfs repeats each command before its output.
    return stdout
      .split('\n')
      .filter((line) => !line.startsWith('debugfs: '))
      .join('\n');
  }

  inode(file: string): number {
    const found = /^Inode: (\d+)/m.exec(this.#debugfs([`stat ${quote(file)}`]))?.[1];
    if (found === undefined) throw systemError('tamper-failed', `cannot find ${file} in ${this.image}`);
    return Number(found);
  }

  /** True when the inode carries EXT4_VERITY_FL. */
  hasVerity(file: string): boolean {
    const flags = /Flags: (0x[0-9a-f]+)/.exec(this.#debugfs([`stat ${quote(file)}`]))?.[1];
    return (Number(flags) & VERITY_FLAG) !== 0;
  }

  /** Names in a directory, without `.` and `..`. */
  list(directory: string): string[] {
    // Each line: /inode/mode/uid/gid/name/size/
    const lines = this.#debugfs([`ls -p ${quote(directory)}`]).split('\n');
    return lines.map((line) => line.split('/')[5] ?? '').filter((name) => !['', '.', '..'].includes(name));
  }

  /** A link's target. */
  readLink(file: string): string {
    const found = /^Fast link dest: "(.*)"$/m.exec(this.#debugfs([`stat ${quote(file)}`]))?.[1];
    return found ?? this.read(file).toString('latin1');
  }

  read(file: string): Buffer {
    return inScratch((scratch) => {
      this.#debugfs([`dump ${quote(file)} ${scratch}`]);
      return readFileSync(scratch);
    });
  }

  /** Inverts one bit of a file's content where it lies on the disk. `offset` counts in the file. */
  flipBit(file: string, offset: number, bit = 0): void {
    const block = Number(
      this.#debugfs([`bmap ${quote(file)} ${Math.floor(offset / VERITY_BLOCK_SIZE)}`]).trim(),
    );
    if (!Number.isSafeInteger(block) || block === 0) {
      throw systemError('tamper-failed', `cannot flip a bit of ${file}: byte ${offset} lies in no block`);
    }
    const at = this.offset + block * VERITY_BLOCK_SIZE + (offset % VERITY_BLOCK_SIZE);
    const fd = openSync(this.image, 'r+');
    try {
      const byte = Buffer.alloc(1);
      readSync(fd, byte, 0, 1, at);
      byte[0] = (byte[0] ?? 0) ^ (1 << bit);
      writeSync(fd, byte, 0, 1, at);
    } finally {
      closeSync(fd);
    }
  }

  remove(file: string): void {
    this.#debugfs([`rm ${quote(file)}`], true);
  }

  /** A new file, with or without fs-verity over what it holds; an old one of that name is unlinked first. */
  replace(file: string, data: Uint8Array, options: { verity: boolean }): void {
    if (this.#exists(file)) this.remove(file);
    inScratch((scratch) => {
      writeFileSync(scratch, options.verity ? withVerityMetadata(data) : data);
      const { dir, base } = path.posix.parse(file);
      this.#debugfs([`cd ${quote(dir)}`, `write ${scratch} ${quote(base)}`], true);
    });
    const inode = `<${this.inode(file)}>`;
    const flags = EXTENTS_FLAG | (options.verity ? VERITY_FLAG : 0);
    this.#debugfs(
      [
        `sif ${inode} mode 0100644`,
        `sif ${inode} size ${data.length}`,
        ...(data.length > 0 ? [`sif ${inode} flags 0x${flags.toString(16)}`] : []),
      ],
      true,
    );
  }

  /** Sparse up to its new end. */
  resize(file: string, size: number): void {
    this.#debugfs([`sif <${this.inode(file)}> size ${size}`], true);
  }

  /** A FIFO, or a device with the numbers `major minor`. */
  makeNode(file: string, type: 'p' | 'b' | 'c', major = 0, minor = 0): void {
    const { dir, base } = path.posix.parse(file);
    const numbers = type === 'p' ? '' : ` ${major} ${minor}`;
    this.#debugfs([`cd ${quote(dir)}`, `mknod ${quote(base)} ${type}${numbers}`], true);
  }

  makeLink(link: string, target: string): void {
    this.#debugfs([`symlink ${quote(link)} ${quote(target)}`], true);
  }

  makeDirectory(directory: string): void {
    if (!this.#exists(directory)) this.#debugfs([`mkdir ${quote(directory)}`], true);
  }

  /** Within one directory. */
  rename(directory: string, from: string, to: string): void {
    const inode = this.inode(path.posix.join(directory, from));
    // `link` and `unlink` leave the link count alone, so the two together are a rename.
    this.#debugfs([`cd ${quote(directory)}`, `link <${inode}> ${quote(to)}`, `unlink ${quote(from)}`], true);
  }

  replaceLink(link: string, target: string): void {
    this.remove(link);
    this.makeLink(link, target);
  }

  /** The file system itself stays free of faults: what the guest then refuses is the content. */
  requireClean(): void {
    runProgram(['e2fsck', '-fn', this.#device], { timeoutSeconds: 300 });
  }

  #exists(file: string): boolean {
    const { dir, base } = path.posix.parse(file);
    return this.list(dir).includes(base);
  }
}

/** debugfs splits at blanks; our paths have none, and this fails should one appear. */
function quote(file: string): string {
  if (!/^[\w@%+=:,./-]+$/.test(file)) {
    throw systemError('tamper-failed', `cannot name ${JSON.stringify(file)} to debugfs`);
  }
  return file;
}

function inScratch<T>(action: (file: string) => T): T {
  const folder = mkdtempSync(path.join(tmpdir(), 'sealroot-tamper-'));
  try {
    return action(path.join(folder, 'content'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Where the Merkle tree of a file begins, its root level first, and where its descriptor does; as offsets in the file. */
export function verityPlaces(size: number): { tree: number; descriptor: number } {
  const tree = roundUp(size, METADATA_ALIGNMENT);
  let descriptor = tree;
  // Each hash block holds the hashes of 128 blocks of the level below.
  for (let blocks = Math.ceil(size / VERITY_BLOCK_SIZE); blocks > 1; ) {
    blocks = Math.ceil(blocks / 128);
    descriptor += blocks * VERITY_BLOCK_SIZE;
  }
  return { tree, descriptor };
}

/**
 * The data, padded, and what FS_IOC_ENABLE_VERITY would append: Merkle tree, root level first, descriptor, its size in
 * the last four bytes of the block. Written apart from the product's own code for it, which works on a mounted file.
 */
function withVerityMetadata(data: Uint8Array): Buffer {
  const { rootHash, levels } = buildVerityTree(data, nodeHasher);
  const descriptor = verityDescriptor(data.length, rootHash);
  const last = Buffer.alloc(VERITY_BLOCK_SIZE);
  last.set(descriptor);
  last.writeUInt32LE(descriptor.length, VERITY_BLOCK_SIZE - 4);
  const padding = Buffer.alloc(roundUp(data.length, METADATA_ALIGNMENT) - data.length);
  return Buffer.concat([data, padding, ...levels.toReversed(), last]);
}
