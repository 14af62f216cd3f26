/** Durability beyond one file: Node has no syncfs(2). */

import { closeSync, openSync } from 'node:fs';
import { syncfs } from './syscalls.ts';

/** After return everything written to the file system that `path` is on is on the disk. */
export function syncFileSystem(path: string): void {
  const fd = openSync(path, 'r');
  try {
    syncfs(fd, path);
  } finally {
    closeSync(fd);
  }
}
