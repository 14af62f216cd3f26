/**
 * The composefs dump text: one line per name, as `mkcomposefs --from-file` reads it. Source: composefs-dump(5).
 * Host only: uses regular expressions, which the initramfs's runtime does not have.
 *
 * Stricter than libcomposefs where that reads garbage: a malformed GID or RDEV and a digest that is not 64 hex digits
 * are errors. 128 hex digits, which it does not know, are a SHA-512 digest.
 */

import { type ByteString, fromByteString, printable, toByteString } from './encoding.ts';
import { direntType } from './erofs-layout.ts';
import { badInput, type SealrootError } from './errors.ts';
import {
  isExternal,
  isValidName,
  MAX_CONTENT_BYTES,
  MAX_FILE_BYTES,
  NO_XATTRS,
  newNode,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  type TreeNode,
} from './tree.ts';

const FIXED_FIELDS = 11;
const PATH = 0;
const SIZE = 1;
const MODE = 2;
const NLINK = 3;
const UID = 4;
const GID = 5;
const RDEV = 6;
const MTIME = 7;
const PAYLOAD = 8;
const CONTENT = 9;
const DIGEST = 10;
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

interface Parser {
  readonly strict: boolean;
  line: number;
  root: TreeNode | undefined;
  /** By path, with a trailing slash. */
  directories: Map<string, TreeNode>;
  /** The one whose names came last: in a dump that was printed, most lines belong to it. */
  folder: string;
  /** A line without backslashes has nothing to unescape, and no NUL. */
  hasEscapes: boolean;
  /** Of the line; made once. */
  fields: string[];
  links: { node: TreeNode; target: ByteString; line: number }[];
  mtimes: Map<string, [bigint, number]>;
}

function malformed(parser: { line: number }, what: string, fact: string): SealrootError {
  return badInput('dump-malformed', `cannot read dump line ${parser.line}: ${what} ${fact}`);
}

/** The tree of a dump. Links may name targets of later lines. What the image format cannot hold, `validateTree` refuses. */
export function parseDump(bytes: Uint8Array, { strict = false }: DumpRules = {}): TreeNode {
  const text = toByteString(bytes);
  const parser: Parser = {
    strict,
    line: 0,
    root: undefined,
    directories: new Map(),
    folder: '/',
    hasEscapes: false,
    fields: [],
    links: [],
    mtimes: new Map(),
  };
  const hasNul = text.includes('\0');
  let backslash = text.indexOf('\\');
  for (let start = 0; start < text.length; ) {
    let end = text.indexOf('\n', start);
    parser.line++;
    if (end < 0) {
      if (strict) throw malformed(parser, 'line', 'does not end in a newline');
      end = text.length;
    }
    if (backslash >= 0 && backslash < start) backslash = text.indexOf('\\', start);
    parser.hasEscapes = backslash >= start && backslash < end;
    if (hasNul && text.slice(start, end).includes('\0'))
      throw malformed(parser, 'byte', 'NUL is not allowed');
    parseLine(parser, text, start, end);
    start = end + 1;
  }
  if (parser.root === undefined) throw badInput('dump-malformed', 'cannot read dump: it has no line for /');
  for (const link of parser.links) link.node.hardlink = findTarget(parser, parser.root, link);
  return parser.root;
}

function parseLine(parser: Parser, text: ByteString, start: number, end: number): void {
  const { fields } = parser;
  let count = 0;
  let at = start;
  while (count < FIXED_FIELDS && at <= end) {
    let stop = text.indexOf(' ', at);
    if (stop < 0 || stop > end) stop = end;
    fields[count++] = text.slice(at, stop);
    at = stop + 1;
  }
  fields.length = count;
  const node = parseNode(parser, fields);
  addNode(parser, node, cutAtNul(parser, unescapeField(parser, fields[PATH] ?? '', 'path')));
  if (at < end && !(fields[MODE] ?? '').startsWith('@')) parseXattrs(parser, node, text.slice(at, end));
}

