/** `ostree=latest`, for which prepare-root looks for deployments itself, and the file that takes some of them away. */
import path from 'node:path';
import type { RefusalCase } from '../refusal.ts';
import type { Ext4Image } from '../tamper.ts';
import type { Trial } from '../trials.ts';
import { naming } from './resolution.ts';

const SKIP_FILE = '/ostree/sealroot-skip';

function latest(title: string, rest: Omit<Trial, 'title'>): Trial {
  return { title: `ostree=latest and ${title}`, commandLine: naming('latest'), ...rest };
}

/** Whoever can put something else there could as well remove the file: it is passed over, and not waited for. */
function skipFileIs(what: string, make: (disk: Ext4Image) => void): Trial {
  return latest(`${what} in the place of the file of unwanted ones`, {
    tamper: ({ disk }) => make(disk),
    warns: [/^cannot follow ostree\/sealroot-skip: /],
  });
}

function skipping(line: (stage: RefusalCase) => string) {
  return (stage: RefusalCase) =>
    stage.disk.replace(SKIP_FILE, Buffer.from(`${line(stage)}\n`), { verity: false });
}

export const LATEST: readonly Trial[] = [
  skipFileIs('a FIFO', (disk) => disk.makeNode(SKIP_FILE, 'p')),
  skipFileIs('a character device', (disk) => disk.makeNode(SKIP_FILE, 'c', 1, 5)),
  skipFileIs('a directory', (disk) => disk.makeDirectory(SKIP_FILE)),
  skipFileIs('a link into the initramfs', (disk) => disk.makeLink(SKIP_FILE, '/etc/ostree')),
  skipFileIs('100 MiB', (disk) => {
    disk.replace(SKIP_FILE, Buffer.from('x'), { verity: false });
    disk.resize(SKIP_FILE, 100 << 20);
  }),
  latest('the only deployment unwanted', {
    refused: 'no-candidate',
    tamper: skipping(({ base }) => base.commit),
  }),
  latest('another deployment unwanted', { tamper: skipping(({ base }) => `${base.commit}.1`) }),
  latest('a FIFO in the place of the only commit', {
    refused: 'no-candidate',
    tamper({ disk, commitPath }) {
      disk.remove(commitPath);
      disk.makeNode(commitPath, 'p');
    },
  }),
  latest('a FIFO in the place of the only deployment', {
    refused: 'no-candidate',
    tamper({ disk, base }) {
      const { dir, base: name } = path.posix.parse(base.deployment);
      disk.rename(dir, name, `${name}.kept`);
      disk.makeNode(base.deployment, 'p');
    },
  }),
  latest('an image without fs-verity', {
    refused: 'no-candidate',
    tamper: ({ disk, imagePath }) => disk.replace(imagePath, disk.read(imagePath), { verity: false }),
  }),
];
