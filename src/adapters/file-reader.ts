/**
 * The compiled library of native/file-reader.c. It stands beside the bundled command line; the sources run without it,
 * only slower.
 */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Library, loadLibrary } from './libc.ts';

const LIBRARY = new URL('file-reader.so', import.meta.url);

const PROTOTYPES = {
  open: 'void *reader_open(const void *folder, uint32_t source, uint32_t digests, int algorithm, int keep_trees)',
  memory: 'void *reader_memory(void *reader, uint32_t slots, uint64_t tree_bytes)',
  start: 'void reader_start(void *reader, int threads)',
  wake: 'void reader_wake(void *reader)',
  finish: 'void reader_finish(void *reader, uint32_t job)',
  metadata: 'int32_t reader_metadata(void *reader, const char *checksum, const char *type)',
  close: 'void reader_close(void *reader)',
  verity: 'int32_t verity_of_bytes(const void *bytes, uint64_t size, int algorithm, _Out_ void *digest)',
} as const;

export type FileReader = Library<keyof typeof PROTOTYPES>;

const loaded = new Map<URL, FileReader | undefined>();

/** undefined where there is none, or it was built for another machine. */
export function fileReader(library = LIBRARY): FileReader | undefined {
  if (!loaded.has(library)) loaded.set(library, load(library));
  return loaded.get(library);
}

function load(library: URL): FileReader | undefined {
  if (!existsSync(library)) return undefined;
  try {
    return loadLibrary(fileURLToPath(library), PROTOTYPES);
  } catch {
    return undefined;
  }
}
