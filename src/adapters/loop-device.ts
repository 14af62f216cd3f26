/** A loop device for a file that the kernel does not mount as it is: before Linux 6.12, and on tmpfs (linux/loop.h). */

import { closeSync, openSync } from 'node:fs';
import { systemError } from '../formats/errors.ts';
import { errnoOf } from './error-text.ts';
import { ioctl } from './syscalls.ts';

const LOOP_CTL_GET_FREE = 0x4c82;
const LOOP_CONFIGURE = 0x4c0a;
/** struct loop_config: u32 fd, u32 block_size, struct loop_info64 (232 bytes), u64 reserved[8]. */
const LOOP_CONFIG_BYTES = 304;
/** lo_flags, at offset 52 of struct loop_info64. */
const LOOP_CONFIG_FLAGS = 8 + 52;
const LO_FLAGS_READ_ONLY = 1;
const LO_FLAGS_AUTOCLEAR = 4;
const LO_FLAGS_DIRECT_IO = 16;
const BLOCK_SIZE = 4096;
/** Somebody else may take the device between asking for it and configuring it. */
const ATTEMPTS = 16;

/** Runs `use` with the path of a read-only device that shows the file. The device is gone with its last user. */
export function withLoopDevice<T>(file: number, use: (device: string) => T): T {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const path = `/dev/loop${freeNumber()}`;
    const device = openSync(path, 'r+');
    try {
      if (configure(device, file, path)) return use(path);
    } finally {
      closeSync(device);
    }
  }
  throw systemError('mount-failed', `cannot attach a loop device: none free in ${ATTEMPTS} attempts`);
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
  const config = Buffer.alloc(LOOP_CONFIG_BYTES);
  config.writeUInt32LE(file, 0);
  config.writeUInt32LE(BLOCK_SIZE, 4);
  config.writeUInt32LE(LO_FLAGS_READ_ONLY | LO_FLAGS_DIRECT_IO | LO_FLAGS_AUTOCLEAR, LOOP_CONFIG_FLAGS);
  try {
    ioctl(device, LOOP_CONFIGURE, config, `configure ${path}`);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EBUSY') return false;
    throw error;
  }
}
