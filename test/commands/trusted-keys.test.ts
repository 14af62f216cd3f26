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

/** What a boot has recorded: the folder. */
function boot(key: string, others: { revoked?: string; policy?: string } = {}): string {
  const folderOfBoot = mkdtempSync(join(folder, 'run-'));
  writeFileSync(join(folderOfBoot, 'keys'), `${key}\n`);
  if (others.revoked !== undefined) writeFileSync(join(folderOfBoot, 'keys.revoked'), others.revoked);
  if (others.policy !== undefined) writeFileSync(join(folderOfBoot, 'prepare-root.conf'), others.policy);
  return folderOfBoot;
}

const A = Buffer.alloc(32, 1).toString('base64');
const B = Buffer.alloc(32, 2).toString('base64');
const C = Buffer.alloc(32, 3).toString('base64');
const nowhere = join(folder, 'nowhere');

describe('loadTrustedKeys()', () => {
  it('takes the named files and not the recorded keys', () => {
    const trusted = loadTrustedKeys([keyFile('named', A)], { recorded: boot(C) });
    expect(trusted.keys.map(({ bytes }) => bytes[0])).toEqual([1]);
  });

  it('takes the recorded keys when no file is named', () => {
    const trusted = loadTrustedKeys([], { recorded: boot(C) });
    expect(trusted.keys.map(({ bytes }) => bytes[0])).toEqual([3]);
  });

  it('tells for each key where it stands, over several files', () => {
    const first = keyFile('first', '', A, 'nonsense', B);
    const second = keyFile('second', C);
    const trusted = loadTrustedKeys([first, second], { recorded: nowhere });
    const places = trusted.keys.map(({ line }) => trusted.placeOf(line));
    expect(places).toEqual([
      { publicKey: A, file: first, line: 2 },
      { publicKey: B, file: first, line: 4 },
      { publicKey: C, file: second, line: 1 },
    ]);
    expect(trusted.warnings).toEqual([expect.stringContaining(`${first}: `)]);
  });

  it('refuses when no key is named and none recorded', () => {
    expect(() => loadTrustedKeys([], { recorded: nowhere })).toThrow(
      expect.objectContaining({ code: 'keys-missing', kind: 'refused' }),
    );
  });

  it('refuses a file without a usable key, and does not fall back to the recorded ones', () => {
    expect(() => loadTrustedKeys([keyFile('empty', 'nonsense')], { recorded: boot(C) })).toThrow(
      expect.objectContaining({ code: 'keys-missing' }),
    );
  });

  it('takes the demands of the policy that the boot has recorded, and its revoked keys', () => {
    const policy = '[composefs]\nenabled=signed\n[sealroot]\nrefs=os/a;os/b\nmin-timestamp=7\n';
    const recorded = boot(C, { policy, revoked: `${B}\n` });
    const { demands } = loadTrustedKeys([], { recorded });
    expect(demands).toMatchObject({ refs: ['os/a', 'os/b'], minTimestamp: 7n });
    expect(demands.revoked.map(({ bytes }) => bytes[0])).toEqual([2]);
    // Who names the keys decides alone, but for a policy that is named too.
    const named = keyFile('named', A);
    expect(loadTrustedKeys([named], { recorded }).demands.refs).toEqual([]);
    expect(loadTrustedKeys([named], { policy: join(recorded, 'prepare-root.conf') }).demands.refs).toEqual([
      'os/a',
      'os/b',
    ]);
  });

  it('refuses a policy that is named and not there', () => {
    expect(() => loadTrustedKeys([keyFile('named', A)], { policy: nowhere })).toThrow(
      expect.objectContaining({ code: 'file-missing', message: `cannot read ${nowhere}: ENOENT` }),
    );
  });

  it('reads what is revoked beside each file that is named, and refuses a line that is no key', () => {
    const named = keyFile('with-revoked', A, B);
    keyFile('with-revoked.revoked', B);
    expect(loadTrustedKeys([named]).demands.revoked.map(({ bytes }) => bytes[0])).toEqual([2]);
    const before = loadTrustedKeys([keyFile('named', A), named]).demands.revoked;
    expect(before.map(({ bytes }) => bytes[0])).toEqual([2]);
    keyFile('with-revoked.revoked', B, `# ${A}`);
    expect(() => loadTrustedKeys([named])).toThrow(expect.objectContaining({ code: 'revoked-malformed' }));
  });
});
