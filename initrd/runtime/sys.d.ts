/** What sys.c, bytes.c and objects.c give to the program. Only ../sys.ts, ../object-calls.ts,
 * ../mount-flags.ts and ../byte-strings.ts may use it. */
declare const sys: typeof import('../../src/formats/byte-strings.ts') & {
  /**
   * One raw system call. Numbers are passed as they are, a Uint8Array as a pointer to its first byte, null as 0.
   * Returns what the kernel returns: a negative error number on failure. Nothing is checked: a buffer that is
   * shorter than the kernel believes corrupts memory.
   */
  syscall(number: number, ...args: readonly (number | Uint8Array | null)[]): number;
  /** Call numbers of this architecture. */
  readonly nr: Readonly<
    Record<
      | 'clock_gettime'
      | 'close'
      | 'exit_group'
      | 'fgetxattr'
      | 'flistxattr'
      | 'fsconfig'
      | 'fsmount'
      | 'fsopen'
      | 'getdents64'
      | 'getxattr'
      | 'ioctl'
      | 'listxattr'
      | 'mkdirat'
      | 'mount'
      | 'mount_setattr'
      | 'move_mount'
      | 'open_tree'
      | 'openat'
      | 'openat2'
      | 'read'
      | 'readlinkat'
      | 'sendto'
      | 'socket'
      | 'statfs'
      | 'statx'
      | 'symlinkat'
      | 'umount2'
      | 'uname'
      | 'write',
      number
    >
  >;
  /** Open flags whose values depend on the architecture. */
  readonly flag: Readonly<Record<'O_DIRECTORY' | 'O_NOFOLLOW', number>>;
  /**
   * What is to be known of the object CHECKSUM.file below a directory of objects, opened once, is written to `record`,
   * as objects.c lays it out. 0, or a negative error number, also for what is not usual: a link (-ELOOP), another type,
   * a digest that is not SHA-256, xattrs without room.
   */
  inspectObject(directory: number, checksum: string, record: Uint8Array): number;
  /** Bytes that the program may use from now on, which is said by one that will use many. */
  limitMemory(bytes: number): void;
  /** The process's arguments, argv[0] included. */
  readonly argv: readonly Uint8Array[];
  /** Of the concatenation of the parts (at most eight); likewise sha512. */
  sha256(...parts: readonly Uint8Array[]): Uint8Array;
  sha512(...parts: readonly Uint8Array[]): Uint8Array;
  /** The value of the second script (../bundle.ts); undefined if the program has none. */
  seldom(): unknown;
};
