/**
 * Functions of the C library and of libraries of our own, through koffi: a prebuilt addon that needs no compiler. It is
 * loaded by the first call, since that takes longer than many a command, and most commands need none of them.
 */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { endianness } from 'node:os';
import { fileURLToPath } from 'node:url';
import type KoffiModule from 'koffi';

type Koffi = typeof KoffiModule;

let loaded:
  | { koffi: Koffi; libc: ReturnType<Koffi['load']>; errnoNames: ReadonlyMap<number, string> }
  | undefined;

/**
 * The addon itself, where it is the one of its package for this system. Koffi's own code finds the one for every system: to
 * compile it takes four times as long as all else here.
 */
function requireKoffi(): Koffi {
  const require = createRequire(import.meta.url);
  const system = `linux-${process.arch}`;
  try {
    return require(`@koromix/koffi-${system}/${system.replace('-', '_')}/koffi.node`) as Koffi;
  } catch {
    return require('koffi') as Koffi;
  }
}

function load(): NonNullable<typeof loaded> {
  if (loaded === undefined) {
    const koffi = requireKoffi();
    const numbers = Object.entries(koffi.os.errno).map(([name, number]) => [number, name] as const);
    loaded = { koffi, libc: koffi.load('libc.so.6'), errnoNames: new Map(numbers) };
  }
  return loaded;
}

/** Where the halves of a number of 64 bits are that C has written, in bytes. */
export const [LOW_WORD, HIGH_WORD] = endianness() === 'LE' ? [0, 4] : [4, 0];

/** Of memory that is C's; null for none. */
export type Pointer = { readonly koffiPointer: never } | null;

type Argument = number | bigint | string | Uint8Array | Pointer;

/**
 * The function of this prototype, in koffi's notation. A Uint8Array is passed as a pointer to its bytes; what the
 * function writes there arrives only if the prototype says _Out_ or _Inout_.
 */
export function libcFunction<T = number | bigint>(prototype: string): (...args: readonly Argument[]) => T {
  const bound = binder<T>(prototype);
  return (...args) => bound()(...args);
}

/** The function itself, from the first call on. */
function binder<T>(prototype: string): () => (...args: readonly Argument[]) => T {
  let bound: ((...args: readonly Argument[]) => T) | undefined;
  return () => {
    bound ??= load().libc.func(prototype) as NonNullable<typeof bound>;
    return bound;
  };
}

/**
 * As libcFunction, of a function that returns a whole number and -1 for a failure: what comes back then is the errno,
 * negative, as the kernel has it. It is read at once. Whatever else runs in between, JavaScript and the machine below it
 * included, may make system calls of its own that fail.
 */
export function systemCall(prototype: string): (...args: readonly Argument[]) => number {
  const bound = binder<number | bigint>(prototype);
  return (...args) => {
    const call = bound();
    const { errno } = load().koffi;
    const result = call(...args);
    return result < 0 ? -errno() : Number(result);
  };
}

export interface Library<Name extends string> {
  readonly functions: Readonly<Record<Name, (...args: readonly Argument[]) => unknown>>;
  /** The memory at `pointer`, not a copy. Whoever owns it must leave it where it is. */
  view(pointer: Pointer, bytes: number): ArrayBuffer;
}

/** What is compiled of native/. It stands beside the bundled command line; the sources run without it. */
const OUR_LIBRARY = new URL('file-reader.so', import.meta.url);

/**
 * Those functions of our library that have a prototype in koffi's notation. undefined where there is none, or one that was
 * built for another machine: everything works without, only slower.
 */
export function openLibrary<Name extends string>(
  prototypes: Readonly<Record<Name, string>>,
  library = OUR_LIBRARY,
): Library<Name> | undefined {
  if (!existsSync(library)) return undefined;
  try {
    return loadLibrary(fileURLToPath(library), prototypes);
  } catch {
    return undefined;
  }
}

function loadLibrary<Name extends string>(
  path: string,
  prototypes: Readonly<Record<Name, string>>,
): Library<Name> {
  const { koffi } = load();
  const library = koffi.load(path);
  const bound = Object.entries<string>(prototypes).map(([name, prototype]) => [
    name,
    library.func(prototype),
  ]);
  return {
    functions: Object.fromEntries(bound) as Library<Name>['functions'],
    view: (pointer, bytes) => koffi.view(pointer, bytes),
  };
}

/** EOPNOTSUPP and ENOTSUP are one number on Linux; the kernel's documentation has the first. */
export function errnoName(number: number): string {
  const name = load().errnoNames.get(number) ?? `errno ${number}`;
  return name === 'ENOTSUP' ? 'EOPNOTSUPP' : name;
}

/** undefined for a name that this system does not have. */
export function errnoNumber(name: string): number | undefined {
  return (load().koffi.os.errno as Record<string, number | undefined>)[name];
}
