/**
 * The kernel command line, split as the kernel splits it (lib/cmdline.c, next_arg): arguments end at white space
 * outside double quotes, and quotes around a value or around a whole argument are not part of it. The value wanted
 * is the first one, as ostree takes it. The only parser of the command line in sealroot.
 */

import type { ByteString } from './encoding.ts';

/** What the kernel's isspace() knows: ASCII white space and, since its table is Latin-1, 0xa0. */
function isSpace(code: number): boolean {
  return code === 0x20 || (code >= 0x09 && code <= 0x0d) || code === 0xa0;
}

export interface KernelArgument {
  readonly key: string;
  /** undefined: an argument without `=`. */
  readonly value: string | undefined;
}

const QUOTE = 0x22;

/** All arguments in their order. Never fails: the kernel has booted with this line already. */
export function kernelArguments(cmdline: ByteString): KernelArgument[] {
  const found: KernelArgument[] = [];
  let at = 0;
  while (at < cmdline.length) {
    if (isSpace(cmdline.charCodeAt(at))) {
      at++;
      continue;
    }
    const end = argumentEnd(cmdline, at);
    found.push(splitArgument(cmdline.slice(at, end)));
    at = end;
  }
  return found;
}

/** The value of the first argument `key=value`; a bare `key` is not one. */
export function findKernelArgument(found: readonly KernelArgument[], key: string): ByteString | undefined {
  for (const argument of found) {
    if (argument.key === key && argument.value !== undefined) return argument.value as ByteString;
  }
  return undefined;
}

function argumentEnd(cmdline: string, start: number): number {
  let quoted = false;
  let at = start;
  for (; at < cmdline.length; at++) {
    const code = cmdline.charCodeAt(at);
    if (isSpace(code) && !quoted) break;
    if (code === QUOTE) quoted = !quoted;
  }
  return at;
}

function splitArgument(text: string): KernelArgument {
  const whole = text.startsWith('"') ? stripQuotes(text) : text;
  // A leading `=` belongs to the key, as in the kernel.
  const equals = whole.indexOf('=', 1);
  if (equals < 0) return { key: whole, value: undefined };
  const value = whole.slice(equals + 1);
  return { key: whole.slice(0, equals), value: value.startsWith('"') ? stripQuotes(value) : value };
}

/** Without the leading quote and, if there is one, the trailing one. */
function stripQuotes(text: string): string {
  const end = text.length > 1 && text.endsWith('"') ? text.length - 1 : text.length;
  return text.slice(1, end);
}
