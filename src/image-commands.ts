/** The `image` commands on the command line; see verbs.ts. */

import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ImageCheckResult } from './commands/image-check.ts';
import type { ObjectRecord } from './commands/image-objects.ts';
import { parseHex } from './formats/encoding.ts';
import { badInput, usageError } from './formats/errors.ts';
import {
  formatVerityDigest,
  isVerityBlockSize,
  USUAL_VERITY,
  VERITY_ALGORITHMS,
  type VerityAlgorithm,
} from './formats/fsverity.ts';
import {
  IMAGE_CHECK_PAGE,
  IMAGE_CREATE_PAGE,
  IMAGE_DIFF_PAGE,
  IMAGE_DIGEST_PAGE,
  IMAGE_DUMP_PAGE,
  IMAGE_LS_PAGE,
  IMAGE_MISSING_OBJECTS_PAGE,
  IMAGE_MOUNT_PAGE,
  IMAGE_OBJECTS_PAGE,
  IMAGE_PAGE,
} from './image-usage.ts';
import { print, printJson, progress, warn } from './terminal.ts';
import { addCommand, once, repeated } from './verbs.ts';

export function addImage(program: Command): void {
  const image = addCommand(program, 'image', IMAGE_PAGE);
  addCreate(image);
  addCommand(image, 'dump', IMAGE_DUMP_PAGE)
    .argument('IMAGE', 'the image, or - for standard input')
    .action(async (path: string) => {
      const { imageDump } = await import('./commands/image-dump.ts');
      print(await imageDump({ image: path }));
    });
  addDigest(image);
  addCheck(image);
  addLs(image);
  addObjects(image);
  addDiff(image);
  addMount(image);
}

interface CreateFlags {
  repo: string;
  commit: string;
  digests: boolean;
  cache: boolean;
  hashAlg: VerityAlgorithm;
}

function addCreate(image: Command): void {
  addCommand(image, 'create', IMAGE_CREATE_PAGE)
    .argument('IMAGE', 'the file to write, or - for standard output')
    .requiredOption('--repo <REPO>', 'the repository', once)
    .requiredOption('--commit <REV>', 'a branch, remote ref or checksum', once)
    .option(
      '--no-digests',
      'leave the digests of the files out, as ostree checkout --composefs-noverity does',
    )
    .option('--no-cache', 'read every object, also those that were read before and are unchanged')
    .addOption(hashAlgorithm())
    .action(async (output: string, flags: CreateFlags) => {
      if (output === '-' && process.stdout.isTTY) {
        throw usageError(
          'output-is-terminal',
          'cannot write an image to standard output: it is a terminal',
          'redirect it',
        );
      }
      const { repo, commit: rev, digests, cache, hashAlg: algorithm } = flags;
      const { imageCreate } = await import('./commands/image-create.ts');
      const result = await imageCreate({ repo, rev, output, digests, cache, algorithm, progress });
      warn(result.warnings);
      print(output === '-' ? result.image : `${result.digest}\n`);
    });
}

interface DigestFlags {
  hashAlg: VerityAlgorithm;
  blockSize?: number;
  json: boolean;
}

function addDigest(image: Command): void {
  addCommand(image, 'digest', IMAGE_DIGEST_PAGE)
    .argument('IMAGE', 'the image, or - for standard input')
    .addOption(hashAlgorithm())
    .option('--block-size <BYTES>', 'of the Merkle tree: a power of two from 1024 to 65536', blockSizeOf)
    .option('--json', 'print the result as JSON', false)
    .action(async (path: string, flags: DigestFlags) => {
      const { hashAlg: algorithm, blockSize = USUAL_VERITY.blockSize } = flags;
      const { imageDigest } = await import('./commands/image-digest.ts');
      const result = await imageDigest({ image: path, algorithm, blockSize });
      if (flags.json) printJson(result);
      else print(`${formatVerityDigest(parseHex(result.digest, 'digest'), result)}\n`);
    });
}

/** As fsverity(1) calls it. */
function hashAlgorithm(): Option {
  return new Option('--hash-alg <ALG>', 'of the digests: sha256, which a sealed commit has, or sha512')
    .choices(Object.keys(VERITY_ALGORITHMS))
    .default('sha256');
}

function blockSizeOf(value: string): number {
  if (isVerityBlockSize(Number(value))) return Number(value);
  throw new InvalidArgumentError('It must be a power of two from 1024 to 65536.');
}

