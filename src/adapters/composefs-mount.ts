/**
 * Mounts a composefs image as libcomposefs 1.0.8 does: the EROFS of the image for a moment at a place of its own, and
 * over it and the base directories an overlay at the target (Documentation/filesystems/overlayfs.rst, "Data-only
 * lower layers", "fs-verity support").
 */

import { closeSync, mkdtempSync, readSync, rmdirSync } from 'node:fs';
import { ascii, type ByteString } from '../formats/encoding.ts';
import { COMPOSEFS_FLAG_HAS_ACL, COMPOSEFS_MAGIC, HEADER } from '../formats/erofs-layout.ts';
import { errnoOf } from './error-text.ts';
import { withLoopDevice } from './loop-device.ts';
import {
  attachMount,
  configureFileSystem,
  createFileSystem,
  createMount,
  mapOwners,
  openFileSystem,
} from './mount-api.ts';
import { mount, pathBytes, SystemCallError, umount2 } from './syscalls.ts';

export interface ComposefsMountOptions {
  readonly basedirs: readonly ByteString[];
  /** `require`: every file has to have a digest in the image and the object that digest; `try`: if the kernel can. */
  readonly verity: 'none' | 'try' | 'require';
  readonly layer?: { readonly upperdir: ByteString; readonly workdir: ByteString };
  readonly readOnly: boolean;
  /** An open user namespace: owners appear as it maps them. */
  readonly userNamespace?: number;
}

const MNT_DETACH = 2;
const MS_RDONLY = 1;
const MS_SILENT = 0x8000;

/** `image` is an open file. Throws SystemCallError; nothing is left mounted then. */
export function mountComposefs(image: number, target: ByteString, options: ComposefsMountOptions): void {
  const hasAcl = readHeader(image);
  const lower = mkdtempSync('/tmp/.composefs.');
  const lowerBytes = pathBytes(lower);
  try {
    attachImage(image, lowerBytes, hasAcl, options.userNamespace);
    try {
      if (!mountOverlay(lowerBytes, target, options)) mountOverlayByText(lowerBytes, target, options);
    } finally {
      umount2(lowerBytes, MNT_DETACH);
    }
  } finally {
    rmdirSync(lower);
  }
}

const HEADER_BYTES = 32;

/** Whether the image says that it has ACLs. */
function readHeader(image: number): boolean {
  const header = Buffer.alloc(HEADER_BYTES);
  const length = readSync(image, header, 0, HEADER_BYTES, 0);
  if (length !== HEADER_BYTES || header.readUInt32LE(HEADER.MAGIC) !== COMPOSEFS_MAGIC) {
    throw new SystemCallError('mount image: it is no composefs image', 'EINVAL');
  }
  return (header.readUInt32LE(HEADER.FLAGS) & COMPOSEFS_FLAG_HAS_ACL) !== 0;
}

function attachImage(image: number, target: ByteString, hasAcl: boolean, userNamespace?: number): void {
  const attach = (source: ByteString): void => {
    withContext(ascii('erofs'), (context) => {
      configureFileSystem(context, ascii('source'), source);
      configureFileSystem(context, ascii('ro'));
      if (!hasAcl) configureFileSystem(context, ascii('noacl'));
      createFileSystem(context);
      withMount(context, true, (created) => {
        if (userNamespace !== undefined) mapOwners(created, userNamespace);
        attachMount(created, target);
      });
    });
  };
  try {
    attach(ascii(`/proc/self/fd/${image}`));
  } catch (error) {
    if (errnoOf(error) !== 'ENOTBLK') throw error;
    withLoopDevice(image, (device) => attach(ascii(device)));
  }
}

function withContext(type: ByteString, use: (context: number) => void): void {
  const context = openFileSystem(type);
  try {
    use(context);
  } finally {
    closeSync(context);
  }
}

function withMount(context: number, readOnly: boolean, use: (created: number) => void): void {
  const created = createMount(context, readOnly);
  try {
    use(created);
  } finally {
    closeSync(created);
  }
}

/** False when the kernel lacks the options for it; those of 6.7 are among them. */
function mountOverlay(lower: ByteString, target: ByteString, options: ComposefsMountOptions): boolean {
  const { basedirs, layer, verity, readOnly } = options;
  let done = false;
  withContext(ascii('overlay'), (context) => {
    const set = (key: string, value: ByteString) => configureFileSystem(context, ascii(key), value);
    // A kernel that takes any option only collects the text for mount(2).
    if (succeeds(() => set('unsupported', ascii('unsupported')))) return;
    set('source', ascii('composefs'));
    set('metacopy', ascii('on'));
    set('redirect_dir', ascii('on'));
    if (verity === 'require') set('verity', ascii('require'));
    else if (verity === 'try') succeeds(() => set('verity', ascii('require')));
    const known = isKnown(() => {
      set('lowerdir+', lower);
      for (const basedir of basedirs) set('datadir+', basedir);
      if (layer !== undefined) {
        set('upperdir', layer.upperdir);
        set('workdir', layer.workdir);
      }
      createFileSystem(context);
    });
    if (known) withMount(context, readOnly, (created) => attachMount(created, target));
    done = known;
  });
  return done;
}

function succeeds(action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}

/** False for EINVAL: what a kernel says to an option that it does not know. */
function isKnown(action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    if (errnoOf(error) !== 'EINVAL') throw error;
    return false;
  }
}

/** With mount(2), for kernels before 6.7; before 6.5 the base directories are ordinary layers. */
export function mountOverlayByText(
  lower: ByteString,
  target: ByteString,
  { basedirs, layer, verity, readOnly }: ComposefsMountOptions,
): void {
  const flags = readOnly ? MS_RDONLY : 0;
  const attempt = (separator: string, silent: number): void => {
    const lowers = [lower, ...basedirs].map(escapeComma).join(separator);
    let text = `metacopy=on,redirect_dir=on,lowerdir=${lowers}`;
    if (layer !== undefined)
      text += `,upperdir=${escapeComma(layer.upperdir)},workdir=${escapeComma(layer.workdir)}`;
    if (verity === 'require') text += ',verity=require';
    mount(ascii('composefs'), target, ascii('overlay'), flags | silent, text as ByteString);
  };
  if (!isKnown(() => attempt('::', MS_SILENT))) attempt(':', 0);
}

function escapeComma(path: ByteString): string {
  return path.replaceAll(',', '\\,');
}
