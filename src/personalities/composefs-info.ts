/** composefs-info(1) of composefs 1.0.8: what is in images, and fs-verity digests of files. */

import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { pathBuffer, reading, SourceError } from '../adapters/directory-source.ts';
import { errnoText } from '../adapters/error-text.ts';
import { measureVerity, VerityComputer } from '../adapters/verity.ts';
import { openForReading, readWhole } from '../adapters/whole-file.ts';
import { dumpImage, escapeField } from '../formats/dump.ts';
import { type ByteString, hex, printable } from '../formats/encoding.ts';
import { readImage } from '../formats/erofs-read.ts';
import { SealrootError } from '../formats/errors.ts';
import { resolveHardlink, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, type TreeNode } from '../formats/tree.ts';
import { type Grammar, parseArguments } from './getopt.ts';
import { type Call, withReason } from './tool.ts';

const GRAMMAR: Grammar = {
  short: '',
  long: [
    { name: 'basedir', value: true },
    { name: 'filter', value: true },
  ],
};

function usage(name: string): string {
  return `usage: ${name} [--basedir=path] [ls|objects|dump|missing-objects|measure-file] IMAGES...\n`;
}

/** Takes one image after the other; `end` comes after the last. */
interface Report {
  /** `topLevel`: what is looked at of the names in the root, everything when it is empty. */
  add(image: Uint8Array, topLevel: ReadonlySet<ByteString>): void;
  end(): void;
}

export function composefsInfo(call: Call): void {
  const { basedir, filters, operands } = parse(call);
  const [command, ...files] = operands;
  if (command === undefined) call.exit(`No command specified\n${usage(call.name)}`);
  if (command === 'measure-file') measureFiles(call, files);
  else reportOn(call, command, basedir, filters, files);
}

function reportOn(
  call: Call,
  command: ByteString,
  basedir: ByteString | undefined,
  filters: ReadonlySet<ByteString>,
  files: readonly ByteString[],
): void {
  const report = reportOf(call, command, basedir);
  if (files.length === 0) call.exit(`No image path specified\n${usage(call.name)}`);
  for (const file of files) withImage(call, file, (image) => report.add(image, filters));
  report.end();
}

function parse(call: Call): {
  basedir: ByteString | undefined;
  filters: ReadonlySet<ByteString>;
  operands: readonly ByteString[];
} {
  const { options, operands, mistake } = parseArguments(
    call.args,
    GRAMMAR,
    process.env.POSIXLY_CORRECT !== undefined,
  );
  let basedir: ByteString | undefined;
  const filters = new Set<ByteString>();
  for (const { name, value = '' as ByteString } of options) {
    if (name === 'basedir') basedir = value;
    else if (value.includes('/')) call.fail(`Filter must be a single name: ${value}: Success`);
    else filters.add(value);
  }
  if (mistake !== undefined) {
    call.err(`${call.name}: ${mistake.message}\n`);
    call.out('Def\n'); // as the reference does, on standard output
    call.exit(usage(call.name));
  }
  return { basedir, filters, operands };
}

function reportOf(call: Call, command: ByteString, basedir: ByteString | undefined): Report {
  const print = (format: (...image: Parameters<Report['add']>) => string | Uint8Array): Report => ({
    add: (image, topLevel) => call.out(format(image, topLevel)),
    end: () => {},
  });
  const known: Record<string, () => Report> = {
    ls: () => print((image, topLevel) => listing(onlyTopLevel(readImage(image), topLevel))),
    dump: () => print(dumpImage),
    objects: () => objectsReport(call, () => false),
    'missing-objects': () => objectsReport(call, presentIn(basedirOf(call, basedir))),
  };
  const make = Object.hasOwn(known, command) ? known[command] : undefined;
  if (make === undefined) call.fail(`Unknown command '${command}'\n`);
  const report = make();
  if (command !== 'missing-objects') basedirOf(call, basedir);
  return report;
}

/** fcntl.h: to look things up below the folder one need not be allowed to list it. */
const O_PATH = 0x200000;

/** The descriptor of the folder, which has to exist for every command that is given one. Without: standard input. */
function basedirOf(call: Call, basedir: ByteString | undefined): number {
  if (basedir === undefined) return 0;
  return withReason(
    call,
    () => `Can't open basedir \`${basedir}\`\n`,
    () => reading(basedir, () => openSync(pathBuffer(basedir), constants.O_DIRECTORY | O_PATH)),
  );
}

/** What `use` has against the image ends the tool. */
function withImage(call: Call, file: ByteString, use: (image: Uint8Array) => void): void {
  const fd = open(call, file);
  try {
    use(readWhole(fd, file));
  } catch (error) {
    if (error instanceof SourceError) call.fail(`Failed to load '${file}': ${errnoText(error.errno)}`);
    if (error instanceof SealrootError) call.fail(`Failed to load '${file}': ${error.message}`);
    throw error;
  } finally {
    closeSync(fd);
  }
}

