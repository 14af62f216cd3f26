/** The `disk` and `admin` commands on the command line; see verbs.ts. */

import { type Command, InvalidArgumentError } from 'commander';
import type { AdminDeployResult } from './commands/admin-deploy.ts';
import type { AdminStatusResult, DeploymentStatus } from './commands/admin-status.ts';
import type { DiskCreateResult } from './commands/disk-create.ts';
import {
  ADMIN_DEPLOY_PAGE,
  ADMIN_PAGE,
  ADMIN_PLAN_PAGE,
  ADMIN_STATUS_PAGE,
  DISK_CREATE_PAGE,
  DISK_PAGE,
} from './device-usage.ts';
import { encodeJson } from './formats/json.ts';
import { note, print, printJson, warn } from './terminal.ts';
import { addCommand, once, repeated, required } from './verbs.ts';

interface DiskFlags {
  repo: string;
  ref: string;
  os: string;
  pubkey: string[];
  output: string;
  size?: string;
  karg: string[];
  format: 'raw' | 'qcow2';
  exportBoot?: string;
  json: boolean;
}

export function addDisk(program: Command): void {
  const disk = addCommand(program, 'disk', DISK_PAGE);
  addCommand(disk, 'create', DISK_CREATE_PAGE)
    .requiredOption('--repo <REPO>', 'the repository', once)
    .requiredOption('--ref <REF>', 'the branch to deploy; the disk follows it from then on', once)
    .requiredOption('--os <NAME>', 'the name of the OS (ostree: stateroot)', once)
    .requiredOption('--output <FILE>', 'the disk image to write', once)
    .option('--pubkey <FILE>', 'public keys, one a line; may be repeated', repeated, [])
    .option('--size <SIZE>', 'the size of the disk, like 8G; the default leaves room for two updates', once)
    .option(
      '--karg <ARG>',
      'a kernel argument behind root=, rw and systemd.gpt_auto=0; may be repeated',
      repeated,
      [],
    )
    .option('--format <FORMAT>', 'qcow2 or raw', oneOf('qcow2', 'raw'), 'qcow2')
    .option('--export-boot <DIR>', 'write kernel, initramfs and cmdline there, for booting directly', once)
    .option('--json', 'print the result as JSON', false)
    .action(async ({ pubkey, karg, json, ...flags }: DiskFlags) => {
      const { diskCreate } = await import('./commands/disk-create.ts');
      const pubkeys = required('sealroot disk create', '--pubkey FILE', pubkey);
      const result = await diskCreate({ ...flags, pubkeys, kargs: karg, onProgress: note });
      warn(result.warnings);
      if (json) printJson(result);
      else print(diskText(result));
    });
}

/** Parses an option that has few values. */
function oneOf<T extends string>(...values: T[]): (value: string) => T {
  return (value) => {
    const found = values.find((one) => one === value);
    if (found === undefined) throw new InvalidArgumentError(`It must be one of: ${values.join(', ')}.`);
    return found;
  };
}

function diskText(result: DiskCreateResult): string {
  const lines = [
    `disk       ${result.output} (${result.format}, ${result.size} bytes)`,
    ...result.partitions.map(({ name, offset, size }) => `partition  ${name} at ${offset}, ${size} bytes`),
    `commit     ${result.commit}`,
    `digest     ${result.digest}`,
    `signed     ${result.key.publicKey}  (${result.key.file}, line ${result.key.line})`,
    `deployment ${result.deployment}`,
    `kernel     ${result.kernelArguments}`,
    `sealed     ${result.sealedFiles} files`,
  ];
  if (!result.bootLoader) lines.push('boot       directly only: the tree has no systemd-boot');
  return `${lines.join('\n')}\n`;
}

export function addAdmin(program: Command): void {
  const admin = addCommand(program, 'admin', ADMIN_PAGE);
  addDeploy(admin);
  addPlan(admin);
  addCommand(admin, 'status', ADMIN_STATUS_PAGE)
    .option('--sysroot <DIR>', 'the physical root of the system', once)
    .option('--pubkey <FILE>', 'public keys instead of the recorded ones; may be repeated', repeated, [])
    .option('--json', 'print the result as JSON', false)
    .action(async (flags: { sysroot?: string; pubkey: string[]; json: boolean }) => {
      const { adminStatus } = await import('./commands/admin-status.ts');
      const result = await adminStatus({ sysroot: flags.sysroot ?? '/', pubkeys: flags.pubkey });
      warn(result.warnings);
      if (flags.json) printJson(result);
      else print(statusText(result));
    });
}