function parseNode(parser: Parser, fields: readonly string[]): TreeNode {
  const modeField = fields[MODE] ?? '';
  const isLink = modeField.startsWith('@');
  const mode = parseMode(parser, isLink ? modeField.slice(1) : modeField);
  const type = mode & S_IFMT;
  if (isLink) return parseLink(parser, mode, fields);
  const [mtimeSec, mtimeNsec] = parseMtime(parser, fields[MTIME] ?? '');
  const size = parseSize(parser, fields[SIZE]);
  const rdev = parseU32(parser, fields[RDEV], 'device number');
  const node = newNode({
    mode,
    uid: parseU32(parser, fields[UID], 'uid'),
    gid: parseU32(parser, fields[GID], 'gid'),
    rdev: type === S_IFCHR || type === S_IFBLK ? rdev : 0,
    nlink: parseU32(parser, fields[NLINK], 'nlink'),
    size,
    mtimeSec,
    mtimeNsec,
    xattrs: NO_XATTRS,
  });
  if (type === S_IFDIR) node.children = new Map();
  const payload = optional(parser, fields[PAYLOAD], 'payload');
  if (type === S_IFLNK) {
    node.payload = cutAtNul(parser, payload ?? '');
    node.size = node.payload.length;
  } else if (type === S_IFREG && payload) {
    node.payload = cutAtNul(parser, payload);
  }
  parseContent(parser, node, fields, size);
  if (parser.strict) requireStrict(parser, node, fields, size);
  return node;
}

function requireStrict(parser: Parser, node: TreeNode, fields: readonly string[], size: number): void {
  const type = node.mode & S_IFMT;
  if (type !== S_IFCHR && type !== S_IFBLK) {
    // All 64 bits count here, of a device number the lower 32.
    const rdev = parseU64(parser, fields[RDEV] ?? '', 'device number', false);
    if (rdev !== 0n) throw malformed(parser, 'device number', `is ${rdev} in what is no device`);
  }
  if (type !== S_IFLNK) return;
  if (size !== node.size) {
    throw malformed(parser, 'size', `is ${size}, expected the ${node.size} of the link target`);
  }
  if (optional(parser, fields[CONTENT], 'content')) throw malformed(parser, 'content', 'is that of a link');
}

function parseContent(parser: Parser, node: TreeNode, fields: readonly string[], size: number): void {
  const isFile = (node.mode & S_IFMT) === S_IFREG;
  const content = optional(parser, fields[CONTENT], 'content');
  if (content !== undefined) {
    if (content.length !== size) {
      throw malformed(parser, 'content', `has ${content.length} bytes, expected the size field's ${size}`);
    }
    if (content.length > MAX_CONTENT_BYTES && (node.mode & S_IFMT) !== S_IFLNK) {
      throw malformed(parser, 'content', `has ${content.length} bytes, more than ${MAX_CONTENT_BYTES}`);
    }
    if (content !== '' && isFile) node.content = fromByteString(content as ByteString);
  }
  const digest = optional(parser, fields[DIGEST], 'digest');
  // Of other nodes libcomposefs does not look at it.
  if (digest !== undefined && isExternal(node)) node.digest = parseDigest(parser, cutAtNul(parser, digest));
}

function parseLink(parser: Parser, mode: number, fields: readonly string[]): TreeNode {
  if ((mode & S_IFMT) === S_IFDIR) throw malformed(parser, 'mode', 'makes a hard link of a directory');
  const target = optional(parser, fields[PAYLOAD], 'link target');
  if (target === undefined) throw malformed(parser, 'payload', 'is missing in a hard link');
  const node = newNode({
    mode,
    uid: 0,
    gid: 0,
    rdev: 0,
    nlink: 1,
    size: 0,
    mtimeSec: 0n,
    mtimeNsec: 0,
    xattrs: NO_XATTRS,
  });
  parser.links.push({ node, target: cutAtNul(parser, target), line: parser.line });
  return node;
}

