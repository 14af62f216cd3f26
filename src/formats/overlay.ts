/**
 * What composefs stores as overlayfs xattrs: backing file, digest, whiteouts, and the escaping of names that the
 * tree itself carries. Sources: the kernel's Documentation/filesystems/overlayfs.rst ("Nesting overlayfs mounts",
 * "fs-verity support") and fs/overlayfs/overlayfs.h, struct ovl_metacopy.
 *
 * Values are byte strings here: they are interned and compared far more often than they are written.
 */

import { ascii, type ByteString } from './encoding.ts';

export const OVERLAY_PREFIX = ascii('trusted.overlay.');
/** overlayfs shows `trusted.overlay.overlay.X` of a lower layer as `trusted.overlay.X`. */
export const ESCAPED_PREFIX = ascii('trusted.overlay.overlay.');

export const METACOPY = ascii('trusted.overlay.metacopy');
export const REDIRECT = ascii('trusted.overlay.redirect');
export const OPAQUE = ascii('trusted.overlay.opaque');
/** On the root of every image: overlayfs looks no further down. */
export const OPAQUE_ROOT = ascii('y');
/** On a directory that holds xattr whiteouts, since kernel 6.8; format version 1. */
export const OPAQUE_WHITEOUTS = ascii('x');

export const ESCAPED_OPAQUE = ascii('trusted.overlay.overlay.opaque');
export const ESCAPED_WHITEOUT = ascii('trusted.overlay.overlay.whiteout');
export const ESCAPED_WHITEOUTS = ascii('trusted.overlay.overlay.whiteouts');
export const USER_OPAQUE = ascii('user.overlay.opaque');
export const USER_WHITEOUT = ascii('user.overlay.whiteout');
export const USER_WHITEOUTS = ascii('user.overlay.whiteouts');

export const EMPTY = ascii('');

/** What stands before a digest of so many bytes: version 0, length of the whole, flags 0, the kernel's number of the algorithm. */
export const METACOPY_HEADERS: readonly (readonly [digestBytes: number, header: ByteString])[] = [
  [32, '\x00\x24\x00\x01' as ByteString],
  [64, '\x00\x44\x00\x02' as ByteString],
];

/** The name under which an image stores an xattr so that overlayfs shows it again as `key`. */
export function escapeXattrName(key: ByteString): ByteString {
  if (!key.startsWith(OVERLAY_PREFIX)) return key;
  return (ESCAPED_PREFIX + key.slice(OVERLAY_PREFIX.length)) as ByteString;
}

/** The visible name of a stored xattr; undefined when overlayfs keeps it for itself. */
export function unescapeXattrName(key: ByteString): ByteString | undefined {
  if (key.startsWith(ESCAPED_PREFIX))
    return (OVERLAY_PREFIX + key.slice(ESCAPED_PREFIX.length)) as ByteString;
  return key.startsWith(OVERLAY_PREFIX) ? undefined : key;
}

/** What the value of a redirect begins with, before the backing path: libcomposefs always adds it, so "/x" gives "//x". */
export const REDIRECT_LEAD = ascii('/');
