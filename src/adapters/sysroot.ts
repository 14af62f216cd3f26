/**
 * A sysroot through libostree (node-gtk): its deployments, a new deployment, the boot loader's entries. No GObject
 * leaves this file.
 *
 * The sysroot is locked from `openSysroot` with `lock` to `close`. Where it is the booted one and mounted read-only,
 * libostree moves this thread to a mount namespace of its own and makes /sysroot and /boot writable there alone;
 * descriptors opened before that stay read-only, so everything below the sysroot is opened after it, synchronously.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Deployment as GDeployment, Repo as GRepo, Sysroot as GSysroot } from 'node-gtk';
import { ascii } from '../formats/encoding.ts';
import { badInput, refused, SealrootError, systemError } from '../formats/errors.ts';
import { encode, makeVariant } from '../formats/gvariant.ts';
import { attempt, type Libostree, loadLibostree } from './ostree-repo.ts';

export interface Deployment {
  os: string;
  checksum: string;
  serial: number;
  /** Absolute, below the sysroot's path. */
  path: string;
  refspec: string | undefined;
  booted: boolean;
  staged: boolean;
  pinned: boolean;
  /** As the boot loader's entry has them, `ostree=` included. */
  kernelArguments: string;
}

export interface DeployOptions {
  os: string;
  checksum: string;
  /** What upgrades follow; recorded as the deployment's origin. */
  refspec: string;
  /** All kernel arguments but `ostree=`. Undefined: those of the deployment that this one follows. */
  kernelArguments: readonly string[] | undefined;
  /**
   * Called when the deployment is checked out and no boot loader entry names it yet. If it throws, the checkout is
   * removed and the boot loader is not touched.
   */
  beforeBootLoader?: (deploymentPath: string) => void;
  /** The sysroot is new: nothing in it can be garbage, and the search for it is left out. */
  first?: boolean;
}

export interface Sysroot {
  readonly path: string;
  readonly repoPath: string;
  /** In boot order, the default one first. */
  deployments(): Deployment[];
  /** Throws `rev-not-found`. */
  resolveRev(rev: string): string;
  initOs(name: string): void;
  /** Copies a branch from a repository on this machine; the branch gets the same name here. */
  pullLocal(repoPath: string, ref: string): void;
  setRepoConfig(group: string, key: string, value: string): void;
  /** The kernel arguments, without `ostree=`, that the next deployment of this OS would inherit. */
  inheritedKernelArguments(os: string): string[];
  deploy(options: DeployOptions): Deployment;
  close(): void;
}

export interface OpenSysrootOptions {
  /** Takes the sysroot's lock; whoever only looks needs none. */
  lock?: boolean;
  /** Makes a sysroot of an empty directory. */
  create?: boolean;
  /** Leaves out every fsync and sync: for disks that are thrown away when anything fails. */
  disableFsync?: boolean;
  /** Called once when another program holds the lock, before waiting for it. */
  onWait?: () => void;
}

export async function openSysroot(path: string, options: OpenSysrootOptions = {}): Promise<Sysroot> {
  const absolute = resolve(path);
  if (options.create !== true && !existsSync(join(absolute, 'ostree/repo'))) {
    throw badInput(
      'sysroot-missing',
      `cannot open sysroot ${path}: it has no ostree/repo`,
      'name the root of an OSTree system with --sysroot',
    );
  }
  const lib = await loadLibostree();
  const sysroot = newSysroot(lib, absolute, options.disableFsync === true);
  attempt(`open sysroot ${path}`, () => {
    if (options.create === true) sysroot.ensureInitialized(null);
    if (options.lock === true) {
      sysroot.initializeWithMountNamespace(null);
      const [, locked] = sysroot.tryLock();
      if (!locked) {
        options.onWait?.();
        sysroot.lock();
      }
    } else {
      sysroot.initialize();
    }
    sysroot.load(null);
  });
  const repo = sysroot.repo();
  if (options.disableFsync === true) repo.setDisableFsync(true);
  return new LibostreeSysroot(absolute, lib, sysroot, repo, options.lock === true);
}