function addNode(parser: Parser, node: TreeNode, path: ByteString): void {
  if (path === '/') {
    if (parser.root !== undefined) throw malformed(parser, 'path', '/ stands on an earlier line, too');
    if ((node.mode & S_IFMT) !== S_IFDIR) throw malformed(parser, 'path', '/ is not a directory');
    parser.root = node;
    parser.directories.set('/', node);
    return;
  }
  if (parser.root === undefined) throw malformed(parser, 'path', `"${printable(path)}" stands before /`);
  const full = path.startsWith('/') && !path.includes('//') ? path : `/${path}`.replace(/\/+/g, '/');
  const nameAt = full.lastIndexOf('/') + 1;
  if (nameAt !== parser.folder.length || !full.startsWith(parser.folder))
    parser.folder = full.slice(0, nameAt);
  const parent = parser.directories.get(parser.folder);
  const name = full.slice(nameAt) as ByteString;
  if (parent?.children === undefined) {
    throw malformed(parser, 'path', `"${printable(path)}" has no parent directory on an earlier line`);
  }
  if (!isValidName(name)) throw malformed(parser, 'path', `"${printable(path)}" does not end in a file name`);
  if (parent.children.has(name)) throw malformed(parser, 'path', `"${printable(path)}" is repeated`);
  parent.children.set(name, node);
  if (node.children !== undefined) parser.directories.set(`${full}/`, node);
}

function findTarget(parser: Parser, root: TreeNode, link: Parser['links'][number]): TreeNode {
  let node: TreeNode | undefined = root;
  for (const name of link.target.split('/')) {
    if (name !== '') node = node?.children?.get(name as ByteString);
  }
  if (node === undefined || node === link.node) {
    const fact = node === undefined ? 'does not exist' : 'is the link itself';
    throw malformed({ line: link.line }, 'hard link target', `"${printable(link.target)}" ${fact}`);
  }
  parser.line = link.line;
  return node;
}

function parseXattrs(parser: Parser, node: TreeNode, text: string): void {
  if (text.length > MAX_XATTR_TEXT) {
    throw malformed(parser, 'xattrs', `have ${text.length} bytes, more than ${MAX_XATTR_TEXT}`);
  }
  const fields = text.split(' ');
  if (fields.at(-1) === '') fields.pop(); // a single trailing space ends the line
  const xattrs = new Map(node.xattrs);
  for (const field of fields) {
    const split = field.indexOf('=');
    if (split < 0) throw malformed(parser, 'xattr', `"${printable(field)}" has no =`);
    const key = cutAtNul(parser, unescapeField(parser, field.slice(0, split), 'xattr name'));
    if (key === '') throw malformed(parser, 'xattr', 'has an empty name');
    xattrs.set(key, fromByteString(unescapeField(parser, field.slice(split + 1), 'xattr value')));
  }
  node.xattrs = xattrs;
}

const MAX_U64 = 2n ** 64n - 1n;
/** The number that a few digits are, and nothing else; -1 for whatever needs a closer look. */
function plainNumber(field: string, base: 8 | 10): number {
  if (field.length === 0 || field.length > 15) return -1;
  let value = 0;
  for (let i = 0; i < field.length; i++) {
    const digit = field.charCodeAt(i) - 0x30;
    if (digit < 0 || digit >= base) return -1;
    value = value * base + digit;
  }
  return value;
}

const C_DECIMAL = /^[\t\n\v\f\r ]*([+-]?)([0-9]+)$/;
const C_OCTAL = /^[\t\n\v\f\r ]*([+-]?)([0-7]+)$/;

