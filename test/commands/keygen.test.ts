import { createPrivateKey, createPublicKey } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sealroot, useCli } from './run-cli.ts';

useCli();

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(process.env.TMPDIR ?? '/tmp', 'sealroot-keygen-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('sealroot keygen', () => {
  it('writes a pair in the format of libostree, the secret for its owner only', () => {
    const out = join(folder, 'keys');
    const { status, stdout, stderr } = sealroot(['keygen', '--out', out]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const [secretPath, publicPath] = [join(out, 'sealroot.key'), join(out, 'sealroot.pub')];
    const publicText = readFileSync(publicPath, 'utf8');
    expect(stdout).toBe(`secret key  ${secretPath}\npublic key  ${publicPath}  ${publicText}`);
    expect(statSync(out).mode & 0o777).toBe(0o700);
    expect(statSync(secretPath).mode & 0o777).toBe(0o600);
    expect(statSync(publicPath).mode & 0o777).toBe(0o644);
    expect(readdirSync(out).sort()).toEqual(['sealroot.key', 'sealroot.pub']);

    const secret = Buffer.from(readFileSync(secretPath, 'utf8').trim(), 'base64');
    expect(secret).toHaveLength(64);
    expect(secret.subarray(32).toString('base64')).toBe(publicText.trim());
    const pkcs8 = Buffer.concat([
      Buffer.from('302e020100300506032b657004220420', 'hex'),
      secret.subarray(0, 32),
    ]);
    const derived = createPublicKey(createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }));
    expect(derived.export({ format: 'der', type: 'spki' }).subarray(-32)).toEqual(secret.subarray(32));
  });

  it('makes another pair each time', () => {
    for (const name of ['a', 'b']) sealroot(['keygen', '--out', join(folder, name)]);
    const keys = ['a', 'b'].map((name) => readFileSync(join(folder, name, 'sealroot.pub'), 'utf8'));
    expect(keys[0]).not.toBe(keys[1]);
  });

  it.each(['sealroot.key', 'sealroot.pub'])('writes nothing when %s exists', (name) => {
    writeFileSync(join(folder, name), 'mine\n');
    const { status, stdout, stderr } = sealroot(['keygen', '--out', folder]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toBe(
      `sealroot: error: cannot write ${join(folder, name)}: it exists\n` +
        'sealroot: hint: keys are never overwritten; choose another folder, or remove the old pair\n',
    );
    expect(readdirSync(folder)).toEqual([name]);
    expect(readFileSync(join(folder, name), 'utf8')).toBe('mine\n');
  });

  it('reports a folder that cannot be made', () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    for (const out of [file, join(file, 'below')]) {
      const { status, stderr } = sealroot(['keygen', '--out', out]);
      expect(status).toBe(4);
      expect(stderr).toMatch(/^sealroot: error: cannot make folder .*: (EEXIST|ENOTDIR)\n/);
    }
  });

  it('uses a folder that exists as it is', () => {
    const out = join(folder, 'shared');
    mkdirSync(out, { mode: 0o755 });
    expect(sealroot(['keygen', '--out', out]).status).toBe(0);
    expect(statSync(out).mode & 0o777).toBe(0o755);
    expect(existsSync(join(out, 'sealroot.key'))).toBe(true);
  });
});