function open(call: Call, file: ByteString): number {
  return withReason(
    call,
    () => `Failed to open '${file}'`,
    () => openForReading(file),
  );
}

/**
 * The tree with only those of the root's children, all when there are no names. A name whose file is left out takes
 * the file over: of an inode the first name that is shown is the file.
 */
function onlyTopLevel(root: TreeNode, names: ReadonlySet<ByteString>): TreeNode {
  if (names.size === 0) return root;
  const children = new Map([...(root.children ?? [])].filter(([name]) => names.has(name)));
  const filtered = { ...root, children };
  adoptFiles(filtered, new Set());
  return filtered;
}

function adoptFiles(dir: TreeNode, shown: Set<TreeNode>): void {
  for (const [name, node] of dir.children ?? []) {
    const file = resolveHardlink(node) ?? node;
    if (!shown.has(file)) dir.children?.set(name, file);
    shown.add(file);
    if (node.children !== undefined) adoptFiles(node, shown);
  }
}

/** A second name of a file is a bare path. */
function listing(root: TreeNode): string {
  const lines: string[] = [];
  const list = (dir: TreeNode, parent: string): void => {
    for (const [name, node] of [...(dir.children ?? [])].sort(byName)) {
      const path = `${parent}/${name.split(' ').map(escapeField).join(' ')}`;
      lines.push(`${path}${listingSuffix(node)}\n`);
      list(node, path);
    }
  };
  list(root, '');
  return lines.join('');
}

function byName([a]: readonly [ByteString, TreeNode], [b]: readonly [ByteString, TreeNode]): number {
  return a < b ? -1 : 1;
}

function listingSuffix(node: TreeNode): string {
  if (node.hardlink !== undefined) return '';
  const type = node.mode & S_IFMT;
  if (type === S_IFDIR) return '/\t';
  if (type === S_IFLNK) return `\t-> ${escapeField(node.payload ?? '')}`;
  if (type === S_IFREG && node.payload !== undefined) return `\t@ ${escapeField(node.payload)}`;
  return '';
}

/** The backing files of all images, sorted, each once; without those that `isPresent`. */
function objectsReport(call: Call, isPresent: (payload: ByteString) => boolean): Report {
  const objects = new Set<ByteString>();
  const collect = (node: TreeNode): void => {
    const { payload } = node;
    if (payload !== undefined && (node.mode & S_IFMT) === S_IFREG && node.hardlink === undefined) {
      if (!objects.has(payload) && !isPresent(payload)) objects.add(payload);
    }
    for (const child of node.children?.values() ?? []) collect(child);
  };
  return {
    add: (image, topLevel) => collect(onlyTopLevel(readImage(image), topLevel)),
    end: () =>
      call.out(
        [...objects]
          .sort()
          .map((payload) => `${payload}\n`)
          .join(''),
      ),
  };
}

/** Leading slashes of an object's path do not count. Whatever keeps the object from being looked at makes it missing. */
function presentIn(folder: number): (payload: ByteString) => boolean {
  return (payload) => {
    const path = `/proc/self/fd/${folder}/${payload.replace(/^\/+/, '')}` as ByteString;
    try {
      return reading(path, () => statSync(pathBuffer(path), { throwIfNoEntry: false })) !== undefined;
    } catch (error) {
      if (error instanceof SourceError) return false;
      throw error;
    }
  };
}

function measureFiles(call: Call, files: readonly ByteString[]): void {
  if (files.length === 0) call.exit(`No files specified\n${usage(call.name)}`);
  const computer = new VerityComputer();
  for (const file of files) {
    const fd = open(call, file);
    try {
      call.out(`${hex(digestOf(fd, file, computer))}\n`);
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      call.exit(`failed to measure '${file}': ${errnoText(error.errno)}`); // no newline there either
    } finally {
      closeSync(fd);
    }
  }
}

/**
 * What the kernel enforces for the file, or would. That of an empty file is the kernel's, too, where the reference
 * computes another one.
 */
function digestOf(fd: number, file: ByteString, computer: VerityComputer): Uint8Array {
  const name = `"${printable(file)}"`;
  const status = fstatSync(fd);
  if (status.isDirectory()) throw new SourceError(file, 'ENODATA');
  if (status.isFIFO() || status.isSocket()) throw new SourceError(file, 'ESPIPE');
  const measured = reading(file, () => measureVerity(fd, name));
  if (measured !== undefined) return measured;
  // Files of /proc claim to be empty.
  if (!status.isFile() || status.size === 0) return computer.ofBytes(readWhole(fd, file));
  return reading(file, () => computer.ofDescriptor(fd, status.size, name));
}
