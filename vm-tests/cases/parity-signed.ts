/**
 * The same with composefs.enabled=signed, beside an ostree-prepare-root that verifies signatures
 * (test/oracles/reference-ed25519.c): every boot and every refusal that the two have in common, and on which side each of
 * them is where we differ on purpose.
 */
import { strict as assert } from 'node:assert';
import { readFile } from 'node:fs/promises';
import { generateKeyPair, sign } from '../../src/adapters/keys.ts';
import { base64 } from '../../src/formats/encoding.ts';
import { imageWithBackdoor } from '../another-image.ts';
import { ensureBaseDisk } from '../base-disk.ts';
import type { CaseContext, VmCase } from '../case.ts';
import { file } from '../cpio.ts';
import { addCommit, metadataWith, type OtherCommit, otherCommit, signatureOf } from '../other-commit.ts';
import {
  ETC,
  type Outcomes,
  parityPrograms,
  policyOf,
  ROOT,
  ROOT_READONLY,
  requireAlike,
  requireRefusal,
  requireRefusedAlike,
  type Turn,
  takeTurns,
} from '../parity-guest.ts';
import type { Outcome } from '../parity-outcome.ts';
import { RefusalCase } from '../refusal.ts';

const WRITABLE = '[sysroot]\nreadonly=false\n';
const ARGUMENT = 'ostree.prepare-root.composefs';
const signed = (more = ''): string => policyOf('signed', more);

/** The disk's key, where `composefs.keypath` has to say so. */
const ELSEWHERE = 'usr/elsewhere.pub';

type Row = Turn & { readonly expect: (reference: Outcome, ours: Outcome) => void };

/** Both boot, alike, to a root that the kernel checks, and the record names the key file. */
function alike(more: (ours: Outcome) => void = () => {}): Row['expect'] {
  return (reference, ours) => {
    requireAlike(reference, ours);
    requireSealed(ours);
    more(ours);
  };
}

function refused(code: string, why: RegExp): Row['expect'] {
  return (reference, ours) => requireRefusedAlike(reference, ours, code, why);
}

function requireSealed({ mounts, record, said }: Outcome): void {
  const root = mounts.find((line) => line.includes(' overlay composefs '));
  assert.match(root ?? '', /verity=require/);
  assert.match(record, /composefs\.signed/);
  assert.match(said, / \(digest [0-9a-f]{64}, key line \d+\)$/m);
}

function writable({ access }: Outcome): string[] {
  return ['.', 'usr', 'etc'].filter((folder) => access.includes(`${folder} writable`));
}

const NO_SIGNATURE = /Checking commit signature: No valid \(of 1\) signatures found/;
const OPTIONS: readonly Row[] = [
  { name: 'plain', policy: signed(), expect: alike((ours) => assert.deepEqual(writable(ours), ['etc'])) },
  { name: 'sysroot-writable', policy: signed(WRITABLE), expect: alike() },
  {
    name: 'etc-transient',
    policy: signed(ETC),
    expect: alike(({ mounts, record }) => {
      assert.ok(mounts.some((line) => /^\/sysroot\/etc on \/sysroot .* overlay overlay /.test(line)));
      assert.match(record, /transient-etc/);
    }),
  },
  {
    name: 'root-transient',
    policy: signed(ROOT),
    expect: alike((ours) => assert.deepEqual(writable(ours), ['.', 'usr', 'etc'])),
  },
  { name: 'both-transient', policy: signed(`${ETC}${ROOT}${WRITABLE}`), expect: alike() },
  { name: 'root-transient-readonly', policy: signed(`${ETC}${ROOT_READONLY}`), expect: alike() },
  {
    name: 'root-transient-twice',
    policy: signed(`${ROOT}transient-ro=true\n`),
    expect: refused('policy-malformed', /Cannot set both root.transient and root.transient-ro/),
  },
  {
    name: 'loop-device',
    policy: signed(),
    lacks: 'af',
    expect: alike(({ loops }) => assert.deepEqual(loops, ['1 1 1 4096 '])),
  },
  { name: 'argument-signed', policy: signed(), arguments: `${ARGUMENT}=signed`, expect: alike() },
  {
    name: 'argument-seals',
    policy: '[composefs]\nenabled=no\n',
    arguments: `${ARGUMENT}=signed`,
    // It has read no keys by then.
    expect: (reference, ours) => {
      assert.equal(reference.status, 134, reference.said);
      assert.equal(ours.status, 0, ours.said);
      requireSealed(ours);
    },
  },
  ...['0', 'maybe'].map(
    (value): Row => ({
      name: `argument-${value}`,
      policy: signed(),
      arguments: `${ARGUMENT}=${value}`,
      expect: (reference, ours) => {
        assert.deepEqual([reference.status, ours.status], [0, 0], reference.said);
        assert.doesNotMatch(reference.record, /composefs\.signed/);
        requireSealed(ours);
        assert.match(ours.said, /warning: cannot follow kernel argument ostree\.prepare-root\.composefs: /);
      },
    }),
  ),
];

