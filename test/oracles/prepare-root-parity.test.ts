/**
 * ostree-prepare-root of Debian forky and ours, side by side over the same disk: the same mounts, the same word to the
 * booted system, the same that can be read and written there. That program checks no signatures, as Debian builds it; a
 * sealed policy is set beside one that does in prepare-root-signed-parity.test.ts and in vm-tests/cases/parity-signed.ts.
 *
 * What we do otherwise on purpose stands at the end.
 */

import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildPrepareRoot } from '../../initrd/build.ts';
import { comparable, type Outcome } from '../../vm-tests/parity-outcome.ts';
import {
  CHECKSUM,
  type Disturbance,
  makeInitramfs,
  OSTREE_ARGUMENT,
  ParityRig,
  type Scenario,
} from './parity-rig.ts';
import { codeOf } from './prepare-root-rig.ts';

let binary = '';
let initramfs = '';
let rig: ParityRig | undefined;

beforeAll(async () => {
  binary = await buildPrepareRoot();
  initramfs = await makeInitramfs();
});

afterEach(() => {
  rig?.remove();
  rig = undefined;
});

afterAll(() => rmSync(initramfs, { recursive: true, force: true }));

function both(scenario: Scenario): { reference: Outcome; ours: Outcome } {
  rig = new ParityRig(initramfs, binary, scenario);
  return { reference: rig.run('reference'), ours: rig.run('sealroot') };
}

/** Both boot, alike; returns what they come to. */
function bootsAlike(scenario: Scenario): Outcome {
  const { reference, ours } = both(scenario);
  expect(reference.status, reference.said).toBe(0);
  expect(comparable(ours), ours.said).toEqual(comparable(reference));
  expect(ours.said).toContain(`${CHECKSUM} (not sealed)\n`);
  return ours;
}

/** Neither boots; returns our code. */
function refusesAlike(scenario: Scenario): string {
  const { reference, ours } = both(scenario);
  expect([reference.status, ours.status]).toEqual([1, expect.toBeOneOf([1, 4])]);
  expect(ours.mounts).toHaveLength(1);
  return codeOf(ours.said);
}

const conf = (...lines: string[]): string => `${lines.join('\n')}\n`;
const composefs = (value: string) => ['[composefs]', `enabled=${value}`];
const READONLY = ['[sysroot]', 'readonly=true'];
const WRITABLE = ['[sysroot]', 'readonly=false'];
const ETC = ['[etc]', 'transient=true'];
const ROOT_TRANSIENT = ['[root]', 'transient=true'];

/** Anew for each: an overlay marks the directories that it has used. */
function hotfix({ deployment }: { deployment: string }): void {
  for (const name of ['.usr-ovl-upper', '.usr-ovl-work']) {
    rmSync(join(deployment, name), { recursive: true, force: true });
    mkdirSync(join(deployment, name));
  }
  writeFileSync(join(deployment, '.usr-ovl-upper/added'), 'hotfix\n');
}

function repositorySays(config: string): Disturbance {
  return ({ root }) => writeFileSync(join(root, 'ostree/repo/config'), config);
}

describe('composefs.enabled', () => {
  const MODES = ['yes', 'true', '1', 'verity', 'maybe', 'no', 'false', '0'];
  const rows = MODES.flatMap((mode) => [READONLY, WRITABLE, []].map((sysroot) => [mode, sysroot] as const));

  it.each(rows)('%s, with %j', (mode, sysroot) => {
    const { mounts, access } = bootsAlike({ conf: conf(...composefs(mode), ...sysroot) });
    const bound = ['no', 'false', '0'].includes(mode);
    expect(mounts.some((line) => line.includes(' overlay composefs '))).toBe(!bound);
    expect(access).toContain('usr read-only');
    expect(access).toContain(`etc/conf=changed`);
    expect(mounts.some((line) => line.includes('verity=require'))).toBe(mode === 'verity');
  });

  it.each([[READONLY], [WRITABLE], [[]]])('maybe, without an image, with %j', (sysroot) => {
    const { access } = bootsAlike({ conf: conf(...composefs('maybe'), ...sysroot), image: false });
    expect(access).toContain('usr/tool=tool');
  });

  it('yes, without an image: neither boots', () => {
    expect(refusesAlike({ conf: conf(...composefs('yes')), image: false })).toBe('image-missing');
  });

  it.each(['yes', 'no'])('%s, on a disk that is mounted read-only', (mode) => {
    bootsAlike({ conf: conf(...composefs(mode), ...READONLY), disk: 'ro' });
    rig?.remove();
    bootsAlike({ conf: conf(...composefs(mode), ...WRITABLE), disk: 'ro' });
  });

  it('is nothing that is none of these: neither boots', () => {
    expect(refusesAlike({ conf: conf(...composefs('perhaps')) })).toBe('policy-malformed');
  });
});

