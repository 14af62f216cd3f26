/**
 * The command line: arguments to a command, its result to text. What a command does is loaded when it is called for:
 * reading all of it would take longer than most of the work.
 */

import { type Command, InvalidArgumentError } from 'commander';
import type { SealResult } from './commands/seal.ts';
import { addAdmin, addDisk } from './device-commands.ts';
import { addImage } from './image-commands.ts';
import { print, printJson, progress, warn } from './terminal.ts';
import { EXPLAIN_PAGE, KEYGEN_PAGE, SEAL_PAGE, VERIFY_PAGE } from './usage.ts';
import { addCommand, once, repeated, required, startCommand } from './verbs.ts';

/** A point in time, in seconds since 1970. */
function seconds(value: string, previous: bigint | undefined): bigint {
  if (previous !== undefined) throw new InvalidArgumentError(`It was given before, as ${previous}.`);
  if (!/^\d{1,12}$/.test(value)) {
    throw new InvalidArgumentError('It must be in seconds since 1970: date --date=2026-01-01 +%s.');
  }
  return BigInt(value);
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

/** Every command there is. */
export function start(): void {
  startCommand((program) => {
    addKeygen(program);
    addSeal(program);
    addVerify(program);
    addImage(program);
    addDisk(program);
    addAdmin(program);
    addExplain(program);
  });
}
