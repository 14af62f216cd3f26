/**
 * From a commit to the tree of its composefs image, as libostree's ostree_repo_checkout_composefs builds it: mtime 0
 * and link count 1 everywhere, non-empty files refer to their object, the mount points of a deployment are added to
 * the root. Files come from objects only, never from a checked-out tree.
 */

import { ascii, type ByteString, printable } from './encoding.ts';
import { badInput, SealrootError } from './errors.ts';
import { algorithmOfDigest, VERITY_DIGEST_SIZE } from './fsverity.ts';
import type { Commit } from './ostree-objects.ts';
import {
  type Checksums,
  type DirTree,
  nthChecksum,
  type Ownership,
  parseDirMeta,
  parseDirTree,
} from './ostree-tree-objects.ts';
import {
  isValidTarget,
  MAX_DEPTH,
  NO_XATTRS,
  ownedNode,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  type TreeNode,
  type ValidatedTree,
  validateTree,
  xattrFault,
} from './tree.ts';

export interface OstreeFile extends Ownership {
  /** Bytes of a regular file. */
  readonly size: number;
  /** Symbolic links only. */
  readonly target?: ByteString | undefined;
  /** fs-verity digest of the content; of non-empty regular files only. */
  readonly digest?: ByteString | undefined;
}

/** Where a commit's objects come from. Each call throws when the object is missing or does not fit its checksum. */
export interface ObjectSource {
  dirTree(checksum: string): Uint8Array;
  dirMeta(checksum: string): Uint8Array;
  /** `job` is what `announce` has returned for it. */
  file(checksum: string, job?: number): OstreeFile;
  /**
   * Told of the files of each directory as early as possible: `file` will be called for them. The numbers, of which there
   * is one for each checksum, save looking up the checksums again; a negative one is none.
   */
  announce?(checksums: Checksums): readonly number[];
}

/** What a deployment's root must have to be mounted on. */
const MOUNT_POINTS = ['usr', 'etc', 'boot', 'var', 'sysroot'].map(ascii);

const NO_TARGET = ascii('');
const NO_JOB = -1;

/** A few small dirtrees that refer to each other can name more nodes than any memory holds. */
const MAX_NODES = 4_000_000;

interface Pending {
  readonly node: TreeNode & { readonly children: Map<ByteString, TreeNode> };
  readonly tree: string;
  /** With a trailing slash. */
  readonly path: string;
  readonly depth: number;
}

/** The files of a directory, whose objects are not read yet. */
interface PendingFiles {
  readonly children: Map<ByteString, TreeNode>;
  readonly dirTree: DirTree;
  /** What `announce` has returned. */
  readonly jobs: readonly number[] | undefined;
  /** With a trailing slash. */
  readonly path: string;
}

export interface TreeOptions {
  readonly maxNodes?: number;
  /** Dirtrees that were parsed before, by checksum, also of another commit or repository; those parsed now are added. */
  readonly dirTrees?: Map<string, DirTree> | undefined;
}

/** Errors of `source` are completed with the path that needed the object. Throws as validateTree() does. */
export function treeFromCommit(
  commit: Commit,
  source: ObjectSource,
  options: TreeOptions = {},
): ValidatedTree {
  const builder = new TreeBuilder(source, options);
  const root = builder.build(commit);
  return builder.isOrdinary ? (root as ValidatedTree) : validateTree(root);
}

class TreeBuilder {
  readonly #source: ObjectSource;
  readonly #dirMetas = new Map<string, Ownership>();
  /** By checksum, and of those that have a job by that. */
  readonly #files = new Map<string, OstreeFile>();
  readonly #announced: (OstreeFile | undefined)[] = [];
  readonly #pending: Pending[] = [];
  readonly #pendingFiles: PendingFiles[] = [];
  readonly #dirTrees: Map<string, DirTree>;
  readonly #maxNodes: number;
  #nodes = 0;
  /** The last ones in order: most files have the same. */
  #xattrs: Ownership['xattrs'] = NO_XATTRS;
  /**
   * Whether validateTree() can find nothing: each node is made here and once, its name is one that a dirtree may have,
   * there are no hard links, and all objects fit. Looking at each node again takes a tenth of the time.
   */
  isOrdinary = true;

  constructor(source: ObjectSource, { maxNodes = MAX_NODES, dirTrees = new Map() }: TreeOptions) {
    this.#source = source;
    this.#dirTrees = dirTrees;
    this.#maxNodes = maxNodes;
  }

