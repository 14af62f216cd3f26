/** Stores of backing files, as images refer to them. */

import { lstatSync } from 'node:fs';
import type { ByteString } from '../formats/encoding.ts';
import { fileError, isMissing } from './files.ts';

/**
 * Whether one of the folders has that regular file. A path that leads out of the folder names no backing file: the
 * image may come from anywhere.
 */
export function hasBackingFile(folders: readonly string[], payload: ByteString): boolean {
  const parts = payload.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) return false;
  const below = Buffer.from(`/${parts.join('/')}`, 'latin1');
  return folders.some((folder) => {
    try {
      return lstatSync(Buffer.concat([Buffer.from(folder), below])).isFile();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (isMissing(error) || code === 'ENOTDIR' || code === 'ENAMETOOLONG') return false;
      throw fileError('read', folder, error);
    }
  });
}

/** Throws `file-missing` for a folder that is not there: everything would seem to be missing. */
export function requireFolder(folder: string): void {
  try {
    if (lstatSync(`${folder}/.`).isDirectory()) return;
  } catch (error) {
    throw fileError('read', folder, error);
  }
}
