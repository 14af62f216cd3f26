/** `sealroot image objects` and `missing-objects`: the backing files that an image refers to. */

import { hasBackingFile } from '../adapters/backing-files.ts';
import { escapeField } from '../formats/dump.ts';
import { fromByteString, hex } from '../formats/encoding.ts';
import { type ImageObject, imageObjects } from '../formats/erofs-read.ts';
import { type BackingStores, backingFolders } from './backing-stores.ts';
import { readImageFile } from './image-digest.ts';

export interface ObjectRecord {
  /** Below the store; escaped as in a dump. */
  object: string;
  size: number;
  digest?: string;
  /** The first file that uses it. */
  usedBy: string;
}

/** Once each, by path. */
function distinct(objects: readonly ImageObject[]): ImageObject[] {
  const found = new Map<string, ImageObject>();
  for (const object of objects) if (!found.has(object.payload)) found.set(object.payload, object);
  return [...found.values()].sort((a, b) => (a.payload < b.payload ? -1 : 1));
}

function recordOf({ payload, size, digest, path: usedBy }: ImageObject): ObjectRecord {
  const record: ObjectRecord = { object: escapeField(payload), size, usedBy: escapeField(usedBy) };
  if (digest !== undefined) record.digest = hex(fromByteString(digest));
  return record;
}

export async function listObjects(options: { image: string }): Promise<ObjectRecord[]> {
  return distinct(imageObjects(await readImageFile(options.image))).map(recordOf);
}

/** Those that none of the stores has. */
export async function listMissingObjects(
  options: BackingStores & { image: string },
): Promise<ObjectRecord[]> {
  const folders = backingFolders(options);
  const objects = distinct(imageObjects(await readImageFile(options.image)));
  return objects.filter(({ payload }) => !hasBackingFile(folders, payload)).map(recordOf);
}