describe('sysroot.readonly of the repository', () => {
  const SAYS = '[core]\nmode=bare\n[sysroot]\nreadonly=true\n';

  it.each(['yes', 'maybe', 'no'])('with composefs.enabled=%s', (mode) => {
    for (const sysroot of [[], WRITABLE]) {
      bootsAlike({ conf: conf(...composefs(mode), ...sysroot), disturb: repositorySays(SAYS) });
      rig?.remove();
    }
  });

  it('counts where no composefs is needed', () => {
    const { access } = bootsAlike({ conf: conf(...composefs('no')), disturb: repositorySays(SAYS) });
    expect(access).toContain('sysroot read-only');
    expect(access).toContain('sysroot/ostree/deploy/os/var writable');
  });

  it.each(['[sysroot]\nreadonly=perhaps\n', 'nonsense\n'])('is nothing in %j', (config) => {
    const { access } = bootsAlike({ conf: conf(...composefs('no')), disturb: repositorySays(config) });
    expect(access).toContain('sysroot writable');
  });
});

describe('etc.transient', () => {
  it.each([
    [composefs('yes')],
    [[...composefs('yes'), ...WRITABLE]],
    [composefs('verity')],
    [composefs('no')],
    [[...composefs('no'), ...READONLY]],
    [[...composefs('yes'), ...ROOT_TRANSIENT]],
  ])('with %j', (lines) => {
    const { access } = bootsAlike({ conf: conf(...lines, ...ETC) });
    const isMounted = !lines.includes('enabled=no') || lines.includes('readonly=true');
    expect(access).toContain(`etc/conf=${isMounted ? 'default' : 'changed'}`);
    expect(access).toContain('etc writable');
  });
});

describe('root.transient', () => {
  it.each(['yes', 'verity', 'maybe'])('with composefs.enabled=%s', (mode) => {
    const { access } = bootsAlike({ conf: conf(...composefs(mode), ...ROOT_TRANSIENT) });
    expect(access).toEqual(expect.arrayContaining(['. writable', 'usr writable']));
  });

  it('read-only', () => {
    const { access } = bootsAlike({ conf: conf(...composefs('yes'), '[root]', 'transient-ro=true') });
    expect(access).toEqual(expect.arrayContaining(['. read-only', 'usr read-only']));
  });

  it.each([
    [
      'both ways at once',
      conf(...composefs('yes'), ...ROOT_TRANSIENT, 'transient-ro=true'),
      'policy-malformed',
    ],
    ['without composefs', conf(...composefs('no'), ...ROOT_TRANSIENT), 'policy-malformed'],
    ['maybe with composefs, and no image', conf(...composefs('maybe'), ...ROOT_TRANSIENT), 'image-missing'],
  ])('%s: neither boots', (_, text, code) => {
    expect(refusesAlike({ conf: text, image: false })).toBe(code);
  });
});

describe('the overlay of `ostree admin unlock --hotfix`', () => {
  it.each([
    [composefs('yes')],
    [[...composefs('yes'), ...WRITABLE]],
    [composefs('no')],
    [[...composefs('no'), ...READONLY]],
    [[...composefs('yes'), ...ETC]],
    [[...composefs('yes'), ...ROOT_TRANSIENT]],
  ])('with %j', (lines) => {
    const { access } = bootsAlike({ conf: conf(...lines), disturb: hotfix });
    expect(access).toEqual(expect.arrayContaining(['usr writable', 'usr/tool=tool', 'usr/added=hotfix']));
  });

  it.each([
    'yes',
    'no',
  ])('with composefs.enabled=%s, on a disk that is mounted read-only: neither boots', (mode) => {
    const code = refusesAlike({ conf: conf(...composefs(mode)), disturb: hotfix, disk: 'ro' });
    expect(code).toBe('mount-failed');
  });
});

describe('kernel arguments', () => {
  const ARGUMENT = 'ostree.prepare-root.composefs';
  const allowed = [...composefs('verity'), '[sealroot]', 'allow-karg-override=true'];

  it.each(['0', 'no', 'maybe', 'yes', '1'])(`${ARGUMENT}=%s, where the policy follows it`, (value) => {
    bootsAlike({ conf: conf(...allowed), cmdline: `${OSTREE_ARGUMENT} ${ARGUMENT}=${value} ${ARGUMENT}=2` });
  });
});

