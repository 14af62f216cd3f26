/**
 * `sealroot disk create`: a bootable disk from one sealed commit, on a machine whose kernel need not know fs-verity.
 * GPT, an ESP with systemd-boot and one entry, ext4 with the deployment, sealed offline. The output appears only when
 * all of it is there and e2fsck has no complaint.
 */

import { randomUUID } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import {
  checkExt4,
  convertToQcow2,
  createPartitionedImage,
  type DiskLayout,
  ext4Device,
  MIB,
  makeEsp,
  makeExt4,
  type Partition,
  planLayout,
} from '../adapters/disk-image.ts';
import { FileRing } from '../adapters/file-ring.ts';
import { mountImagePart } from '../adapters/mount-namespace.ts';
import { type ObjectStore, openObjectStore } from '../adapters/object-store.ts';
import { OfflineVerity } from '../adapters/offline-verity.ts';
import { resolveRevision } from '../adapters/ostree-repo.ts';
import { type Deployment, openSysroot, readLoaderEntries } from '../adapters/sysroot.ts';
import { hex } from '../formats/encoding.ts';
import { badInput, refused, usageError } from '../formats/errors.ts';
import { type ObjectSource, treeFromCommit } from '../formats/ostree-tree.ts';
import { checksumsOf, type DirTree } from '../formats/ostree-tree-objects.ts';
import { NO_XATTRS, S_IFREG } from '../formats/tree.ts';
import type { Verdict } from '../formats/verdict.ts';
import { blameObject, judge, makeSignedImage, sealDeployment } from './seal-deployment.ts';
import { type KeyPlace, loadTrustedKeys } from './trusted-keys.ts';

const ESP_SIZE = 256 * MIB;
const SMALLEST_DISK = 1024 * MIB;
/**
 * systemd would mount what the partition table names, for which nobody vouches; its automount of the ESP on /boot,
 * where ostree's boot directory is mounted already, fails and leaves the system degraded.
 */
const DEFAULT_ARGUMENTS = ['rw', 'systemd.gpt_auto=0'];

export interface DiskCreateOptions {
  repo: string;
  ref: string;
  os: string;
  /** Files of public keys; the commit must pass the verdict under one of them. */
  pubkeys: readonly string[];
  output: string;
  /** `4G`, `900M` or bytes; without it three times the content and 1 GiB, at least 2 GiB. */
  size?: string | undefined;
  /** Behind `root=UUID=...`, `rw` and `systemd.gpt_auto=0`. */
  kargs?: readonly string[] | undefined;
  format?: 'raw' | 'qcow2' | undefined;
  /** Gets `kernel`, `initramfs` and `cmdline`, for booting without a boot loader. */
  exportBoot?: string | undefined;
  onProgress?: ((message: string) => void) | undefined;
}

export interface DiskCreateResult {
  output: string;
  format: 'raw' | 'qcow2';
  size: number;
  partitions: Partition[];
  commit: string;
  /** fs-verity digest of the deployment's image. */
  digest: string;
  key: KeyPlace;
  /** Below the root file system. */
  deployment: string;
  /** The value of the kernel argument `ostree`. */
  ostree: string;
  /** The whole command line, `ostree=` included. */
  kernelArguments: string;
  sealedFiles: number;
  /** False when the tree has no systemd-boot: then the disk boots only directly. */
  bootLoader: boolean;
  warnings: string[];
}

/** What the boot needs of a deployment; the files can be read only until they are sealed. */
interface BootFiles {
  kernel: string;
  initramfs: string;
  kernelArguments: string;
  ostree: string;
  systemdBoot: string | undefined;
}

/** Refuses what `sealroot verify` refuses under the same keys. A failed run leaves no output. */
export async function diskCreate(options: DiskCreateOptions): Promise<DiskCreateResult> {
  const format = options.format ?? 'qcow2';
  const progress = options.onProgress ?? (() => undefined);
  const trusted = loadTrustedKeys(options.pubkeys);
  const commit = await resolveRevision(options.repo, options.ref);
  const source = openObjectStore(options.repo, { digests: 'none' });
  const verdict = judge(source, commit, trusted);
  const content = contentOf(source, verdict);
  const layout = planLayout({
    size: diskSize(options.size, content.bytes),
    espSize: ESP_SIZE,
    espUuid: randomUUID(),
    rootUuid: randomUUID(),
  });
  mkdirSync(dirname(resolve(options.output)), { recursive: true });
  const work = mkdtempSync(join(tmpdir(), 'sealroot-disk-'));
  const raw = `${resolve(options.output)}.raw.tmp`;
  const converted = `${resolve(options.output)}.tmp`;
  for (const left of [raw, converted]) rmSync(left, { force: true });
  try {
    const built = await buildRaw(raw, work, layout, verdict, content, options, progress);
    if (options.exportBoot !== undefined) exportBoot(options.exportBoot, built.boot);
    if (format === 'qcow2') {
      progress('converting to qcow2');
      convertToQcow2(raw, converted);
      renameSync(converted, options.output);
    } else {
      renameSync(raw, options.output);
    }
    return {
      output: options.output,
      format,
      size: layout.size,
      partitions: [layout.esp, layout.root],
      commit,
      digest: hex(verdict.digest),
      key: trusted.placeOf(verdict.key.line),
      deployment: built.deployment,
      ostree: built.boot.ostree,
      kernelArguments: built.boot.kernelArguments,
      sealedFiles: built.sealedFiles,
      bootLoader: built.boot.systemdBoot !== undefined,
      warnings: [...trusted.warnings, ...verdict.warnings],
    };
  } catch (error) {
    throw await blameObject(error, options.repo, commit);
  } finally {
    rmSync(raw, { force: true });
    rmSync(converted, { force: true });
    rmSync(work, { recursive: true, force: true });
  }
}

