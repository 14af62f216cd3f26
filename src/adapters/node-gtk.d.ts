/**
 * The part of node-gtk, GLib and libostree that sealroot calls, typed by hand: node-gtk ships no types, and its
 * generator would describe only the libostree of the machine it runs on. Out parameters come back as arrays that
 * start with the gboolean; a failed call throws an Error whose message is the GError's.
 */
declare module 'node-gtk' {
  /** A GVariant. Getters of the wrong type abort the process: look only at the bytes. */
  export interface Variant {
    getDataAsBytes(): Bytes;
  }
  /** `getData()` is null when there are no bytes. */
  export interface Bytes {
    getData(): number[] | null;
  }
  export interface VariantType {
    readonly __variantType: never;
  }
  export interface MainContext {
    iteration(mayBlock: boolean): boolean;
  }

  export interface GLibNamespace {
    Variant: { newFromBytes(type: VariantType, bytes: Bytes, trusted: boolean): Variant };
    /** Takes a Buffer only: of a string it would keep the UTF-16 length. */
    Bytes: { new: (data: Buffer) => Bytes };
    VariantType: { new: (text: string) => VariantType };
    MainContext: { default(): MainContext };
  }

  export interface File {
    readonly __file: never;
  }
  export interface GioNamespace {
    File: { newForPath(path: string): File };
  }

  export interface Repo {
    open(cancellable: null): boolean;
    resolveRev(refspec: string, allowNoent: boolean): [boolean, string | null];
    listRefsExt(prefix: string | null, flags: number, cancellable: null): [boolean, Record<string, string>];
    lockPush(type: number, cancellable: null): boolean;
    lockPop(type: number, cancellable: null): boolean;
    prepareTransaction(cancellable: null): [boolean, boolean] | boolean;
    commitTransaction(cancellable: null): unknown;
    abortTransaction(cancellable: null): boolean;
    transactionSetRef(remote: string | null, ref: string, checksum: string | null): void;
    setRefImmediate(remote: string | null, ref: string, checksum: string | null, cancellable: null): boolean;
    writeMetadata(type: number, expected: string | null, object: Variant, cancellable: null): unknown;
    readCommitDetachedMetadata(checksum: string, cancellable: null): [boolean, Variant | null];
    writeCommitDetachedMetadata(checksum: string, metadata: Variant | null, cancellable: null): boolean;
    pullWithOptions(remoteOrUrl: string, options: Variant, progress: null, cancellable: null): boolean;
  }
  export interface OSTreeNamespace {
    Repo: { new: (path: File) => Repo };
    ObjectType: { COMMIT: number; FILE: number };
    RepoLockType: { SHARED: number; EXCLUSIVE: number };
    RepoListRefsExtFlags: { NONE: number; ALIASES: number; EXCLUDE_REMOTES: number; EXCLUDE_MIRRORS: number };
  }

  export interface Gi {
    require(name: 'GLib', version: '2.0'): GLibNamespace;
    require(name: 'Gio', version: '2.0'): GioNamespace;
    require(name: 'OSTree', version: '1.0'): OSTreeNamespace;
  }
  const gi: Gi;
  export default gi;
}
