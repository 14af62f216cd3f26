/**
 * The composefs dump text: one line per name, as `mkcomposefs --from-file` reads it. Source: composefs-dump(5).
 * Host only: uses regular expressions, which the initramfs's runtime does not have.
 *
 * Stricter than libcomposefs where that reads garbage: a malformed GID or RDEV and a digest that is not 64 hex digits
 * are errors. 128 hex digits, which it does not know, are a SHA-512 digest.
 */

import {
  cutAtNul,
  type Head,
  type Line,
  malformed,
  NO_HEAD,
  parseDigest,
  parseHead,
  parseSize,
  unescapeBytes,
  unescapeField,
} from './dump-fields.ts';
import { type ByteString, printable } from './encoding.ts';
import { badInput } from './errors.ts';
import {
  isExternal,
  isValidName,
  MAX_CONTENT_BYTES,
  newNode,
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

interface Folder {
  /** As it stands in the text, with a trailing slash. */
  readonly path: string;
  readonly names: Map<ByteString, TreeNode>;
  readonly parent: Folder | undefined;
}

interface Parser extends Line {
  readonly text: ByteString;
  line: number;
  /** Where the next field of the line begins, and where the line ends. */
  at: number;
  end: number;
  root: TreeNode | undefined;
  /** The one that the line before belongs to: in a dump that was printed, most lines belong to the same. */
  folder: Folder | undefined;
  /** The one that the line before is. */
  newest: Folder | undefined;
  /** Where the next backslash is; -1 when there is none any more. */
  backslash: number;
  hasEscapes: boolean;
  links: { node: TreeNode; target: ByteString; line: number }[];
  /** By their text. */
  heads: Map<string, Head>;
  /** Of the line before; with the space behind it. */
  headText: string;
  head: Head;
  xattrs: Map<string, TreeNode['xattrs']>;
}

/** The tree of a dump. Links may name targets of later lines. What the image format cannot hold, `validateTree` refuses. */
export function parseDump(text: ByteString, { strict = false }: DumpRules = {}): TreeNode {
  const parser: Parser = {
    strict,
    text,
    line: 0,
    at: 0,
    end: 0,
    root: undefined,
    folder: undefined,
    newest: undefined,
    backslash: text.indexOf('\\'),
    hasEscapes: false,
    links: [],
    heads: new Map(),
    headText: '\n',
    head: NO_HEAD,
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
    parser.at = start;
    parser.end = end;
    parseLine(parser);
    start = end + 1;
  }
  if (parser.root === undefined) throw badInput('dump-malformed', 'cannot read dump: it has no line for /');
  for (const link of parser.links) link.node.hardlink = findTarget(parser, parser.root, link);
  return parser.root;
}

/** Goes behind the next field and returns where it ends. Fields that are missing are empty. */
function skipField(parser: Parser): number {
  const { at, end } = parser;
  const space = parser.text.indexOf(' ', at);
  const stop = space < 0 || space > end ? end : space;
  parser.at = stop + 1;
  return stop;
}

/** The next field, which may be "-". */
function takeOptional(parser: Parser, what: string): ByteString | undefined {
  const from = parser.at;
  const to = skipField(parser);
  if (isMissing(parser.text, from, to)) return undefined;
  return unescapeField(parser, parser.text.slice(from, to), what);
}

function isMissing(text: string, at: number, end: number): boolean {
  return end === at + 1 && text.charCodeAt(at) === DASH;
}

const DASH = 0x2d;

function parseLine(parser: Parser): void {
  const start = parser.at;
  const pathEnd = skipField(parser);
  const sizeEnd = skipField(parser);
  const head = takeHead(parser);
  const payload = takeOptional(parser, 'payload');
  if (head.isLink) {
    addNode(parser, linkNode(parser, head, payload), start, pathEnd);
    return;
  }
  const node = newNode(head);
  node.size = parseSize(parser, parser.text, pathEnd + 1, sizeEnd);
  fillNode(parser, node, payload);
  addNode(parser, node, start, pathEnd);
  if (parser.at <= parser.end) node.xattrs = xattrsOf(parser, parser.text.slice(parser.at, parser.end));
}

const HEAD_FIELDS = 6;

function takeHead(parser: Parser): Head {
  const { text, at, headText } = parser;
  // Most lines: neither six fields to find nor a text to hash.
  if (at < parser.end && text.startsWith(headText, at)) {
    parser.at = at + headText.length;
    return parser.head;
  }
  let end = at;
  for (let i = 0; i < HEAD_FIELDS; i++) end = skipField(parser);
  const fields = text.slice(at, end);
  let head = parser.heads.get(fields);
  if (head === undefined) {
    head = parseHead(parser, fields);
    parser.heads.set(fields, head);
  }
  parser.headText = `${fields} `;
  parser.head = head;
  return head;
}

/** Gives it what its type has: the payload, and the two fields behind it. */
function fillNode(parser: Parser, node: TreeNode, payload: ByteString | undefined): void {
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

function takeDigest(parser: Parser, node: TreeNode): void {
  const { text, at, hasEscapes } = parser;
  // Of other nodes libcomposefs does not look at it.
  const isRead = isExternal(node);
  if (hasEscapes) {
    const digest = takeOptional(parser, 'digest');
    if (digest === undefined || !isRead) return;
    const whole = cutAtNul(parser, digest);
    node.digest = parseDigest(parser, whole, 0, whole.length);
    return;
  }
  const end = skipField(parser);
  if (isRead && !isMissing(text, at, end)) node.digest = parseDigest(parser, text, at, end);
}

function requireStrictLink(parser: Parser, node: TreeNode, size: number, contentBytes: number): void {
  if (size !== node.size) {
    throw malformed(parser, 'size', `is ${size}, expected the ${node.size} of the link target`);
  }
  if (contentBytes > 0) throw malformed(parser, 'content', 'is that of a link');
}

/** Returns how many bytes it has. */
function takeContent(parser: Parser, node: TreeNode, size: number): number {
  const { text, at } = parser;
  const end = skipField(parser);
  if (isMissing(text, at, end)) return 0;
  const content = unescapeBytes(parser, text, Math.min(at, end), end, 'content');
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

function linkNode(parser: Parser, head: Head, target: ByteString | undefined): TreeNode {
  if ((head.mode & S_IFMT) === S_IFDIR) throw malformed(parser, 'mode', 'makes a hard link of a directory');
  if (target === undefined) throw malformed(parser, 'payload', 'is missing in a hard link');
  const node = newNode(head);
  parser.links.push({ node, target: cutAtNul(parser, target), line: parser.line });
  return node;
}

/** The path stands from `start` to `end`. */
function addNode(parser: Parser, node: TreeNode, start: number, end: number): void {
  const { text, hasEscapes } = parser;
  const folder = folderAt(parser, start);
  const name = text.slice(start + (folder?.path.length ?? 0), end) as ByteString;
  if (folder === undefined || !isValidName(name) || (hasEscapes && name.includes('\\'))) {
    addByPath(parser, node, cutAtNul(parser, unescapeField(parser, text.slice(start, end), 'path')));
    return;
  }
  addName(parser, folder.names, name, node, folder.path);
  const { children } = node;
  if (children !== undefined)
    parser.newest = { path: `${folder.path}${name}/`, names: children, parent: folder };
}

/** The directory that the line before is, or the nearest one around it, that this path begins with. */
function folderAt(parser: Parser, start: number): Folder | undefined {
  const { text, newest } = parser;
  let folder = newest !== undefined && text.startsWith(newest.path, start) ? newest : parser.folder;
  parser.newest = undefined;
  while (folder !== undefined && !text.startsWith(folder.path, start)) folder = folder.parent;
  if (folder !== undefined) parser.folder = folder;
  return folder;
}

function addName(
  parser: Parser,
  names: Map<ByteString, TreeNode>,
  name: ByteString,
  node: TreeNode,
  folder: string,
): void {
  const before = names.size;
  names.set(name, node);
  if (names.size === before) {
    throw malformed(parser, 'path', `"${printable(folder + name)}" is repeated`);
  }
}

/** Of a path in any form, and in any folder. */
function addByPath(parser: Parser, node: TreeNode, path: ByteString): void {
  const { root } = parser;
  if (path === '/') {
    if (root !== undefined) throw malformed(parser, 'path', '/ stands on an earlier line, too');
    if (node.children === undefined) throw malformed(parser, 'path', '/ is not a directory');
    parser.root = node;
    parser.folder = { path, names: node.children, parent: undefined };
    return;
  }
  if (root === undefined) throw malformed(parser, 'path', `"${printable(path)}" stands before /`);
  const full = path.startsWith('/') && !path.includes('//') ? path : `/${path}`.replace(/\/+/g, '/');
  const nameAt = full.lastIndexOf('/') + 1;
  const folder = full.slice(0, nameAt);
  const name = full.slice(nameAt) as ByteString;
  const names = nodeAt(root, folder)?.children;
  if (names === undefined) {
    throw malformed(parser, 'path', `"${printable(path)}" has no parent directory on an earlier line`);
  }
  if (!isValidName(name)) throw malformed(parser, 'path', `"${printable(path)}" does not end in a file name`);
  addName(parser, names, name, node, folder);
}

/** By names with slashes between them, before and behind them. */
function nodeAt(root: TreeNode, path: string): TreeNode | undefined {
  let node: TreeNode | undefined = root;
  for (const name of path.split('/')) {
    if (name !== '') node = node?.children?.get(name as ByteString);
  }
  return node;
}

function findTarget(parser: Parser, root: TreeNode, link: Parser['links'][number]): TreeNode {
  const node = nodeAt(root, link.target);
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
    xattrs.set(key, unescapeBytes(parser, field, split + 1, field.length, 'xattr value'));
  }
  return xattrs;
}