describe('a phone, whose boot loader names a slot', () => {
  const disturb: Disturbance = ({ root }) => {
    for (const [slot, target] of [
      ['a', `deploy/os/deploy/${CHECKSUM}.0`],
      ['b', 'deploy/os/deploy/none.0'],
    ]) {
      rmSync(join(root, `ostree/root.${slot}`), { force: true });
      symlinkSync(target ?? '', join(root, `ostree/root.${slot}`));
    }
  };
  const yes = conf(...composefs('yes'));

  it.each([
    'androidboot.slot_suffix=_a',
    'androidboot.slot_suffix=_a ostree=/ostree/root.b',
    'androidboot.mode=normal',
    'ostree=/ostree/root.b androidboot.mode',
    `ostree=/ostree/root.a`,
    `xandroidboot.slot_suffix=_b ${OSTREE_ARGUMENT}`,
  ])('%s: boots', (cmdline) => {
    bootsAlike({ conf: yes, cmdline, disturb });
  });

  it.each([
    ['androidboot.slot_suffix=_b', 'deployment-unresolvable'],
    ['androidboot.slot_suffix=_b androidboot.slot_suffix=_a', 'deployment-unresolvable'],
    [`androidboot.slot_suffix=_c ${OSTREE_ARGUMENT}`, 'cmdline-slot-unknown'],
    [`androidboot.slot_suffix= ${OSTREE_ARGUMENT}`, 'cmdline-slot-unknown'],
  ])('%s: neither boots', (cmdline, code) => {
    expect(refusesAlike({ conf: yes, cmdline, disturb })).toBe(code);
  });
});

describe('a lesser kernel', () => {
  const yes = conf(...composefs('yes'));
  const loops = (lacks: string) => bootsAlike({ conf: yes, lacks }).loops;

  it('that mounts no files as EROFS: a loop device, gone with the last mount', async () => {
    expect(loops('f')).toEqual(['1 1 1 4096 ']);
    const left = () => execFileSync('losetup', ['--list', '--noheadings'], { encoding: 'utf8' });
    await expect.poll(left, { timeout: 10_000 }).not.toContain(CHECKSUM);
  });

  it('that appends no layers: one text names them, with the same result', () => {
    const { mounts } = bootsAlike({ conf: yes, lacks: 'a' });
    expect(mounts.join()).toContain(
      'lowerdir=/run/ostree/.private/cfsroot-lower::/sysroot/ostree/repo/objects,',
    );
    rig?.remove();
    bootsAlike({ conf: conf(...composefs('verity'), ...ROOT_TRANSIENT), lacks: 'af' });
  });

  it.each([
    [
      'has no verity=require, which is asked for',
      'verity',
      'av',
      'verity=require, which came with Linux 6.6',
    ],
    ['has no data-only layers', 'yes', 'o', 'data-only lower layers, which came with Linux 6.5'],
    ['has neither', 'verity', 'ov', 'data-only lower layers, which came with Linux 6.5'],
  ])('that %s: refused by name', (_, mode, lacks, named) => {
    rig = new ParityRig(initramfs, binary, { conf: conf(...composefs(mode)), lacks });
    const { status, said, mounts } = rig.run('sealroot');
    expect([status, codeOf(said)]).toEqual([1, 'kernel-too-old']);
    expect(said).toContain(
      `overlayfs of this kernel has no ${named}`.replace('no verity', 'no option verity'),
    );
    expect(mounts).toHaveLength(1);
  });

  it('that has no verity=require, which nobody asks for', () => {
    bootsAlike({ conf: yes, lacks: 'av' });
  });

  describe('without mount_setattr(2)', () => {
    it.each([
      [composefs('no')],
      [[...composefs('no'), ...READONLY]],
      [[...composefs('no'), ...READONLY, ...ETC]],
      [[...composefs('yes'), ...READONLY]],
    ])('with %j: boots', (lines) => {
      bootsAlike({ conf: conf(...lines), lacks: 'm' });
      rig?.remove();
      bootsAlike({ conf: conf(...lines), lacks: 'm', disk: 'ro' });
    });

    it('without an image, or with changes over /usr: boots', () => {
      bootsAlike({ conf: conf(...composefs('maybe')), image: false, lacks: 'm' });
      rig?.remove();
      bootsAlike({ conf: conf(...composefs('no'), ...READONLY), disturb: hotfix, lacks: 'm' });
    });

    it('a disk that is mounted with more restrictions, and /var mounted here: as by a newer kernel', () => {
      const scenario: Scenario = {
        conf: conf(...composefs('no'), ...READONLY),
        disk: 'rw,nosuid,nodev,noexec,noatime',
        propagation: 'shared',
        run: ['ostree/initramfs-mount-var'],
      };
      // On one disk: the record has the number of an inode.
      rig = new ParityRig(initramfs, binary, scenario);
      const older = rig.run('sealroot', 'm');
      const newer = rig.run('sealroot');
      expect(newer.mounts.filter((line) => / ro,nosuid,nodev,noexec,noatime /.test(line))).toHaveLength(2);
      expect(newer.mounts.filter((line) => / shared /.test(line))).toHaveLength(1);
      expect(comparable(older), older.said).toEqual(comparable(newer));
    });

    it('a mount that cannot be made read-only: refused, and gone', () => {
      const run = ['ostree/.private/clone'];
      rig = new ParityRig(initramfs, binary, { conf: conf(...composefs('no')), run, lacks: 'm' });
      const { said, mounts } = rig.run('sealroot');
      expect(codeOf(said)).toBe('mount-failed');
      expect(mounts).toHaveLength(1);
    });
  });
});