/** libostree takes `skip-sync` from the environment only, when a sysroot object is made (ostree-sysroot.c). */
function newSysroot(lib: Libostree, path: string, skipSync: boolean): GSysroot {
  const before = process.env.OSTREE_SYSROOT_OPTS;
  try {
    if (skipSync) process.env.OSTREE_SYSROOT_OPTS = 'skip-sync';
    return lib.OSTree.Sysroot.new(lib.Gio.File.newForPath(path));
  } finally {
    if (before === undefined) delete process.env.OSTREE_SYSROOT_OPTS;
    else process.env.OSTREE_SYSROOT_OPTS = before;
  }
}

class LibostreeSysroot implements Sysroot {
  readonly path: string;
  readonly repoPath: string;
  readonly #lib: Libostree;
  readonly #sysroot: GSysroot;
  readonly #repo: GRepo;
  #locked: boolean;

  constructor(path: string, lib: Libostree, sysroot: GSysroot, repo: GRepo, locked: boolean) {
    this.path = path;
    this.repoPath = join(path, 'ostree/repo');
    this.#lib = lib;
    this.#sysroot = sysroot;
    this.#repo = repo;
    this.#locked = locked;
  }

  deployments(): Deployment[] {
    const booted = this.#sysroot.getBootedDeployment();
    return this.#sysroot.getDeployments().map((one) => this.#describe(one, booted));
  }

  resolveRev(rev: string): string {
    let checksum: string | null = null;
    try {
      [, checksum] = this.#repo.resolveRev(rev, true);
    } catch {
      // A revision that is not even well-formed resolves to nothing as well.
    }
    if (checksum === null) {
      throw badInput(
        'rev-not-found',
        `cannot resolve "${rev}": no such ref in ${this.repoPath}`,
        `list the branches with: ostree refs --repo=${this.repoPath}`,
      );
    }
    return checksum;
  }

