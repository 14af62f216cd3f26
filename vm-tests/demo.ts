/**
 * `npm run demo`: from nothing to a Debian stable that boots sealed, and to a tampered copy of it that does not. It runs
 * the commands that a user would type and shows them; what takes long is kept in .cache/ for the next time.
 */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { buildPrepareRoot } from '../initrd/build.ts';
import { CACHE_DIR } from '../tools/cache.ts';
import { type DiskReport, ensureTestKeys, OS_NAME, OS_REF, sealroot } from './base-disk.ts';
import { CaseContext, describeFailure } from './case.ts';
import { commitTree } from './commit.ts';
import { GuestFailure, type Machine } from './machine.ts';
import { ensureOsTree, type OsTree } from './os-tree.ts';
import { captured, refusalOf, requireSystemBooted, requireSystemRefused } from './outcome.ts';
import { PROVE_ROOT } from './refusal.ts';
import { SYSTEM_ARGUMENTS, SYSTEM_BOOT_SECONDS, startSystem } from './system-boot.ts';
import { copyDisk, Ext4Image } from './tamper.ts';

const PROJECT_ROOT = path.join(import.meta.dirname, '..');
/** The EROFS superblock, which every mount of the image reads. */
const SUPERBLOCK = 1024;

const PROVE = `${PROVE_ROOT}
capture state systemctl is-system-running --wait
capture os sh -c '. /etc/os-release; echo "$PRETTY_NAME, kernel $(uname -r), $(ostree --version | grep "Version:" | tr -d " \\047")"'
capture write touch /usr/probe
capture status sh -c 'ostree admin status | head -n 1'
exit 0
`;

/** Says what is going on and how long it took; on a terminal also how long it has been going on. */
async function step<T>(title: string, action: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const seconds = () => `${((performance.now() - started) / 1000).toFixed(0)} s`;
  console.log(`-- ${title}`);
  const ticker = process.stdout.isTTY
    ? setInterval(() => process.stdout.write(`\r   ${seconds()} `), 1000)
    : undefined;
  try {
    return await action();
  } finally {
    clearInterval(ticker);
    console.log(`${process.stdout.isTTY ? '\r' : ''}   done after ${seconds()}`);
  }
}

async function run(argv: readonly string[]): Promise<string> {
  const shown = argv.map((word) => (path.isAbsolute(word) ? path.relative(PROJECT_ROOT, word) : word));
  console.log(`$ sealroot ${shown.join(' ')}`);
  return await sealroot(argv);
}

async function makeDisk(folder: string, tree: OsTree): Promise<DiskReport> {
  const repo = path.join(folder, 'repo');
  const keys = await ensureTestKeys('trusted');
  await step('committing the tree with stock ostree', () => commitTree(tree.path, repo, OS_REF));
  return await step('sealing the commit and making a disk of it', async () => {
    process.stdout.write(await run(['seal', '--repo', repo, OS_REF, '--key', keys.secretKey]));
    process.stdout.write(await run(['verify', '--repo', repo, OS_REF, '--pubkey', keys.publicKey]));
    const made = await run([
      ...['disk', 'create', '--repo', repo, '--ref', OS_REF, '--os', OS_NAME, '--pubkey', keys.publicKey],
      ...['--output', path.join(folder, 'disk.raw'), '--format', 'raw'],
      ...['--export-boot', path.join(folder, 'boot'), '--json'],
    ]);
    return JSON.parse(made) as DiskReport;
  });
}

async function demo(context: CaseContext): Promise<void> {
  const { folder } = context;
  await step('building sealroot-prepare-root', () => buildPrepareRoot());
  const { publicKey } = await ensureTestKeys('trusted');
  const tree = await step('making a Debian stable with an initramfs by dracut', () =>
    ensureOsTree({ variant: 'base', publicKey }),
  );
  const report = await makeDisk(folder, tree);
  const base = {
    kernel: {
      version: tree.kernelVersion,
      image: path.join(folder, 'boot/kernel'),
      modulesFolder: path.dirname(tree.kernel),
    },
    initramfs: path.join(folder, 'boot/initramfs'),
  };
  const disk = path.join(folder, 'disk.raw');
  const boot = async (name: string, file: string): Promise<Machine> => {
    const commandLine = [report.kernelArguments, ...SYSTEM_ARGUMENTS].join(' ');
    const options = {
      name,
      disk: { file, format: 'raw', writes: 'discard' } as const,
      commandLine,
      script: PROVE,
    };
    const machine = await startSystem(context, base, options);
    await machine.waitForEnd(SYSTEM_BOOT_SECONDS);
    return machine;
  };

  const booted = await step('booting the disk in QEMU', () => boot('sealed', disk));
  requireSystemBooted(booted, report);
  console.log(`PROOF ${captured(booted, 'os').output.trim()}: ${captured(booted, 'state').output.trim()}`);
  console.log(
    `PROOF / is ${captured(booted, 'root')
      .output.trim()
      .replace(/^.* - /, '')}`,
  );
  console.log(`PROOF ${captured(booted, 'write').output.trim()}`);
  console.log(`PROOF ostree admin status: ${captured(booted, 'status').output.trim()}`);

  const tampered = path.join(folder, 'tampered.raw');
  await step('flipping one bit of the image on a copy of the disk, and booting that', async () => {
    copyDisk(disk, tampered);
    const root = report.partitions.find(({ name }) => name === 'root');
    new Ext4Image(tampered, root?.offset ?? 0).flipBit(`${report.deployment}/.ostree.cfs`, SUPERBLOCK);
    const refusedGuest = await boot('tampered', tampered);
    const { code, message } = refusalOf(refusedGuest);
    requireSystemRefused(refusedGuest, code);
    console.log(`REFUSED ${code}: ${message}`);
  });
}

const folder = path.join(CACHE_DIR, 'vm', 'demo');
await rm(folder, { recursive: true, force: true });
const context = new CaseContext('demo', folder);
try {
  await demo(context);
} catch (error) {
  process.exitCode = 1;
  if (error instanceof GuestFailure) console.error(error.machine.console);
  console.error(`sealroot: error: ${describeFailure(error)}`);
} finally {
  await context.end();
}
