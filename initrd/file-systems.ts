/** The two file systems of a composefs root, made with the mount API of fsopen(2) and attached nowhere. */

import { ascii, type ByteString } from '../src/formats/encoding.ts';
import type { RootMount } from '../src/formats/mount-plan.ts';
import { readable } from '../src/formats/opened-file.ts';
import { CALLS } from './files.ts';
import type { OpenImage } from './image.ts';
import { seldom } from './load.ts';
import * as sys from './sys.ts';

const EROFS = ascii('erofs');
export const OVERLAY = ascii('overlay');

/** The EROFS in the measured image. The kernel mounts the file itself; before 6.12 it wants a loop device (ENOTBLK). */
export function mountImage(image: OpenImage): sys.Descriptor {
  try {
    if (image.rebuiltFor === undefined) return mountErofs(ascii(`/proc/self/fd/${image.fd}`), image.name);
  } catch (error) {
    if (sys.errnoOf(error) !== 'ENOTBLK') throw error;
  }
  const device = seldom().attachLoopDevice(image);
  const mount = mountErofs(device.path, image.name);
  // The mount holds the device from now on; AUTOCLEAR frees it after the last user.
  sys.close(device.fd);
  return mount;
}

function mountErofs(source: ByteString, name: string): sys.Descriptor {
  return withContext(EROFS, (context) => {
    sys.configureFileSystem(context, 'source', source);
    sys.configureFileSystem(context, 'ro');
    readable(CALLS, name, () => create(context, name));
    return sys.mountFileSystem(context, name, true);
  });
}

/**
 * The root: names and metadata from the image, data from the objects. `verity=require` makes the kernel compare
 * the fs-verity digest of every object with the one that the image names.
 */
export function mountRoot(root: RootMount): sys.Descriptor {
  try {
    return withContext(OVERLAY, (context) => {
      configureRoot(context, root);
      sys.configureFileSystem(context, 'lowerdir+', root.image);
      sys.configureFileSystem(context, 'datadir+', root.objects);
      return createRoot(context, root);
    });
  } catch (error) {
    if (sys.errnoOf(error) !== 'EINVAL') throw error;
    return seldom().mountRootOtherwise(root, error);
  }
}

/** All but the lower layers. */
export function configureRoot(context: sys.Descriptor, { verity, upper, work }: RootMount): void {
  sys.configureFileSystem(context, 'source', ascii('composefs'));
  sys.configureFileSystem(context, 'metacopy', ascii('on'));
  sys.configureFileSystem(context, 'redirect_dir', ascii('on'));
  if (verity === 'require') sys.configureFileSystem(context, 'verity', ascii('require'));
  if (upper !== undefined) sys.configureFileSystem(context, 'upperdir', upper);
  if (work !== undefined) sys.configureFileSystem(context, 'workdir', work);
}

export function createRoot(context: sys.Descriptor, { access }: RootMount): sys.Descriptor {
  create(context, 'the overlay root');
  return sys.mountFileSystem(context, 'the overlay root', access === 'read-only');
}

export function withContext<T>(type: ByteString, make: (context: sys.Descriptor) => T): T {
  const context = sys.openFileSystem(type);
  try {
    return make(context);
  } finally {
    sys.close(context);
  }
}

/** Creating is where the kernel says in words what it did not like; its words go into the error. */
export function create(context: sys.Descriptor, name: string): void {
  try {
    sys.createFileSystem(context, name);
  } catch (error) {
    const said = seldom().kernelMessages(context);
    if (!(error instanceof sys.KernelError) || said === '') throw error;
    throw new sys.KernelError(`create ${name} (${said})`, error.number);
  }
}