interface RawDisk {
  boot: BootFiles;
  deployment: string;
  sealedFiles: number;
}

async function buildRaw(
  raw: string,
  work: string,
  layout: DiskLayout,
  verdict: Verdict,
  content: Content,
  options: DiskCreateOptions,
  progress: (message: string) => void,
): Promise<RawDisk> {
  progress('partitioning');
  createPartitionedImage(raw, layout);
  const fileSystemUuid = randomUUID();
  makeExt4(raw, layout.root, fileSystemUuid);
  const root = join(work, 'root');
  mkdirSync(root);
  const unmount = mountImagePart(raw, layout.root, root);
  const verity = new OfflineVerity();
  let built: RawDisk;
  try {
    progress('deploying');
    const kernelArguments = [`root=UUID=${fileSystemUuid}`, ...DEFAULT_ARGUMENTS, ...(options.kargs ?? [])];
    const { deployment, store } = await deployUnsealed(root, verdict, content, options, kernelArguments);
    // Before the objects are sealed: what comes after a file's content is visible until the inodes are changed.
    const boot = collectBootFiles(root, deployment, join(work, 'boot'));
    progress('making the image and sealing its objects');
    const sealing = makeSignedImage(store, verdict, {
      repo: options.repo,
      dirTrees: content.dirTrees,
      onFile: (checksum, { digest, tree }) => {
        if (digest !== undefined) verity.add(store.filePath(checksum), tree);
      },
    });
    sealDeployment(sealing, deployment.path, (path) => verity.add(path), 'volatile');
    built = { boot, deployment: deployment.path.slice(root.length), sealedFiles: verity.count };
  } finally {
    unmount();
  }
  verity.finish(ext4Device(raw, layout.root));
  checkExt4(raw, layout.root);
  progress('writing the ESP');
  const esp = join(work, 'esp');
  fillEsp(esp, built.boot, options.os);
  makeEsp(raw, layout.esp, esp);
  return built;
}

/**
 * A deployment that nothing boots yet, so the order of sealing and boot loader entry is free, and the disk's own
 * objects, which other threads hash while libostree makes the deployment.
 */
async function deployUnsealed(
  root: string,
  { checksum }: Verdict,
  content: Content,
  options: DiskCreateOptions,
  kernelArguments: readonly string[],
): Promise<{ deployment: Deployment; store: ObjectStore }> {
  mkdirSync(join(root, 'boot'), { mode: 0o755 });
  const sysroot = await openSysroot(root, { create: true, lock: true, disableFsync: true });
  try {
    // The entries in /boot are for whoever reads them there; which boot loader is installed is not libostree's to guess.
    sysroot.setRepoConfig('sysroot', 'bootloader', 'none');
    sysroot.setRepoConfig('ex-integrity', 'fsverity', 'maybe');
    sysroot.initOs(options.os);
    sysroot.pullLocal(options.repo, options.ref);
    if (sysroot.resolveRev(options.ref) !== checksum) {
      throw refused('ref-moved', `cannot deploy ${options.ref}: it is no longer at ${checksum}`, 'try again');
    }
    const { sizes, treeBytes } = content;
    const store = openObjectStore(sysroot.repoPath, { keepTrees: true, slots: sizes.size, treeBytes });
    store.announce(checksumsOf([...sizes.keys()]));
    const deployment = sysroot.deploy({
      os: options.os,
      checksum,
      refspec: options.ref,
      kernelArguments,
      first: true,
    });
    return { deployment, store };
  } finally {
    sysroot.close();
  }
}

