/**
 * The command line: arguments to a command, its result to text. What a command does is loaded when it is called for:
 * reading all of it would take longer than most of the work.
 */

import { Command, CommanderError, InvalidArgumentError } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import type { SealResult } from './commands/seal.ts';
import { addAdmin, addDisk, type CommandLine } from './device-commands.ts';
import { usageError } from './formats/errors.ts';
import { addImage } from './image-commands.ts';
import { fullName, type ManualPage, setManualPage } from './manual.ts';
import { runProgram } from './program.ts';
import { print, printJson, progress, warn } from './terminal.ts';
import { EXPLAIN_PAGE, KEYGEN_PAGE, ROOT_PAGE, SEAL_PAGE, VERIFY_PAGE } from './usage.ts';

/** For an option that is given at most once: the parser alone would take the last of several. */
function once(value: string, previous: string | undefined): string {
  if (previous !== undefined) throw new InvalidArgumentError(`It was given before, as ${previous}.`);
  if (value === '') throw new InvalidArgumentError('It is empty.');
  return value;
}

/** For an option that may be repeated; needs [] as default. */
function repeated(value: string, previous: readonly string[]): string[] {
  if (value === '') throw new InvalidArgumentError('It is empty.');
  return [...previous, value];
}

/** A point in time, in seconds since 1970. */
function seconds(value: string, previous: bigint | undefined): bigint {
  if (previous !== undefined) throw new InvalidArgumentError(`It was given before, as ${previous}.`);
  if (!/^\d{1,12}$/.test(value)) {
    throw new InvalidArgumentError('It must be in seconds since 1970: date --date=2026-01-01 +%s.');
  }
  return BigInt(value);
}

/** For an option that must be given and may be repeated. */
function required(command: string, option: string, values: readonly string[]): readonly string[] {
  if (values.length > 0) return values;
  throw usageError(
    'usage',
    `cannot run ${command}: required option '${option}' not specified`,
    `${command} --help shows how it is called`,
  );
}

function addCommand(parent: Command, name: string, page: ManualPage): Command {
  const command = parent.command(name);
  return setManualPage(command, page)
    .exitOverride((error) => fail(command, error))
    .allowExcessArguments(false);
}

/** What commander objects to becomes our usage error; help and version are no errors. */
function fail(command: Command, error: CommanderError): never {
  if (error.exitCode === 0 || error.code === 'commander.help') throw error;
  const message = error.message
    .replace(/^error: /, '')
    .replace(/\.?\s*$/, '')
    .replaceAll(/[<>]/g, '');
  throw usageError(
    'usage',
    `cannot run ${fullName(command)}: ${message.replaceAll('\n', ' ')}`,
    `${fullName(command)} --help shows how it is called`,
  );
}

function addKeygen(program: Command): void {
  addCommand(program, 'keygen', KEYGEN_PAGE)
    .requiredOption('--out <DIR>', 'the folder for the two files', once)
    .action(async (options: { out: string }) => {
      const { keygen } = await import('./commands/keygen.ts');
      const { secretKey, publicKey, key } = await keygen(options);
      print(`secret key  ${secretKey}\npublic key  ${publicKey}  ${key}\n`);
    });
}

interface SealFlags {
  repo: string;
  key: string[];
  floor?: bigint;
  resign: boolean;
  destroyKey: boolean;
  json: boolean;
}

function addSeal(program: Command): void {
  addCommand(program, 'seal', SEAL_PAGE)
    .argument('REF', 'the branch to seal; a checksum where the commit names its digest already')
    .requiredOption('--repo <REPO>', 'the repository (mode archive, bare or bare-user)', once)
    .option('--key <FILE>', 'a secret key to sign with; may be repeated', repeated, [])
    .option('--floor <SECONDS>', 'while this commit is deployed, boot none from before this time', seconds)
    .option('--resign', 'drop the signatures of a commit that has to be written anew', false)
    .option(
      '--destroy-key',
      'overwrite and remove the secret keys after they have signed; copies that the file system, a snapshot or a flash disk keeps are out of reach',
      false,
    )
    .option('--json', 'print the result as JSON', false)
    .action(async (ref: string, flags: SealFlags) => {
      const { seal } = await import('./commands/seal.ts');
      const keys = required('sealroot seal', '--key FILE', flags.key);
      const { repo, resign, floor, destroyKey } = flags;
      const result = await seal({ repo, ref, keys, resign, floor, destroyKey, progress });
      warn(result.warnings);
      if (flags.json) printJson(result);
      else print(sealText(result));
    });
}

