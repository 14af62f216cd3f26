/**
 * The C of the initramfs that reads what nobody has verified: the functions over bytes (bytes.c), beside the portable ones,
 * and what a rebuild looks at each object with (objects.c), beside the way without it. They run where they always do, on
 * QuickJS, in a process that AddressSanitizer and UBSan watch (runtime-program.ts).
 */

import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buildWatched } from '../../initrd/build.ts';
import type { setXattr as SetXattr } from '../../src/adapters/syscalls.ts';
import { type ByteString, toByteString } from '../../src/formats/encoding.ts';
import { answers, BYTES, CHECKSUM, encodeAnswers, OBJECT } from './runtime-questions.ts';
import { accepts, requireLaw, type Target } from './target.ts';

const ALLOCATOR = path.join(import.meta.dirname, 'watched-malloc.c');
/** The program keeps what it has seen. */
const QUESTIONS_EACH = 20_000;

/** The program, started anew after its end. Synchronous, as targets are: through FIFOs, not Node.js's streams. */
class Runtime {
  readonly objects: string;
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'sealroot-fuzz-'));
  readonly #program: string;
  #started = 0;
  #running: { questions: number; answers: number; asked: number } | undefined;

  constructor(program: string) {
    this.#program = program;
    this.objects = path.join(this.#folder, 'objects');
    mkdirSync(path.join(this.objects, CHECKSUM.slice(0, 2)), { recursive: true });
    process.once('exit', () => {
      this.#stop();
      rmSync(this.#folder, { recursive: true, force: true });
    });
  }

  ask(kind: number, bytes: Uint8Array): Buffer {
    const running = this.#running ?? this.#start();
    const head = Buffer.alloc(5);
    head.writeUInt8(kind, 0);
    head.writeUInt32LE(bytes.length, 1);
    try {
      writeSync(running.questions, Buffer.concat([head, bytes]));
      const length = readAll(running.answers, 4).readUInt32LE(0);
      const answer = readAll(running.answers, length);
      if (++running.asked === QUESTIONS_EACH) this.#stop();
      return answer;
    } catch (error) {
      this.#stop();
      throw error;
    }
  }

  #start() {
    // The one before may still be about to end.
    const at = ++this.#started;
    const [questions, replies] = [`questions-${at}`, `answers-${at}`].map((name) =>
      path.join(this.#folder, name),
    ) as [string, string];
    execFileSync('mkfifo', [questions, replies]);
    const script = 'exec "$0" "$1" <"$2" >"$3"';
    const child = spawn('sh', ['-c', script, this.#program, this.objects, questions, replies], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    child.unref();
    // Each waits for the other end, and in this order.
    this.#running = { questions: openSync(questions, 'w'), answers: openSync(replies, 'r'), asked: 0 };
    return this.#running;
  }

  /** It ends with its questions. */
  #stop(): void {
    for (const fd of [this.#running?.questions, this.#running?.answers]) if (fd !== undefined) closeSync(fd);
    this.#running = undefined;
  }
}

function readAll(fd: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; ) {
    const got = readSync(fd, bytes, at, length - at, null);
    if (got === 0) throw new Error('the program in C has ended');
    at += got;
  }
  return bytes;
}

let program: string | undefined;
let setXattr: typeof SetXattr | undefined;
let running: Runtime | undefined;

async function prepare(): Promise<void> {
  program ??= await buildWatched('test/fuzz/runtime-program.ts', 'watched-runtime', { allocator: ALLOCATOR });
  setXattr ??= (await import('../../src/adapters/syscalls.ts')).setXattr;
}

function runtime(): Runtime {
  running ??= new Runtime(required(program));
  return running;
}

function required<T>(made: T | undefined): T {
  if (made === undefined) throw new Error('the target has not been prepared');
  return made;
}

const text = (value: string) => new Uint8Array(Buffer.from(value, 'latin1'));

export const RUNTIME_BYTES: Target = {
  name: 'runtime-bytes',
  prepare,
  runsEach: 3,
  corpus: () => [
    text('\x00\x05\x00\x80plain text, and more'),
    text('\x03\x09\x02\x01gr\xc3\xbc\xc3\x9fe \xe2\x82\xac \xf0\x9f\x98\x80 \xed\x9f\xbf \xf4\x8f\xbf\xbf'),
    text('\x02\x03\x01\xff\xff\xfe\x80\xc3'),
    text(`\x02\x22\x01\x07${'0123456789abcdef'.repeat(4)}`),
    text(`\x01\x01\x01\x09${'a'.repeat(300)}\x80`),
    text('\x01\x01\x01\x00'),
  ],
  run: (bytes) => {
    const expected = answers(bytes, true);
    const numbers = encodeAnswers(expected);
    const actual = runtime().ask(BYTES, bytes);
    const same = actual.equals(new Uint8Array(numbers.buffer));
    requireLaw(same, `in C: ${new Uint16Array(new Uint8Array(actual).buffer)}\nelse: ${numbers}`);
    return !expected.includes(null);
  },
};

/** Kind, mode and owner; then each xattr: namespace, u8 length of its name, u16 of its value, both of them. */
const HEAD_BYTES = 5;

function xattr(namespace: number, name: string, value: string): string {
  const length = String.fromCharCode(value.length & 0xff, value.length >> 8);
  return `${String.fromCharCode(namespace, name.length)}${length}${name}${value}`;
}

const SELINUX = xattr(0, 'selinux', 'system_u:object_r:bin_t:s0\0');
const MANY = Array.from({ length: 60 }, (_, i) => xattr(i % 2, `number-${i}`, `${i}`)).join('');

export const RUNTIME_OBJECTS: Target = {
  name: 'runtime-objects',
  prepare,
  runsEach: 10,
  corpus: () =>
    [
      '',
      SELINUX,
      MANY,
      xattr(0, 'a'.repeat(240), 'b'.repeat(511)) + xattr(1, 'c', 'd'.repeat(513)),
      xattr(1, 'a', 'b'.repeat(3000)) + SELINUX,
    ].map((xattrs) => text(`\x0f\xa4\x01\0\0${xattrs}`)),
  run: (bytes, run) => {
    const file = path.join(runtime().objects, CHECKSUM.slice(0, 2), `${CHECKSUM.slice(2)}.file`);
    make(file, bytes);
    try {
      const answer = runtime()
        .ask(OBJECT, Uint8Array.of(run & 0xff))
        .toString('latin1');
      requireLaw(answer.startsWith('ok '), answer);
      return answer === 'ok file';
    } finally {
      rmSync(file, { recursive: true, force: true });
    }
  },
};

function make(file: string, bytes: Uint8Array): void {
  const [kind = 0, modeLow = 0, modeHigh = 0, uid = 0, gid = 0] = bytes;
  switch (kind & 15) {
    case 0:
      mkdirSync(file);
      break;
    case 1:
      symlinkSync('nowhere', file);
      return;
    case 2:
      execFileSync('mkfifo', [file]);
      break;
    default:
      writeFileSync(file, (kind & 15) === 3 ? 'content' : '');
  }
  if (process.getuid?.() === 0) chownSync(file, uid, gid);
  chmodSync(file, ((modeHigh << 8) | modeLow) & 0o7777);
  for (const [name, value] of xattrsOf(bytes.subarray(HEAD_BYTES))) {
    // Not every file system takes as many, or every name.
    accepts(() => required(setXattr)(file as ByteString, name, value));
  }
}

function* xattrsOf(bytes: Uint8Array): Generator<[ByteString, Uint8Array]> {
  for (let at = 0; at + 4 < bytes.length; ) {
    const [namespace = 0, nameLength = 0, low = 0, high = 0] = bytes.subarray(at, at + 4);
    const name = toByteString(bytes.subarray(at + 4, at + 4 + nameLength)).replaceAll('\0', '0');
    at += 4 + nameLength;
    const value = new Uint8Array((high << 8) | low);
    value.set(bytes.subarray(at, at + value.length));
    at += value.length;
    yield [`${namespace % 2 === 0 ? 'user' : 'trusted'}.${name}` as ByteString, value];
  }
}
