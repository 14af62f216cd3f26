/** Only ostree/deploy/OS/deploy/CHECKSUM.SERIAL is a deployment, letter by letter. */

import { describe, expect, it } from 'vitest';
import { parseDeploymentPath } from '../../initrd/deployment-path.ts';
import type { ByteString } from '../../src/formats/encoding.ts';
import { SealrootError } from '../../src/formats/errors.ts';

const CHECKSUM = '0123456789abcdef'.repeat(4);

function parse(path: string) {
  return parseDeploymentPath(path as ByteString);
}

describe('parseDeploymentPath()', () => {
  it.each([
    [`ostree/deploy/os/deploy/${CHECKSUM}.0`, 'os'],
    [`ostree/deploy/os/deploy/${CHECKSUM}.2147483647`, 'os'],
    [`ostree/deploy/my os\xff/deploy/${CHECKSUM}.12`, 'my os\xff'],
    [`ostree/deploy/deploy/deploy/${CHECKSUM}.1`, 'deploy'],
  ])('accepts %s', (path, stateroot) => {
    expect(parse(path)).toEqual({ path, stateroot, checksum: CHECKSUM });
  });

  it.each([
    '',
    'ostree',
    `/ostree/deploy/os/deploy/${CHECKSUM}.0`,
    `ostree/deploy/os/deploy/${CHECKSUM}.0/`,
    `ostree/deploy/os/deploy/${CHECKSUM}.0/etc`,
    `ostree/deploy/deploy/${CHECKSUM}.0`,
    `ostree/deploy//deploy/${CHECKSUM}.0`,
    `ostree/deploy/../deploy/${CHECKSUM}.0`,
    `ostree/deploy/./deploy/${CHECKSUM}.0`,
    `ostree/deploy/os/backing/${CHECKSUM}.0`,
    `other/deploy/os/deploy/${CHECKSUM}.0`,
    `ostree/repo/os/deploy/${CHECKSUM}.0`,
    `ostree/deploy/os/deploy/${CHECKSUM}`,
    `ostree/deploy/os/deploy/${CHECKSUM}.`,
    `ostree/deploy/os/deploy/.${CHECKSUM}.0`,
    `ostree/deploy/os/deploy/${CHECKSUM}.00`,
    `ostree/deploy/os/deploy/${CHECKSUM}.+1`,
    `ostree/deploy/os/deploy/${CHECKSUM}.0 (deleted)`,
    `ostree/deploy/os/deploy/${CHECKSUM}.99999999999`,
    `ostree/deploy/os/deploy/${CHECKSUM.slice(1)}.0`,
    `ostree/deploy/os/deploy/${CHECKSUM}0.0`,
    `ostree/deploy/os/deploy/${CHECKSUM.toUpperCase()}.0`,
    `ostree/deploy/os/deploy/${CHECKSUM.replace('a', 'g')}.0`,
  ])('refuses "%s"', (path) => {
    expect(() => parse(path)).toThrow(SealrootError);
    expect(() => parse(path)).toThrow(
      /^cannot boot .*: expected ostree\/deploy\/OS\/deploy\/CHECKSUM\.SERIAL$/,
    );
  });
});
