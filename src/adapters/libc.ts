/**
 * Functions of the C library, through koffi: a prebuilt addon that needs no compiler. It is loaded by the first call,
 * since that takes longer than many a command, and most commands need none of them.
 */

import { createRequire } from 'node:module';
import type KoffiModule from 'koffi';

type Koffi = typeof KoffiModule;
type Library = ReturnType<Koffi['load']>;

let loaded: { koffi: Koffi; libc: Library; errnoNames: ReadonlyMap<number, string> } | undefined;

function load(): NonNullable<typeof loaded> {
  if (loaded === undefined) {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    const numbers = Object.entries(koffi.os.errno).map(([name, number]) => [number, name] as const);
    loaded = { koffi, libc: koffi.load('libc.so.6'), errnoNames: new Map(numbers) };
  }
  return loaded;
}

type Argument = number | bigint | Uint8Array | null;

/**
 * The function of this prototype, in koffi's notation. A Uint8Array is passed as a pointer to its bytes; what the
 * function writes there arrives only if the prototype says _Out_ or _Inout_.
 */
export function libcFunction<T = number | bigint>(prototype: string): (...args: readonly Argument[]) => T {
  let bound: ((...args: readonly Argument[]) => T) | undefined;
  return (...args) => {
    bound ??= load().libc.func(prototype);
    return bound(...args);
  };
}

/** Of the call that has just failed. EOPNOTSUPP and ENOTSUP are one number on Linux; the kernel's documentation has the first. */
export function errnoName(): string {
  const { koffi, errnoNames } = load();
  const number = koffi.errno();
  const name = errnoNames.get(number) ?? `errno ${number}`;
  return name === 'ENOTSUP' ? 'EOPNOTSUPP' : name;
}

/** undefined for a name that this system does not have. */
export function errnoNumber(name: string): number | undefined {
  return (load().koffi.os.errno as Record<string, number | undefined>)[name];
}