describe('what is otherwise on purpose', () => {
  function ours(scenario: Scenario): Outcome {
    rig = new ParityRig(initramfs, binary, scenario);
    return rig.run('sealroot');
  }

  it('a policy that does not say whether the boot is sealed: refused, where the reference boots without composefs', () => {
    const { reference, ours } = both({ conf: conf(...READONLY) });
    expect([reference.status, ours.status]).toEqual([0, 1]);
    expect(codeOf(ours.said)).toBe('policy-not-sealed');
  });

  it('a sealed policy: refused for want of a key, an argument of the kernel notwithstanding', () => {
    const argument = `${OSTREE_ARGUMENT} ostree.prepare-root.composefs=0`;
    const { reference, ours } = both({ conf: conf(...composefs('signed')), cmdline: argument });
    expect(reference.said).toContain('Reading public key file');
    expect(codeOf(ours.said)).toBe('keys-missing');
  });

  it('an argument that would weaken the policy: named and not followed', () => {
    const cmdline = `${OSTREE_ARGUMENT} ostree.prepare-root.composefs=0`;
    const { reference, ours } = both({ conf: conf(...composefs('yes')), cmdline });
    expect([reference.status, ours.status]).toEqual([0, 0]);
    expect(reference.mounts.join()).not.toContain(' overlay composefs ');
    expect(ours.mounts.join()).toContain(' overlay composefs ');
    expect(ours.said).toContain('warning: cannot follow kernel argument ostree.prepare-root.composefs: ');
  });

  it('an argument that seals the boot: followed, whatever the policy says', () => {
    const cmdline = `${OSTREE_ARGUMENT} ostree.prepare-root.composefs=signed`;
    expect(codeOf(ours({ conf: conf(...composefs('no')), cmdline }).said)).toBe('keys-missing');
  });

  it('/boot: mounted here, where the reference leaves it to its generator', () => {
    const disturb: Disturbance = ({ root }) => {
      rmSync(join(root, 'boot/loader'), { force: true });
      symlinkSync('loader.0', join(root, 'boot/loader'));
    };
    for (const mode of ['yes', 'no']) {
      const { reference, ours } = both({ conf: conf(...composefs(mode)), disturb });
      const boot = ours.mounts.filter((line) =>
        line.startsWith('/sysroot/boot on /sysroot /sysroot/boot rw'),
      );
      expect(boot).toHaveLength(1);
      expect(ours.mounts.filter((line) => line !== boot[0])).toEqual(reference.mounts);
      rig?.remove();
    }
  });

  it.each([
    ['yes', WRITABLE],
    ['yes', READONLY],
    ['no', WRITABLE],
    ['no', READONLY],
  ])('the marker for /var with composefs.enabled=%s, %j: heeded; it stops the reference, which wants no /run/ostree', (mode, sysroot) => {
    const scenario = { conf: conf(...composefs(mode), ...sysroot), run: ['ostree/initramfs-mount-var'] };
    const { reference, ours } = both(scenario);
    expect(reference.said).toContain('Failed to create /run/ostree: File exists');
    const place = '/sysroot/var on /sysroot /sysroot/ostree/deploy/os/var rw';
    expect(ours.mounts.filter((line) => line.startsWith(place))).toHaveLength(1);
    expect(ours.access).toContain('var writable');
  });

  it('ostree=latest without signatures: refused, for nobody vouches for a timestamp', () => {
    expect(codeOf(ours({ conf: conf(...composefs('yes')), cmdline: 'ostree=latest' }).said)).toBe(
      'no-candidate',
    );
  });
});
