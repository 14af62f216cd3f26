/**
 * The composefs dump text: one line per name, as `mkcomposefs --from-file` reads it. Source: composefs-dump(5).
 * Host only: uses regular expressions, which the initramfs's runtime does not have.
 *
 * Stricter than libcomposefs where that reads garbage: a malformed GID or RDEV and a digest that is not 64 hex digits
 * are errors. 128 hex digits, which it does not know, are a SHA-512 digest.
 */

import {
  cutAtNul,
  type Line,
  malformed,
  optional,
  parseDigest,
  parseMode,
  parseMtime,
  parseSize,
  parseU32,
  parseU64,
  unescapeField,
} from './dump-fields.ts';
import { type ByteString, fromByteString, printable } from './encoding.ts';
import { badInput } from './errors.ts';
import {
  isExternal,
  isValidName,
  MAX_CONTENT_BYTES,
  MAX_NAME_BYTES,
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

/** The fields from mode to mtime, which most lines share with some other. */
interface Head {
  readonly mode: number;
  readonly isLink: boolean;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly nlink: number;
  readonly mtimeSec: bigint;
  readonly mtimeNsec: number;
}

interface Parser extends Line {
  readonly strict: boolean;
  readonly text: ByteString;
  line: number;
  root: TreeNode | undefined;
  /** By path, with a trailing slash. */
  directories: Map<string, TreeNode>;
  /** The one whose names came last: in a dump that was printed, most lines belong to it. */
  folder: string;
  folderNames: Map<ByteString, TreeNode> | undefined;
  /** Where the next backslash is; -1 when there is none any more. */
  backslash: number;
  hasEscapes: boolean;
  links: { node: TreeNode; target: ByteString; line: number }[];
  /** By their text. */
  heads: Map<string, Head>;
  xattrs: Map<string, TreeNode['xattrs']>;
}

/** The tree of a dump. Links may name targets of later lines. What the image format cannot hold, `validateTree` refuses. */
export function parseDump(text: ByteString, { strict = false }: DumpRules = {}): TreeNode {
  const parser: Parser = {
    strict,
    text,
    line: 0,
    root: undefined,
    directories: new Map(),
    folder: '/',
    folderNames: undefined,
    backslash: text.indexOf('\\'),
    hasEscapes: false,
    links: [],
    heads: new Map(),
    xattrs: new Map(),
  };
  const hasNul = text.includes('\0');
  for (let start = 0; start < text.length; ) {
    let end = text.indexOf('\n', start);
    parser.line++;
    if (end < 0) {
      if (strict) throw malformed(parser, 'line', 'does not end in a newline');
      end = text.length;
    }
    if (parser.backslash >= 0 && parser.backslash < start) parser.backslash = text.indexOf('\\', start);
    parser.hasEscapes = parser.backslash >= start && parser.backslash < end;
    if (hasNul && text.slice(start, end).includes('\0'))
      throw malformed(parser, 'byte', 'NUL is not allowed');
    parseLine(parser, start, end);
    start = end + 1;
  }
  if (parser.root === undefined) throw badInput('dump-malformed', 'cannot read dump: it has no line for /');
  for (const link of parser.links) link.node.hardlink = findTarget(parser, parser.root, link);
  return parser.root;
}

/** Where the field that begins at `at` ends. */
function fieldEnd({ text }: Parser, at: number, end: number): number {
  const stop = text.indexOf(' ', at);
  return stop < 0 || stop > end ? end : stop;
}

/** Fields that are missing come out empty. */
function parseLine(parser: Parser, start: number, end: number): void {
  const { text } = parser;
  const pathEnd = fieldEnd(parser, start, end);
  const sizeEnd = fieldEnd(parser, pathEnd + 1, end);
  let headEnd = sizeEnd;
  for (let i = 0; i < HEAD_FIELDS; i++) headEnd = fieldEnd(parser, headEnd + 1, end);
  const payloadEnd = fieldEnd(parser, headEnd + 1, end);
  const contentEnd = fieldEnd(parser, payloadEnd + 1, end);
  const digestEnd = fieldEnd(parser, contentEnd + 1, end);
  const head = headOf(parser, text.slice(sizeEnd + 1, headEnd));
  const payload = optional(parser, text.slice(headEnd + 1, payloadEnd), 'payload');
  const node = head.isLink
    ? linkNode(parser, head, payload)
    : parseNode(parser, head, {
        size: text.slice(pathEnd + 1, sizeEnd),
        payload,
        content: text.slice(payloadEnd + 1, contentEnd),
        digest: text.slice(contentEnd + 1, digestEnd),
      });
  addNode(parser, node, start, pathEnd);
  if (digestEnd + 1 <= end && !head.isLink) node.xattrs = xattrsOf(parser, text.slice(digestEnd + 1, end));
}

const HEAD_FIELDS = 6;

function headOf(parser: Parser, text: string): Head {
  let head = parser.heads.get(text);
  if (head === undefined) {
    head = parseHead(parser, text);
    parser.heads.set(text, head);
  }
  return head;
}

function parseHead(parser: Parser, text: string): Head {
  const [modeField = '', nlink, uid, gid, rdevField, mtime = ''] = text.split(' ');
  const isLink = modeField.startsWith('@');
  const mode = parseMode(parser, isLink ? modeField.slice(1) : modeField);
  // Of a link only the target counts.
  if (isLink) return { mode, isLink, uid: 0, gid: 0, rdev: 0, nlink: 1, mtimeSec: 0n, mtimeNsec: 0 };
  const [mtimeSec, mtimeNsec] = parseMtime(parser, mtime);
  const rdev = parseU32(parser, rdevField, 'device number');
  const type = mode & S_IFMT;
  const isDevice = type === S_IFCHR || type === S_IFBLK;
  if (parser.strict && !isDevice) {
    // All 64 bits count here, of a device number the lower 32.
    const number = parseU64(parser, rdevField ?? '', 'device number', false);
    if (number !== 0n) throw malformed(parser, 'device number', `is ${number} in what is no device`);
  }
  return {
    mode,
    isLink,
    uid: parseU32(parser, uid, 'uid'),
    gid: parseU32(parser, gid, 'gid'),
    rdev: isDevice ? rdev : 0,
    nlink: parseU32(parser, nlink, 'nlink'),
    mtimeSec,
    mtimeNsec,
  };
}

/** Field by field: spreading the head takes ten times as long. */
function nodeOf({ mode, uid, gid, rdev, nlink, mtimeSec, mtimeNsec }: Head, size: number): TreeNode {
  return newNode({ mode, uid, gid, rdev, nlink, size, mtimeSec, mtimeNsec, xattrs: NO_XATTRS });
}

interface Fields {
  readonly size: string;
  readonly payload: ByteString | undefined;
  readonly content: string;
  readonly digest: string;
}

function parseNode(
  parser: Parser,
  head: Head,
  { size: sizeField, payload, content, digest }: Fields,
): TreeNode {
  const type = head.mode & S_IFMT;
  const size = parseSize(parser, sizeField);
  const node = nodeOf(head, size);
  if (type === S_IFDIR) node.children = new Map();
  if (type === S_IFLNK) {
    node.payload = cutAtNul(parser, payload ?? '');
    node.size = node.payload.length;
  } else if (type === S_IFREG && payload) {
    node.payload = cutAtNul(parser, payload);
  }
  parseContent(parser, node, size, optional(parser, content, 'content'));
  const digestText = optional(parser, digest, 'digest');
  // Of other nodes libcomposefs does not look at it.
  if (digestText !== undefined && isExternal(node)) {
    node.digest = parseDigest(parser, cutAtNul(parser, digestText));
  }
  if (parser.strict && type === S_IFLNK) requireStrictLink(parser, node, size, content);
  return node;
}

function requireStrictLink(parser: Parser, node: TreeNode, size: number, content: string): void {
  if (size !== node.size) {
    throw malformed(parser, 'size', `is ${size}, expected the ${node.size} of the link target`);
  }
  if (optional(parser, content, 'content')) throw malformed(parser, 'content', 'is that of a link');
}

function parseContent(parser: Parser, node: TreeNode, size: number, content: ByteString | undefined): void {
  if (content === undefined) return;
  if (content.length !== size) {
    throw malformed(parser, 'content', `has ${content.length} bytes, expected the size field's ${size}`);
  }
  if (content.length > MAX_CONTENT_BYTES && (node.mode & S_IFMT) !== S_IFLNK) {
    throw malformed(parser, 'content', `has ${content.length} bytes, more than ${MAX_CONTENT_BYTES}`);
  }
  if (content !== '' && (node.mode & S_IFMT) === S_IFREG) node.content = fromByteString(content);
}

function linkNode(parser: Parser, head: Head, target: ByteString | undefined): TreeNode {
  if ((head.mode & S_IFMT) === S_IFDIR) throw malformed(parser, 'mode', 'makes a hard link of a directory');
  if (target === undefined) throw malformed(parser, 'payload', 'is missing in a hard link');
  const node = nodeOf(head, 0);
  parser.links.push({ node, target: cutAtNul(parser, target), line: parser.line });
  return node;
}

/** The path stands from `start` to `end`. */
function addNode(parser: Parser, node: TreeNode, start: number, end: number): void {
  const { text, folder, folderNames, backslash } = parser;
  const nameAt = start + folder.length;
  const isPlain = nameAt < end && (backslash < start || backslash >= end);
  if (folderNames !== undefined && isPlain && text.startsWith(folder, start)) {
    const slash = text.indexOf('/', nameAt);
    const name = text.slice(nameAt, end) as ByteString;
    if ((slash < 0 || slash >= end) && name !== '.' && name !== '..' && name.length <= MAX_NAME_BYTES) {
      addName(parser, folderNames, name, node);
      if (node.children !== undefined) parser.directories.set(`${folder}${name}/`, node);
      return;
    }
  }
  addByPath(parser, node, cutAtNul(parser, unescapeField(parser, text.slice(start, end), 'path')));
}

function addName(parser: Parser, names: Map<ByteString, TreeNode>, name: ByteString, node: TreeNode): void {
  const before = names.size;
  names.set(name, node);
  if (names.size === before) {
    throw malformed(parser, 'path', `"${printable(parser.folder + name)}" is repeated`);
  }
}

/** Of a path in any form, and in any folder. */
function addByPath(parser: Parser, node: TreeNode, path: ByteString): void {
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
  parser.folder = full.slice(0, nameAt);
  parser.folderNames = parser.directories.get(parser.folder)?.children;
  const name = full.slice(nameAt) as ByteString;
  if (parser.folderNames === undefined) {
    throw malformed(parser, 'path', `"${printable(path)}" has no parent directory on an earlier line`);
  }
  if (!isValidName(name)) throw malformed(parser, 'path', `"${printable(path)}" does not end in a file name`);
  addName(parser, parser.folderNames, name, node);
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

/** Nodes whose xattrs have the same text share one map. */
function xattrsOf(parser: Parser, text: string): TreeNode['xattrs'] {
  let xattrs = parser.xattrs.get(text);
  if (xattrs === undefined) {
    xattrs = parseXattrs(parser, text);
    parser.xattrs.set(text, xattrs);
  }
  return xattrs;
}

function parseXattrs(parser: Parser, text: string): TreeNode['xattrs'] {
  if (text.length > MAX_XATTR_TEXT) {
    throw malformed(parser, 'xattrs', `have ${text.length} bytes, more than ${MAX_XATTR_TEXT}`);
  }
  const fields = text.split(' ');
  if (fields.at(-1) === '') fields.pop(); // a single trailing space ends the line
  const xattrs = new Map<ByteString, Uint8Array>();
  for (const field of fields) {
    const split = field.indexOf('=');
    if (split < 0) throw malformed(parser, 'xattr', `"${printable(field)}" has no =`);
    const key = cutAtNul(parser, unescapeField(parser, field.slice(0, split), 'xattr name'));
    if (key === '') throw malformed(parser, 'xattr', 'has an empty name');
    xattrs.set(key, fromByteString(unescapeField(parser, field.slice(split + 1), 'xattr value')));
  }
  return xattrs;
}
