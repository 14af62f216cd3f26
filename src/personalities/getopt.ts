/**
 * GNU getopt_long(3), as far as scripts can tell: permutation, abbreviated and ambiguous long options, bundled short
 * ones, `--`, POSIXLY_CORRECT, and glibc's messages. Arguments are byte strings.
 */

import type { ByteString } from '../formats/encoding.ts';

export interface LongOption {
  readonly name: string;
  readonly value: boolean;
  /** Ours, not the reference's: only its whole name counts, so that no abbreviation changes its meaning. */
  readonly exact?: boolean;
}

export interface Grammar {
  /** As getopt's string without a leading colon: `ht:o:`. */
  readonly short: string;
  /** undefined for getopt(3), which takes `--x` for the short option `-`. */
  readonly long?: readonly LongOption[];
}

export interface GivenOption {
  /** A long option's full name, a short one's letter. */
  readonly name: string;
  readonly value?: ByteString;
}

export interface Arguments {
  /** In the order given, up to the first mistake. */
  readonly options: readonly GivenOption[];
  /** What is no option; empty when there is a mistake. */
  readonly operands: readonly ByteString[];
  /** glibc's words for the first mistake, without program name and newline. */
  readonly mistake?: { readonly kind: 'unknown' | 'value-missing'; readonly message: string };
}

type Mistake = NonNullable<Arguments['mistake']>;

class MistakeError extends Error {
  readonly mistake: Mistake;

  constructor(kind: Mistake['kind'], message: string) {
    super(message);
    this.mistake = { kind, message };
  }
}

/** `stopAtOperand` is what the environment variable POSIXLY_CORRECT asks for. */
export function parseArguments(
  args: readonly ByteString[],
  grammar: Grammar,
  stopAtOperand: boolean,
): Arguments {
  const options: GivenOption[] = [];
  const operands: ByteString[] = [];
  const rest = [...args];
  try {
    for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
      if (arg === '--') break;
      if (arg === '-' || !arg.startsWith('-')) {
        operands.push(arg);
        if (stopAtOperand) break;
      } else if (arg.startsWith('--') && grammar.long !== undefined) {
        options.push(longOption(arg.slice(2), grammar.long, rest));
      } else {
        shortOptions(arg, grammar.short, rest, options);
      }
    }
  } catch (error) {
    if (!(error instanceof MistakeError)) throw error;
    return { options, operands: [], mistake: error.mistake };
  }
  return { options, operands: [...operands, ...rest] };
}

function longOption(text: string, known: readonly LongOption[], rest: ByteString[]): GivenOption {
  const equal = text.indexOf('=');
  const name = equal < 0 ? text : text.slice(0, equal);
  const option = findLong(name, text, known);
  if (!option.value) {
    if (equal < 0) return { name: option.name };
    throw new MistakeError('unknown', `option '--${option.name}' doesn't allow an argument`);
  }
  const value = equal < 0 ? rest.shift() : (text.slice(equal + 1) as ByteString);
  if (value === undefined)
    throw new MistakeError('value-missing', `option '--${option.name}' requires an argument`);
  return { name: option.name, value };
}

function findLong(name: string, text: string, known: readonly LongOption[]): LongOption {
  const whole = known.find((option) => option.name === name);
  if (whole !== undefined) return whole;
  const candidates = known.filter((option) => option.exact !== true && option.name.startsWith(name));
  const [only, ...others] = candidates;
  if (only === undefined) throw new MistakeError('unknown', `unrecognized option '--${text}'`);
  if (others.length === 0) return only;
  const possibilities = candidates.map((option) => ` '--${option.name}'`).join('');
  throw new MistakeError('unknown', `option '--${text}' is ambiguous; possibilities:${possibilities}`);
}

function shortOptions(arg: ByteString, short: string, rest: ByteString[], options: GivenOption[]): void {
  for (let at = 1; at < arg.length; at++) {
    const name = arg.charAt(at);
    const index = short.indexOf(name);
    if (index < 0 || name === ':') throw new MistakeError('unknown', `invalid option -- '${name}'`);
    if (short.charAt(index + 1) !== ':') {
      options.push({ name });
      continue;
    }
    const attached = arg.slice(at + 1);
    const value = attached === '' ? rest.shift() : (attached as ByteString);
    if (value === undefined)
      throw new MistakeError('value-missing', `option requires an argument -- '${name}'`);
    options.push({ name, value });
    return;
  }
}
