/**
 * The objects of the disk for an image that is built again (src/formats/rebuilt-image.ts), and the memory that it is
 * mounted from. Nothing that is read here needs to be trusted, and a mistake here refuses the boot.
 *
 * The memory is a file on a ramfs that is attached nowhere: nobody else can open it, and it is never swapped out to the
 * disk, as a tmpfs is. EROFS mounts no file on a ramfs itself, so a loop device stands in between.
 */

import { ascii, type ByteString, hex, toByteString } from '../src/formats/encoding.ts';
import { refused, SealrootError } from '../src/formats/errors.ts';
import { IMAGE_CODES, measure } from '../src/formats/opened-file.ts';
import type { ObjectSource, OstreeFile } from '../src/formats/ostree-tree.ts';
import { MAX_METADATA_BYTES } from '../src/formats/ostree-tree-objects.ts';
import { insteadOfDamaged, REBUILT_IMAGE, rebuiltImage } from '../src/formats/rebuilt-image.ts';
import { NO_XATTRS, ownedNode, S_IFLNK, S_IFREG } from '../src/formats/tree.ts';
import type { Verdict } from '../src/formats/verdict.ts';
import type { PhysicalRoot } from './deployment.ts';
import { create, withContext } from './file-systems.ts';
import { CALLS, type OpenDirectory, openDirectory, readBelow } from './files.ts';
import type { OpenImage } from './image.ts';
import * as objects from './object-calls.ts';
import { shareShape } from './shapes.ts';
import * as sys from './sys.ts';

/** Half of what the smallest machine has that this is for; an image takes some 300 bytes a file, its tree 2 KiB. */
const MEMORY_LIMIT = 512 * 1024 * 1024;

/** Not shown: the refusal keeps the code of the damage. */
const CODES = IMAGE_CODES;

/** What is wrong with the image on the disk is `damage`; it is thrown, with the reason, when there is no other. */
export function rebuildImage(root: PhysicalRoot, verdict: Verdict, damage: SealrootError): OpenImage {
  return insteadOfDamaged(damage, () => {
    return { fd: builtOnce(root, verdict), name: REBUILT_IMAGE, rebuiltFor: damage };
  });
}

/**
 * The images that were built, by commit, or why there is none. Of one commit there can be any number of deployments, and
 * where a refused one is followed by the next, each would take its seconds to come to the same.
 */
const built = new Map<string, sys.Descriptor | SealrootError>();

function builtOnce(root: PhysicalRoot, verdict: Verdict): sys.Descriptor {
  const image = built.get(verdict.checksum) ?? build(root, verdict);
  built.set(verdict.checksum, image);
  if (image instanceof SealrootError) throw image;
  return image;
}

function build(root: PhysicalRoot, verdict: Verdict): sys.Descriptor | SealrootError {
  sys.limitMemory(MEMORY_LIMIT);
  shareShapes();
  try {
    return inMemory(rebuiltImage(verdict, { objects: () => objectsOf(root), hasher: sys.hasher }));
  } catch (error) {
    if (!(error instanceof SealrootError)) throw error;
    return error;
  }
}

/** Of what there is one or more of for every file. */
function shareShapes(): void {
  const owner = { mode: 0, uid: 0, gid: 0, size: 0, xattrs: NO_XATTRS, digest: undefined };
  for (const sample of [owner, ownedNode(owner, 0)]) shareShape(sample);
}

/** A read-only descriptor of a file with these bytes, which nobody else can open. */
function inMemory(image: Uint8Array): sys.Descriptor {
  const ramfs = withContext(ascii('ramfs'), (context) => {
    create(context, 'a ramfs');
    return sys.mountFileSystem(context, 'a ramfs', false);
  });
  const file = ascii('image');
  const writable = objects.openIn(ramfs, file, sys.O_WRONLY | sys.O_CREAT, 0o400);
  sys.write(writable, image, REBUILT_IMAGE);
  const fd = objects.openIn(ramfs, file, sys.O_RDONLY);
  for (const done of [writable, ramfs]) sys.close(done);
  return fd;
}

/** The repository of a sysroot is bare: an object's inode has owner, mode and xattrs of the file itself. */
function objectsOf(root: PhysicalRoot): ObjectSource {
  const store = openDirectory(root, ascii('ostree/repo/objects'), CODES);
  return {
    dirTree: (checksum) => metadata(store, checksum, 'dirtree'),
    dirMeta: (checksum) => metadata(store, checksum, 'dirmeta'),
    file: (checksum) => fileObject(store, checksum),
  };
}

function objectName(checksum: string, type: string): ByteString {
  return `${checksum.slice(0, 2)}/${checksum.slice(2)}.${type}` as ByteString;
}

/** Checked before it is parsed. */
function metadata(store: OpenDirectory, checksum: string, type: string): Uint8Array {
  const path = objectName(checksum, type);
  const bytes =
    objects.usualContent(store.fd, path, MAX_METADATA_BYTES) ??
    readBelow(store, path, MAX_METADATA_BYTES, CODES);
  const actual = hex(sys.hasher.sha256(bytes));
  if (actual === checksum) return bytes;
  throw refused(CODES.unsafe, `cannot use object ${checksum}.${type}: its SHA-256 is ${actual}`);
}

/** Of a file's content only what the kernel vouches for: an object without fs-verity could not be read later, either. */
function fileObject(store: OpenDirectory, checksum: string): OstreeFile {
  const usual = objects.usualFile(store.fd, checksum);
  return typeof usual === 'object' ? usual : unusualObject(store, checksum, usual === 'link');
}

function unusualObject(store: OpenDirectory, checksum: string, isLink: boolean): OstreeFile {
  const path = sys.cstring(objectName(checksum, 'file'));
  const name = `object ${checksum}.file`;
  const fd = isLink ? undefined : objects.openForReading(store.fd, path, name);
  if (fd === undefined) return linkObject(store, path, name);
  const { type, mode, uid, gid, size } = objects.inodeOf(fd, name);
  if (type !== S_IFREG) throw refused(CODES.unsafe, `cannot use ${name}: it is no file`);
  const xattrs = objects.xattrsOf(fd, false, name);
  const digest = size > 0 ? toByteString(measure(CALLS, fd, name)) : undefined;
  sys.close(fd);
  return { mode, uid, gid, size, xattrs, digest };
}

function linkObject(store: OpenDirectory, path: Uint8Array, name: string): OstreeFile {
  const place = objects.openLink(store.fd, path, name);
  const { type, mode, uid, gid } = objects.inodeOf(place, name);
  // The kernel says the same of a link on the way.
  if (type !== S_IFLNK) throw refused(CODES.unsafe, `cannot use ${name}: it is no file`);
  const target = objects.targetOf(place, name);
  const xattrs = objects.xattrsOf(place, true, name);
  sys.close(place);
  return { mode, uid, gid, size: 0, xattrs, target };
}
