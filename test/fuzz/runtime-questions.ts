/** What the program on the runtime of the initramfs is asked, and what the functions of byte-strings.ts answer there and here. */

import {
  type ByteString,
  fromByteString,
  hex,
  isPlain,
  putBytes,
  toByteString,
  utf8String,
} from '../../src/formats/byte-strings.ts';

/** The kinds of questions. */
export const BYTES = 0;
export const OBJECT = 1;
/** Of the object that is looked at. */
export const CHECKSUM = 'ab'.repeat(32);

/** Of which the first bytes say which ranges are asked for. */
const HEAD_BYTES = 4;

export type Answer = string | Uint8Array | boolean | undefined | null;

/**
 * One answer a call, null for an exception. All of them are of exactly the bytes that they were given, so that nothing lies
 * behind these. In C everything may be asked; the portable functions leave to their callers what must not be, and
 * `portable` says that they are asked only for the rest.
 */
export function answers(input: Uint8Array, portable: boolean): Answer[] {
  const bytes = input.slice(HEAD_BYTES);
  const [start, end, at] = [0, 1, 2].map((i) => place(input[i] ?? 0, bytes)) as [number, number, number];
  const ask = (allowed: boolean, answer: () => Answer): Answer => {
    if (portable && !allowed) return null;
    try {
      return answer();
    } catch {
      return null;
    }
  };
  const exists = 0 <= start && start <= end && end <= bytes.length;
  // By no function that is looked at.
  const text = characters(bytes) as ByteString;
  const units = wideUnits(bytes, input[3] ?? 0);
  const wide = characters(units) as ByteString;
  const isBytes = units.every((unit) => unit <= 0xff);
  const room = bytes.slice();
  const put = (value: ByteString) => () => {
    putBytes(room, at, value);
    return room;
  };
  const fits = (length: number) => at >= 0 && at + length <= room.length;
  const part = text.slice(Math.max(start, 0), Math.max(end, 0)) as ByteString;
  return [
    ask(true, () => toByteString(bytes)),
    ask(true, () => hex(bytes)),
    ask(true, () => utf8String(bytes)),
    ask(true, () => fromByteString(text)),
    ask(exists, () => toByteString(bytes, start, end)),
    ask(exists, () => hex(bytes, start, end)),
    ask(exists, () => utf8String(bytes, start, end)),
    ask(fits(part.length), put(part)),
    ask(isBytes, () => fromByteString(wide)),
    ask(isBytes && fits(wide.length), put(wide)),
    isPlain(text),
    isPlain(wide),
  ];
}

/** A little around what is there, and one that is far away. */
function place(byte: number, { length }: Uint8Array): number {
  return byte === 0xff ? 2 ** 52 : (byte % (length + 3)) - 1;
}

function characters(units: ArrayLike<number>): string {
  return String.fromCharCode.apply(null, units as number[]);
}

/** In every other input some are of two bytes, surrogates among them. */
function wideUnits(bytes: Uint8Array, shift: number): Uint16Array {
  const units = Uint16Array.from(bytes);
  if (shift >= 128) return units;
  for (let i = shift % 8; i < units.length; i += 8) units[i] = ((bytes[i + 1] ?? 0) << 8) | (bytes[i] ?? 0);
  return units;
}

const KINDS = ['string', 'object', 'boolean', 'undefined'];

/** Of each answer its kind, its length, and what it says, in numbers. */
export function encodeAnswers(list: readonly Answer[]): Uint16Array {
  const numbers = new Uint16Array(list.reduce((sum: number, answer) => sum + 2 + lengthOf(answer), 0));
  let at = 0;
  for (const answer of list) {
    numbers[at++] = answer === null ? KINDS.length : KINDS.indexOf(typeof answer);
    const length = lengthOf(answer);
    numbers[at++] = length;
    if (typeof answer === 'string') {
      for (let i = 0; i < length; i++) numbers[at + i] = answer.charCodeAt(i);
    } else if (answer instanceof Uint8Array) numbers.set(answer, at);
    else if (length === 1) numbers[at] = Number(answer);
    at += length;
  }
  return numbers;
}

function lengthOf(answer: Answer): number {
  if (typeof answer === 'boolean') return 1;
  return answer === null || answer === undefined ? 0 : answer.length;
}
