/** Objects against their checksums, by libostree. */

import { resolve } from 'node:path';
import { loadLibostree } from './ostree-repo.ts';

/** What is wrong with a file object, in libostree's words; undefined when it is what its checksum says. */
export type ObjectCheck = (checksum: string) => string | undefined;

export async function openObjectCheck(repoPath: string): Promise<ObjectCheck> {
  const { OSTree, Gio } = await loadLibostree();
  const repo = OSTree.Repo.new(Gio.File.newForPath(resolve(repoPath)));
  repo.open(null);
  return (checksum) => {
    try {
      repo.fsckObject(OSTree.ObjectType.FILE, checksum, null);
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };
}
