/**
 * What the program says: one line each, on the console and in the journal, once on both. The unit connects standard
 * error to the journal with `StandardError=journal+console`, so that writing there reaches both; where standard
 * error is neither a socket nor a terminal (a log file of another initramfs, /dev/null) the console gets a copy.
 *
 * A refusal is noted a second time in the journal by its own protocol, which alone carries a MESSAGE_ID, and so is the
 * deployment that was found.
 */

import { concatBytes } from '../src/formats/bytes.ts';
import { ascii, type ByteString, fromByteString, printable } from '../src/formats/encoding.ts';
import { SealrootError } from '../src/formats/errors.ts';
import { seldom } from './load.ts';
import * as sys from './sys.ts';

const NAME = 'sealroot-prepare-root';
const CONSOLE = ascii('/dev/console');
const JOURNAL = ascii('/run/systemd/journal/socket');

/** _IOR('T', ...) of asm-generic/ioctls.h; fills struct termios, 36 bytes or, on some architectures, more. */
const TCGETS = 0x5401;
const TERMIOS_ROOM = 256;

/** A boot has no use for more, and the console of a phone has little room. */
const MAX_LINE = 1000;

/** Priorities of sd-daemon(3): the journal takes them off the line, and an error passes filters that a notice does not. */
const ERROR_PREFIX = '<3>';
const WARNING_PREFIX = '<4>';

/** Exit statuses of a refusal and of a failed system call; everything that is not the system's fault refuses. */
const REFUSED = 1;
const SYSTEM = 4;

let isAsked = false;

/** From now on whoever called is the only one to hear anything: for a question, which is no boot. */
export function speakToCallerOnly(): void {
  isAsked = true;
}

export function warn(message: string): void {
  writeLine(WARNING_PREFIX, `${NAME}: warning: ${message}`);
}

/** Says why a deployment is passed over for another, and notes it as a refusal. */
export function noteRefusal(deployment: ByteString, error: SealrootError): void {
  const { code, message } = error;
  warn(`cannot boot ${printable(deployment)}: ${code}: ${message}`);
  const refusal = seldom().refusalOf(code);
  if (refusal !== undefined) logRefusal(code, refusal.messageId, message, error.hint ?? refusal.remedy);
}

/** The only line of a successful run, on standard output. */
export function succeed(message: string): void {
  sys.write(sys.STDOUT, oneLine(`${NAME}: ${message}`), 'standard output');
}

/** What was asked for, on standard output. */
export function answer(lines: readonly string[]): void {
  sys.write(sys.STDOUT, fromByteString(`${lines.join('\n')}\n` as ByteString), 'standard output');
}

/** Says why the boot is refused and returns the exit status. */
export function refuse(error: unknown): number {
  const known = error instanceof SealrootError;
  const code = known ? error.code : 'internal';
  // Out of memory can surface as any value, even null.
  const message = known ? error.message : `cannot go on: ${String(error)}`;
  const refusal = seldom().refusalOf(code);
  const remedy = (known ? error.hint : undefined) ?? refusal?.remedy ?? 'boot another deployment';
  writeLine(ERROR_PREFIX, `${NAME}: error: ${code}: ${message}; ${remedy}`);
  if (refusal !== undefined) logRefusal(code, refusal.messageId, message, remedy);
  return known && error.kind === 'system' ? SYSTEM : REFUSED;
}

/** libostree's OSTREE_PREPARE_ROOT_DEPLOYMENT_MSG (src/switchroot/ostree-prepare-root.c). */
const DEPLOYMENT_MESSAGE_ID = '7170336a73ba4601bad31af888aa0df7';

/** Tells the journal which deployment was found, with the id and the fields of ostree-prepare-root. */
export function noteDeployment(
  root: ByteString,
  deployment: ByteString,
  device: bigint,
  inode: bigint,
): void {
  log('6', DEPLOYMENT_MESSAGE_ID, [
    `DEPLOYMENT_PATH=/${deployment}`,
    `DEPLOYMENT_DEVICE=${device}`,
    `DEPLOYMENT_INODE=${inode}`,
    `MESSAGE=Resolved OSTree target to: ${root}/${deployment}`,
  ]);
}

function logRefusal(code: string, messageId: string, message: string, remedy: string): void {
  log('3', messageId, [
    `SEALROOT_CODE=${code}`,
    `SEALROOT_REMEDY=${remedy}`,
    `MESSAGE=refused: ${code}: ${message}`,
  ]);
}

/** By the journal's native protocol: `NAME=VALUE` and a newline, which no value has. */
function log(priority: string, messageId: string, fields: readonly string[]): void {
  if (isAsked) return;
  const head = [`SYSLOG_IDENTIFIER=${NAME}`, `PRIORITY=${priority}`, `MESSAGE_ID=${messageId}`];
  attempt(() => sys.sendDatagram(JOURNAL, concatBytes([...head, ...fields].map(oneLine))));
}

function writeLine(prefix: string, text: string): void {
  const line = oneLine(text);
  if (!isAsked && isJournal()) {
    attempt(() => sys.write(sys.STDERR, oneLine(`${prefix}${text}`), 'standard error'));
    return;
  }
  attempt(() => sys.write(sys.STDERR, line, 'standard error'));
  if (isAsked || isTerminal()) return;
  attempt(() => {
    const terminal = sys.open(CONSOLE, sys.O_WRONLY | sys.O_NOCTTY | sys.O_NONBLOCK);
    sys.write(terminal, line, CONSOLE);
  });
}

/** What cannot be said must not change what is done: the exit status still refuses. */
function attempt(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof sys.KernelError)) throw error;
  }
}

function isJournal(): boolean {
  return succeeds(() => sys.statusOf(sys.STDERR, 'standard error').type === sys.S_IFSOCK);
}

function isTerminal(): boolean {
  return succeeds(() => sys.ioctl(sys.STDERR, TCGETS, new Uint8Array(TERMIOS_ROOM), 'inspect terminal') >= 0);
}

function succeeds(test: () => boolean): boolean {
  try {
    return test();
  } catch (error) {
    if (error instanceof sys.KernelError) return false;
    throw error;
  }
}

/** Printable ASCII and one newline at the end, whatever the text holds. */
function oneLine(text: string): Uint8Array {
  let out = text.slice(0, MAX_LINE);
  for (let i = 0; i < out.length; i++) {
    const code = out.charCodeAt(i);
    // Seldom, so that the usual line is not put together from its characters, which costs a million instructions.
    if (code < 0x20 || code >= 0x7f) out = `${out.slice(0, i)}?${out.slice(i + 1)}`;
  }
  return fromByteString(`${out}${text.length > MAX_LINE ? '...' : ''}\n` as ByteString);
}
