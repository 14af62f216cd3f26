/** Images other than the signed one: well-formed, mountable, and wrong. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ascii } from '../src/formats/encoding.ts';
import { readImage } from '../src/formats/erofs-read.ts';
import { writeImage } from '../src/formats/erofs-write.ts';
import { S_IFREG, validateTree } from '../src/formats/tree.ts';
import { runHere } from '../tools/chroots.ts';
import { type BaseDisk, OS_REF, sealroot } from './base-disk.ts';

export const BACKDOOR = 'backdoor\n';

/** The same tree and one file more, /usr/backdoor, whose content stands in the image itself. */
export function imageWithBackdoor(image: Uint8Array): Uint8Array {
  const root = readImage(image);
  const usr = root.children?.get(ascii('usr'))?.children;
  if (usr === undefined) throw new Error('cannot add a file to the image: it has no /usr');
  const content = Buffer.from(BACKDOOR);
  usr.set(ascii('backdoor'), {
    ...{ mode: S_IFREG | 0o4755, uid: 0, gid: 0, rdev: 0, nlink: 1, size: content.length },
    ...{ mtimeSec: 0n, mtimeNsec: 0, content, xattrs: new Map() },
  });
  return writeImage(validateTree(root));
}

/** The image of another commit that the trusted key has sealed: the same tree under another release's name. */
export async function anotherSealedImage(base: BaseDisk, scratch: string): Promise<Uint8Array> {
  const repo = path.join(scratch, 'other-repo');
  const overlay = path.join(scratch, 'other-tree');
  await mkdir(path.join(overlay, 'usr'), { recursive: true });
  await writeFile(path.join(overlay, 'usr/other-release'), 'another release\n');
  await runHere(['ostree', `--repo=${repo}`, 'init', '--mode=bare']);
  await runHere(['ostree', `--repo=${repo}`, 'pull-local', base.repo, OS_REF]);
  await runHere([
    ...['ostree', `--repo=${repo}`, 'commit', '--branch=os/other', '--no-xattrs'],
    ...[`--tree=ref=${OS_REF}`, `--tree=dir=${overlay}`],
  ]);
  await sealroot(['seal', '--repo', repo, 'os/other', '--key', base.keys.secretKey]);
  const image = path.join(scratch, 'other.cfs');
  await sealroot(['image', 'create', '--no-cache', '--repo', repo, '--commit', 'os/other', image]);
  return await readFile(image);
}
