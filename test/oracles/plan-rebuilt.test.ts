/**
 * A boot whose image is built again, as the host plans it and as the program of the initramfs does, over one disk. The
 * commit has directories, links and empty files only: content would have to be measured by a kernel with fs-verity.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildPrepareRoot } from '../../initrd/build.ts';
import { setImmutable } from '../../src/adapters/inode-attributes.ts';
import { pathBytes, setXattr } from '../../src/adapters/syscalls.ts';
import { openSysroot } from '../../src/adapters/sysroot.ts';
import { keygen } from '../../src/commands/keygen.ts';
import { seal } from '../../src/commands/seal.ts';
import { ascii, utf8 } from '../../src/formats/encoding.ts';
import { parseCommit } from '../../src/formats/ostree-objects.ts';
import { sealroot, useCli } from '../commands/run-cli.ts';
import { UNTAMPERED } from '../formats/mutation-inputs.ts';
import { codeOf, makeRig, put, type Rig } from './prepare-root-rig.ts';

useCli();

const REF = 'os/hollow';
const WARNING = /warning: (cannot use the image on the disk: .*)\n/;

let rig: Rig;
let publicKey = '';
let commit = '';
let deployment = '';

beforeAll(async () => {
  rig = makeRig(await buildPrepareRoot(), UNTAMPERED);
  const { folder, sysroot: root } = rig;
  rmSync(root, { recursive: true });
  const keys = await keygen({ out: join(folder, 'keys') });
  publicKey = keys.publicKey;
  put(join(folder, 'etc/ostree/initramfs-root-binding.key'), readFileSync(publicKey));
  const repo = join(folder, 'repo');
  const tree = join(folder, 'tree');
  for (const name of ['usr/etc', 'usr/share/doc']) mkdirSync(join(tree, name), { recursive: true });
  for (const name of ['vmlinuz', 'initramfs.img']) put(join(tree, 'usr/lib/modules/6.12.0', name), '');
  const owned = join(tree, 'usr/share/owned');
  put(owned, '');
  chownSync(owned, 7, 8);
  setXattr(pathBytes(owned), ascii('user.test'), utf8('value'));
  // libostree reads the title of the boot entry from there.
  put(join(folder, 'os-release'), 'ID=hollow\n');
  symlinkSync(join(folder, 'os-release'), join(tree, 'usr/lib/os-release'));
  symlinkSync('share/doc', join(tree, 'usr/doc'));
  execFileSync('ostree', [`--repo=${repo}`, 'init', '--mode=bare']);
  execFileSync(
    'ostree',
    [`--repo=${repo}`, 'commit', `--branch=${REF}`, `--tree=dir=${tree}`, '--bootable'],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  ({ commit } = await seal({ repo, ref: REF, keys: [keys.secretKey] }));
  mkdirSync(join(root, 'boot'), { recursive: true });
  const sysroot = await openSysroot(root, { create: true, lock: true });
  sysroot.setRepoConfig('sysroot', 'bootloader', 'none');
  sysroot.initOs('hollow');
  sysroot.pullLocal(repo, REF);
  const deployed = sysroot.deploy({
    os: 'hollow',
    checksum: commit,
    refspec: REF,
    kernelArguments: ['quiet'],
  });
  sysroot.close();
  deployment = deployed.path;
  setImmutable(deployment, false);
  put(join(folder, 'cmdline'), `${deployed.kernelArguments}\n`);
});
afterAll(() => rig.remove());

/** The same policy for both: the host takes that of the tree when it is told the keys. */
function setPolicy(lines: string): void {
  const policy = `[composefs]\nenabled=signed\n[sealroot]\n${lines}`;
  for (const root of [rig.folder, deployment]) put(join(root, 'usr/lib/sealroot/prepare-root.conf'), policy);
}

function planOfHost() {
  return sealroot(['admin', 'plan', '--sysroot', rig.sysroot, '--pubkey', publicKey, commit]);
}

