/**
 * Runs on the runtime of the initramfs and answers what runtime-targets.ts asks on standard input: u8 kind, u32 length, and
 * that many bytes. The argument is a folder of objects, of which one is looked at. An answer is u32 length and as many bytes.
 */

/// <reference path="../../initrd/runtime/sys.d.ts" />
import * as objects from '../../initrd/object-calls.ts';
import * as system from '../../initrd/sys.ts';
import { type ByteString, fromByteString, printable, toByteString } from '../../src/formats/encoding.ts';
import type { OstreeFile } from '../../src/formats/ostree-tree.ts';
import { S_IFREG } from '../../src/formats/tree.ts';
import { answers, BYTES, CHECKSUM, encodeAnswers, OBJECT } from './runtime-questions.ts';

const STDIN = 0 as system.Descriptor;
const RECORD_HEAD_BYTES = 56;
const ERANGE = 34;

/** undefined at the end of the questions. */
function readAll(length: number): Uint8Array | undefined {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const got = system.read(STDIN, bytes.subarray(at), 'the question');
    if (got === 0) return undefined;
    at += got;
  }
  return bytes;
}

function reply(answer: Uint8Array): void {
  const bytes = new Uint8Array(4 + answer.length);
  new DataView(bytes.buffer).setUint32(0, answer.length, true);
  bytes.set(answer, 4);
  system.write(system.STDOUT, bytes, 'the answer');
}

/** As rebuilt-image.ts looks at what is not usual; undefined for what that refuses. */
function slowly(store: system.Descriptor): OstreeFile | 'link' | undefined {
  const path = system.cstring(`${CHECKSUM.slice(0, 2)}/${CHECKSUM.slice(2)}.file`);
  try {
    const fd = objects.openForReading(store, path, 'the object');
    if (fd === undefined) return 'link';
    const { type, ...owner } = objects.inodeOf(fd, 'the object');
    const xattrs = objects.xattrsOf(fd, false, 'the object');
    system.close(fd);
    // A file with content needs fs-verity, which none of these has.
    return type === S_IFREG && owner.size === 0 ? { ...owner, xattrs, digest: undefined } : undefined;
  } catch (error) {
    if (error instanceof system.KernelError) return undefined;
    throw error;
  }
}

function shown(file: OstreeFile | 'link' | undefined): ByteString {
  if (typeof file !== 'object') return `${file}` as ByteString;
  const { mode, uid, gid, size, digest } = file;
  const xattrs = [...file.xattrs].map(([name, value]) => `${name}=${toByteString(value)}`);
  return [mode, uid, gid, size, digest, ...xattrs].join(' ') as ByteString;
}

/** What is wrong, or `ok` and what the object is. `where` is how much room its xattrs have. */
function lookedAt(store: system.Descriptor, where: number): string {
  const slow = slowly(store);
  const usual = objects.usualFile(store, CHECKSUM);
  if (shown(usual) !== shown(slow))
    return `in C: ${printable(shown(usual))}; else: ${printable(shown(slow))}`;
  if (typeof slow !== 'object') return `ok ${slow}`;
  const ends = endsOf(slow.xattrs);
  const taken = ends[ends.length - 1] as number;
  // A few bytes more or less than up to the end of a name or a value.
  const room = Math.max(0, (ends[(where >> 3) % ends.length] as number) + (where % 8) - 4);
  const result = sys.inspectObject(store, CHECKSUM, new Uint8Array(RECORD_HEAD_BYTES + room));
  return result === (room < taken ? -ERANGE : 0) ? 'ok file' : `${taken} bytes in ${room}: ${result}`;
}

/** Where in a record the parts of its xattrs end, each u32, name with its NUL, value. */
function endsOf(xattrs: OstreeFile['xattrs']): number[] {
  const ends = [0];
  let at = 0;
  for (const [name, value] of xattrs) {
    at += 4 + name.length + 1;
    ends.push(at);
    at += value.length;
    ends.push(at);
  }
  return ends;
}

function main(): void {
  const [, folder] = system.programArguments();
  if (folder === undefined) return;
  const store = system.open(folder, system.O_RDONLY | system.O_DIRECTORY);
  for (;;) {
    const head = readAll(5);
    if (head === undefined) return;
    const view = new DataView(head.buffer);
    const bytes = readAll(view.getUint32(1, true));
    if (bytes === undefined) return;
    switch (head[0]) {
      case BYTES:
        reply(new Uint8Array(encodeAnswers(answers(bytes, false)).buffer));
        break;
      case OBJECT:
        reply(fromByteString(lookedAt(store, bytes[0] ?? 0) as ByteString));
        break;
    }
  }
}

main();
system.exit(0);
