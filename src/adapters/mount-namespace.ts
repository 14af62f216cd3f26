/**
 * A mount namespace of our own. What is mounted or remounted in it is invisible outside, and the kernel takes it down
 * with us, however we end: no mount and no loop device stays behind.
 *
 * Linux gives every thread its own namespace pointer: only the calling thread moves. So whoever uses it stays on the
 * main thread: synchronous fs calls, libostree's synchronous calls, children started from here. Node's asynchronous
 * fs calls run in other threads, which still see the old mounts.
 */

import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { systemError } from '../formats/errors.ts';
import { runProgram } from './run.ts';
import { CLONE_NEWNS, replaceDescriptor, SystemCallError, unshare } from './syscalls.ts';

let entered = false;

/** Idempotent. Needs CAP_SYS_ADMIN. Mounts made outside later still appear inside, never the other way round. */
export function enterMountNamespace(): void {
  if (entered) return;
  try {
    unshare(CLONE_NEWNS);
  } catch (error) {
    if (error instanceof SystemCallError && error.errno === 'EPERM') {
      throw systemError('root-needed', 'cannot enter a mount namespace: EPERM', 'run this command as root');
    }
    throw error;
  }
  runProgram(['mount', '--make-rslave', '/']);
  entered = true;
}

/** Mounts a part of a file as ext4, in our own namespace, and returns the function that unmounts it again. */
export function mountImagePart(
  image: string,
  part: { offset: number; size: number },
  directory: string,
): () => void {
  enterMountNamespace();
  // nobarrier: the image is thrown away when anything fails, so its journal need not survive a power cut.
  const options = `loop,offset=${part.offset},sizelimit=${part.size},nobarrier,noatime`;
  runProgram(['mount', '-t', 'ext4', '-o', options, image, directory]);
  let mounted = true;
  return () => {
    if (!mounted) return;
    mounted = false;
    releaseDescriptors(directory);
    runProgram(['umount', directory]);
  };
}

/**
 * libostree's objects keep directories open until the garbage collector comes to them, and that cannot be waited for.
 * Their descriptors are pointed at /dev/null, so that closing them later closes nothing else.
 */
function releaseDescriptors(directory: string): void {
  const nothing = openSync('/dev/null', 'r');
  try {
    for (const name of readdirSync('/proc/self/fd')) {
      const target = linkTarget(`/proc/self/fd/${name}`);
      if (target === directory || target?.startsWith(`${directory}/`))
        replaceDescriptor(Number(name), nothing);
    }
  } finally {
    closeSync(nothing);
  }
}

/** Undefined for a descriptor that is gone meanwhile, like that of the listing. */
function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
