/** Whoever builds sealroot-prepare-root from the same sources, wherever, gets the same bytes. */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildPrepareRoot } from '../../initrd/build.ts';
import { quickjsSource } from '../../initrd/quickjs-source.ts';

const project = join(import.meta.dirname, '../..');
const elsewhere = mkdtempSync(join(tmpdir(), 'sealroot in another folder '));

let binary: Buffer;

/** A folder with the programs that a build needs before it patches and compiles, and no others. */
const fewTools = join(elsewhere, 'tools');

beforeAll(async () => {
  binary = readFileSync(await buildPrepareRoot());
  mkdirSync(fewTools);
  for (const tool of ['flock', 'sh', 'cat', 'node']) {
    const path = execFileSync('sh', ['-c', `command -v ${tool}`], { encoding: 'utf8' }).trim();
    symlinkSync(path, join(fewTools, tool));
  }
});

afterAll(() => rmSync(elsewhere, { recursive: true, force: true }));

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

describe('npm run build:initrd', () => {
  it('makes the same bytes in another folder, from QuickJS sources in another folder', async () => {
    const quickjs = join(elsewhere, 'the sources');
    cpSync(await quickjsSource(), quickjs, { recursive: true });
    for (const name of ['initrd', 'src', 'tools', 'package.json', 'tsconfig.base.json']) {
      cpSync(join(project, name), join(elsewhere, name), { recursive: true });
    }
    symlinkSync(join(project, 'node_modules'), join(elsewhere, 'node_modules'));
    const output = execFileSync(join(project, 'node_modules/.bin/tsx'), ['initrd/build.ts'], {
      cwd: elsewhere,
      env: { ...process.env, QUICKJS_SOURCE: quickjs },
      encoding: 'utf8',
    });
    const rebuilt = readFileSync(join(elsewhere, '.cache/initrd/sealroot-prepare-root'));
    expect(output).toBe(`.cache/initrd/sealroot-prepare-root ${rebuilt.length} bytes\n`);
    expect(sha256(rebuilt)).toBe(sha256(binary));
  });

  it('stays below 520 KB', () => {
    expect(binary.length).toBeLessThanOrEqual(520_000);
  });

  it('has no trace of where it was built', () => {
    const text = binary.toString('latin1');
    for (const trace of [project, elsewhere, tmpdir()]) expect(text).not.toContain(trace);
  });

  it('is static: no interpreter, no shared library', () => {
    const headers = execFileSync(
      'readelf',
      ['--program-headers', '--wide', join(project, '.cache/initrd/sealroot-prepare-root')],
      {
        encoding: 'utf8',
      },
    );
    expect(headers).toContain('LOAD');
    expect(headers).not.toContain('INTERP');
    expect(headers).not.toContain('DYNAMIC');
  });

  it('names the compiler that is not installed', () => {
    const build = () =>
      execFileSync(join(project, 'node_modules/.bin/tsx'), ['initrd/build.ts'], {
        cwd: project,
        env: { ...process.env, PATH: fewTools },
        stdio: 'pipe',
      });
    expect(build).toThrow(/cannot run gcc: spawn gcc ENOENT.*install build-essential and musl-tools/s);
  });

  it('shows what the compiler says', async () => {
    const quickjs = join(elsewhere, 'broken sources');
    cpSync(await quickjsSource(), quickjs, { recursive: true });
    appendFileSync(join(quickjs, 'cutils.c'), '#error broken on purpose\n');
    const build = () =>
      execFileSync(join(project, 'node_modules/.bin/tsx'), ['initrd/build.ts'], {
        cwd: project,
        env: { ...process.env, QUICKJS_SOURCE: quickjs },
        stdio: 'pipe',
      });
    expect(build).toThrow(/cannot run gcc: .*#error broken on purpose/s);
  });

  it('says where the patch does not fit, and that there is no program to apply it', async () => {
    const quickjs = join(elsewhere, 'other sources');
    cpSync(await quickjsSource(), quickjs, { recursive: true });
    const file = join(quickjs, 'quickjs.c');
    writeFileSync(
      file,
      readFileSync(file, 'utf8').replace('ret = JS_SetPropertyValue(ctx, sp[-3]', '$&/**/'),
    );
    const build = (env: Record<string, string>) => () =>
      execFileSync(join(project, 'node_modules/.bin/tsx'), ['initrd/build.ts'], {
        cwd: project,
        env: { ...process.env, QUICKJS_SOURCE: quickjs, ...env },
        stdio: 'pipe',
      });
    expect(build({})).toThrow(/cannot patch QuickJS: 1 out of \d+ hunks FAILED/);
    expect(build({ PATH: fewTools })).toThrow(
      /cannot patch QuickJS: spawnSync patch ENOENT.*install build-essential/s,
    );
  });

  it('refuses sources of another version', () => {
    const build = () =>
      execFileSync(join(project, 'node_modules/.bin/tsx'), ['initrd/build.ts'], {
        cwd: project,
        env: { ...process.env, QUICKJS_SOURCE: tmpdir() },
        stdio: 'pipe',
      });
    expect(build).toThrow(/cannot use the QuickJS sources in .*no VERSION file, expected 2025-04-26/);
  });
});
