/**
 * Changes to an OSTree repository, through libostree (node-gtk). No GObject leaves this file: checksums are hex
 * strings, commits and metadata are the bytes that our own formats read and write.
 *
 * node-gtk is imported when a repository is opened, so that commands which only read objects run where libostree
 * has no typelib. Every change compares before it sets, under the repository's exclusive lock, which keeps out
 * everybody who commits, pulls or prunes with libostree.
 */

import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import type { Gi, GioNamespace, GLibNamespace, OSTreeNamespace, Repo, Variant } from 'node-gtk';
import { isChecksum, printable } from '../formats/encoding.ts';
import { badInput, refused, SealrootError, systemError } from '../formats/errors.ts';

/** GVariant type of a commit object (ostree-core.h, OSTREE_COMMIT_GVARIANT_STRING). */
const COMMIT_TYPE = '(a{sv}aya(say)sstayay)';
const VARDICT_TYPE = 'a{sv}';

export interface CommitReplacement {
  /** A local branch; remote refs belong to their remote. */
  ref: string;
  /** What the ref must still name when the lock is held. */
  expected: string;
  /** The new commit object and its SHA-256 in hex; libostree refuses bytes that do not match it. */
  commit: Uint8Array;
  checksum: string;
  /**
   * Detached metadata (a{sv}) of the new commit, given what the repository holds for it already: the same commit
   * may have been made, and signed by somebody, before.
   */
  detached: (current: Uint8Array | undefined) => Uint8Array;
}

export interface OstreeRepo {
  readonly path: string;
  /** The commit that a refspec, `REF^` or checksum names. Throws `rev-not-found`. */
  resolveRev(rev: string): string;
  /** The commit of a local branch of exactly this name, or undefined. */
  localBranch(ref: string): string | undefined;
  /** True when the local branch is only another name for a branch. */
  isAlias(ref: string): boolean;
  /**
   * Stores commit and detached metadata, then moves the ref to it: both objects are in place and synced before
   * the ref changes, and nothing changes when anything fails. Throws `ref-moved` when the ref is not at `expected`.
   */
  replaceCommit(replacement: CommitReplacement): void;
  /**
   * Replaces a commit's detached metadata by what `update` makes of the current one. Nothing is written when it
   * returns undefined. Read and write happen under one lock, so that no signature added meanwhile is lost.
   */
  updateDetachedMetadata(
    checksum: string,
    update: (current: Uint8Array | undefined) => Uint8Array | undefined,
  ): void;
}

export interface Libostree {
  GLib: GLibNamespace;
  Gio: GioNamespace;
  OSTree: OSTreeNamespace;
}

/**
 * Lazily, and with require: when node-gtk fails to start (no typelib of GIRepository), import() rejects and raises the
 * same error a second time, uncaught, which ends the process with a stack trace.
 */
