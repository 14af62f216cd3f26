/** fs-verity of named files through the kernel: enabling with proof, and asking beforehand whether it can be done. */

import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { refused, systemError } from '../formats/errors.ts';
import { fileError } from './files.ts';
import { enableVerity, measureVerity, supportsVerity } from './verity.ts';

function withFile<T>(path: string, use: (fd: number) => T): T {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    throw fileError('open', path, error);
  }
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

/** Enables fs-verity unless it is enabled; returns the digest that the kernel enforces from now on. */
export function sealFile(path: string): Uint8Array {
  return withFile(path, (fd) => {
    const known = measureVerity(fd, path);
    if (known !== undefined) return known;
    enableVerity(fd, path);
    const measured = measureVerity(fd, path);
    if (measured === undefined) {
      throw systemError(
        'verity-not-enabled',
        `cannot seal ${path}: the kernel measures no digest after enabling`,
      );
    }
    return measured;
  });
}

/** The digest that the kernel enforces for a file, or undefined when it enforces none. */
export function measureFile(path: string): Uint8Array | undefined {
  return withFile(path, (fd) => measureVerity(fd, path));
}

/**
 * Throws `verity-unsupported` unless kernel and file system of the repository have fs-verity; asked of a file of its
 * own, since the others may be of any age.
 */
export function requireVeritySupport(repoPath: string): void {
  const folder = mkdtempSync(join(repoPath, 'tmp/sealroot-probe-'));
  try {
    const probe = join(folder, 'probe');
    writeFileSync(probe, 'probe');
    if (withFile(probe, (fd) => supportsVerity(fd, probe))) return;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  throw refused(
    'verity-unsupported',
    `cannot seal a deployment in ${repoPath}: its file system or the running kernel has no fs-verity`,
    'use ext4 with the verity feature (tune2fs -O verity DEVICE) and a kernel with CONFIG_FS_VERITY',
  );
}