function addPlan(admin: Command): void {
  addCommand(admin, 'plan', ADMIN_PLAN_PAGE)
    .argument('DEPLOYMENT', 'CHECKSUM or CHECKSUM.SERIAL')
    .option('--sysroot <DIR>', 'the physical root of the system', once)
    .option('--pubkey <FILE>', 'public keys instead of the recorded ones; may be repeated', repeated, [])
    .action(async (deployment: string, flags: { sysroot?: string; pubkey: string[] }) => {
      const { sysroot = '/', pubkey: pubkeys } = flags;
      const { adminPlan } = await import('./commands/admin-plan.ts');
      const { plan, warnings } = await adminPlan({ sysroot, deployment, pubkeys });
      warn(warnings);
      print(`${encodeJson(plan)}\n`);
    });
}

interface DeployFlags {
  sysroot?: string;
  os: string;
  pubkey: string[];
  karg: string[];
  json: boolean;
}

function addDeploy(admin: Command): void {
  addCommand(admin, 'deploy', ADMIN_DEPLOY_PAGE)
    .argument('REFSPEC', 'a branch of the repository of the sysroot, or a checksum')
    .requiredOption('--os <NAME>', 'the name of the OS (ostree: stateroot)', once)
    .option('--sysroot <DIR>', 'the physical root of the system', once)
    .option('--pubkey <FILE>', 'public keys instead of the recorded ones; may be repeated', repeated, [])
    .option('--karg <ARG>', 'a kernel argument to add; may be repeated', repeated, [])
    .option('--json', 'print the result as JSON', false)
    .action(async (refspec: string, { sysroot = '/', os, pubkey, karg, json }: DeployFlags) => {
      const options = { sysroot, os, refspec, pubkeys: pubkey, kargs: karg, onProgress: note };
      const { adminDeploy } = await import('./commands/admin-deploy.ts');
      const result = await adminDeploy(options);
      warn(result.warnings);
      if (json) printJson(result);
      else print(deployText(result));
    });
}

function deployText(result: AdminDeployResult): string {
  const { key } = result;
  return `${[
    `deployed   ${result.os} ${result.commit}.${result.serial}`,
    `digest     ${result.digest}`,
    `signed     ${key.publicKey}  (${key.file}, line ${key.line})`,
    `sealed     ${result.objects} objects`,
    `kernel     ${result.kernelArguments}`,
  ].join('\n')}\n`;
}

/** For people. */
export function statusText(result: Pick<AdminStatusResult, 'deployments'>): string {
  if (result.deployments.length === 0) return 'no deployments\n';
  return result.deployments.map(deploymentText).join('');
}

function deploymentText(one: DeploymentStatus): string {
  const marks = [one.staged ? 'staged' : '', one.pinned ? 'pinned' : ''].filter((mark) => mark !== '');
  const suffix = marks.length === 0 ? '' : ` (${marks.join(', ')})`;
  return `${[
    `${one.booted ? '*' : ' '} ${one.os} ${one.commit}.${one.serial}${suffix}`,
    `    signature  ${signatureText(one)}`,
    `    digest     ${one.digest ?? 'none'}`,
    `    image      ${one.image}`,
    ...bootText(one),
  ].join('\n')}\n`;
}

function bootText({ boot }: DeploymentStatus): string[] {
  if (boot === undefined) return [];
  const total = Object.values(boot.microseconds).reduce((sum, part) => sum + part, 0);
  return [
    `    booted     in ${(total / 1000).toFixed(1)} ms, by ${boot.key.publicKey}  (${boot.key.file}, line ${boot.key.line})`,
    ...boot.passedOver.map(({ deployment, code }) => `    passed by  ${deployment}: ${code}`),
  ];
}

function signatureText({ signature }: DeploymentStatus): string {
  switch (signature.state) {
    case 'valid':
      return `valid: ${signature.key.publicKey}  (${signature.key.file}, line ${signature.key.line})`;
    case 'refused':
      return `refused (${signature.code}): ${signature.message}`;
    case 'unknown':
      return 'unknown: no keys to judge by';
  }
}
