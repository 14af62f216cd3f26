/** The build side's first step, with stock ostree only: a tree becomes a commit that nobody has sealed yet. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { runIn } from '../tools/chroots.ts';
import { ensureTrixie } from './os-tree.ts';

/** Fixed, so that the same tree is the same commit on every day. */
export const COMMIT_TIME = '2026-01-01 00:00:00 +0000';

/** Makes `repo` (mode bare) when it is not there, commits `tree` on `ref`, and returns the checksum. */
export async function commitTree(tree: string, repo: string, ref: string): Promise<string> {
  const trixie = await ensureTrixie();
  await mkdir(repo, { recursive: true });
  // Existing folders of the chroot serve as mount points, so that nothing is left in it.
  const binds = [
    [repo, '/srv'],
    [tree, '/mnt'],
  ] as const;
  if (!existsSync(path.join(repo, 'config'))) {
    await runIn(trixie, ['ostree', '--repo=/srv', 'init', '--mode=bare'], { binds });
  }
  const { stdout } = await runIn(
    trixie,
    [
      ...[
        'ostree',
        '--repo=/srv',
        'commit',
        `--branch=${ref}`,
        '--tree=dir=/mnt',
        '--no-xattrs',
        '--bootable',
      ],
      ...[`--timestamp=${COMMIT_TIME}`, `--subject=sealroot test tree ${ref}`],
    ],
    { binds },
  );
  return stdout.toString().trim();
}
