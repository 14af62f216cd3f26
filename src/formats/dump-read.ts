/**
 * The composefs dump text: one line per name, as `mkcomposefs --from-file` reads it. Source: composefs-dump(5).
 * Host only: uses regular expressions, which the initramfs's runtime does not have.
 *
 * Stricter than libcomposefs where that reads garbage: a malformed GID or RDEV and a digest that is not 64 hex digits
 * are errors. 128 hex digits, which it does not know, are a SHA-512 digest.
 */

import { concatBytes } from './bytes.ts';
import {
  cutAtNul,
  malformed,
  type Owner,
  parseDigest,
  parseMtime,
  parseOwner,
  parseSize,
  unescapeBytes,
  unescapeField,
} from './dump-fields.ts';
import { addNode, type DumpTree, emptyTree, findTarget, isSame } from './dump-paths.ts';
import { type ByteString, printable, toByteString } from './encoding.ts';
import { badInput } from './errors.ts';
import {
  isExternal,
  MAX_CONTENT_BYTES,
  MAX_FILE_BYTES,
  MAX_PAYLOAD_BYTES,
  NO_XATTRS,
  type NodeHead,
  newNode,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  type TreeNode,
  type ValidatedTree,
  validateTree,
  xattrFault,
} from './tree.ts';

/** libcomposefs's bound on the text of all xattrs of a line. */
const MAX_XATTR_TEXT = 65535;

export interface DumpRules {
  /**
   * Also refuses what the format does not mean and libcomposefs's mkcomposefs lets pass unless CFS_PARSE_STRICT is
   * set: a last line without newline, a device number of what is no device, and of a symbolic link a size that is
   * not its target's, or content.
   */
  readonly strict?: boolean;
}

/** A dump that is read piece by piece. */
export interface DumpParser extends DumpTree {
  /** The piece: whole lines. */
  dump: Uint8Array;
  line: number;
  hasEscapes: boolean;
  /** Where the field ends that was taken last. */
  end: number;
  /** By the text of the fields. */
  owners: Map<string, Owner>;
  /** From mode to mtime, which most lines share with the one before them; and how it was written. */
  readonly head: NodeHead;
  readonly headText: Uint8Array;
  headBytes: number;
  isLink: boolean;
  xattrs: Map<string, TreeNode['xattrs']>;
}

/** A longer head is compared in vain. */
const MAX_HEAD_TEXT = 256;

export function startDump({ strict = false }: DumpRules = {}): DumpParser {
  return {
    strict,
    dump: new Uint8Array(0),
    line: 0,
    hasEscapes: false,
    end: 0,
    ...emptyTree(),
    owners: new Map(),
    head: {
      mode: 0,
      uid: 0,
      gid: 0,
      rdev: 0,
      nlink: 0,
      size: 0,
      mtimeSec: 0n,
      mtimeNsec: 0,
      xattrs: NO_XATTRS,
    },
    headText: new Uint8Array(MAX_HEAD_TEXT),
    headBytes: 0,
    isLink: false,
    xattrs: new Map(),
  };
}

/**
 * Reads the lines that end in `dump`, and returns how many bytes they have: the others are to come again, with those
 * behind them. `isLast`: none come, and what is left is a line without newline.
 */
export function readLines(parser: DumpParser, dump: Uint8Array, isLast: boolean): number {
  const end = dump.lastIndexOf(NEWLINE) + 1;
  parser.dump = dump;
  for (let start = 0; start < end; start = parser.end + 1) parseLine(parser, start);
  if (!isLast || end === dump.length) return end;
  if (parser.strict) {
    throw malformed({ line: parser.line + 1 }, 'line', 'does not end in a newline');
  }
  parser.dump = concatBytes([dump.subarray(end), Uint8Array.of(NEWLINE)]);
  parseLine(parser, 0);
  return dump.length;
}

/** The tree of a dump. Throws as validateTree() does for what the image format cannot hold. */
export function finishDump(parser: DumpParser): ValidatedTree {
  const { root } = parser;
  if (root === undefined) throw badInput('dump-malformed', 'cannot read dump: it has no line for /');
  for (const link of parser.links) link.node.hardlink = findTarget(parser, root, link);
  return parser.isOrdinary && parser.links.length === 0 ? (root as ValidatedTree) : validateTree(root);
}

