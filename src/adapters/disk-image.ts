/**
 * The disk as a file: partition table, ESP and ext4, made in place by the programs of util-linux, dosfstools, mtools
 * and e2fsprogs. None of them needs a partition device: each takes an offset into the file, so no udev is involved.
 */

import { closeSync, ftruncateSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { systemError } from '../formats/errors.ts';
import { runProgram } from './run.ts';

export const MIB = 1024 * 1024;
const SECTOR = 512;
/** The backup GPT: header and 128 entries. */
const GPT_TAIL = MIB;

export interface Partition {
  name: 'esp' | 'root';
  /** Bytes from the start of the disk. */
  offset: number;
  size: number;
  uuid: string;
}

export interface DiskLayout {
  size: number;
  esp: Partition;
  root: Partition;
}

/** ESP first, root behind it to the end; both aligned to 1 MiB. `size` is a multiple of 1 MiB. */
export function planLayout(options: {
  size: number;
  espSize: number;
  espUuid: string;
  rootUuid: string;
}): DiskLayout {
  const { size, espSize, espUuid, rootUuid } = options;
  const rootOffset = MIB + espSize;
  return {
    size,
    esp: { name: 'esp', offset: MIB, size: espSize, uuid: espUuid },
    root: { name: 'root', offset: rootOffset, size: size - rootOffset - GPT_TAIL, uuid: rootUuid },
  };
}

/** Makes a sparse file with a GPT. The path must not exist. */
export function createPartitionedImage(path: string, layout: DiskLayout): void {
  const fd = openSync(path, 'wx', 0o600);
  try {
    ftruncateSync(fd, layout.size);
  } finally {
    closeSync(fd);
  }
  const line = (part: Partition, type: string) =>
    `start=${part.offset / SECTOR}, size=${part.size / SECTOR}, type=${type}, name=${part.name}, uuid=${part.uuid}\n`;
  // "linux" and not the discoverable root type: the root is named on the kernel command line, and must not be guessed.
  const script = `label: gpt\nunit: sectors\n\n${line(layout.esp, 'uefi')}${line(layout.root, 'linux')}`;
  runProgram(['sfdisk', '--quiet', '--no-reread', '--no-tell-kernel', path], { input: script });
}

/** How e2fsprogs name a file system inside a file. */
export function ext4Device(image: string, part: Partition): string {
  return `${image}?offset=${part.offset}`;
}

/** ext4 with the verity feature and 4096-byte blocks, as fs-verity needs them. `uuid` is the file system's. */
export function makeExt4(image: string, part: Partition, uuid: string): void {
  const extended = `offset=${part.offset},nodiscard,assume_storage_prezeroed=1`;
  const blocks = String(part.size / 4096);
  runProgram(
    [
      'mkfs.ext4',
      '-q',
      '-F',
      '-b',
      '4096',
      '-O',
      'verity',
      '-U',
      uuid,
      '-L',
      'root',
      '-E',
      extended,
      image,
      blocks,
    ],
    {},
  );
}

/** Throws unless e2fsck finds the file system free of any fault; changes nothing. */
export function checkExt4(image: string, part: Partition): void {
  const device = ext4Device(image, part);
  const { status, stdout } = runProgram(['e2fsck', '-fn', device], { allowedStatuses: [0, 1, 4, 8, 12] });
  if (status !== 0) {
    const faults = stdout.trim().split('\n').slice(0, 5).join('; ');
    throw systemError('file-system-damaged', `cannot use ${device}: e2fsck exit status ${status}: ${faults}`);
  }
}

/** FAT32 on the ESP's place, with everything that is in `folder`. */
export function makeEsp(image: string, part: Partition, folder: string): void {
  const sectors = String(part.offset / SECTOR);
  const kib = String(part.size / 1024);
  // One sector a cluster: below 65525 clusters readers take it for FAT16, whatever the label says.
  runProgram(['mkfs.vfat', '-F', '32', '-s', '1', '-n', 'ESP', '--offset', sectors, image, kib]);
  const content = readdirSync(folder).map((name) => join(folder, name));
  runProgram(['mcopy', '-s', '-i', `${image}@@${part.offset}`, ...content, '::/']);
}

/** Writes the raw image's contents to `output` as qcow2. The path must not exist. */
export function convertToQcow2(raw: string, output: string): void {
  // For its owner only, as the raw image is: the program would ask the umask, and follow a link.
  closeSync(openSync(output, 'wx', 0o600));
  runProgram(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, output], { timeoutSeconds: 600 });
}
