import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/formats/encoding.ts';
import { DEFAULT_KEYPATH, parsePolicy } from '../../src/formats/policy.ts';

const SIGNED = '[composefs]\nenabled=signed\n';

describe('parsePolicy()', () => {
  it("has ostree's defaults", () => {
    expect(parsePolicy(utf8(SIGNED))).toEqual({
      sealed: true,
      keypath: DEFAULT_KEYPATH,
      sysrootReadonly: true,
    });
  });

  it('reads keypath and sysroot.readonly, and ignores what ostree would ignore', () => {
    const text = `${SIGNED}keypath=/etc/k\nother=1\n[sysroot]\nreadonly=false\n[unknown]\nx=y\n[sealroot]\n`;
    expect(parsePolicy(utf8(text))).toEqual({ sealed: true, keypath: '/etc/k', sysrootReadonly: false });
  });

  it('takes the last of a duplicate key', () => {
    expect(parsePolicy(utf8(`[composefs]\nenabled=no\nenabled=signed\n`)).sealed).toBe(true);
  });

  it('takes false for what it does not support', () => {
    const text = `${SIGNED}[etc]\ntransient=false\n[root]\ntransient=0\ntransient-ro=false\n`;
    expect(parsePolicy(utf8(text)).sealed).toBe(true);
  });

  it('names file, key, value and remedy when the policy is not sealed', () => {
    expect(() => parsePolicy(utf8('[composefs]\nenabled=verity\n'), '/x.conf')).toThrow(
      expect.objectContaining({
        kind: 'refused',
        message:
          'cannot boot by /x.conf: composefs.enabled is "verity", expected "signed", the only mode supported yet',
        hint: 'set enabled=signed in [composefs] and rebuild the initramfs',
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
});