/** The tree of a dump that is at hand as a whole. Links may name targets of later lines. */
export function parseDump(dump: Uint8Array, rules: DumpRules = {}): ValidatedTree {
  const parser = startDump(rules);
  readLines(parser, dump, true);
  return finishDump(parser);
}

const NEWLINE = 0x0a;
const SPACE = 0x20;
const DASH = 0x2d;
const SLASH = 0x2f;
const EQUALS = 0x3d;
const BACKSLASH = 0x5c;

/** Goes to the end of the next field and returns where it begins. Fields that are missing are empty. */
function takeField(parser: DumpParser): number {
  const { dump, end } = parser;
  if (dump[end] === NEWLINE) return end;
  parser.end = fieldEnd(parser, end + 1);
  return end + 1;
}

function fieldEnd(parser: DumpParser, from: number): number {
  const { dump } = parser;
  for (let at = from; ; at++) {
    const byte = dump[at] as number;
    if (byte <= SPACE && isFieldEnd(parser, byte)) return at;
    if (byte === BACKSLASH) parser.hasEscapes = true;
  }
}

/** Of a byte that is none of a printed field. */
function isFieldEnd(parser: DumpParser, byte: number): boolean {
  if (byte === 0) throw malformed(parser, 'byte', 'NUL is not allowed');
  return byte === SPACE || byte === NEWLINE;
}

/** The next field, which may be "-". */
function takeOptional(parser: DumpParser, what: string): ByteString | undefined {
  const from = takeField(parser);
  return isMissing(parser, from) ? undefined : unescapeField(parser, from, parser.end, what);
}

/** Of the field that was taken last. */
function isMissing({ dump, end }: DumpParser, from: number): boolean {
  return end === from + 1 && dump[from] === DASH;
}

/** Goes to the end of the line, which begins at `start`. */
function parseLine(parser: DumpParser, start: number): void {
  parser.line++;
  parser.hasEscapes = false;
  const { dump } = parser;
  const pathEnd = fieldEnd(parser, start);
  let nameAt = pathEnd;
  while (nameAt > start && dump[nameAt - 1] !== SLASH) nameAt--;
  parser.end = pathEnd;
  const sizeAt = takeField(parser);
  const sizeEnd = parser.end;
  takeHead(parser);
  const payload = takeOptional(parser, 'payload');
  const node = parser.isLink ? linkNode(parser, payload) : newNode(parser.head);
  if (!parser.isLink) {
    node.size = parseSize(parser, sizeAt, sizeEnd);
    fillNode(parser, node, payload);
    const { length } = node.payload ?? '-';
    if (node.size > MAX_FILE_BYTES || length === 0 || length > MAX_PAYLOAD_BYTES) parser.isOrdinary = false;
  }
  addNode(parser, node, start, nameAt, pathEnd);
  const from = parser.end + 1;
  while (dump[parser.end] !== NEWLINE) parser.end = fieldEnd(parser, parser.end + 1);
  if (!parser.isLink && parser.end >= from) node.xattrs = xattrsOf(parser, from, parser.end);
}

/** Behind the fields of an owner there is one for the mtime. */
const OWNER_FIELDS = 5;

/** Of this line. */
function takeHead(parser: DumpParser): void {
  const { dump, head, headText, headBytes } = parser;
  const at = parser.end + 1;
  // Most lines.
  if (
    headBytes > 0 &&
    dump[at - 1] === SPACE &&
    isSame(headText, headBytes, dump, at) &&
    dump[at + headBytes] === SPACE
  ) {
    parser.end = at + headBytes;
    return;
  }
  const ends: number[] = [];
  for (let i = 0; i < OWNER_FIELDS; i++) {
    takeField(parser);
    ends.push(parser.end);
  }
  const fields = toByteString(dump, at, parser.end);
  let owner = parser.owners.get(fields);
  if (owner === undefined) {
    owner = parseOwner(parser, at, ends);
    parser.owners.set(fields, owner);
  }
  const mtimeAt = takeField(parser);
  parser.isLink = owner.isLink;
  head.mode = owner.mode;
  head.nlink = owner.nlink;
  head.uid = owner.uid;
  head.gid = owner.gid;
  head.rdev = owner.rdev;
  if (!owner.isLink) parseMtime(parser, mtimeAt, parser.end, head);
  // One with fields missing would be the beginning of others.
  parser.headBytes = dump[parser.end] === SPACE ? parser.end - at : 0;
  for (let i = at; i < parser.end; i++) headText[i - at] = dump[i] as number;
}

