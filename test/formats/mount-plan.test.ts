/** The mount table as data: complete, in order, and the same whatever a caller could wish to weaken. */

import { describe, expect, it } from 'vitest';
import { ascii, type ByteString, hex, toByteString, utf8 } from '../../src/formats/encoding.ts';
import { decode } from '../../src/formats/gvariant.ts';
import { type MountFacts, type MountStep, planMounts } from '../../src/formats/mount-plan.ts';
import { parsePolicy } from '../../src/formats/policy.ts';

const DEPLOYMENT = `ostree/deploy/debian/deploy/${'ab'.repeat(32)}.1` as ByteString;

const POLICY = parsePolicy(utf8('[composefs]\nenabled=signed\nkeypath=/etc/key\n'));

const FACTS: MountFacts = {
  trust: {
    policy: POLICY,
    files: { policy: new Uint8Array([4, 5, 6]), keys: new Uint8Array([1, 2, 3]), revoked: undefined },
  },
  kernel: undefined,
  root: ascii('/sysroot'),
  deployment: DEPLOYMENT,
  stateroot: ascii('debian'),
  device: 0xfe02n,
  inode: 1234n,
  rootBlockDevice: { major: 254, minor: 2 },
  hasBootEntries: true,
  mountsVar: false,
  hasImage: true,
  transientEtc: undefined,
  usrOverlay: undefined,
};

/** One line a step; contents as hex. */
function describeStep(step: MountStep): string {
  const { step: name, ...rest } = step;
  const words = Object.values(rest).map((value) =>
    value instanceof Uint8Array
      ? `<${hex(value).slice(0, 6)}>`
      : typeof value === 'number'
        ? value.toString(8)
        : value,
  );
  return [name, ...words].join(' ');
}

function plan(facts: Partial<MountFacts> = {}): string[] {
  return planMounts({ ...FACTS, ...facts }).map(describeStep);
}

function withReadonly(sysrootReadonly: boolean): Partial<MountFacts> {
  return { trust: { ...FACTS.trust, policy: { ...POLICY, sysrootReadonly } } };
}

