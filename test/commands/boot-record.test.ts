import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readBootRecord } from '../../src/commands/boot-record.ts';

const folder = mkdtempSync(join(tmpdir(), 'sealroot-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

const RECORD = {
  deployment: 'ostree/deploy/os/deploy/x.0',
  commit: 'ab',
  digest: 'cd',
  key: { publicKey: 'k', file: '/k', line: 1 },
  passedOver: [],
  microseconds: { policy: 3 },
};

function read(text: string) {
  const path = join(folder, 'booted.json');
  writeFileSync(path, text);
  return readBootRecord(path);
}

describe('readBootRecord()', () => {
  it('reads what the boot has noted', () => {
    expect(read(`${JSON.stringify(RECORD)}\n`)).toEqual(RECORD);
  });

  it.each([
    '',
    '{',
    'null',
    '[]',
    '{"deployment":1}',
    JSON.stringify({ ...RECORD, key: undefined }),
  ])('takes %j for no record', (text) => {
    expect(read(text)).toBeUndefined();
  });

  it('is content without one', () => {
    expect(readBootRecord(join(folder, 'none'))).toBeUndefined();
  });
});
