/** A loop device for a file that the kernel does not mount as it is: before Linux 6.12, and on tmpfs. */

import { closeSync, openSync } from 'node:fs';
import { systemError } from '../formats/errors.ts';
import {
  encodeLoopConfig,
  LO_FLAGS_AUTOCLEAR,
  LO_FLAGS_DIRECT_IO,
  LO_FLAGS_READ_ONLY,
  LOOP_ATTEMPTS,
  LOOP_CONFIGURE,
  LOOP_CTL_GET_FREE,
} from '../formats/linux.ts';
import { errnoOf } from './error-text.ts';
import { ioctl } from './syscalls.ts';

const BLOCK_SIZE = 4096;
const FLAGS = LO_FLAGS_READ_ONLY | LO_FLAGS_DIRECT_IO | LO_FLAGS_AUTOCLEAR;

/** Runs `use` with the path of a read-only device that shows the file. The device is gone with its last user. */
export function withLoopDevice<T>(file: number, use: (device: string) => T): T {
  for (let attempt = 0; attempt < LOOP_ATTEMPTS; attempt++) {
    const path = `/dev/loop${freeNumber()}`;
    const device = openSync(path, 'r+');
    try {
      if (configure(device, file, path)) return use(path);
    } finally {
      closeSync(device);
    }
  }
  throw systemError('mount-failed', `cannot attach a loop device: none free in ${LOOP_ATTEMPTS} attempts`);
}

function freeNumber(): number {
  const control = openSync('/dev/loop-control', 'r+');
  try {
    return ioctl(control, LOOP_CTL_GET_FREE, new Uint8Array(0), 'find a free loop device');
  } finally {
    closeSync(control);
  }
}

/** False when somebody else was faster. */
function configure(device: number, file: number, path: string): boolean {
  try {
    ioctl(device, LOOP_CONFIGURE, encodeLoopConfig(file, FLAGS, BLOCK_SIZE), `configure ${path}`);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EBUSY') return false;
    throw error;
  }
}
