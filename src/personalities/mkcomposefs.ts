/** mkcomposefs(1) of composefs 1.0.8: an image of a directory or of a dump. `--hardlinks` is ours. */

import { closeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { isatty } from 'node:tty';
import { fillDigestStore } from '../adapters/digest-store.ts';
import {
  addXattrs,
  type DirectorySource,
  hasContent,
  readContent,
  type ScanOptions,
  SourceError,
  type SourceFile,
  scanDirectory,
} from '../adapters/directory-source.ts';
import { errnoText } from '../adapters/error-text.ts';
import { type OutputFile, openOutput } from '../adapters/output-file.ts';
import { readingProgress } from '../adapters/progress.ts';
import { spareThreads } from '../adapters/read-ahead.ts';
import { SourceReader } from '../adapters/source-reader.ts';
import { VerityComputer, verityOfBytes } from '../adapters/verity.ts';
import { openForReading, readPieces } from '../adapters/whole-file.ts';
import { finishDump, readLines, startDump } from '../formats/dump-read.ts';
import { type ByteString, hex } from '../formats/encoding.ts';
import { MAX_FORMAT_VERSION } from '../formats/erofs-layout.ts';
import type { FormatVersion } from '../formats/erofs-plan.ts';
import { type ImageOptions, writeImage } from '../formats/erofs-write.ts';
import { USUAL_VERITY, VERITY_ALGORITHMS, type VerityAlgorithm } from '../formats/fsverity.ts';
import { fileType, S_IFDIR, type ValidatedTree, validateTree } from '../formats/tree.ts';
import { type Grammar, parseArguments } from './getopt.ts';
import { type Call, withReason } from './tool.ts';

const GRAMMAR: Grammar = {
  short: 'CR',
  long: [
    { name: 'skip-xattrs', value: false },
    { name: 'user-xattrs', value: false },
    { name: 'skip-devices', value: false },
    { name: 'use-epoch', value: false },
    { name: 'digest-store', value: true },
    { name: 'print-digest', value: false },
    { name: 'print-digest-only', value: false },
    { name: 'from-file', value: false },
    { name: 'max-version', value: true },
    { name: 'min-version', value: true },
    { name: 'threads', value: true },
    { name: 'hardlinks', value: false, exact: true },
    { name: 'hash-alg', value: true, exact: true },
  ],
};

function usage(name: string): string {
  return `Usage: ${name} [OPTIONS] SOURCE IMAGE
Options:
  --digest-store=PATH   Store content files in this directory
  --use-epoch           Make all mtimes zero
  --skip-devices        Don't store device nodes
  --skip-xattrs         Don't store file xattrs
  --user-xattrs         Only store user.* xattrs
  --print-digest        Print the digest of the image
  --print-digest-only   Print the digest of the image, don't write image
  --from-file           The source is a dump file, not a directory
  --min-version=N       Use this minimal format version (default=0)
  --max-version=N       Use this maximum format version (default=${MAX_FORMAT_VERSION})
  --threads=N           Use this to override the default number of threads used to calculate digest and copy files (default=${availableParallelism()})
  --hardlinks           Keep hard links of the directory (sealroot only)
  --hash-alg=ALG        sha256 (default) or sha512, for all digests (sealroot only)
`;
}

interface Settings {
  readonly flags: ReadonlySet<string>;
  readonly digestStore: ByteString | undefined;
  readonly versions: readonly [min: number, max: number];
  readonly threads: number;
  readonly algorithm: VerityAlgorithm;
  readonly operands: readonly ByteString[];
}

export function mkcomposefs(call: Call): void {
  const settings = parse(call);
  const { flags } = settings;
  const digestOnly = flags.has('print-digest-only');
  const [source, image] = operands(call, settings.operands, digestOnly);
  const output = image === undefined ? undefined : destination(call, image);
  const tree = flags.has('from-file') ? readDump(call, source) : readDirectory(call, source, settings);
  const bytes = encode(call, tree, settings.versions);
  if (output !== undefined) {
    withReason(
      call,
      () => 'cannot write file',
      () => output(bytes),
    );
  }
  if (digestOnly || flags.has('print-digest')) {
    const { algorithm } = settings;
    call.out(`${hex(verityOfBytes(bytes, { ...USUAL_VERITY, algorithm }))}\n`);
  }
}

function parse(call: Call): Settings {
  const { options, operands, mistake } = parseArguments(
    call.args,
    GRAMMAR,
    process.env.POSIXLY_CORRECT !== undefined,
  );
  const flags = new Set<string>();
  let digestStore: ByteString | undefined;
  const versions: { min?: number; max?: number } = {};
  let threads = availableParallelism();
  let algorithm: VerityAlgorithm = 'sha256';
  for (const { name, value = '' as ByteString } of options) {
    if (name === 'digest-store') digestStore = value;
    else if (name === 'min-version') versions.min = integer(call, value, 'min version');
    else if (name === 'max-version') versions.max = integer(call, value, 'max version');
    else if (name === 'threads') threads = threadCount(call, value);
    else if (name === 'hash-alg') algorithm = hashAlgorithm(call, value);
    else if (name === 'C' || name === 'R') call.exit(usage(call.name));
    else flags.add(name);
  }
  if (mistake?.kind === 'value-missing') call.exit('option needs a value\n');
  if (mistake !== undefined) call.exit(usage(call.name));
  const given = versions.min !== undefined || versions.max !== undefined;
  // Who gives one gets 0 for the other.
  const range = [versions.min ?? 0, versions.max ?? (given ? 0 : MAX_FORMAT_VERSION)] as const;
  return { flags, digestStore, versions: range, threads, algorithm, operands };
}

/** strtol(3), and what is left of it in an int. */
function integer(call: Call, text: ByteString, what: string): number {
  const match = /^[\t\n\v\f\r ]*([+-]?)([0-9]+)$/.exec(text);
  if (match === null) call.exit(`Invalid ${what} ${text}\n`);
  const value = BigInt(match[2] ?? '') * (match[1] === '-' ? -1n : 1n);
  const long = value > 2n ** 63n - 1n ? 2n ** 63n - 1n : value < -(2n ** 63n) ? -(2n ** 63n) : value;
  return Number(BigInt.asIntN(32, long));
}

function threadCount(call: Call, text: ByteString): number {
  const count = integer(call, text, 'threads count');
  if (count <= 0) call.exit(`Invalid threads count ${count}\n`);
  return count;
}

function hashAlgorithm(call: Call, text: ByteString): VerityAlgorithm {
  const known = Object.keys(VERITY_ALGORITHMS) as VerityAlgorithm[];
  return known.find((name) => name === text) ?? call.exit(`Invalid hash algorithm ${text}\n`);
}

function operands(
  call: Call,
  given: readonly ByteString[],
  digestOnly: boolean,
): [source: ByteString, image: ByteString | undefined] {
  const [source, image] = given;
  if (source === undefined) call.exit(`No source path specified\n${usage(call.name)}`);
  if (source === '') call.fail('Empty source path specified');
  if (given.length > 2) call.exit(`Too many arguments\n${usage(call.name)}`);
  if (image === undefined && !digestOnly) call.exit(`No destination path specified\n${usage(call.name)}`);
  if (image !== undefined && digestOnly) {
    call.exit(`Cannot specify destination path with --print-digest-only\n${usage(call.name)}`);
  }
  return [source, image];
}

function destination(call: Call, image: ByteString): OutputFile {
  if (image === '-') {
    if (isatty(1)) call.fail('stdout is a tty.  Refusing to use it');
    return (bytes) => call.out(bytes);
  }
  return withReason(
    call,
    () => 'failed to open output file',
    () => openOutput(image),
  );
}

function readDump(call: Call, source: ByteString): ValidatedTree {
  const fd =
    source === '-'
      ? 0
      : withReason(
          call,
          (path) => `open \`${path}\``,
          () => openForReading(source),
        );
  try {
    // Undocumented, but composefs's own tests set it; an empty value counts.
    const parser = startDump({ strict: process.env.CFS_PARSE_STRICT !== undefined });
    readPieces(fd, source, (bytes, isLast) => readLines(parser, bytes, isLast));
    return finishDump(parser);
  } catch (error) {
    if (error instanceof SourceError) call.fail('Error reading from file');
    throw error;
  } finally {
    if (fd !== 0) closeSync(fd);
  }
}

function readDirectory(
  call: Call,
  source: ByteString,
  { flags, digestStore, threads, algorithm }: Settings,
): ValidatedTree {
  if (flags.has('skip-xattrs') && flags.has('user-xattrs')) {
    call.fail(`error accessing ${source}: ${errnoText('EINVAL')}`);
  }
  const options: ScanOptions = {
    xattrs: flags.has('skip-xattrs') ? 'none' : flags.has('user-xattrs') ? 'user' : 'all',
    skipDevices: flags.has('skip-devices'),
    epoch: flags.has('use-epoch'),
    hardlinks: flags.has('hardlinks'),
  };
  const reader = new SourceReader({ xattrs: options.xattrs, algorithm, threads: spareThreads(threads) });
  let found: DirectorySource;
  try {
    found = withReason(
      call,
      (path) => `error accessing ${path}`,
      () => scanDirectory(source, options, reader),
    );
    readFiles(call, found, reader, options.xattrs, new VerityComputer({ ...USUAL_VERITY, algorithm }));
  } finally {
    reader.close();
  }
  if (digestStore !== undefined) {
    withReason(
      call,
      (path) => `cannot fill store: ${path}`,
      () => fillDigestStore(digestStore, found.files),
    );
  }
  if (fileType(found.root) !== S_IFDIR) call.fail(`cannot write file: ${errnoText('ENOTDIR')}`);
  return validateTree(found.root);
}

/** Where several files cannot be read, the first whose xattrs cannot be is named: they are part of going through a directory. */
function readFiles(
  call: Call,
  { files }: DirectorySource,
  reader: SourceReader,
  which: ScanOptions['xattrs'],
  computer: VerityComputer,
): void {
  withReason(
    call,
    (path) => `error computing digest of ${path}`,
    () => {
      const report = readingProgress(call.progress, 'files');
      let bytes = 0;
      let count = 0;
      const done = (file: SourceFile) => {
        bytes += file.node.size;
        report?.({ files: ++count, bytes, of: files.length });
      };
      const left: SourceFile[] = [];
      for (const file of files) {
        reader.finish(file);
        if (!file.hasXattrs) readXattrs(call, file, which);
        if (hasContent(file)) done(file);
        else left.push(file);
      }
      for (const file of left) {
        readContent(file, computer);
        done(file);
      }
    },
  );
}

function readXattrs(call: Call, file: SourceFile, which: ScanOptions['xattrs']): void {
  withReason(
    call,
    (path) => `error accessing ${path}`,
    () => addXattrs(file, which),
  );
}

function encode(call: Call, tree: ValidatedTree, versions: Settings['versions']): Uint8Array {
  if (!versions.every(isFormatVersion)) call.fail(`cannot write file: ${errnoText('EINVAL')}`);
  const [minVersion, maxVersion] = versions as [FormatVersion, FormatVersion];
  const options: ImageOptions = { minVersion, maxVersion };
  return writeImage(tree, options);
}

function isFormatVersion(version: number): boolean {
  return version >= 0 && version <= MAX_FORMAT_VERSION;
}
