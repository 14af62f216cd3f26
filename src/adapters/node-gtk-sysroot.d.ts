/** The sysroot's part of libostree, added to the types of node-gtk.d.ts. */
declare module 'node-gtk' {
  export interface KeyFile {
    setString(group: string, key: string, value: string): void;
    getString(group: string, key: string): string;
  }
  export interface BootconfigParser {
    get(key: string): string | null;
  }
  export interface Deployment {
    getOsname(): string;
    getCsum(): string;
    getDeployserial(): number;
    getOrigin(): KeyFile | null;
    getBootconfig(): BootconfigParser | null;
    isStaged(): boolean;
    isPinned(): boolean;
  }
  export interface Sysroot {
    initialize(): boolean;
    initializeWithMountNamespace(cancellable: null): boolean;
    ensureInitialized(cancellable: null): boolean;
    setMountNamespaceInUse(): void;
    load(cancellable: null): boolean;
    tryLock(): [boolean, boolean];
    lock(): boolean;
    unlock(): void;
    repo(): Repo;
    initOsname(name: string, cancellable: null): boolean;
    originNewFromRefspec(refspec: string): KeyFile;
    getMergeDeployment(os: string): Deployment | null;
    getBootedDeployment(): Deployment | null;
    getDeployments(): Deployment[];
    getDeploymentDirpath(deployment: Deployment): string;
    deployTree(
      os: string,
      checksum: string,
      origin: KeyFile,
      merge: Deployment | null,
      kernelArguments: string[] | null,
      cancellable: null,
    ): [boolean, Deployment];
    simpleWriteDeployment(
      os: string,
      deployment: Deployment,
      merge: Deployment | null,
      flags: number,
      cancellable: null,
    ): boolean;
    cleanup(cancellable: null): boolean;
    prepareCleanup(cancellable: null): boolean;
  }
  export interface Repo {
    copyConfig(): KeyFile;
    writeConfig(config: KeyFile): boolean;
    fsckObject(type: number, checksum: string, cancellable: null): boolean;
    setDisableFsync(disable: boolean): void;
  }
  export interface OSTreeNamespace {
    Sysroot: { new: (path: File) => Sysroot };
    SysrootSimpleWriteDeploymentFlags: { NONE: number; NO_CLEAN: number };
  }
}
