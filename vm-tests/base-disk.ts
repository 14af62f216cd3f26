/**
 * The disk that the cases boot, and copies of which they tamper with: one sealed deployment of the OS tree, made by
 * the commands a user would type (keygen, seal, disk create). Made once per content: a changed tree, verifier or
 * source of those commands makes another.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { buildPrepareRoot } from '../initrd/build.ts';
import { ensureCached } from '../tools/cache.ts';
import { runHere } from '../tools/chroots.ts';
import { commitTree } from './commit.ts';
import type { Kernel } from './kernel-modules.ts';
import { ensureOsTree } from './os-tree.ts';

const PROJECT_ROOT = path.join(import.meta.dirname, '..');
export const OS_NAME = 'debian';
export const OS_REF = 'os/stable';

export interface TestKeys {
  readonly secretKey: string;
  readonly publicKey: string;
}

export interface BaseDisk {
  /** Raw; never changed, only copied or booted with writes discarded. */
  readonly image: string;
  /** Where its ext4 begins, in bytes. */
  readonly rootOffset: number;
  readonly commit: string;
  /** Of the deployment's image, hex. */
  readonly digest: string;
  /** The deployment's folder, absolute on the root file system. */
  readonly deployment: string;
  /** Of the deployment's boot entry, `ostree=` included. */
  readonly kernelArguments: string;
  readonly kernel: Kernel;
  /** Made by dracut, as the deployment's boot entry names it. */
  readonly initramfs: string;
  readonly prepareRoot: string;
  /** The repository that the disk was made of. */
  readonly repo: string;
  readonly keys: TestKeys;
}

/** Runs `sealroot` from source. */
export async function sealroot(argv: readonly string[]): Promise<string> {
  const main = path.join(PROJECT_ROOT, 'src/main.ts');
  const { stdout } = await runHere([process.execPath, '--import', 'tsx', main, ...argv], {
    cwd: PROJECT_ROOT,
  });
  return stdout.toString();
}

/** Throw-away keys of this checkout; `other` is nobody's: no initramfs trusts it. */
export async function ensureTestKeys(name: 'trusted' | 'other'): Promise<TestKeys> {
  const folder = await ensureCached({
    kind: 'vm',
    name: `keys-${name}`,
    recipe: 1,
    build: async (temporary) => {
      await sealroot(['keygen', '--out', temporary]);
    },
    discard: (temporary) => rm(temporary, { recursive: true }),
  });
  return { secretKey: path.join(folder, 'sealroot.key'), publicKey: path.join(folder, 'sealroot.pub') };
}

let disk: Promise<BaseDisk> | undefined;

export function ensureBaseDisk(): Promise<BaseDisk> {
  disk ??= makeBaseDisk();
  return disk;
}

/** What `sealroot disk create --json` says, as far as it is used here. */
export interface DiskReport {
  partitions: { name: string; offset: number }[];
  commit: string;
  digest: string;
  deployment: string;
  kernelArguments: string;
}

async function makeBaseDisk(): Promise<BaseDisk> {
  const keys = await ensureTestKeys('trusted');
  const tree = await ensureOsTree({ variant: 'base', publicKey: keys.publicKey });
  const folder = await ensureCached({
    kind: 'vm',
    name: 'base-disk',
    recipe: { tree: path.basename(tree.path), sources: sourcesHash(), version: 1 },
    build: (temporary) => buildDisk(temporary, tree.path, keys),
    discard: (temporary) => rm(temporary, { recursive: true }),
  });
  const report = JSON.parse(await readFile(path.join(folder, 'disk.json'), 'utf8')) as DiskReport;
  const root = report.partitions.find(({ name }) => name === 'root');
  if (root === undefined) throw new Error(`cannot use ${folder}/disk.json: no root partition`);
  return {
    image: path.join(folder, 'disk.raw'),
    rootOffset: root.offset,
    commit: report.commit,
    digest: report.digest,
    deployment: report.deployment,
    kernelArguments: report.kernelArguments,
    kernel: {
      version: tree.kernelVersion,
      image: path.join(folder, 'boot/kernel'),
      modulesFolder: path.dirname(tree.kernel),
    },
    initramfs: path.join(folder, 'boot/initramfs'),
    prepareRoot: await buildPrepareRoot(),
    repo: path.join(folder, 'repo'),
    keys,
  };
}

async function buildDisk(folder: string, tree: string, keys: TestKeys): Promise<void> {
  const repo = path.join(folder, 'repo');
  await mkdir(folder, { recursive: true });
  await commitTree(tree, repo, OS_REF);
  await sealroot(['seal', '--repo', repo, OS_REF, '--key', keys.secretKey]);
  const report = await sealroot([
    ...['disk', 'create', '--repo', repo, '--ref', OS_REF, '--os', OS_NAME, '--pubkey', keys.publicKey],
    ...['--output', path.join(folder, 'disk.raw'), '--format', 'raw'],
    ...['--export-boot', path.join(folder, 'boot'), '--json'],
  ]);
  await writeFile(path.join(folder, 'disk.json'), report);
}

/** Over every file that decides what the commands do. */
export function sourcesHash(): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(path.join(PROJECT_ROOT, 'src'), {
    recursive: true,
    encoding: 'utf8',
  }).sort()) {
    if (name.endsWith('.ts'))
      hash.update(`${name}\0`).update(readFileSync(path.join(PROJECT_ROOT, 'src', name)));
  }
  return hash.digest('hex');
}
