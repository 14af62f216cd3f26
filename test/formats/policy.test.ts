import { describe, expect, it } from 'vitest';
import { kernelArguments } from '../../src/formats/cmdline.ts';
import { ascii, utf8 } from '../../src/formats/encoding.ts';
import { refused } from '../../src/formats/errors.ts';
import { DEFAULT_KEYPATH, parsePolicy, rebuildsFor } from '../../src/formats/policy.ts';

const NO_DEMANDS_OF_POLICY = { refs: [], minTimestamp: 0n, keyLimits: [] };
const SEALED = {
  sealed: true,
  composefs: 'yes',
  requiresVerity: true,
  sysrootReadonly: true,
  etcTransient: false,
  rootTransient: 'no',
};
const DEFAULTS = { onFailure: 'emergency', allowsShell: false, rebuildsImage: false, ignoredArguments: [] };
const SIGNED = '[composefs]\nenabled=signed\n';

describe('parsePolicy()', () => {
  it("has ostree's defaults", () => {
    expect(parsePolicy(utf8(SIGNED))).toEqual({
      ...SEALED,
      keypath: DEFAULT_KEYPATH,
      demands: NO_DEMANDS_OF_POLICY,
      ...DEFAULTS,
    });
  });

  it('reads keypath and sysroot.readonly, and ignores what ostree would ignore', () => {
    const text = `${SIGNED}keypath=/etc/k\nother=1\n[sysroot]\nreadonly=false\n[unknown]\nx=y\n[sealroot]\n`;
    expect(parsePolicy(utf8(text))).toEqual({
      ...SEALED,
      keypath: '/etc/k',
      sysrootReadonly: false,
      demands: NO_DEMANDS_OF_POLICY,
      ...DEFAULTS,
    });
  });

  it('takes the last of a duplicate key', () => {
    expect(parsePolicy(utf8(`[composefs]\nenabled=no\nenabled=signed\n`)).sealed).toBe(true);
  });

  it.each([
    ['verity', { sealed: false, composefs: 'yes', requiresVerity: true, sysrootReadonly: true }],
    ['yes', { sealed: false, composefs: 'yes', requiresVerity: false, sysrootReadonly: true }],
    ['1', { sealed: false, composefs: 'yes', requiresVerity: false, sysrootReadonly: true }],
    ['maybe', { sealed: false, composefs: 'maybe', requiresVerity: false, sysrootReadonly: false }],
    ['no', { sealed: false, composefs: 'no', requiresVerity: false, sysrootReadonly: false }],
    ['false', { sealed: false, composefs: 'no', requiresVerity: false, sysrootReadonly: false }],
  ])('knows the mode %s', (mode, expected) => {
    expect(parsePolicy(utf8(`[composefs]\nenabled=${mode}\n`))).toMatchObject(expected);
  });

  it('reads what is transient', () => {
    const transient = (lines: string) => {
      const { etcTransient, rootTransient } = parsePolicy(utf8(`${SIGNED}${lines}`));
      return [etcTransient, rootTransient];
    };
    expect(transient('[etc]\ntransient=false\n[root]\ntransient=0\ntransient-ro=false\n')).toEqual([
      false,
      'no',
    ]);
    expect(transient('[etc]\ntransient=true\n')).toEqual([true, 'no']);
    expect(transient('[root]\ntransient=true\n')).toEqual([false, 'yes']);
    expect(transient('[root]\ntransient-ro=true\n')).toEqual([false, 'read-only']);
  });

  it('names the file when it does not say whether the boot is sealed', () => {
    expect(() => parsePolicy(utf8('[sysroot]\nreadonly=true\n'), '/x.conf')).toThrow(
      expect.objectContaining({
        kind: 'refused',
        code: 'policy-not-sealed',
        message:
          'cannot boot by /x.conf: composefs.enabled is not set, expected "signed", or what is to boot unsealed',
      }),
    );
  });

  it('names the unknown key, or the line of the duplicate, in [sealroot]', () => {
    const messageOf = (lines: string) => {
      try {
        parsePolicy(utf8(`${SIGNED}[sealroot]\n${lines}`), '/x.conf');
        return 'accepted';
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(messageOf('mode=x\n')).toBe('cannot read /x.conf: unknown key "mode" in [sealroot]');
    expect(messageOf('mode=x\nmode=x\n')).toBe(
      'cannot read /x.conf: duplicate key "mode" in [sealroot], line 5',
    );
  });

  it('reads the demands on a commit', () => {
    const key = Buffer.alloc(32, 5).toString('base64');
    const text = `${SIGNED}[sealroot]\nrefs=os/a;os/b;\nmin-timestamp=17\nnot-after=${key} 18;${key} 19\n`;
    expect(parsePolicy(utf8(text)).demands).toEqual({
      refs: ['os/a', 'os/b'],
      minTimestamp: 17n,
      keyLimits: [18n, 19n].map((notAfter) => ({ key: new Uint8Array(32).fill(5), notAfter })),
    });
  });

  it('builds no image again unless it says so', () => {
    const rebuilds = (line: string) => parsePolicy(utf8(`${SIGNED}[sealroot]\n${line}`)).rebuildsImage;
    const lines = ['yes', 'true', 'no', 'false'].map((value) => `rebuild-image=${value}\n`);
    expect([...lines, ''].map(rebuilds)).toEqual([true, true, false, false, false]);
    expect(() => rebuilds('rebuild-image=maybe\n')).toThrow('rebuild-image');
  });

  it('reads what comes after a failure', () => {
    const actionOf = (lines: string) => {
      const { onFailure, allowsShell } = parsePolicy(utf8(`${SIGNED}[sealroot]\n${lines}`));
      return [onFailure, allowsShell];
    };
    expect(actionOf('')).toEqual(['emergency', false]);
    expect(actionOf('on-failure=reboot\n')).toEqual(['reboot', false]);
    expect(actionOf('on-failure=next-deployment\nshell=true\n')).toEqual(['next-deployment', true]);
    for (const lines of [
      'on-failure=halt\n',
      'on-failure=\n',
      'shell=yes\n',
      'on-failure=poweroff\nshell=1\n',
    ]) {
      expect(() => actionOf(lines), lines).toThrow(expect.objectContaining({ code: 'policy-malformed' }));
    }
  });
});

describe('parsePolicy() and kernel arguments', () => {
  const CMDLINE =
    'root=x ostree=/a ostree.prepare-root.composefs=0 ostree.x sealroot.on-failure=reboot sealroot.shell=true ' +
    'sealroot.min-timestamp=7 sealroot.min-timestamp=8 sealroot.nonsense=1 sealroot.allow-karg-override=true sealroot=0';
  const OURS = [
    'ostree.prepare-root.composefs',
    'ostree.x',
    'sealroot.on-failure',
    'sealroot.shell',
    'sealroot.min-timestamp',
    'sealroot.min-timestamp',
    'sealroot.nonsense',
    'sealroot.allow-karg-override',
  ];
  const parse = (text: string, cmdline: string) =>
    parsePolicy(utf8(text), 'policy', kernelArguments(ascii(cmdline)));

  it.each(['', '[sealroot]\nallow-karg-override=false\n'])('follows none, and names those: %j', (lines) => {
    const policy = parse(`${SIGNED}${lines}`, CMDLINE);
    expect(policy).toEqual({ ...parsePolicy(utf8(SIGNED)), ignoredArguments: OURS });
  });

  it('follows those that the policy lets through, the last of each', () => {
    const text = `${SIGNED}[sealroot]\nallow-karg-override=true\non-failure=poweroff\n`;
    const policy = parse(text, CMDLINE.replace('composefs=0', 'composefs=signed'));
    expect(policy).toMatchObject({ onFailure: 'reboot', allowsShell: false, demands: { minTimestamp: 8n } });
    expect(policy.ignoredArguments).toEqual([
      'ostree.x',
      'sealroot.shell',
      'sealroot.nonsense',
      'sealroot.allow-karg-override',
    ]);
  });

  it('follows one that seals the boot, whatever the policy says', () => {
    const sealing = 'ostree.prepare-root.composefs=signed';
    for (const text of ['[composefs]\nenabled=no\n', '[composefs]\nenabled=verity\n', SIGNED]) {
      expect(parse(text, `${sealing} ostree.prepare-root.composefs=no`)).toMatchObject({
        ...SEALED,
        ignoredArguments: ['ostree.prepare-root.composefs'],
      });
      expect(parse(text, sealing).ignoredArguments).toEqual([]);
    }
  });

  it('takes the first for the mode, and leaves fs-verity required, as ostree does', () => {
    const modeOf = (text: string, cmdline: string) => {
      const { sealed, composefs, requiresVerity } = parse(
        `${text}[sealroot]\nallow-karg-override=true\n`,
        cmdline,
      );
      return [sealed, composefs, requiresVerity];
    };
    const argument = (value: string) => `ostree.prepare-root.composefs=${value}`;
    expect(modeOf(SIGNED, `${argument('maybe')} ${argument('signed')}`)).toEqual([false, 'maybe', true]);
    expect(modeOf('[composefs]\nenabled=yes\n', argument('0'))).toEqual([false, 'no', false]);
    expect(modeOf('', argument('yes'))).toEqual([false, 'yes', false]);
  });

  it('refuses what they say when it is malformed', () => {
    const text = `${SIGNED}[sealroot]\nallow-karg-override=true\n`;
    for (const argument of ['ostree.prepare-root.composefs=perhaps', 'sealroot.on-failure=shell']) {
      expect(() => parse(text, argument)).toThrow(expect.objectContaining({ code: 'policy-malformed' }));
    }
  });
});

describe('rebuildsFor()', () => {
  const policy = (value: string) => parsePolicy(utf8(`${SIGNED}[sealroot]\nrebuild-image=${value}\n`));

  it.each([
    ['yes', refused('image-missing', 'cannot'), true],
    ['yes', refused('image-unreadable', 'cannot'), true],
    ['yes', refused('kernel-mismatch', 'cannot'), false],
    ['yes', new TypeError('image-missing'), false],
    ['no', refused('image-missing', 'cannot'), false],
  ])('with rebuild-image=%s and %s: %s', (value, error, expected) => {
    expect(rebuildsFor(policy(value), error)).toBe(expected);
  });
});
