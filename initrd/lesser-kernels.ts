/** The root under kernels whose overlayfs takes its layers another way, or not at all. */

import { ascii, type ByteString } from '../src/formats/encoding.ts';
import { refused } from '../src/formats/errors.ts';
import type { RootMount } from '../src/formats/mount-plan.ts';
import { configureRoot, createRoot, OVERLAY, withContext } from './file-systems.ts';
import * as sys from './sys.ts';

/**
 * Before Linux 6.7 the layers are one text, `LOWER::DATA`. `failure` is that of the usual way; it is thrown again when
 * this one fails alike and the kernel is not to blame. Throws `kernel-too-old` when it is: without data-only layers the
 * objects would show up as files of the root, and without verity=require nobody would compare them with their digests.
 */
export function mountRootOtherwise(root: RootMount, failure: unknown): sys.Descriptor {
  try {
    return withContext(OVERLAY, (context) => {
      configureRoot(context, root);
      const layers = `${escaped(root.image)}::${escaped(root.objects)}` as ByteString;
      sys.configureFileSystem(context, 'lowerdir', layers);
      return createRoot(context, root);
    });
  } catch (error) {
    if (sys.errnoOf(error) !== 'EINVAL') throw error;
  }
  if (takes('unsupported')) throw tooOld('data-only lower layers, which came with Linux 6.5');
  if (root.verity === 'require' && !takes('verity', 'require')) {
    throw tooOld('option verity=require, which came with Linux 6.6');
  }
  throw failure;
}

/** An overlayfs from before the mount API of fsopen(2) takes every option, and refuses when it is mounted. */
function takes(option: string, value = option): boolean {
  return withContext(OVERLAY, (context) => {
    try {
      sys.configureFileSystem(context, option, ascii(value));
      return true;
    } catch (error) {
      if (sys.errnoOf(error) !== 'EINVAL') throw error;
      return false;
    }
  });
}

function tooOld(lack: string): Error {
  return refused('kernel-too-old', `cannot mount the root: overlayfs of this kernel has no ${lack}`);
}

/** The colon separates layers, and the backslash makes it a part of a name. */
function escaped(path: ByteString): string {
  return path.replaceAll('\\', '\\\\').replaceAll(':', '\\:');
}
