/** From the `ostree=` argument to an open deployment directory. */

import { ascii, type ByteString, printable } from '../src/formats/encoding.ts';
import { refused, usageError } from '../src/formats/errors.ts';
import { type DeploymentPath, parseDeploymentPath } from './deployment-path.ts';
import { type OpenDirectory, openDirectory } from './files.ts';
import * as sys from './sys.ts';

/** The physical root: opened once, everything on the disk is reached through it. */
export interface PhysicalRoot extends OpenDirectory {
  /** Absolute, as the kernel names it. */
  readonly place: ByteString;
}

export interface Deployment extends DeploymentPath {
  readonly directory: OpenDirectory;
  readonly status: sys.FileStatus;
}

export function openPhysicalRoot(path: ByteString): PhysicalRoot {
  const fd = sys.open(path, sys.O_PATH | sys.O_DIRECTORY);
  const place = placeOf(fd);
  if (place === '/') {
    throw usageError(
      'usage',
      "cannot use / as the physical root: it is this program's own root",
      'boot with an initramfs, which the disk cannot change, and mount the disk at /sysroot there',
    );
  }
  return { fd, path: printable(place), place };
}

/** Where the kernel says that a descriptor is. */
function placeOf(fd: sys.Descriptor): ByteString {
  return sys.readLink(ascii(`/proc/self/fd/${fd}`));
}

/**
 * ostree builds the path in `ostree=` of links, so it is resolved as if the physical root were `/`; where it ends is
 * then opened once more, strictly, so that no link decides where the deployment is.
 */
export function openDeployment(root: PhysicalRoot, argument: ByteString): Deployment {
  return openAt(root, parseDeploymentPath(resolveLinks(root, argument)));
}

export function openAt(root: PhysicalRoot, found: DeploymentPath): Deployment {
  const codes = { missing: 'deployment-unresolvable', unsafe: 'deployment-unresolvable' };
  const directory = openDirectory(root, found.path, codes);
  return { ...found, directory, status: sys.statusOf(directory.fd, directory.path) };
}

/** The target, below the physical root, without a leading slash. */
function resolveLinks(root: PhysicalRoot, argument: ByteString): ByteString {
  const name = `ostree=${printable(argument)}`;
  const flags = sys.O_PATH | sys.O_DIRECTORY;
  let fd: sys.Descriptor;
  try {
    fd = sys.openAt2(root.fd, argument, flags, sys.RESOLVE_IN_ROOT | sys.RESOLVE_NO_MAGICLINKS, name);
  } catch (error) {
    const errno = sys.errnoOf(error);
    if (errno === undefined || errno === 'EIO') throw error;
    throw refused(
      'deployment-unresolvable',
      `cannot find the deployment that ${name} names below ${root.path}: ${errno}`,
    );
  }
  const place = placeOf(fd);
  sys.close(fd);
  if (!place.startsWith(`${root.place}/`)) {
    throw refused(
      'deployment-malformed',
      `cannot boot ${printable(place)}: ${name} leads out of ${root.path}`,
    );
  }
  return place.slice(root.place.length + 1) as ByteString;
}
