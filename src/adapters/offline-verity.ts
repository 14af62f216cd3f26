/**
 * fs-verity on ext4 without a kernel that has it: what FS_IOC_ENABLE_VERITY would leave on the disk is written by hand.
 *
 * Layout (Linux Documentation/filesystems/fsverity.rst and ext4/verity.rst, fs/ext4/verity.c): past the end of the
 * file, at the next multiple of 65536, stands the Merkle tree, root level first, then the descriptor, and in the last
 * four bytes of the block in which the descriptor ends its size. The inode carries EXT4_VERITY_FL, and its size is
 * that of the data alone. As long as the file system is mounted only the first half can be done; the inodes are
 * changed by debugfs after it is unmounted.
 */

import { closeSync, fstatSync, futimesSync, openSync, writeSync } from 'node:fs';
import { concatBytes, roundUp } from '../formats/bytes.ts';
import { systemError } from '../formats/errors.ts';
import { VERITY_BLOCK_SIZE, verityDescriptor } from '../formats/fsverity.ts';
import { nodeHasher } from './hasher.ts';
import { keepFileCapabilities } from './inode-attributes.ts';
import { runProgram } from './run.ts';
import { type MerkleTree, VerityComputer } from './verity.ts';

/** ext4 puts the metadata at the next 64 KiB boundary, whatever the page size (fs/ext4/verity.c). */
const METADATA_ALIGNMENT = 65536;
/** EXT4_EXTENTS_FL | EXT4_VERITY_FL: all that a regular file of a fresh file system with extents has. */
const VERITY_INODE_FLAGS = '0x180000';

interface PendingInode {
  inode: number;
  size: number;
}

/** Collects the files of one mounted ext4; `finish` makes them verity files once it is unmounted. */
export class OfflineVerity {
  readonly #computer = new VerityComputer();
  readonly #pending = new Map<number, PendingInode & { digest: Uint8Array }>();

  get count(): number {
    return this.#pending.size;
  }

  /**
   * Appends the verity metadata to a regular file and returns its fs-verity digest. Owner, mode, times and file
   * capabilities stay. A second path of the same inode returns the digest of the first and changes nothing. `tree` is
   * that of the file's content, for whoever has hashed it already; nobody may have written to the file since.
   */
  add(path: string, tree?: MerkleTree): Uint8Array {
    const fd = openSync(path, 'r+');
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile()) throw systemError('not-a-regular-file', `cannot seal ${path}: not a regular file`);
      const known = this.#pending.get(stat.ino);
      if (known !== undefined) return known.digest;
      const { rootHash, blocks } = tree ?? this.#treeOf(fd, stat.size, path);
      const descriptor = verityDescriptor(stat.size, rootHash);
      keepFileCapabilities(fd, path, () => appendMetadata(fd, stat.size, blocks, descriptor));
      futimesSync(fd, stat.atimeMs / 1000, stat.mtimeMs / 1000);
      const digest = nodeHasher.sha256(descriptor);
      this.#pending.set(stat.ino, { inode: stat.ino, size: stat.size, digest });
      return digest;
    } finally {
      closeSync(fd);
    }
  }

  #treeOf(fd: number, size: number, path: string): MerkleTree {
    this.#computer.ofDescriptor(fd, size, path);
    return this.#computer.merkleTree();
  }

  /** `device` is the unmounted file system as e2fsprogs names it: a path, with `?offset=N` for a partition in an image. */
  finish(device: string): void {
    if (this.#pending.size === 0) return;
    let commands = '';
    for (const { inode, size } of this.#pending.values()) {
      commands += `sif <${inode}> size ${size}\nsif <${inode}> flags ${VERITY_INODE_FLAGS}\n`;
    }
    const { stderr } = runProgram(['debugfs', '-w', '-f', '-', device], { input: commands });
    // debugfs exits 0 when a command fails; beyond its banner it has nothing to say on stderr.
    const complaint = stderr
      .split('\n')
      .slice(1)
      .find((line) => line.trim() !== '');
    if (complaint !== undefined) {
      throw systemError('verity-offline-failed', `cannot mark files as sealed on ${device}: ${complaint}`);
    }
    this.#pending.clear();
  }
}

function appendMetadata(fd: number, size: number, tree: Uint8Array, descriptor: Uint8Array): void {
  const tail = new Uint8Array(roundUp(descriptor.length + 4, VERITY_BLOCK_SIZE));
  tail.set(descriptor);
  new DataView(tail.buffer).setUint32(tail.length - 4, descriptor.length, true);
  writeAll(fd, concatBytes([tree, tail]), roundUp(size, METADATA_ALIGNMENT));
}

function writeAll(fd: number, data: Uint8Array, at: number): void {
  let done = 0;
  while (done < data.length) done += writeSync(fd, data, done, data.length - done, at + done);
}
