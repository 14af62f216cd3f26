/** A FIFO, a device, a directory, a file, a link in the place of each file and directory that prepare-root opens. */
import path from 'node:path';
import { objectPath, type RefusalCase } from '../refusal.ts';
import type { Ext4Image } from '../tamper.ts';
import type { Trial } from '../trials.ts';

interface Place {
  readonly name: string;
  readonly path: (stage: RefusalCase) => string;
  /** The code of the refusal; undefined: the boot can do without. */
  readonly refused: string | undefined;
  /** Where a link to the very thing is answered otherwise. */
  readonly linked?: { readonly refused: string | undefined };
}

/** Makes it at `place`; what was there lies beside it under the name `kept`. */
type Make = (disk: Ext4Image, place: string, kept: string) => void;

/** Of devices: /dev/zero, whose reading never ends; a number without a driver; a loop device. */
const ANYWHERE: readonly (readonly [what: string, make: Make])[] = [
  ['a FIFO', (disk, place) => disk.makeNode(place, 'p')],
  ['a character device', (disk, place) => disk.makeNode(place, 'c', 1, 5)],
  ['a block device', (disk, place) => disk.makeNode(place, 'b', 7, 0)],
];
const FOR_A_FILE: typeof ANYWHERE = [
  ...ANYWHERE,
  ['a device without a driver', (disk, place) => disk.makeNode(place, 'c', 240, 77)],
  ['a directory', (disk, place) => disk.makeDirectory(place)],
  [
    'an absolute link into the initramfs',
    (disk, place) => disk.makeLink(place, '/usr/lib/sealroot/prepare-root.conf'),
  ],
];
const FOR_A_DIRECTORY: typeof ANYWHERE = [
  ...ANYWHERE,
  ['a file', (disk, place) => disk.replace(place, Buffer.from('x'), { verity: false })],
];
const LINK: Make = (disk, place, kept) => disk.makeLink(place, kept);

const FILES: readonly Place[] = [
  { name: 'the commit', path: (stage) => stage.commitPath, refused: 'not-a-regular-file' },
  { name: 'the detached metadata', path: (stage) => stage.commitMetaPath, refused: 'not-a-regular-file' },
  { name: 'the image', path: (stage) => stage.imagePath, refused: 'image-unsafe' },
];

const ON_THE_WAY = { refused: 'deployment-unresolvable', linked: { refused: 'deployment-malformed' } };

const DIRECTORIES: readonly Place[] = [
  { name: '/ostree', path: () => '/ostree', ...ON_THE_WAY },
  // ostree itself has links here, so one more is no fault: where it ends is what counts.
  {
    name: 'the directory of the boot links',
    path: (stage) => path.posix.dirname(stage.bootLink),
    ...{ refused: 'deployment-unresolvable', linked: { refused: undefined } },
  },
  { name: '/ostree/deploy', path: () => '/ostree/deploy', ...ON_THE_WAY },
  // Moved, it is the stateroot of another name, with the same deployment in it.
  {
    name: 'the stateroot',
    path: () => '/ostree/deploy/debian',
    ...{ refused: 'deployment-unresolvable', linked: { refused: undefined } },
  },
  { name: 'the directory of the deployments', path: () => '/ostree/deploy/debian/deploy', ...ON_THE_WAY },
  { name: 'the deployment', path: (stage) => stage.base.deployment, ...ON_THE_WAY },
  { name: 'the repository', path: () => '/ostree/repo', refused: 'not-a-regular-file' },
  { name: 'the object store', path: () => '/ostree/repo/objects', refused: 'not-a-regular-file' },
  {
    name: "the commit's directory",
    path: (stage) => path.posix.dirname(stage.commitPath),
    refused: 'not-a-regular-file',
  },
  {
    name: "the deployment's etc",
    path: (stage) => `${stage.base.deployment}/etc`,
    refused: 'deployment-incomplete',
  },
  { name: "the stateroot's var", path: () => '/ostree/deploy/debian/var', refused: 'deployment-incomplete' },
  // It only says that there are entries to be shown in the system.
  { name: '/boot', path: () => '/boot', refused: undefined },
];

function trial(place: Place, what: string, make: Make, refused: string | undefined): Trial {
  return {
    title: `${what} in the place of ${place.name}`,
    ...(refused === undefined ? {} : { refused }),
    tamper(stage) {
      const at = place.path(stage);
      const { dir, base } = path.posix.parse(at);
      stage.disk.rename(dir, base, `${base}.kept`);
      make(stage.disk, at, `${base}.kept`);
    },
  };
}

function trialsOf(places: readonly Place[], kinds: typeof ANYWHERE): Trial[] {
  return places.flatMap((place) => [
    ...kinds.map(([what, make]) => trial(place, what, make, place.refused)),
    trial(place, 'a link to where it was moved', LINK, (place.linked ?? place).refused),
  ]);
}

/** Not opened for this deployment, but met on the way to the others, which may set floors. */
const BESIDE: readonly Trial[] = [
  {
    title: 'a FIFO among the stateroots',
    tamper: ({ disk }) => disk.makeNode('/ostree/deploy/fifo', 'p'),
  },
  {
    title: 'a FIFO for the commit of another deployment',
    tamper(stage) {
      const other = 'f'.repeat(64);
      stage.disk.makeDirectory(stage.deploymentOf(other));
      stage.disk.makeDirectory(path.posix.dirname(objectPath(other, 'commit')));
      stage.disk.makeNode(objectPath(other, 'commit'), 'p');
    },
  },
  {
    title: 'more other deployments than are looked at',
    tamper(stage) {
      const directories = Array.from({ length: 40 }, (_, i) =>
        stage.deploymentOf(String(i).padStart(64, '0')),
      );
      for (const one of directories) stage.disk.makeDirectory(one);
    },
  },
];

export const PLACES: readonly Trial[] = [
  ...trialsOf(FILES, FOR_A_FILE),
  ...trialsOf(DIRECTORIES, FOR_A_DIRECTORY),
  ...BESIDE,
];