describe('planMounts()', () => {
  it("gives ostree-prepare-root's table for a sealed boot with a read-only /sysroot", () => {
    expect(plan()).toEqual([
      'make-directory /run/ostree 755',
      'make-directory /run/ostree/.private 0',
      'make-directory /run/ostree/.private/cfsroot-lower 700',
      'make-private /',
      'attach-image /run/ostree/.private/cfsroot-lower',
      'create-root /run/ostree/.private/cfsroot-lower /sysroot/ostree/repo/objects require read-only',
      'detach /run/ostree/.private/cfsroot-lower',
      `clone etc ${DEPLOYMENT}/etc writable`,
      'clone sysroot  read-only',
      'clone var ostree/deploy/debian/var writable',
      'clone boot boot inherited',
      'make-directory /run/systemd 755',
      'make-link /run/systemd/volatile-root /dev/block/254:2',
      'make-directory /run/sealroot 755',
      'write-file /run/sealroot/keys <010203> 444',
      'write-file /run/sealroot/prepare-root.conf <040506> 444',
      'write-file /run/ostree-booted <626163> 644',
      'detach /sysroot',
      'attach root /sysroot',
      'attach-if-directory boot /sysroot/boot',
      'attach etc /sysroot/etc',
      'attach sysroot /sysroot/sysroot',
      'attach-below var sysroot ostree/deploy/debian/var',
    ]);
  });

  it('binds the tree of the deployment where there is no image', () => {
    const policy = parsePolicy(utf8('[composefs]\nenabled=no\n'));
    const files = { policy: new Uint8Array([4, 5, 6]), keys: undefined, revoked: undefined };
    expect(plan({ trust: { policy, files }, hasImage: false })).toEqual([
      'make-directory /run/ostree 755',
      'make-directory /run/ostree/.private 0',
      'make-private /',
      `clone root ${DEPLOYMENT} inherited`,
      `clone usr ${DEPLOYMENT}/usr read-only`,
      'clone sysroot  inherited',
      'clone boot boot inherited',
      'make-directory /run/sealroot 755',
      'write-file /run/sealroot/prepare-root.conf <040506> 444',
      'write-file /run/ostree-booted <626163> 644',
      'detach /sysroot',
      'attach root /sysroot',
      'attach-if-directory boot /sysroot/boot',
      'attach usr /sysroot/usr',
      'attach sysroot /sysroot/sysroot',
    ]);
  });

  it('lets the root stand aside while overlays are made over parts of it', () => {
    const steps = plan({ transientEtc: ascii('/run/ostree/transient-etc.000000'), usrOverlay: 'read-only' });
    const [aside, away] = ['attach root /run/ostree/.private/new-root', 'detach /sysroot'];
    const beside = `/sysroot/${DEPLOYMENT}/.usr-ovl`;
    const layer = '/run/ostree/transient-etc.000000';
    const parts = steps.slice(steps.indexOf(aside) + 1, steps.indexOf(away));
    expect(parts.filter((line) => line.startsWith('create-overlay'))).toEqual([
      `create-overlay etc /run/ostree/.private/new-root/usr/etc ${layer}/upper ${layer}/work writable`,
      `create-overlay usr /run/ostree/.private/new-root/usr ${beside}-upper ${beside}-work read-only`,
    ]);
    expect(steps).not.toContain(`clone etc ${DEPLOYMENT}/etc writable`);
  });

  it('puts what is written to a transient root into memory', () => {
    for (const [lines, access] of [
      ['transient=true', 'writable'],
      ['transient-ro=true', 'read-only'],
    ]) {
      const policy = parsePolicy(utf8(`[composefs]\nenabled=yes\n[root]\n${lines}\n`));
      const steps = plan({ trust: { ...FACTS.trust, policy } });
      expect(steps).toContain(
        `create-root /run/ostree/.private/cfsroot-lower /sysroot/ostree/repo/objects off ${access} /run/ostree/.private/root/upper /run/ostree/.private/root/work`,
      );
    }
  });

  it('leaves /sysroot as the initramfs mounted it when the policy says so', () => {
    const changed = plan(withReadonly(false));
    expect(changed).toContain('clone sysroot  inherited');
    expect(changed.filter((line) => line.includes('var'))).toEqual([]);
    expect(changed).toContain(`clone etc ${DEPLOYMENT}/etc writable`);
  });

  it('leaves /boot alone without boot loader entries on the physical root', () => {
    expect(plan({ hasBootEntries: false }).filter((line) => line.includes('boot '))).toEqual([]);
  });

  it('records the revoked keys too, if there are any', () => {
    const files = { ...FACTS.trust.files, revoked: new Uint8Array([7, 8, 9]) };
    expect(plan({ trust: { policy: POLICY, files } })).toContain(
      'write-file /run/sealroot/keys.revoked <070809> 444',
    );
  });

  it('names no device when there is none to name', () => {
    expect(plan({ rootBlockDevice: undefined }).filter((line) => line.includes('systemd'))).toEqual([]);
  });

  it.each([
    [true, 'writable'],
    [false, 'inherited'],
  ])('mounts /var when the initramfs asks for it (read-only /sysroot: %s)', (readonly, access) => {
    const steps = plan({ mountsVar: true, ...withReadonly(readonly) });
    expect(steps).toContain(`clone os-var ostree/deploy/debian/var ${access}`);
    expect(steps.slice(-2)).toEqual(['attach os-var /sysroot/var', 'propagate-one-way /sysroot/var']);
  });

  it('puts everything under the root that it is given', () => {
    const steps = planMounts({ ...FACTS, root: ascii('/new/root'), mountsVar: true }).map(describeStep);
    expect(
      steps.filter((line) => line.includes('/sysroot')).filter((line) => !line.includes('/new/root')),
    ).toEqual([]);
    expect(steps).toContain('attach etc /new/root/etc');
  });

  it('attaches every mount that it makes, and only those, whatever the facts', () => {
    for (const mountsVar of [false, true]) {
      for (const hasBootEntries of [false, true]) {
        for (const readonly of [false, true]) {
          const image = { hasImage: mountsVar, usrOverlay: hasBootEntries ? 'writable' : undefined } as const;
          const facts = { ...FACTS, ...withReadonly(readonly), mountsVar, hasBootEntries, ...image };
          const steps = planMounts(facts);
          const made = steps.flatMap((step) =>
            step.step === 'clone' || step.step === 'create-overlay'
              ? [step.name]
              : step.step === 'create-root'
                ? ['root']
                : [],
          );
          const attached = new Set(steps.flatMap((step) => ('mount' in step ? [step.mount] : [])));
          expect([...attached].sort()).toEqual(made.toSorted());
        }
      }
    }
  });

  it('takes the physical root away only after all mounts and records are made', () => {
    const steps = planMounts({ ...FACTS, mountsVar: true });
    const away = steps.findIndex((step) => step.step === 'detach' && step.path === '/sysroot');
    const late = steps.slice(away).map(({ step }) => step);
    expect(late).not.toContain('clone');
    expect(late).not.toContain('write-file');
    expect(steps.slice(0, away).some(({ step }) => step === 'attach')).toBe(false);
  });

  it('tells ostree which deployment is booted and by which key file', () => {
    const record = planMounts(FACTS).find(
      (step) => step.step === 'write-file' && step.path === '/run/ostree-booted',
    );
    if (record?.step !== 'write-file') throw new Error('no record');
    const entries = decode('a{sv}', record.content, 'record');
    expect(toByteString(entries.get(ascii('composefs.signed'))?.data ?? new Uint8Array())).toBe('/etc/key\0');
    expect(entries.get(ascii('composefs.verity'))?.data).toEqual(new Uint8Array([1]));
    expect(entries.get(ascii('sysroot-ro'))?.data).toEqual(new Uint8Array([1]));
  });
});