  initOs(name: string): void {
    attempt(`create os ${name} in ${this.path}`, () => this.#sysroot.initOsname(name, null));
  }

  pullLocal(repoPath: string, ref: string): void {
    const { GLib } = this.#lib;
    const dictionary = new Map([[ascii('refs'), makeVariant('as', [ascii(ref)])]]);
    const bytes = GLib.Bytes.new(Buffer.from(encode('a{sv}', dictionary)));
    const options = GLib.Variant.newFromBytes(GLib.VariantType.new('a{sv}'), bytes, false);
    attempt(`pull ${ref} from ${repoPath}`, () =>
      this.#repo.pullWithOptions(`file://${resolve(repoPath)}`, options, null, null),
    );
  }

  setRepoConfig(group: string, key: string, value: string): void {
    attempt(`configure ${this.repoPath}`, () => {
      const config = this.#repo.copyConfig();
      config.setString(group, key, value);
      this.#repo.writeConfig(config);
    });
  }

  inheritedKernelArguments(os: string): string[] {
    const options = this.#sysroot.getMergeDeployment(os)?.getBootconfig()?.get('options') ?? '';
    return splitKernelArguments(options).filter((argument) => !argument.startsWith('ostree='));
  }

  deploy(options: DeployOptions): Deployment {
    const { os, checksum } = options;
    if (!this.#locked) throw systemError('sysroot-not-locked', `cannot deploy to ${this.path}: not locked`);
    const known = join(this.path, 'ostree/deploy', os);
    if (!existsSync(known)) {
      throw badInput(
        'os-missing',
        `cannot deploy to os ${os}: ${known} does not exist`,
        'ostree admin os-init',
      );
    }
    const before = this.#bootLoaderState();
    const merge = this.#sysroot.getMergeDeployment(os);
    try {
      const [, made] = attempt(`deploy commit ${checksum}`, () =>
        this.#sysroot.deployTree(
          os,
          checksum,
          this.#sysroot.originNewFromRefspec(options.refspec),
          merge,
          options.kernelArguments === undefined ? null : [...options.kernelArguments],
          null,
        ),
      );
      options.beforeBootLoader?.(join(this.path, this.#sysroot.getDeploymentDirpath(made)));
      attempt(`write boot loader entries for commit ${checksum}`, () => {
        const { NONE, NO_CLEAN } = this.#lib.OSTree.SysrootSimpleWriteDeploymentFlags;
        this.#sysroot.simpleWriteDeployment(os, made, merge, options.first ? NO_CLEAN : NONE, null);
        // Without pruning, but with the refs that keep a deployment's commit.
        if (options.first) this.#sysroot.prepareCleanup(null);
        this.#sysroot.load(null);
      });
    } catch (error) {
      this.#removeStrayCheckout(error, before);
    }
    const deployed = this.deployments().find((one) => one.os === os && one.checksum === checksum);
    if (deployed === undefined) {
      throw systemError(
        'deployment-missing',
        `cannot find the new deployment of ${checksum} in ${this.path}`,
      );
    }
    return deployed;
  }

  close(): void {
    if (this.#locked) this.#sysroot.unlock();
    this.#locked = false;
    // GObjects are finalised only by an idle source of the main context, which nothing else runs here.
    const context = this.#lib.GLib.MainContext.default();
    while (context.iteration(false));
  }

  /** Always throws `cause`; says so when the checkout could not be removed or the boot loader's entries did change. */
  #removeStrayCheckout(cause: unknown, before: string): never {
    let left: string | undefined;
    try {
      this.#sysroot.load(null);
      this.#sysroot.cleanup(null);
    } catch (error) {
      left = `the checkout stays until "ostree admin cleanup": ${error instanceof Error ? error.message : error}`;
    }
    if (this.#bootLoaderState() !== before) left = 'boot loader entries have changed already';
    if (left === undefined || !(cause instanceof Error)) throw cause;
    const { kind, code } = cause instanceof SealrootError ? cause : refused('deploy-failed', '');
    throw new SealrootError(kind, code, `${cause.message} (${left})`);
  }

  /** Changes whenever what the boot loader reads changes. */
  #bootLoaderState(): string {
    return readLoaderEntries(this.path)
      .map((entry) => `${entry.file}\n${entry.text}`)
      .join('\n');
  }

  #describe(deployment: GDeployment, booted: GDeployment | null): Deployment {
    const os = deployment.getOsname();
    const checksum = deployment.getCsum();
    const serial = deployment.getDeployserial();
    const isBooted =
      booted !== null &&
      booted.getOsname() === os &&
      booted.getCsum() === checksum &&
      booted.getDeployserial() === serial;
    return {
      os,
      checksum,
      serial,
      path: join(this.path, this.#sysroot.getDeploymentDirpath(deployment)),
      refspec: refspecOf(deployment),
      booted: isBooted,
      staged: deployment.isStaged(),
      pinned: deployment.isPinned(),
      kernelArguments: deployment.getBootconfig()?.get('options') ?? '',
    };
  }
}

/** Undefined as well for an origin of another kind (containers). */
function refspecOf(deployment: GDeployment): string | undefined {
  try {
    return deployment.getOrigin()?.getString('origin', 'refspec');
  } catch {
    return undefined;
  }
}

/** Arguments as written: quotes stay, white space inside them does not split. */
export function splitKernelArguments(line: string): string[] {
  return line.match(/(?:"[^"]*"?|[^\s"])+/g) ?? [];
}

export interface LoaderEntry {
  /** Name of the file below boot/loader/entries. */
  file: string;
  text: string;
  /** First value of each key (Boot Loader Specification, type 1). */
  fields: Map<string, string>;
}

/** The boot loader entries that libostree wrote, in the order of their names; none when there are none yet. */
export function readLoaderEntries(sysrootPath: string): LoaderEntry[] {
  const folder = join(sysrootPath, 'boot/loader/entries');
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((file) => file.endsWith('.conf'))
    .sort()
    .map((file) => {
      const text = readFileSync(join(folder, file), 'utf8');
      return { file, text, fields: parseFields(text) };
    });
}

function parseFields(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, key, value] = /^([a-z-]+)\s+(.*\S)\s*$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined && !fields.has(key)) fields.set(key, value);
  }
  return fields;
}
