/** What the initramfs reads of a deployment, opened and measured here as it does it there. */

import { closeSync, constants, fstatSync } from 'node:fs';
import { type FileCalls, measure, openedSealedImage } from '../formats/opened-file.ts';
import { S_IFMT } from '../formats/tree.ts';
import { ioctl, open, pathBytes, SystemCallError } from './syscalls.ts';

const CALLS: FileCalls<number> = {
  statusOf: (fd) => {
    const { mode, size } = fstatSync(fd);
    return { type: mode & S_IFMT, size };
  },
  ioctl,
  errnoOf: (error) => (error instanceof SystemCallError ? error.errno : undefined),
};

/** Throws the refusal of the boot, in which the image is called `name`, unless it is the one with this digest. */
export function requireSealedImage(path: string, name: string, digest: Uint8Array): void {
  withFile(path, name, (opening) => openedSealedImage(CALLS, name, digest, opening));
}

/** The digest that the kernel enforces for a file. Throws the refusal of the boot when it enforces none. */
export function requireMeasured(path: string, name: string): Uint8Array {
  return withFile(path, name, (opening) => measure(CALLS, opening(), name));
}

function withFile<T>(path: string, name: string, use: (opening: () => number) => T): T {
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY | constants.O_NOFOLLOW;
  let fd: number | undefined;
  try {
    return use(() => {
      fd = open(pathBytes(path), flags, `open ${name}`);
      return fd;
    });
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
