import { describe, expect, it } from 'vitest';
import { type DeploymentStatus, imageState } from '../../src/commands/admin-status.ts';
import { statusText } from '../../src/device-commands.ts';

const KEY = { publicKey: 'KEY=', file: '/keys', line: 3 };

const ONE: DeploymentStatus = {
  os: 'debian',
  commit: 'ab12',
  serial: 1,
  path: '/ostree/deploy/debian/deploy/ab12.1',
  booted: false,
  staged: false,
  pinned: false,
  signature: { state: 'valid', key: KEY },
  digest: 'cd34',
  image: 'sealed',
};

describe('sealroot admin status', () => {
  it('shows for people how a boot came to the booted deployment, and what it passed over', () => {
    const boot = {
      deployment: 'ostree/deploy/debian/deploy/ab12.1',
      commit: 'ab12',
      digest: 'cd34',
      key: KEY,
      passedOver: [
        { deployment: 'ostree/deploy/debian/deploy/ef56.0', code: 'image-missing', message: 'cannot' },
      ],
      microseconds: { policy: 1000, verdict: 2345 },
    };
    expect(statusText({ deployments: [{ ...ONE, booted: true, pinned: true, boot }] })).toBe(
      [
        '* debian ab12.1 (pinned)',
        '    signature  valid: KEY=  (/keys, line 3)',
        '    digest     cd34',
        '    image      sealed',
        '    booted     in 3.3 ms, by KEY=  (/keys, line 3)',
        '    passed by  ostree/deploy/debian/deploy/ef56.0: image-missing',
        '',
      ].join('\n'),
    );
  });

  it('shows one after the other', () => {
    const { digest: _, ...undigested } = ONE;
    const deployments: DeploymentStatus[] = [
      { ...ONE, staged: true, pinned: true, signature: { state: 'unknown' }, image: 'missing' },
      { ...undigested, signature: { state: 'refused', code: 'a-code', message: 'cannot' } },
    ];
    expect(statusText({ deployments })).toBe(
      [
        '  debian ab12.1 (staged, pinned)',
        '    signature  unknown: no keys to judge by',
        '    digest     cd34',
        '    image      missing',
        '  debian ab12.1',
        '    signature  refused (a-code): cannot',
        '    digest     none',
        '    image      sealed',
        '',
      ].join('\n'),
    );
    expect(statusText({ deployments: [] })).toBe('no deployments\n');
  });
});

describe('imageState()', () => {
  it('calls an image sealed only when the kernel enforces the digest that the commit names', () => {
    const measured = new Uint8Array(32).fill(0xab);
    const imageDigest = 'ab'.repeat(32);
    expect(imageState(measured, imageDigest)).toEqual({ image: 'sealed', imageDigest });
    expect(imageState(measured, 'cd'.repeat(32))).toEqual({ image: 'wrong-digest', imageDigest });
    expect(imageState(measured, undefined)).toEqual({ image: 'digest-unknown', imageDigest });
    expect(imageState(undefined, imageDigest)).toEqual({ image: 'no-verity' });
  });
});
