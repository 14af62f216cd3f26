/**
 * Writes the "newc" cpio archives that the kernel unpacks as its initramfs: Documentation/driver-api/early-userspace/
 * buffer-format.rst. Several archives may follow one another; a later one's file replaces an earlier one's. So what
 * a test changes (key, policy, script) is a small archive behind a large one. Uncompressed: it is read once.
 */
import { S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG } from '../src/formats/tree.ts';

export interface CpioEntry {
  /** Without a leading slash. */
  readonly path: string;
  /** Type and permissions. */
  readonly mode: number;
  /** A file's bytes, a link's target. */
  readonly data?: Uint8Array;
  readonly device?: { readonly major: number; readonly minor: number };
}

export function directory(path: string, permissions = 0o755): CpioEntry {
  return { path, mode: S_IFDIR | permissions };
}

export function file(path: string, data: Uint8Array | string, permissions = 0o644): CpioEntry {
  return { path, mode: S_IFREG | permissions, data: typeof data === 'string' ? Buffer.from(data) : data };
}

export function symlink(path: string, target: string): CpioEntry {
  return { path, mode: S_IFLNK | 0o777, data: Buffer.from(target) };
}

export function characterDevice(path: string, major: number, minor: number): CpioEntry {
  return { path, mode: S_IFCHR | 0o600, device: { major, minor } };
}

const MAGIC = '070701';
const TRAILER = 'TRAILER!!!';

/** Parent directories must come before what they hold. The archive's length is a multiple of 512. */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  let length = 0;
  const push = (part: Buffer) => {
    const padding = Buffer.alloc((4 - (part.length % 4)) % 4);
    parts.push(part, padding);
    length += part.length + padding.length;
  };
  for (const [index, entry] of [...entries, { path: TRAILER, mode: 0 }].entries()) {
    const { path, mode, data = Buffer.alloc(0), device = { major: 0, minor: 0 } }: CpioEntry = entry;
    const name = Buffer.from(`${path}\0`);
    // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    const fields = [
      ...[index + 1, mode, 0, 0, 1, 0, data.length],
      ...[0, 0, device.major, device.minor, name.length, 0],
    ];
    const header = MAGIC + fields.map((field) => field.toString(16).padStart(8, '0')).join('');
    // The name follows the 110 bytes of the header directly, and the two are padded together.
    push(Buffer.concat([Buffer.from(header), name]));
    push(Buffer.from(data));
  }
  parts.push(Buffer.alloc((512 - (length % 512)) % 512));
  return Buffer.concat(parts);
}
