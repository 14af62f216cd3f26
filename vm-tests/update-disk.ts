/**
 * What an update needs: a disk that boots a system with Node.js and sealroot in it, and a second disk with a
 * repository that holds the next commits of its branch: one that the machine's keys signed, one that others signed.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ensureCached } from '../tools/cache.ts';
import { runHere, runIn } from '../tools/chroots.ts';
import { ensureTestKeys, OS_NAME, OS_REF, sealroot, sourcesHash } from './base-disk.ts';
import { COMMIT_TIME, commitTree } from './commit.ts';
import { ensureOsTree, ensureTrixie } from './os-tree.ts';

/** The branch of a signer whom the machine does not trust. */
export const FOREIGN_REF = 'os/foreign';

export interface SealedCommit {
  readonly commit: string;
  readonly digest: string;
}

export interface UpdateDisk {
  /** Raw; boots `first`. */
  readonly image: string;
  readonly rootOffset: number;
  /** An ext4 with a repository in /repo that has `next` on OS_REF and an untrusted commit on FOREIGN_REF. */
  readonly updates: string;
  readonly kernel: string;
  readonly initramfs: string;
  readonly kernelArguments: string;
  readonly first: SealedCommit;
  readonly next: SealedCommit;
}

/** The one file in which the commits differ; `next` also has it. */
export const MARK = '/usr/share/sealroot-test/mark';
/** In no other file: their object must be nobody else's. */
export const NEXT_MARK = 'mark-of-the-next-commit';
const FOREIGN_MARK = 'mark-of-a-stranger';

export async function ensureUpdateDisk(): Promise<UpdateDisk> {
  const trusted = await ensureTestKeys('trusted');
  const other = await ensureTestKeys('other');
  const tree = await ensureOsTree({ variant: 'next', publicKey: trusted.publicKey });
  const folder = await ensureCached({
    kind: 'vm',
    name: 'update-disk',
    recipe: { tree: path.basename(tree.path), sources: sourcesHash(), version: 2 },
    build: (temporary) => build(temporary, tree.path, trusted, other),
    discard: (temporary) => rm(temporary, { recursive: true }),
  });
  const read = async (name: string) => JSON.parse(await readFile(path.join(folder, name), 'utf8'));
  const disk = await read('disk.json');
  const root = disk.partitions.find((one: { name: string }) => one.name === 'root');
  return {
    image: path.join(folder, 'disk.raw'),
    rootOffset: root.offset,
    updates: path.join(folder, 'updates.raw'),
    kernel: path.join(folder, 'boot/kernel'),
    initramfs: path.join(folder, 'boot/initramfs'),
    kernelArguments: disk.kernelArguments,
    first: { commit: disk.commit, digest: disk.digest },
    next: await read('next.json'),
  };
}

interface Keys {
  secretKey: string;
  publicKey: string;
}

async function build(folder: string, tree: string, trusted: Keys, other: Keys): Promise<void> {
  const repo = path.join(folder, 'repo');
  await mkdir(folder, { recursive: true });
  await commitTree(tree, repo, OS_REF);
  await sealroot(['seal', '--repo', repo, OS_REF, '--key', trusted.secretKey]);
  const report = await sealroot([
    ...['disk', 'create', '--repo', repo, '--ref', OS_REF, '--os', OS_NAME, '--pubkey', trusted.publicKey],
    ...['--output', path.join(folder, 'disk.raw'), '--format', 'raw'],
    ...['--export-boot', path.join(folder, 'boot'), '--json'],
  ]);
  await writeFile(path.join(folder, 'disk.json'), report);
  await commitMark(repo, FOREIGN_REF, FOREIGN_MARK, folder);
  await commitMark(repo, OS_REF, NEXT_MARK, folder);
  await sealroot(['seal', '--repo', repo, FOREIGN_REF, '--key', other.secretKey]);
  const sealed = await sealroot(['seal', '--repo', repo, OS_REF, '--key', trusted.secretKey, '--json']);
  await writeFile(path.join(folder, 'next.json'), sealed);
  await makeUpdates(repo, folder);
}

/** The tree of OS_REF and one file more, on `ref`. */
async function commitMark(repo: string, ref: string, mark: string, folder: string): Promise<void> {
  const overlay = path.join(folder, `mark-${mark}`);
  const file = path.join(overlay, MARK);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, `${mark}\n`);
  await runIn(
    await ensureTrixie(),
    [
      ...['ostree', '--repo=/srv', 'commit', `--branch=${ref}`, '--bootable', '--no-xattrs'],
      ...[`--tree=ref=${OS_REF}`, '--tree=dir=/mnt'],
      ...[`--timestamp=${COMMIT_TIME}`, `--subject=${mark}`],
    ],
    {
      binds: [
        [repo, '/srv'],
        [overlay, '/mnt'],
      ],
    },
  );
}

async function makeUpdates(repo: string, folder: string): Promise<void> {
  const content = path.join(folder, 'updates');
  await mkdir(content);
  await runHere(['cp', '--archive', '--reflink=auto', repo, path.join(content, 'repo')]);
  const image = path.join(folder, 'updates.raw');
  await runHere(['mkfs.ext4', '-q', '-F', '-L', 'updates', '-d', content, image, '1G']);
  await rm(content, { recursive: true });
}