/** The disk's key, and one that signed nothing here. */
interface Keys {
  readonly good: string;
  readonly other: string;
}

function keyRows({ good, other }: Keys): readonly Row[] {
  const missing = (file: string) =>
    new RegExp(`Reading public key file '${file}': .*No such file or directory`);
  return [
    {
      name: 'keys-good-last',
      policy: signed(),
      keys: `${other}\n\n${good}\n`,
      expect: alike(({ said }) => assert.match(said, /key line 3\)/)),
    },
    {
      name: 'keys-good-first',
      policy: signed(),
      keys: `${good}\nAAAA\n${other}`,
      expect: alike(({ said }) => assert.match(said, /warning: cannot use public key in line 2: /)),
    },
    {
      name: 'keys-malformed-first',
      policy: signed(),
      keys: `AAAA\n${other}\n${good}\n`,
      // A malformed key hides no good one behind it.
      expect: (reference, ours) => {
        assert.equal(reference.status, 1);
        assert.match(reference.said, /Checking commit signature: signature verification failed: /);
        assert.equal(ours.status, 0, ours.said);
        requireSealed(ours);
      },
    },
    {
      name: 'keys-wrong',
      policy: signed(),
      keys: `${other}\n`,
      expect: refused('signature-none-valid', NO_SIGNATURE),
    },
    {
      name: 'keys-empty',
      policy: signed(),
      keys: '',
      expect: refused('keys-missing', /no public keys found/),
    },
    {
      name: 'keys-missing',
      policy: signed(),
      keys: null,
      expect: refused('keys-missing', missing('/etc/ostree/initramfs-root-binding.key')),
    },
    {
      name: 'keypath',
      policy: signed(`keypath=/${ELSEWHERE}\n`),
      keys: `${other}\n`,
      expect: alike(({ record }) => assert.match(record, /usr\/elsewhere\.pub/)),
    },
    {
      name: 'keypath-missing',
      policy: signed('keypath=/usr/share/none.pub\n'),
      expect: refused('keys-missing', missing('/usr/share/none.pub')),
    },
  ];
}

function signatureRows(stage: RefusalCase): readonly Row[] {
  const commit = stage.disk.read(stage.commitPath);
  const good = signatureOf(stage, commit);
  const strangers = sign(generateKeyPair(), commit);
  const row = (name: string, signatures: readonly Uint8Array[], expect: Row['expect']): Row => ({
    name,
    policy: signed(),
    commitmeta: metadataWith(signatures),
    expect,
  });
  const NONE = /Signature validation requested, but no signatures in commit/;
  return [
    row('signatures-good-last', [strangers, good], alike()),
    row('signatures-strangers', [strangers], refused('signature-none-valid', NO_SIGNATURE)),
    row('signatures-short-first', [good.subarray(1), good], (reference, ours) => {
      assert.equal(reference.status, 1);
      assert.match(reference.said, /Checking commit signature: signature verification failed: /);
      assert.equal(ours.status, 0, ours.said);
      requireSealed(ours);
    }),
    {
      name: 'signatures-none',
      policy: signed(),
      commitmeta: new Uint8Array(0),
      expect: refused('signatures-missing', NONE),
    },
    {
      name: 'commitmeta-missing',
      policy: signed(),
      commitmeta: null,
      expect: refused('commitmeta-missing', /No commitmeta for deploy /),
    },
  ];
}

