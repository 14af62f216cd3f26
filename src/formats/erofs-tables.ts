/**
 * What the reader knows of an image, in columns of numbers: a row for each inode, name and xattr. Text and objects are
 * made of a row when somebody asks; made for every file they would take most of the time and of the memory.
 *
 * Tables grow while the first gate adds rows, and a column is another array then: nobody may hold one across that.
 */

type Column = Int32Array | Uint16Array | Uint8Array;

/** The row of nothing: the parent of the root, an inode that cannot be used. */
export const NONE = -1;

const PIECE_ROWS = 64;

/** A pass over many rows in pieces: a function that is called often is optimised sooner than a loop that runs long. */
export function inPieces(count: number, pass: (from: number, to: number) => void): void {
  for (let from = 0; from < count; from += PIECE_ROWS) pass(from, Math.min(from + PIECE_ROWS, count));
}

/** The same column with room for so many rows. */
function longer<T extends Column>(column: T, rows: number): T {
  const out = new (column.constructor as new (length: number) => T)(rows);
  out.set(column);
  return out;
}

/** The root first, which is a directory, then breadth first as their names are met. No rows without a usable root. */
export class InodeTable {
  count = 0;
  /** Where they stand in the image. */
  offset: Int32Array;
  /** Row of the first directory that names it, and of its name there. */
  parent: Int32Array;
  firstEntry: Int32Array;
  /** How many more names it has. */
  otherNames: Int32Array;
  /** i_format and i_mode. */
  format: Uint8Array;
  mode: Uint16Array;
  /** End of its xattrs; the tail begins here. */
  xattrEnd: Int32Array;
  /** Whole data blocks from block `i_u` on, and the bytes of data behind the xattrs. Chunk-based: of the chunk list. */
  blocks: Int32Array;
  tail: Uint16Array;
  /** Its xattrs: rows of inline ones from `xattrsFrom`, shared ones from `sharedFrom`, up to `xattrsTo`. */
  xattrsFrom: Int32Array;
  sharedFrom: Int32Array;
  xattrsTo: Int32Array;
  /** Of a directory: rows of its names, and how many directories are above it. */
  entriesFrom: Int32Array;
  entriesTo: Int32Array;
  depth: Uint16Array;
  /** Its place among the inodes of the image; until the second gate has sorted them, its row. */
  index: Int32Array;
  /** What overlayfs takes from its xattrs, see erofs-visible.ts: where metacopy and redirect stand, 0 for nowhere. */
  metacopy: Int32Array;
  redirect: Int32Array;
  isWhiteout: Uint8Array;
  hasVisibleXattrs: Uint8Array;

  constructor(rows: number) {
    this.offset = new Int32Array(rows);
    this.parent = new Int32Array(rows);
    this.firstEntry = new Int32Array(rows);
    this.otherNames = new Int32Array(rows);
    this.format = new Uint8Array(rows);
    this.mode = new Uint16Array(rows);
    this.xattrEnd = new Int32Array(rows);
    this.blocks = new Int32Array(rows);
    this.tail = new Uint16Array(rows);
    this.xattrsFrom = new Int32Array(rows);
    this.sharedFrom = new Int32Array(rows);
    this.xattrsTo = new Int32Array(rows);
    this.entriesFrom = new Int32Array(rows);
    this.entriesTo = new Int32Array(rows);
    this.depth = new Uint16Array(rows);
    this.index = new Int32Array(rows);
    this.metacopy = new Int32Array(rows);
    this.redirect = new Int32Array(rows);
    this.isWhiteout = new Uint8Array(rows);
    this.hasVisibleXattrs = new Uint8Array(rows);
  }

  /** Makes room for one more row. */
  reserve(): void {
    if (this.count < this.offset.length) return;
    const rows = 2 * this.count + 1;
    for (const [name, column] of Object.entries(this)) {
      if (name !== 'count') Object.assign(this, { [name]: longer(column, rows) });
    }
  }
}

/** Names in directories: in the order of their directories, and in each of them in name order, with "." and "..". */
export class EntryTable {
  count = 0;
  /** Where the directory entry stands. */
  at: Int32Array;
  /** Where its name stands, and how long it is. */
  name: Int32Array;
  length: Uint8Array;
  /** NONE for "." and "..", and where there is none that can be used. */
  inode: Int32Array;

  constructor(rows: number) {
    this.at = new Int32Array(rows);
    this.name = new Int32Array(rows);
    this.length = new Uint8Array(rows);
    this.inode = new Int32Array(rows);
  }

  /** Makes room for so many more rows. */
  reserve(more: number): void {
    if (this.count + more <= this.at.length) return;
    const rows = 2 * this.count + more;
    this.at = longer(this.at, rows);
    this.name = longer(this.name, rows);
    this.length = longer(this.length, rows);
    this.inode = longer(this.inode, rows);
  }
}

/** The xattrs of all inodes; which of them are an inode's, the inode says. */
export class XattrTable {
  count = 0;
  at: Int32Array;
  /** What kind of name it has, see erofs-xattr-read.ts. */
  kind: Uint8Array;

  constructor(rows: number) {
    this.at = new Int32Array(rows);
    this.kind = new Uint8Array(rows);
  }

  add(at: number, kind: number): void {
    const row = this.count++;
    if (row === this.at.length) {
      this.at = longer(this.at, 2 * row + 1);
      this.kind = longer(this.kind, 2 * row + 1);
    }
    this.at[row] = at;
    this.kind[row] = kind;
  }
}