/** As C's strtoull does: a sign is allowed and wraps, an overflow saturates. */
function parseU64(parser: Parser, field: string, what: string, octal: boolean): bigint {
  const match = (octal ? C_OCTAL : C_DECIMAL).exec(field);
  if (match === null) throw malformed(parser, what, `"${printable(field)}" is not a number`);
  const value = BigInt((octal ? '0o' : '') + match[2]);
  if (value > MAX_U64) return MAX_U64;
  return match[1] === '-' ? BigInt.asUintN(64, -value) : value;
}

/** Exact up to 2^53; every larger number comes out larger than that. */
function parseSize(parser: Parser, field = ''): number {
  const plain = plainNumber(field, 10);
  if (plain >= 0) return plain;
  const value = parseU64(parser, field, 'size', false);
  return value > BigInt(MAX_FILE_BYTES) ? 2 * MAX_FILE_BYTES : Number(value);
}

function parseU32(parser: Parser, field = '', what: string): number {
  const value = plainNumber(field, 10);
  if (value >= 0 && value <= 0xffffffff) return value;
  return Number(BigInt.asUintN(32, parseU64(parser, field, what, false)));
}

function parseMode(parser: Parser, field: string): number {
  const plain = plainNumber(field, 8);
  const mode =
    plain >= 0 ? plain % 2 ** 32 : Number(BigInt.asUintN(32, parseU64(parser, field, 'mode', true)));
  if (direntType(mode) === 0) {
    throw malformed(parser, 'mode', `"${printable(field)}" has no known file type`);
  }
  return mode;
}

function parseMtime(parser: Parser, field: string): [bigint, number] {
  let mtime = parser.mtimes.get(field);
  if (mtime === undefined) {
    const dot = field.indexOf('.');
    const sec = parseU64(parser, dot < 0 ? field : field.slice(0, dot), 'mtime', false);
    mtime = [BigInt.asIntN(64, sec), parseU32(parser, dot < 0 ? '' : field.slice(dot + 1), 'mtime')];
    parser.mtimes.set(field, mtime);
  }
  return mtime;
}

/** Of each character code below 128 its value as a hex digit, or 255. */
const HEX_VALUES = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = Number.parseInt(String.fromCharCode(code), 16);
  return Number.isNaN(value) ? 255 : value;
});

function parseDigest(parser: Parser, field: string): Uint8Array {
  const out = new Uint8Array(field.length / 2);
  let bad = field.length !== 64 && field.length !== 128 ? 255 : 0;
  for (let i = 0; i < out.length; i++) {
    const high = HEX_VALUES[field.charCodeAt(2 * i)] ?? 255;
    const low = HEX_VALUES[field.charCodeAt(2 * i + 1)] ?? 255;
    bad |= high | low;
    out[i] = high * 16 + low;
  }
  if (bad > 15) {
    throw malformed(parser, 'digest', `"${printable(field)}" is neither 64 nor 128 hex digits`);
  }
  return out;
}

function optional(parser: Parser, field = '', what: string): ByteString | undefined {
  return field === '-' ? undefined : unescapeField(parser, field, what);
}

function cutAtNul(parser: Parser, text: string): ByteString {
  if (!parser.hasEscapes) return text as ByteString;
  const nul = text.indexOf('\0');
  return (nul < 0 ? text : text.slice(0, nul)) as ByteString;
}

const ESCAPE = /\\(?:x([0-9a-fA-F]{2})|([\s\S]?))/g;
const LETTERS: Readonly<Record<string, string>> = { '\\': '\\', n: '\n', r: '\r', t: '\t' };

function unescapeField(parser: Parser, field: string, what: string): ByteString {
  if (!parser.hasEscapes || !field.includes('\\')) return field as ByteString;
  return field.replace(ESCAPE, (_, digits: string | undefined, letter: string | undefined) => {
    if (digits !== undefined) return String.fromCharCode(Number.parseInt(digits, 16));
    const char = LETTERS[letter ?? ''];
    if (char === undefined)
      throw malformed(parser, what, `has the unknown escape "\\${printable(letter ?? '')}"`);
    return char;
  }) as ByteString;
}