async function expectPlanned(code: string): Promise<void> {
  const boot = await rig.run('socket', ['--plan', '/sysroot']);
  const host = planOfHost();
  expect([boot.status, host.status], boot.stderr + host.stderr).toEqual([0, 0]);
  expect(host.stdout).toBe(boot.stdout);
  expect(JSON.parse(host.stdout).rebuiltFor.code).toBe(code);
  expect(WARNING.exec(host.stderr)?.[1]).toContain(`cannot use the image on the disk: ${code}: cannot `);
  expect(WARNING.exec(host.stderr)?.[1]).toBe(WARNING.exec(boot.stderr)?.[1]);
}

async function expectRefused(code: string, reason: RegExp): Promise<void> {
  const boot = await rig.run('socket', ['--plan', '/sysroot']);
  const host = planOfHost();
  expect([boot.status, boot.stdout, host.status, host.stdout]).toEqual([1, '', 1, '']);
  expect(codeOf(boot.stderr)).toBe(code);
  const ends = [boot, host].map(
    ({ stderr }) => /error: (?:[a-z-]+: )?(cannot [^;\n]*)/.exec(stderr)?.[1] ?? stderr,
  );
  for (const end of ends) expect(end).toMatch(reason);
  const damages = ends.map((end) => end.replace(/, and building it again failed: .*/, ''));
  expect(damages[0]).toBe(damages[1]);
}

describe('sealroot admin plan, beside sealroot-prepare-root --plan', () => {
  const image = () => join(deployment, '.ostree.cfs');
  const object = (type: string, checksum: string) => rig.object(type, checksum);

  beforeAll(() => setPolicy('rebuild-image=yes\n'));
  afterEach(() => rmSync(image(), { recursive: true, force: true }));

  it('plans what is built again where the image is missing', () => expectPlanned('image-missing'));

  it.each<[string, string, () => void]>([
    ['has no fs-verity', 'image-verity-missing', () => writeFileSync(image(), 'an image')],
    ['is empty', 'image-unsafe', () => writeFileSync(image(), '')],
    ['is a link', 'image-unsafe', () => symlinkSync('usr/lib/os-release', image())],
    ['is a directory', 'image-unsafe', () => mkdirSync(image())],
    ['is a FIFO', 'image-unsafe', () => execFileSync('mkfifo', [image()])],
  ])('or %s: %s', async (_, code, make) => {
    make();
    await expectPlanned(code);
  });

  it('refuses with the code of the damage where the objects do not give it', async () => {
    const { rootTree } = parseCommit(readFileSync(object('commit', commit)));
    const file = object('dirtree', rootTree);
    renameSync(file, `${file}.away`);
    await expectRefused('image-missing', /and building it again failed: cannot \w+ .*, needed for "\/"$/);
    writeFileSync(file, 'x');
    writeFileSync(image(), '');
    await expectRefused('image-unsafe', /and building it again failed: .* its SHA-256 is/);
    rmSync(file);
    renameSync(`${file}.away`, file);
  });

  it('takes neither an object of another mode nor one that the kernel does not measure', async () => {
    const objects = dirname(dirname(object('commit', commit)));
    const paths = readdirSync(objects, { recursive: true, encoding: 'utf8' }).map((name) =>
      join(objects, name),
    );
    const [empty = ''] = paths.filter((path) => path.endsWith('.file') && lstatSync(path).isFile());
    chmodSync(empty, 0o600);
    const other =
      /and building it again failed: the digest of the image built from the objects is [0-9a-f]{64}$/;
    await expectRefused('image-missing', other);
    chmodSync(empty, 0o644);
    writeFileSync(empty, 'content');
    await expectRefused(
      'image-missing',
      /and building it again failed: cannot measure object [0-9a-f]{64}\.file: E/,
    );
    writeFileSync(empty, '');
  });

  it.each(['', 'rebuild-image=no\n'])('refuses as ever by a policy that says %j', async (policy) => {
    setPolicy(policy);
    await expectRefused('image-missing', /\.ostree\.cfs: ENOENT$/);
    writeFileSync(image(), 'an image');
    await expectRefused('image-verity-missing', /\.ostree\.cfs: E[A-Z]+, [ -~]+$/);
    setPolicy('rebuild-image=yes\n');
  });
});