  build(commit: Commit): TreeNode {
    const root = this.#directory(commit.rootMeta, commit.rootTree, '/', 0);
    for (let next = this.#pending.pop(); next !== undefined; next = this.#pending.pop()) this.#fill(next);
    for (const files of this.#pendingFiles) this.#addFiles(files);
    for (const name of MOUNT_POINTS) {
      if (root.children.has(name)) continue;
      root.children.set(name, directoryNode({ mode: S_IFDIR | 0o755, uid: 0, gid: 0, xattrs: NO_XATTRS }));
    }
    return root;
  }

  #directory(meta: string, tree: string, path: string, depth: number): Pending['node'] {
    const node = directoryNode(this.#dirMetas.get(meta) ?? this.#dirMeta(meta, path));
    this.#pending.push({ node, tree, path, depth });
    return node;
  }

  #dirMeta(meta: string, path: string): Ownership {
    try {
      const owner = parseDirMeta(this.#source.dirMeta(meta), `object ${meta}.dirmeta`);
      if (xattrFault(owner.xattrs) !== undefined) this.isOrdinary = false;
      this.#dirMetas.set(meta, owner);
      return owner;
    } catch (error) {
      throw neededFor(path, error);
    }
  }

  #fill({ node, tree, path, depth }: Pending): void {
    if (depth >= MAX_DEPTH) {
      throw badInput(
        'tree-too-deep',
        `cannot read tree: "${printable(path)}" is deeper than ${MAX_DEPTH} levels`,
      );
    }
    const dirTree = this.#dirTrees.get(tree) ?? this.#dirTree(tree, path);
    const { files, checksums, directories } = dirTree;
    this.#nodes += files.length + directories.size;
    if (this.#nodes > this.#maxNodes) {
      throw badInput('tree-too-large', `cannot read tree: more than ${this.#maxNodes} files and directories`);
    }
    if (files.length > 0) {
      const jobs = this.#source.announce?.(checksums);
      this.#pendingFiles.push({ children: node.children, dirTree, jobs, path });
    }
    directories.forEach((below, name) => {
      node.children.set(name, this.#directory(below.meta, below.tree, `${path}${name}/`, depth + 1));
    });
  }

  #dirTree(tree: string, path: string): DirTree {
    try {
      const parsed = parseDirTree(this.#source.dirTree(tree), `object ${tree}.dirtree`);
      this.#dirTrees.set(tree, parsed);
      return parsed;
    } catch (error) {
      throw neededFor(path, error);
    }
  }

  #addFiles({ children, dirTree, jobs, path }: PendingFiles): void {
    const { files, checksums } = dirTree;
    const source = this.#source;
    let at = 0;
    try {
      for (; at < files.length; at++) {
        const checksum = nthChecksum(checksums, at);
        const job = jobs === undefined ? NO_JOB : (jobs[at] as number);
        let file = job < 0 ? this.#files.get(checksum) : this.#announced[job];
        if (file === undefined) {
          file = source.file(checksum, job);
          if (!this.#fits(file)) this.isOrdinary = false;
          if (job < 0) this.#files.set(checksum, file);
          else this.#announced[job] = file;
        }
        children.set(files[at] as ByteString, fileNode(file, checksum));
      }
    } catch (error) {
      throw neededFor(path + files[at], error);
    }
  }

  /** Whether nobody can object to a node of this file. If not, that is no error yet. */
  #fits({ mode, uid, gid, size, xattrs, target, digest }: OstreeFile): boolean {
    if (xattrs !== this.#xattrs) {
      if (xattrFault(xattrs) !== undefined) return false;
      this.#xattrs = xattrs;
    }
    if (uid >>> 0 !== uid || gid >>> 0 !== gid || size >>> 0 !== size || (mode & 0xffff) !== mode) {
      return false;
    }
    switch (mode & S_IFMT) {
      case S_IFREG:
        return (
          digest === undefined ||
          digest.length === VERITY_DIGEST_SIZE ||
          algorithmOfDigest(digest) !== undefined
        );
      case S_IFLNK:
        return target !== undefined && isValidTarget(target);
      default:
        return false;
    }
  }
}

function directoryNode(owner: Ownership): Pending['node'] {
  const node = ownedNode(owner, 0);
  node.children = new Map();
  return node as Pending['node'];
}

function fileNode(file: OstreeFile, checksum: string): TreeNode {
  if ((file.mode & S_IFMT) === S_IFLNK) {
    const target = file.target ?? NO_TARGET;
    const node = ownedNode(file, target.length);
    node.payload = target;
    return node;
  }
  const node = ownedNode(file, file.size);
  if (file.size > 0) {
    node.payload = objectPath(checksum);
    node.digest = file.digest;
  }
  return node;
}

/** Of a checksum, below a repository's `objects`; `.file` in every mode, since an image is mounted over a bare repository. */
export function objectPath(checksum: string): ByteString {
  return `${checksum.slice(0, 2)}/${checksum.slice(2)}.file` as ByteString;
}

/** An error of the source says what it was needed for. */
function neededFor(path: string, error: unknown): unknown {
  if (!(error instanceof SealrootError)) return error;
  const { kind, code, message, hint } = error;
  return new SealrootError(kind, code, `${message}, needed for "${printable(path)}"`, hint);
}