/** Copies kernel and initramfs to a folder outside the disk and reads the rest from the boot loader's entry. */
function collectBootFiles(root: string, deployment: Deployment, folder: string): BootFiles {
  const entry = readLoaderEntries(root)[0];
  const linux = entry?.fields.get('linux');
  const initrd = entry?.fields.get('initrd');
  const ostree = /(?:^|\s)ostree=(\S+)/.exec(deployment.kernelArguments)?.[1];
  if (linux === undefined || initrd === undefined || ostree === undefined) {
    throw badInput(
      'boot-files-missing',
      `cannot boot commit ${deployment.checksum}: its tree has no kernel with an initramfs`,
      'put vmlinuz and initramfs.img into /usr/lib/modules/VERSION of the tree',
    );
  }
  mkdirSync(folder);
  const kernel = join(folder, 'kernel');
  const initramfs = join(folder, 'initramfs');
  copyFileSync(join(root, 'boot', linux), kernel);
  copyFileSync(join(root, 'boot', initrd), initramfs);
  const inTree = join(deployment.path, 'usr/lib/systemd/boot/efi/systemd-bootx64.efi');
  const systemdBoot = existsSync(inTree) ? join(folder, 'systemd-boot.efi') : undefined;
  if (systemdBoot !== undefined) copyFileSync(inTree, systemdBoot);
  return { kernel, initramfs, kernelArguments: deployment.kernelArguments, ostree, systemdBoot };
}

/** The entry stands on the ESP because systemd-boot reads FAT only, and libostree's /boot cannot be FAT. */
function fillEsp(esp: string, boot: BootFiles, os: string): void {
  const files = `ostree/${os}`;
  const entry = [
    `title ${os}`,
    `linux /${files}/kernel`,
    `initrd /${files}/initramfs`,
    `options ${boot.kernelArguments}`,
  ];
  const put = (path: string): string => {
    mkdirSync(dirname(join(esp, path)), { recursive: true });
    return join(esp, path);
  };
  const text = (lines: readonly string[]): string => `${lines.join('\n')}\n`;
  // Links: nothing is copied before it is copied to the disk.
  linkSync(boot.kernel, put(`${files}/kernel`));
  linkSync(boot.initramfs, put(`${files}/initramfs`));
  writeFileSync(put(`loader/entries/${os}.conf`), text(entry));
  writeFileSync(put('loader/loader.conf'), text([`default ${os}.conf`, 'timeout 0']));
  if (boot.systemdBoot === undefined) return;
  linkSync(boot.systemdBoot, put('EFI/BOOT/BOOTX64.EFI'));
  linkSync(boot.systemdBoot, put('EFI/systemd/systemd-bootx64.efi'));
}

function exportBoot(folder: string, boot: BootFiles): void {
  mkdirSync(folder, { recursive: true });
  copyFileSync(boot.kernel, join(folder, 'kernel'));
  copyFileSync(boot.initramfs, join(folder, 'initramfs'));
  writeFileSync(join(folder, 'cmdline'), `${boot.kernelArguments}\n`);
}

interface Content {
  /** Of each file object its bytes. */
  sizes: Map<string, number>;
  bytes: number;
  /** What their Merkle trees take, see FileRing. */
  treeBytes: number;
  dirTrees: Map<string, DirTree>;
}

function contentOf(store: ObjectStore, verdict: Verdict): Content {
  const sizes = new Map<string, number>();
  const dirTrees = new Map<string, DirTree>();
  const source: ObjectSource = {
    dirTree: (checksum) => store.dirTree(checksum),
    dirMeta: (checksum) => store.dirMeta(checksum),
    file: (checksum) => {
      const size = store.fileSize(checksum);
      sizes.set(checksum, size);
      return { mode: S_IFREG, uid: 0, gid: 0, xattrs: NO_XATTRS, size };
    },
  };
  treeFromCommit(verdict.commit, source, { dirTrees });
  const all = [...sizes.values()];
  return {
    sizes,
    dirTrees,
    bytes: all.reduce((sum, size) => sum + size, 0),
    treeBytes: all.reduce((sum, size) => sum + FileRing.treeBytes(size), 0),
  };
}

/** Bytes of a disk for so many bytes of content. Throws `disk-too-small`, `size-malformed`. */
export function diskSize(wanted: string | undefined, content: number): number {
  if (wanted === undefined) {
    return Math.max(2048 * MIB, Math.ceil((3 * content) / MIB) * MIB + SMALLEST_DISK);
  }
  const size = parseSize(wanted);
  const least = Math.max(SMALLEST_DISK, Math.ceil((1.2 * content) / MIB) * MIB + ESP_SIZE + 128 * MIB);
  if (size >= least) return size;
  throw usageError(
    'disk-too-small',
    `cannot create a disk of ${wanted}: at least ${least / MIB}M are needed`,
  );
}

/** `4G`, `900M`, `4294967296`; rounded down to whole MiB. */
export function parseSize(text: string): number {
  const [, digits, unit] = /^([0-9]{1,15})([KMGT]?)$/.exec(text) ?? [];
  if (digits === undefined) {
    throw usageError('size-malformed', `cannot read size "${text}": expected a number with K, M, G or T`);
  }
  const factor = 1024 ** ' KMGT'.indexOf(unit === undefined || unit === '' ? ' ' : unit);
  return Math.floor((Number(digits) * factor) / MIB) * MIB;
}
