/** Where an image's backing files are, as the options of a command name it. */

import path from 'node:path';
import { requireFolder } from '../adapters/backing-files.ts';
import { type ObjectStore, openObjectStore } from '../adapters/object-store.ts';
import { usageError } from '../formats/errors.ts';

export interface BackingStores {
  /** Stores of backing files. */
  basedirs: readonly string[];
  /** An ostree repository, with its parents. */
  repo?: string | undefined;
}

/** The folders, in the order in which they are looked into. Throws `usage` when there is none. */
export function backingFolders({ basedirs, repo }: BackingStores): string[] {
  const folders = [...basedirs];
  let store: ObjectStore | undefined = repo === undefined ? undefined : openObjectStore(repo);
  for (; store !== undefined; store = store.parent) folders.push(path.join(store.path, 'objects'));
  if (folders.length === 0) {
    throw usageError(
      'usage',
      'cannot look for objects: no store was given',
      'give --basedir DIR or --repo REPO',
    );
  }
  for (const folder of folders) requireFolder(folder);
  return folders;
}
