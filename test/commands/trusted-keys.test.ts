import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadTrustedKeys } from '../../src/commands/trusted-keys.ts';

const folder = mkdtempSync(join(tmpdir(), 'sealroot-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

function keyFile(name: string, ...lines: string[]): string {
  const path = join(folder, name);
  writeFileSync(path, `${lines.join('\n')}\n`);
  return path;
}

const A = Buffer.alloc(32, 1).toString('base64');
const B = Buffer.alloc(32, 2).toString('base64');
const C = Buffer.alloc(32, 3).toString('base64');
const nowhere = join(folder, 'nowhere');

describe('loadTrustedKeys()', () => {
  it('takes the named files and not the recorded keys', () => {
    const recorded = keyFile('recorded', C);
    const trusted = loadTrustedKeys([keyFile('named', A)], recorded);
    expect(trusted.keys.map(({ bytes }) => bytes[0])).toEqual([1]);
  });

  it('takes the recorded keys when no file is named', () => {
    const trusted = loadTrustedKeys([], keyFile('recorded', C));
    expect(trusted.keys.map(({ bytes }) => bytes[0])).toEqual([3]);
  });

  it('tells for each key where it stands, over several files', () => {
    const first = keyFile('first', '', A, 'nonsense', B);
    const second = keyFile('second', C);
    const trusted = loadTrustedKeys([first, second], nowhere);
    const places = trusted.keys.map(({ line }) => trusted.placeOf(line));
    expect(places).toEqual([
      { publicKey: A, file: first, line: 2 },
      { publicKey: B, file: first, line: 4 },
      { publicKey: C, file: second, line: 1 },
    ]);
    expect(trusted.warnings).toEqual([expect.stringContaining(`${first}: `)]);
  });

  it('refuses when no key is named and none recorded', () => {
    expect(() => loadTrustedKeys([], nowhere)).toThrow(
      expect.objectContaining({ code: 'keys-missing', kind: 'refused' }),
    );
  });

  it('refuses a file without a usable key, and does not fall back to the recorded ones', () => {
    const recorded = keyFile('recorded', C);
    expect(() => loadTrustedKeys([keyFile('empty', 'nonsense')], recorded)).toThrow(
      expect.objectContaining({ code: 'keys-missing' }),
    );
  });
});
