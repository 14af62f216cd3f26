import { describe, expect, it } from 'vitest';
import { kernelArguments } from '../../src/formats/cmdline.ts';
import { ascii, utf8 } from '../../src/formats/encoding.ts';
import { DEFAULT_KEYPATH, parsePolicy } from '../../src/formats/policy.ts';

const NO_DEMANDS_OF_POLICY = { refs: [], minTimestamp: 0n, keyLimits: [] };
const DEFAULTS = { onFailure: 'emergency', allowsShell: false, rebuildsImage: false, ignoredArguments: [] };
const SIGNED = '[composefs]\nenabled=signed\n';

describe('parsePolicy()', () => {
  it("has ostree's defaults", () => {
    expect(parsePolicy(utf8(SIGNED))).toEqual({
      sealed: true,
      keypath: DEFAULT_KEYPATH,
      sysrootReadonly: true,
      demands: NO_DEMANDS_OF_POLICY,
      ...DEFAULTS,
    });
  });

  it('reads keypath and sysroot.readonly, and ignores what ostree would ignore', () => {
    const text = `${SIGNED}keypath=/etc/k\nother=1\n[sysroot]\nreadonly=false\n[unknown]\nx=y\n[sealroot]\n`;
    expect(parsePolicy(utf8(text))).toEqual({
      sealed: true,
      keypath: '/etc/k',
      sysrootReadonly: false,
      demands: NO_DEMANDS_OF_POLICY,
      ...DEFAULTS,
    });
  });

  it('takes the last of a duplicate key', () => {
    expect(parsePolicy(utf8(`[composefs]\nenabled=no\nenabled=signed\n`)).sealed).toBe(true);
  });

  it('takes false for what it does not support', () => {
    const text = `${SIGNED}[etc]\ntransient=false\n[root]\ntransient=0\ntransient-ro=false\n`;
    expect(parsePolicy(utf8(text)).sealed).toBe(true);
  });

  it('names file, key and value when the policy is not sealed', () => {
    expect(() => parsePolicy(utf8('[composefs]\nenabled=verity\n'), '/x.conf')).toThrow(
      expect.objectContaining({
        kind: 'refused',
        message:
          'cannot boot by /x.conf: composefs.enabled is "verity", expected "signed", the only mode supported yet',
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
    expect(['rebuild-image=true\n', 'rebuild-image=false\n', ''].map(rebuilds)).toEqual([true, false, false]);
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

  it('refuses what they ask for and is not supported, or is malformed', () => {
    const text = `${SIGNED}[sealroot]\nallow-karg-override=true\n`;
    expect(() => parse(text, 'ostree.prepare-root.composefs=0')).toThrow(
      expect.objectContaining({ code: 'policy-not-sealed' }),
    );
    expect(() => parse(text, 'sealroot.on-failure=shell')).toThrow(
      expect.objectContaining({ code: 'policy-malformed' }),
    );
  });
});