function sealText(result: SealResult): string {
  const lines = [`commit  ${result.commit}`, `digest  ${result.digest}`];
  if (result.replaced !== undefined) lines.splice(1, 0, `was     ${result.replaced}`);
  if (result.floor !== undefined) lines.push(`floor   ${result.floor}`);
  for (const { publicKey, added } of result.signatures) {
    lines.push(`signed  ${publicKey}${added ? '' : '  (was there already)'}`);
  }
  for (const name of result.dropped) lines.push(`dropped ${name}`);
  for (const path of result.destroyed) {
    lines.push(
      `destroyed ${path}: overwritten, synced and unlinked; copies that the file system, a snapshot or a flash disk may keep are out of reach`,
    );
  }
  return `${lines.join('\n')}\n`;
}

interface VerifyFlags {
  image?: string;
  repo: string;
  pubkey: string[];
  policy?: string;
  json: boolean;
}

function addVerify(program: Command): void {
  addCommand(program, 'verify', VERIFY_PAGE)
    .argument('REV', 'a branch, remote ref or checksum')
    .requiredOption('--repo <REPO>', 'the repository', once)
    .option('--pubkey <FILE>', 'public keys, one a line; may be repeated', repeated, [])
    .option('--policy <FILE>', 'a prepare-root.conf whose refs, min-timestamp and not-after hold', once)
    .option(
      '--image <FILE>',
      'an image with the signed digest, to say what differs if the objects make another',
      once,
    )
    .option('--json', 'print the result as JSON', false)
    .action(async (rev: string, flags: VerifyFlags) => {
      const { verify } = await import('./commands/verify.ts');
      const pubkeys = required('sealroot verify', '--pubkey FILE', flags.pubkey);
      const { repo, policy, image } = flags;
      const result = await verify({ repo, rev, pubkeys, policy, image, progress });
      warn(result.warnings);
      const { commit, digest, key } = result;
      if (flags.json) printJson(result);
      else
        print(
          `commit  ${commit}\ndigest  ${digest}\nsigned  ${key.publicKey}  (${key.file}, line ${key.line})\n`,
        );
    });
}

function addExplain(program: Command): void {
  addCommand(program, 'explain', EXPLAIN_PAGE)
    .argument('CODE', 'the code of a refusal, as the console and the journal show it')
    .option('--json', 'print the result as JSON', false)
    .action(async (code: string, flags: { json: boolean }) => {
      const { explain } = await import('./commands/explain.ts');
      const result = explain(code);
      if (flags.json) printJson(result);
      else
        print(`cause       ${result.cause}\nremedy      ${result.remedy}\nMESSAGE_ID  ${result.messageId}\n`);
    });
}

const LINE: CommandLine = {
  addCommand,
  once,
  repeated,
  required,
  print,
  printJson,
  warn,
  note: (message) => progress.update(() => message),
  progress,
  setStatus: (status) => {
    process.exitCode = status;
  },
};

function createProgram(): Command {
  const program = new Command('sealroot');
  setManualPage(program, ROOT_PAGE)
    .version(packageJson.version, '--version', 'show the version')
    .configureOutput({ outputError: () => {} })
    .exitOverride((error) => fail(program, error));
  addKeygen(program);
  addSeal(program);
  addVerify(program);
  addImage(program, LINE);
  addDisk(program, LINE);
  addAdmin(program, LINE);
  addExplain(program);
  return program;
}

/** Runs the command that this process was called with. */
export function start(): void {
  runProgram(async () => {
    try {
      await createProgram().parseAsync();
    } catch (error) {
      // Help and version are no errors.
      if (!(error instanceof CommanderError)) throw error;
      process.exitCode = error.exitCode === 0 ? 0 : 2;
    }
  });
}
