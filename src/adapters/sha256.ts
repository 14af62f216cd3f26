/** SHA-256 for programs that load our library anyway: node:crypto takes longer to load than to hash megabytes. */

import { nodeHasher } from './hasher.ts';
import { openLibrary } from './libc.ts';

const PROTOTYPES = {
  sha256: 'int32_t sha256_of_bytes(const void *bytes, uint64_t size, _Out_ void *digest)',
} as const;

const DIGEST_BYTES = 32;

export function sha256OfBytes(bytes: Uint8Array, library?: URL): Uint8Array {
  const digest = new Uint8Array(DIGEST_BYTES);
  const isDone = openLibrary(PROTOTYPES, library)?.functions.sha256(bytes, bytes.length, digest) === 0;
  return isDone ? digest : nodeHasher.sha256(bytes);
}