function addCheck(image: Command): void {
  addCommand(image, 'check', IMAGE_CHECK_PAGE)
    .argument('IMAGE', 'the image, or - for standard input')
    .option('--json', 'print the result as JSON', false)
    .action(async (path: string, { json }: { json: boolean }) => {
      const { imageCheck } = await import('./commands/image-check.ts');
      const result = await imageCheck({ image: path });
      if (json) printJson(result);
      else print(checkText(result));
      if (result.count > 0) {
        throw badInput('image-invalid', `cannot accept image ${path}: ${result.count} violations`);
      }
    });
}

function checkText({ inodes, count, violations }: ImageCheckResult): string {
  if (count === 0) return `${inodes} inodes, no violations\n`;
  const lines = violations.map(({ code, text }) => `${code}: ${text}\n`);
  if (count > violations.length) lines.push(`and ${count - violations.length} more\n`);
  return lines.join('');
}

function addLs(image: Command): void {
  addCommand(image, 'ls', IMAGE_LS_PAGE)
    .argument('IMAGE', 'the image, or - for standard input')
    .argument('[PATH]', 'the directory or file to begin at; the default is the root')
    .option('--json', 'print the result as JSON', false)
    .action(async (file: string, path: string | undefined, { json }: { json: boolean }) => {
      const { imageLs, listingText } = await import('./commands/image-ls.ts');
      const nodes = await imageLs({ image: file, ...(path !== undefined && { path }) });
      if (json) printJson(nodes.map(({ record }) => record));
      else print(listingText(nodes));
    });
}

interface MissingFlags {
  basedir: string[];
  repo?: string;
  json: boolean;
}

function addObjects(image: Command): void {
  const show = (objects: readonly ObjectRecord[], json: boolean) => {
    if (json) printJson(objects);
    else print(objects.map(({ object }) => `${object}\n`).join(''));
  };
  addCommand(image, 'objects', IMAGE_OBJECTS_PAGE)
    .argument('IMAGE', 'the image, or - for standard input')
    .option('--json', 'print the result as JSON', false)
    .action(async (file: string, { json }: { json: boolean }) => {
      const { listObjects } = await import('./commands/image-objects.ts');
      show(await listObjects({ image: file }), json);
    });
  addCommand(image, 'missing-objects', IMAGE_MISSING_OBJECTS_PAGE)
    .argument('IMAGE', 'the image, or - for standard input')
    .option('--basedir <DIR>', 'a store of backing files; may be repeated', repeated, [])
    .option('--repo <REPO>', 'an ostree repository: its objects, and those of its parents', once)
    .option('--json', 'print the result as JSON', false)
    .action(async (file: string, { basedir, repo, json }: MissingFlags) => {
      const { listMissingObjects } = await import('./commands/image-objects.ts');
      show(await listMissingObjects({ image: file, basedirs: basedir, repo }), json);
    });
}

function addDiff(image: Command): void {
  addCommand(image, 'diff', IMAGE_DIFF_PAGE)
    .argument('A', 'an image, - for standard input, or with --repo a commit')
    .argument('B', 'what to compare it with')
    .option('--repo <REPO>', 'the repository of the commits', once)
    .option('--json', 'print the result as JSON', false)
    .action(async (a: string, b: string, { repo, json }: { repo?: string; json: boolean }) => {
      const { diffText, imageDiff } = await import('./commands/image-diff.ts');
      const result = await imageDiff({ a, b, repo, progress });
      if (json) printJson(result);
      else print(diffText(result));
      if (!result.same) process.exitCode = DIFFERENT;
    });
}

interface MountFlags {
  basedir: string[];
  repo?: string;
  digest?: string;
}

function addMount(image: Command): void {
  addCommand(image, 'mount', IMAGE_MOUNT_PAGE)
    .argument('IMAGE', 'the image')
    .argument('DIRECTORY', 'where its root appears')
    .option('--basedir <DIR>', 'a store of backing files; may be repeated', repeated, [])
    .option('--repo <REPO>', 'an ostree repository: its objects, and those of its parents', once)
    .option('--digest <HEX>', "the image's fs-verity digest, to be enforced", once)
    .action(async (file: string, directory: string, { basedir, repo, digest }: MountFlags) => {
      const { imageMount } = await import('./commands/image-mount.ts');
      imageMount({ image: file, directory, basedirs: basedir, repo, digest });
    });
}

/** As diff(1) has it. */
const DIFFERENT = 1;