export async function loadLibostree(): Promise<Libostree> {
  try {
    const gi = createRequire(import.meta.url)('node-gtk') as Gi;
    return {
      GLib: gi.require('GLib', '2.0'),
      Gio: gi.require('Gio', '2.0'),
      OSTree: gi.require('OSTree', '1.0'),
    };
  } catch (error) {
    throw systemError(
      'libostree-missing',
      `cannot load libostree: ${messageOf(error)}`,
      'install libostree with its GObject introspection data (Debian: gir1.2-ostree-1.0) and the npm package node-gtk',
    );
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Runs one libostree operation; its failure becomes a system error that says what was tried. */
export function attempt<T>(what: string, operation: () => T): T {
  try {
    return operation();
  } catch (error) {
    if (error instanceof SealrootError) throw error;
    throw systemError('libostree-failed', `cannot ${what}: ${messageOf(error)}`);
  }
}

/** Opens an existing repository. */
export async function openRepo(path: string): Promise<OstreeRepo> {
  const lib = await loadLibostree();
  const repo = lib.OSTree.Repo.new(lib.Gio.File.newForPath(resolve(path)));
  attempt(`open repository ${path}`, () => repo.open(null));
  return new LibostreeRepo(path, lib, repo);
}

/**
 * The checksum that REV names. A full checksum is returned as it is, without libostree and without a look at the
 * repository; everything else is libostree's to resolve.
 */
export async function resolveRevision(repoPath: string, rev: string): Promise<string> {
  return isChecksum(rev) ? rev : (await openRepo(repoPath)).resolveRev(rev);
}

class LibostreeRepo implements OstreeRepo {
  readonly path: string;
  readonly #lib: Libostree;
  readonly #repo: Repo;

  constructor(path: string, lib: Libostree, repo: Repo) {
    this.path = path;
    this.#lib = lib;
    this.#repo = repo;
  }

  resolveRev(rev: string): string {
    const hint = `list the branches with: ostree refs --repo=${this.path}`;
    let checksum: string | null;
    try {
      [, checksum] = this.#repo.resolveRev(rev, true);
    } catch (error) {
      throw badInput('rev-not-found', `cannot resolve "${printable(rev)}": ${messageOf(error)}`, hint);
    }
    if (checksum === null) {
      throw badInput(
        'rev-not-found',
        `cannot resolve "${printable(rev)}": no such ref in ${this.path}`,
        hint,
      );
    }
    return checksum;
  }

  localBranch(ref: string): string | undefined {
    const { EXCLUDE_REMOTES, EXCLUDE_MIRRORS } = this.#lib.OSTree.RepoListRefsExtFlags;
    return this.#listRefs(EXCLUDE_REMOTES | EXCLUDE_MIRRORS).get(ref);
  }

  isAlias(ref: string): boolean {
    return this.#listRefs(this.#lib.OSTree.RepoListRefsExtFlags.ALIASES).has(ref);
  }

  replaceCommit({ ref, expected, commit, checksum, detached }: CommitReplacement): void {
    attempt(`move ref ${ref} in ${this.path}`, () =>
      this.#locked(() => {
        const current = this.localBranch(ref);
        if (current !== expected) {
          throw refused(
            'ref-moved',
            `cannot move ref ${ref}: it names ${current ?? 'nothing'} now, expected ${expected}`,
            'somebody committed to it meanwhile; seal again',
          );
        }
        const metadata = this.#variant(VARDICT_TYPE, detached(this.#detachedMetadata(checksum)));
        this.#repo.prepareTransaction(null);
        try {
          const object = this.#variant(COMMIT_TYPE, commit);
          this.#repo.writeMetadata(this.#lib.OSTree.ObjectType.COMMIT, checksum, object, null);
          this.#repo.writeCommitDetachedMetadata(checksum, metadata, null);
          this.#repo.transactionSetRef(null, ref, checksum);
          this.#repo.commitTransaction(null);
        } catch (error) {
          this.#repo.abortTransaction(null);
          throw error;
        }
      }),
    );
  }

  updateDetachedMetadata(
    checksum: string,
    update: (current: Uint8Array | undefined) => Uint8Array | undefined,
  ): void {
    attempt(`write detached metadata of commit ${checksum} in ${this.path}`, () =>
      this.#locked(() => {
        const next = update(this.#detachedMetadata(checksum));
        if (next !== undefined) {
          this.#repo.writeCommitDetachedMetadata(checksum, this.#variant(VARDICT_TYPE, next), null);
        }
      }),
    );
  }

  #detachedMetadata(checksum: string): Uint8Array | undefined {
    const [, metadata] = this.#repo.readCommitDetachedMetadata(checksum, null);
    return metadata === null ? undefined : bytesOf(metadata);
  }

  #listRefs(flags: number): Map<string, string> {
    const [, refs] = attempt(`list refs of ${this.path}`, () => this.#repo.listRefsExt(null, flags, null));
    return new Map(Object.entries(refs));
  }

  #locked<T>(operation: () => T): T {
    const { EXCLUSIVE } = this.#lib.OSTree.RepoLockType;
    this.#repo.lockPush(EXCLUSIVE, null);
    try {
      return operation();
    } finally {
      this.#repo.lockPop(EXCLUSIVE, null);
    }
  }

  #variant(type: string, bytes: Uint8Array): Variant {
    const { GLib } = this.#lib;
    const data = GLib.Bytes.new(Buffer.from(bytes));
    return GLib.Variant.newFromBytes(GLib.VariantType.new(type), data, false);
  }
}

function bytesOf(variant: Variant): Uint8Array {
  return Uint8Array.from(variant.getDataAsBytes().getData() ?? []);
}
