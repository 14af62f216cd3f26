/** The built package as a user runs it: `npm run build`, dist/sealroot.js through a link, from another folder. Needs root. */

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureForky, runIn } from '../../tools/chroots.ts';

const ROOT = path.join(import.meta.dirname, '../..');

let forky = '';
let work = '';

beforeAll(async () => {
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: ROOT, stdio: 'pipe', timeout: 120_000 });
  forky = await ensureForky();
  work = mkdtempSync(path.join(tmpdir(), 'sealroot-oracle-cli-'));
  symlinkSync(path.join(ROOT, 'dist/sealroot.js'), path.join(work, 'sealroot'));
  await inForky(`
    ostree init --repo=repo --mode=bare-user
    mkdir -p tree/usr/bin
    cp /usr/bin/[a-m]* tree/usr/bin
    ostree commit --repo=repo --branch=os/x --tree=dir=tree >/dev/null
    ostree checkout --repo=repo --composefs os/x theirs.cfs`);
});

afterAll(() => rmSync(work, { recursive: true, force: true }));

async function inForky(script: string): Promise<string> {
  const result = await runIn(forky, ['sh', '-euc', script], { binds: [[work, '/work']], cwd: '/work' });
  return result.stdout.toString();
}

/** What a user types, in the working folder. */
function shell(script: string, env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script], {
    cwd: work,
    env: {
      ...process.env,
      PATH: `${work}:${process.env.PATH}`,
      XDG_CACHE_HOME: path.join(work, 'cache'),
      ...env,
    },
    timeout: 60_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  return { status, stdout: stdout.toString(), stderr: stderr.toString() };
}

describe('dist/sealroot.js', () => {
  it('runs the examples of its manual pages: a key, a seal, a verdict, a key that is no more', () => {
    const examples = shell(`
      set -e
      sealroot keygen --out keys >/dev/null
      sealroot seal --repo repo os/x --key keys/sealroot.key >/dev/null
      sealroot verify --repo repo os/x --pubkey keys/sealroot.pub >/dev/null
      sealroot image create --repo repo --commit os/x os.cfs >/dev/null
      sealroot image create --repo repo --commit os/x - | sealroot image dump - | cmp - <(sealroot image dump os.cfs)
      sealroot keygen --out once >/dev/null
      sealroot seal --repo repo os/x --key once/sealroot.key --destroy-key | grep -c 'copies that the file system'
      ls once`);
    expect(examples).toEqual({ status: 0, stdout: '1\nsealroot.pub\n', stderr: '' });
  });

  it('makes, digests and dumps an image as ostree, fsverity and composefs-info do', async () => {
    expect(
      shell('sealroot image create --repo repo --commit os/x ours.cfs && cmp ours.cfs theirs.cfs').status,
    ).toBe(0);
    expect(shell('sealroot image digest theirs.cfs').stdout).toBe(
      `fsverity-sha256-12:${await inForky('fsverity digest --compact theirs.cfs')}`,
    );
    expect(shell('sealroot image dump theirs.cfs').stdout).toBe(
      await inForky('composefs-info dump theirs.cfs'),
    );
  });

  it('prints nothing but JSON to standard output for --json', () => {
    const { status, stdout } = shell('sealroot verify --repo repo os/x --pubkey keys/sealroot.pub --json');
    expect(status).toBe(0);
    expect(Object.keys(JSON.parse(stdout)).sort()).toEqual(['commit', 'digest', 'key', 'warnings']);
  });

  it('reads objects without libostree when it is given a checksum, and says what is missing otherwise', async () => {
    const checksum = (await inForky('ostree rev-parse --repo=repo os/x')).trim();
    // A folder without typelibs in their place, in a mount namespace of its own.
    const hide = (command: string) =>
      `unshare --mount sh -c 'mount -t tmpfs none "$(dirname "$(find /usr/lib -name OSTree-1.0.typelib)")" && ${command}'`;
    const withChecksum = shell(hide(`sealroot verify --repo repo ${checksum} --pubkey keys/sealroot.pub`));
    expect(withChecksum).toMatchObject({ status: 0, stderr: '' });
    const withRef = shell(hide('sealroot verify --repo repo os/x --pubkey keys/sealroot.pub'));
    expect(withRef).toMatchObject({ status: 4, stdout: '' });
    expect(withRef.stderr).toMatch(
      /^sealroot: error: cannot load libostree: .*\nsealroot: hint: install libostree .*gir1\.2-ostree-1\.0/,
    );
  });

  it('fails when its output cannot be written', () => {
    const full = shell('sealroot image dump theirs.cfs > /dev/full');
    expect(full).toEqual({
      status: 4,
      stdout: '',
      stderr: 'sealroot: error: cannot write standard output: ENOSPC\n',
    });
    // A device of our own: a defect would replace it.
    execFileSync('mknod', [path.join(work, 'full'), 'c', '1', '7']);
    expect(shell('sealroot image create --repo repo --commit os/x full').status).toBe(2);
  });

  it('leaves nothing of its progress on a terminal', () => {
    // A clock that goes on by a second whenever it is read: quick work draws as slow work would.
    const clock = 'let now=0;Date.now=()=>now+=1000';
    const onTerminal = () => {
      const command = 'sealroot image create --no-cache --repo repo --commit os/x progress.cfs';
      const { status, stdout } = shell(`script -qec '${command}' /dev/null`, {
        NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(clock)}`,
      });
      expect(stdout).toContain('reading objects: ');
      // What takes the line away is the last that is drawn, before the result.
      return { status, text: stdout.split('\r\x1b[K').at(-1)?.replaceAll('\r', '') };
    };
    expect(onTerminal()).toEqual({
      status: 0,
      text: expect.stringMatching(/^fsverity-sha256-12:[0-9a-f]{64}\n$/),
    });
    // One that is read late: there is progress before it.
    const object = shell('sealroot image objects progress.cfs').stdout.trimEnd().split('\n').at(-1) ?? '';
    renameSync(path.join(work, 'repo/objects', object), path.join(work, 'object'));
    try {
      expect(onTerminal()).toEqual({
        status: 4,
        text: expect.stringMatching(/^sealroot: error: cannot read object /),
      });
    } finally {
      renameSync(path.join(work, 'object'), path.join(work, 'repo/objects', object));
    }
  });

  it('writes no image to a terminal', () => {
    const { status, stdout } = shell(
      `script -qec 'sealroot image create --repo repo --commit os/x -' /dev/null`,
    );
    expect(status).toBe(2);
    expect(stdout.replaceAll('\r', '')).toBe(
      'sealroot: error: cannot write an image to standard output: it is a terminal\n' +
        'sealroot: hint: redirect it\n',
    );
  });

  it('says that a disk needs root, and leaves none', () => {
    const command =
      'sealroot disk create --repo repo --ref os/x --os x --pubkey keys/sealroot.pub --output disk.raw --format raw';
    const { status, stderr } = shell(`capsh --drop=cap_sys_admin -- -c '${command}'`);
    expect({ status, stderr }).toEqual({
      status: 4,
      stderr:
        'sealroot: error: cannot enter a mount namespace: EPERM\nsealroot: hint: run this command as root\n',
    });
    expect(readdirSync(work).filter((name) => name.startsWith('disk'))).toEqual([]);
  });
});
