/**
 * Modules of Node.js that take long to load, loaded by the first call: node:crypto and node:tty, with the streams and
 * sockets that they bring, cost half as much time as the start of Node.js, and most calls of a tool need neither.
 */

type Crypto = typeof import('node:crypto');

let crypto: Crypto | undefined;

export function nodeCrypto(): Crypto {
  crypto ??= process.getBuiltinModule('node:crypto');
  return crypto;
}

/** isatty(3). */
export function isTerminal(fd: number): boolean {
  return process.getBuiltinModule('node:tty').isatty(fd);
}