/** Gives it what its type has: the payload, and the two fields behind it. */
function fillNode(parser: DumpParser, node: TreeNode, payload: ByteString | undefined): void {
  const type = node.mode & S_IFMT;
  const { size } = node;
  if (type === S_IFDIR) node.children = new Map();
  if (type === S_IFLNK) {
    node.payload = cutAtNul(parser, payload ?? '');
    node.size = node.payload.length;
  } else if (type === S_IFREG && payload) {
    node.payload = cutAtNul(parser, payload);
  }
  const contentBytes = takeContent(parser, node, size);
  takeDigest(parser, node);
  if (parser.strict && type === S_IFLNK) requireStrictLink(parser, node, size, contentBytes);
}

function takeDigest(parser: DumpParser, node: TreeNode): void {
  const from = takeField(parser);
  const { end } = parser;
  if (isMissing(parser, from)) return;
  // Of other nodes libcomposefs looks at no more than its escapes.
  const isRead = isExternal(node);
  if (!parser.hasEscapes) {
    if (isRead) node.digest = parseDigest(parser, from, end);
    return;
  }
  const dump = unescapeBytes(parser, from, end, 'digest');
  const { length } = cutAtNul(parser, toByteString(dump));
  if (isRead) node.digest = parseDigest({ ...parser, dump }, 0, length);
}

function requireStrictLink(parser: DumpParser, node: TreeNode, size: number, contentBytes: number): void {
  if (size !== node.size) {
    throw malformed(parser, 'size', `is ${size}, expected the ${node.size} of the link target`);
  }
  if (contentBytes > 0) throw malformed(parser, 'content', 'is that of a link');
}

/** Returns how many bytes it has. */
function takeContent(parser: DumpParser, node: TreeNode, size: number): number {
  const from = takeField(parser);
  if (isMissing(parser, from)) return 0;
  const content = unescapeBytes(parser, from, parser.end, 'content');
  const { length } = content;
  if (length !== size) {
    throw malformed(parser, 'content', `has ${length} bytes, expected the size field's ${size}`);
  }
  const type = node.mode & S_IFMT;
  if (length > MAX_CONTENT_BYTES && type !== S_IFLNK) {
    throw malformed(parser, 'content', `has ${length} bytes, more than ${MAX_CONTENT_BYTES}`);
  }
  if (length > 0 && type === S_IFREG) node.content = content;
  return length;
}

function linkNode(parser: DumpParser, target: ByteString | undefined): TreeNode {
  const { head } = parser;
  if ((head.mode & S_IFMT) === S_IFDIR) throw malformed(parser, 'mode', 'makes a hard link of a directory');
  if (target === undefined) throw malformed(parser, 'payload', 'is missing in a hard link');
  const node = newNode(head);
  parser.links.push({ node, target: cutAtNul(parser, target), line: parser.line });
  return node;
}

/** Nodes whose xattrs have the same text share one map. */
function xattrsOf(parser: DumpParser, at: number, end: number): TreeNode['xattrs'] {
  const text = toByteString(parser.dump, at, end);
  let xattrs = parser.xattrs.get(text);
  if (xattrs === undefined) {
    xattrs = parseXattrs(parser, at, end);
    if (xattrFault(xattrs) !== undefined) parser.isOrdinary = false;
    parser.xattrs.set(text, xattrs);
  }
  return xattrs;
}

function parseXattrs(parser: DumpParser, at: number, end: number): TreeNode['xattrs'] {
  const { dump } = parser;
  if (end - at > MAX_XATTR_TEXT) {
    throw malformed(parser, 'xattrs', `have ${end - at} bytes, more than ${MAX_XATTR_TEXT}`);
  }
  const xattrs = new Map<ByteString, Uint8Array>();
  // Behind the last one there may be a space.
  for (let from = at; from < end; ) {
    let to = from;
    let split = -1;
    for (; to < end && dump[to] !== SPACE; to++) if (split < 0 && dump[to] === EQUALS) split = to;
    if (split < 0) throw malformed(parser, 'xattr', `"${printable(toByteString(dump, from, to))}" has no =`);
    const key = cutAtNul(parser, unescapeField(parser, from, split, 'xattr name'));
    if (key === '') throw malformed(parser, 'xattr', 'has an empty name');
    xattrs.set(key, unescapeBytes(parser, split + 1, to, 'xattr value'));
    from = to + 1;
  }
  return xattrs;
}