/** Deployments beside the disk's own, without anything but /etc and the image, and what becomes of each. */
function deploymentRows(stage: RefusalCase): readonly Row[] {
  const { base, disk } = stage;
  const image = disk.read(stage.imagePath);
  const deployed = (deployment: string, bytes: Uint8Array | undefined, verity = true) => {
    disk.makeDirectory(deployment);
    disk.makeDirectory(`${deployment}/etc`);
    if (bytes !== undefined) disk.replace(`${deployment}/.ostree.cfs`, bytes, { verity });
    return { policy: signed(), deployment };
  };
  /** Another of the same commit. */
  const again = (serial: number) => base.deployment.replace(/0$/, `${serial}`);
  const flipped = deployed(again(4), image);
  disk.flipBit(`${flipped.deployment}/.ostree.cfs`, 1024);
  const hotfix = deployed(again(5), image);
  for (const name of ['upper', 'work']) disk.makeDirectory(`${hotfix.deployment}/.usr-ovl-${name}`);
  disk.replace(`${hotfix.deployment}/.usr-ovl-upper/added`, Buffer.from('hotfix\n'), { verity: false });
  const ofCommit = (commit: OtherCommit, name = commit.checksum) => {
    addCommit(stage, { ...commit, checksum: name });
    return deployed(stage.deploymentOf(name), image);
  };
  const later = otherCommit(stage, (commit) => ({ ...commit, timestamp: commit.timestamp + 1n }));
  const mount = (why: string) => new RegExp(`composefs: failed to mount: ${why}`);
  return [
    { name: 'image-again', ...deployed(again(1), image), expect: alike() },
    {
      name: 'image-missing',
      ...deployed(again(2), undefined),
      expect: refused('image-missing', mount('No such file')),
    },
    {
      name: 'image-without-verity',
      ...deployed(again(3), image, false),
      expect: refused('image-verity-missing', mount('fsverity not enabled')),
    },
    { name: 'image-flipped', ...flipped, expect: refused('image-unreadable', mount('Input/output error')) },
    {
      // Direct I/O of a loop device does not go around fs-verity: the kernel reads such files by their pages all the same.
      name: 'image-flipped-below-loop-device',
      ...flipped,
      lacks: 'f',
      expect: (reference, ours) => {
        requireRefusedAlike(reference, ours, 'image-unreadable', mount('Input/output error'));
        assert.match(ours.said, /: EIO, /);
        assert.deepEqual(ours.loops, []);
      },
    },
    {
      name: 'image-another',
      ...deployed(again(6), imageWithBackdoor(image)),
      expect: refused('image-digest-mismatch', mount('Wrong fsverity digest')),
    },
    {
      // What is kept beside a deployment is signed by nobody: neither mounts it, and ours says so.
      name: 'hotfix',
      ...hotfix,
      expect: alike(({ access, said }) => {
        assert.ok(!access.some((line) => line.startsWith('usr/added')));
        assert.match(said, /\.usr-ovl-work over \/usr: the boot is sealed/);
      }),
    },
    { name: 'commit-later', ...ofCommit(later), expect: alike() },
    {
      // The reference does not ask whether the commit is the one that the deployment is named after.
      name: 'commit-of-another-name',
      ...ofCommit(later, 'a'.repeat(64)),
      expect: (reference, ours) => {
        assert.equal(reference.status, 0, reference.said);
        requireRefusal(ours, 'commit-checksum-mismatch');
      },
    },
  ];
}

async function judge(context: CaseContext, rows: readonly Row[], outcome: Outcomes): Promise<void> {
  for (const row of rows) {
    await context.step(row.name, () => row.expect(outcome('reference', row), outcome('sealroot', row)));
  }
}

export default {
  title: 'beside an ostree-prepare-root that verifies signatures, the same sealed root',
  deadlineSeconds: 1200,
  async run(context) {
    const base = await ensureBaseDisk();
    const stage = new RefusalCase(context, base);
    const good = (await readFile(base.keys.publicKey, 'utf8')).trim();
    const keys = { good, other: base64(generateKeyPair().publicKey) };
    const rows = [...OPTIONS, ...keyRows(keys), ...signatureRows(stage), ...deploymentRows(stage)];
    const programs = await parityPrograms(context.folder, { ed25519: true });
    const outcome = await context.step('both run in one guest', () =>
      takeTurns(stage, 'signed', [...programs, file(ELSEWHERE, `${good}\n`)], rows),
    );
    await judge(context, rows, outcome);
  },
} satisfies VmCase;
