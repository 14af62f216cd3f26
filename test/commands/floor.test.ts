/** The floor of a sealed commit: written by seal, and asked for by whoever judges a commit beside it. */

import { mkdtempSync, rmSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openObjectStore } from '../../src/adapters/object-store.ts';
import { keygen } from '../../src/commands/keygen.ts';
import { seal } from '../../src/commands/seal.ts';
import { judgeBeside } from '../../src/commands/seal-deployment.ts';
import { loadTrustedKeys } from '../../src/commands/trusted-keys.ts';
import { ascii } from '../../src/formats/encoding.ts';
import { makeVariant } from '../../src/formats/gvariant.ts';
import { parseCommit } from '../../src/formats/ostree-objects.ts';
import { readFloor } from '../../src/formats/verdict.ts';
import { ArchiveRepo } from './archive-repo.ts';
import { sealroot, useCli } from './run-cli.ts';

useCli();

let folder: string;
let repo: ArchiveRepo;
let key: string;
let pub: string;

beforeEach(async () => {
  folder = mkdtempSync(join(process.env.TMPDIR ?? '/tmp', 'sealroot-floor-'));
  repo = new ArchiveRepo(join(folder, 'repo'));
  ({ secretKey: key, publicKey: pub } = await keygen({ out: join(folder, 'keys') }));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function floorOf(checksum: string): bigint | undefined {
  return readFloor(parseCommit(repo.object(checksum, 'commit')).metadata, 'commit');
}

async function sealed(ref: string, timestamp: bigint, floor?: bigint): Promise<string> {
  repo.commit({ ref, timestamp });
  return (await seal({ repo: repo.path, ref, keys: [key], floor })).commit;
}

describe('sealroot seal --floor', () => {
  function sealCli(...args: string[]) {
    return sealroot(['seal', '--repo', repo.path, 'os/x', '--key', key, ...args]);
  }

  it('puts the floor into the commit, and keeps it when the commit is sealed again without', async () => {
    repo.commit({ ref: 'os/x', timestamp: 1000n });
    const { status, stdout, stderr } = sealCli('--floor', '900');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('\nfloor   900\n');
    const checksum = repo.ref('os/x');
    expect(floorOf(checksum)).toBe(900n);
    expect(sealCli().stdout).toContain('(was there already)');
    expect(repo.ref('os/x')).toBe(checksum);
    expect(JSON.parse(sealCli('--json', '--floor', '900').stdout)).toMatchObject({
      commit: checksum,
      floor: 900,
    });
  });

  it('writes a sealed commit anew when it sets another floor, but not over its signatures', async () => {
    const before = await sealed('os/x', 1000n);
    expect(sealCli('--floor', '900').stderr).toContain(
      `commit ${before} has to be written anew, which drops its signatures ostree.sign.ed25519 (1)`,
    );
    expect(sealCli('--floor', '900', '--resign').status).toBe(0);
    expect(floorOf(repo.ref('os/x'))).toBe(900n);
    expect(sealroot(['verify', '--repo', repo.path, 'os/x', '--pubkey', pub]).status).toBe(0);
  });

  it("takes the commit's own time for a floor", () => {
    repo.commit({ ref: 'os/x', timestamp: 1000n });
    expect(sealCli('--floor', '1000').status).toBe(0);
    expect(floorOf(repo.ref('os/x'))).toBe(1000n);
  });

  it('refuses a floor above the commit itself', async () => {
    const checksum = repo.commit({ ref: 'os/x', timestamp: 1000n });
    const { status, stderr } = sealCli('--floor', '1001');
    expect(status).toBe(1);
    expect(stderr).toContain(
      `cannot seal commit ${checksum}: its timestamp is 1000, the floor would be 1001`,
    );
    expect(repo.ref('os/x')).toBe(checksum);
  });

  it.each(['', '-1', '1.5', '2026-01-01', '1234567890123'])('does not take %j for a time', (value) => {
    const { status, stderr } = sealCli('--floor', value);
    expect(status).toBe(2);
    expect(stderr).toContain('It must be in seconds since 1970');
  });
});

describe('judgeBeside()', () => {
  const judgeOf = (checksum: string, others: readonly string[]) => {
    const trust = loadTrustedKeys([pub]);
    return judgeBeside(openObjectStore(repo.path, { digests: 'none' }), checksum, trust, others).checksum;
  };

  it('refuses a commit below the highest floor of the others, and names who sets it', async () => {
    const old = await sealed('os/old', 1000n);
    const low = await sealed('os/low', 2000n, 1000n);
    const high = await sealed('os/high', 3000n, 1001n);
    expect(judgeOf(old, [old, low])).toBe(old);
    for (const others of [
      [low, high],
      [high, low],
    ]) {
      expect(() => judgeOf(old, others)).toThrow(
        expect.objectContaining({
          code: 'commit-below-floor',
          message: `cannot use commit ${old}: its timestamp is 1000, the sealroot.floor of commit ${high} is 1001`,
        }),
      );
    }
    expect(judgeOf(high, [old, low, high])).toBe(high);
  });

  it('gives no say to a commit that does not verify, or is not there', async () => {
    const old = await sealed('os/old', 1000n);
    const high = await sealed('os/high', 3000n, 2000n);
    unlinkSync(repo.objectPath(high, 'commitmeta'));
    expect(judgeOf(old, [high, '00'.repeat(32)])).toBe(old);
  });
});

describe('the verdict on a commit that bootc made', () => {
  const metadata = new Map([[ascii('ostree.container.image-config'), makeVariant('s', ascii('{}'))]]);

  it('is its own where somebody has signed it', async () => {
    const base = await sealed('os/x', 1000n);
    repo.commit({ ref: 'os/made', parent: base, metadata });
    const { commit } = await seal({ repo: repo.path, ref: 'os/made', keys: [key] });
    expect(judgeBeside(openObjectStore(repo.path), commit, loadTrustedKeys([pub]), []).checksum).toBe(commit);
  });

  it('is the one on its base', async () => {
    const base = await sealed('os/x', 1000n);
    const made = repo.commit({ parent: base, metadata });
    const trusted = loadTrustedKeys([pub]);
    expect(judgeBeside(openObjectStore(repo.path), made, trusted, [made]).checksum).toBe(base);
    const other = repo.commit({ parent: base });
    expect(() => judgeBeside(openObjectStore(repo.path), other, trusted, [])).toThrow('no detached metadata');
  });
});
