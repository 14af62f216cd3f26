/** A throw-away writable layer over a finished tree: costs nothing, where a copy costs seconds. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { CACHE_DIR } from '../tools/cache.ts';
import { runHere } from '../tools/chroots.ts';

/** Runs `action` with a folder that looks like `lower` and may be changed; afterwards the changes are gone. */
export async function withLayer<T>(lower: string, action: (tree: string) => Promise<T>): Promise<T> {
  const layers = path.join(CACHE_DIR, 'layers');
  await mkdir(layers, { recursive: true });
  const layer = await mkdtemp(path.join(layers, 'layer-'));
  const tree = path.join(layer, 'tree');
  for (const name of ['tree', 'upper', 'work']) await mkdir(path.join(layer, name));
  await runHere([
    ...['mount', '-t', 'overlay', 'overlay', '-o'],
    `lowerdir=${lower},upperdir=${layer}/upper,workdir=${layer}/work`,
    tree,
  ]);
  try {
    return await action(tree);
  } finally {
    await runHere(['umount', tree]);
    await rm(layer, { recursive: true });
  }
}
