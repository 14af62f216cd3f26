/**
 * The scripts that composefs tests its tools with, run on ours. SEALROOT_COMPOSEFS_SOURCE names a checkout of it, 1.0.8
 * or later, outside of this repository; without it only the names are tested. Needs root and python3. fsck.erofs, and
 * a kernel with fs-verity, are used when they are there. The FUSE file system is no tool of ours and left out.
 */

import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { enterMountNamespace } from '../../src/adapters/mount-namespace.ts';
import { expectSame, forkyProgram, ours, type ToolName, theirArgv, useTools } from './reference-tool.ts';

const SOURCE = process.env.SEALROOT_COMPOSEFS_SOURCE;
const SEED = Number(process.env.SEALROOT_SEED ?? 20261122);
const TOOLS: readonly ToolName[] = ['mkcomposefs', 'composefs-info', 'mount.composefs'];
const { work, bin } = useTools();

const tests = (...names: string[]) => path.join(path.resolve(SOURCE ?? ''), 'tests', ...names);

function addProgram(name: string, text: string): void {
  const file = path.join(bin(), name);
  writeFileSync(file, `#!/bin/sh\n${text}\n`);
  chmodSync(file, 0o755);
}

/**
 * composefs-dump, which composefs builds for its tests alone: reads an image and writes it again. Ours is made of the
 * real tools, so that what we have written has to be what they understand and write. The version is the header's.
 */
function addImageCopier(): void {
  const info = theirArgv('composefs-info', ['dump']).join(' ');
  const make = theirArgv('mkcomposefs', ['--from-file']).join(' ');
  addProgram(
    'composefs-dump',
    `version=$(($(od -A n -t u4 -j 12 -N 4 "$1")))
${info} "$1" | ${make} --min-version=$version --max-version=$version - "$2"`,
  );
}

/** What a script prints; it has to end well. */
function run(script: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  const { status, stdout, stderr } = spawnSync('bash', [tests(script), ...args], {
    cwd: SOURCE,
    env: {
      PATH: `${bin()}:${process.env.PATH}:/usr/sbin:/sbin`,
      LC_ALL: 'C.UTF-8',
      TMPDIR: work(),
      has_fuse: 'n',
      ...env,
    },
    timeout: 280_000,
    maxBuffer: 256 * 1024 * 1024,
  });
  const output = stdout.toString('latin1');
  const said = `${output.slice(-2000)}\n${stderr.toString('latin1').slice(-2000)}`;
  expect([script, status, status === 0 ? '' : said]).toEqual([script, 0, '']);
  return output;
}

/** What the script says it has tested. */
function passed(output: string): string[] {
  return [...output.matchAll(/^ok (\S+)/gm)].map(([, name = '']) => path.basename(name)).sort();
}

function assets(select: (name: string) => boolean): string[] {
  const names = readdirSync(tests('assets')).filter(select).sort();
  expect(names.length).toBeGreaterThan(8);
  return names;
}

describe('a link to sealroot', () => {
  it.each(TOOLS)('is %s when it has that name', (name) => {
    const { status, stderr } = expectSame(name, []);
    expect([status, stderr]).toEqual([1, expect.stringMatching(new RegExp(`^usage: ${name} `, 'im'))]);
  });
});

if (SOURCE !== undefined) {
  describe("composefs's own tests", () => {
    beforeAll(() => {
      enterMountNamespace();
      addImageCopier();
      addProgram('fsverity', `exec ${forkyProgram('fsverity').join(' ')} "$@"`);
    });

    it('test-checksums.sh: images have the digests that composefs expects', () => {
      const names = assets((name) => existsSync(tests('assets', `${name}.sha256`)));
      expect(passed(run('test-checksums.sh', [bin(), tests('assets'), names.join(' ')]))).toEqual(names);
    });

    it('test-should-fail.sh: dumps that are wrong are refused', () => {
      const names = assets((name) => name.startsWith('should-fail-'));
      const files = names.map((name) => tests('assets', name));
      expect(passed(run('test-should-fail.sh', [bin(), ...files]))).toEqual(names);
    });

    it('test-dump-filtered.sh: --filter', () => {
      expect(run('test-dump-filtered.sh', [bin(), tests('assets')])).toMatch(/^ok$/m);
    });

    it('test-units.sh: inlined and stored files, digests, and a mount that needs one', () => {
      const output = run('test-units.sh', [bin()]);
      expect(output.match(/^Test .*: OK$/gm)?.length).toBeGreaterThan(3);
    });

    it.each([SEED, SEED + 1, SEED + 2])('test-random-fuse.sh: the random tree of seed %i', (seed) => {
      expect(run('test-random-fuse.sh', [bin()], { seed: `${seed}` })).toContain(`Using seed '${seed}'`);
    });

    it('integration.sh: /usr/bin and a random tree are mounted and compared', () => {
      const output = run('integration.sh', [], { cfsroot: path.join(work(), 'integration') });
      expect(output.match(/^[0-9a-f]{64}$/gm)?.length).toBe(2);
    });

    it('gendir: trees with names of any bytes give the images of the real mkcomposefs', () => {
      for (const seed of [SEED, SEED + 1]) {
        const tree = path.join(work(), `gendir-${seed}`);
        const { status, stderr } = spawnSync(
          tests('gendir'),
          ['--unreadable', '--privileged', `--seed=${seed}`, tree],
          { maxBuffer: 64 * 1024 * 1024 },
        );
        expect([status, stderr.toString()]).toEqual([0, '']);
        const store = path.join(work(), 'gendir-store');
        const image = expectSame('mkcomposefs', [`--digest-store=${store}`, '--print-digest', tree, '-']);
        expect(image.status).toBe(0);
        ours('mkcomposefs', [tree, 'gendir.cfs']);
        for (const command of ['ls', 'dump', 'objects', 'missing-objects']) {
          expect(expectSame('composefs-info', [`--basedir=${store}`, command, 'gendir.cfs']).status).toBe(0);
        }
        rmSync(tree, { recursive: true });
      }
    });

    it('dumps for fuzzing and for the tests are read as the real mkcomposefs does, and as strictly', () => {
      const names = ['fuzzing/data', 'assets'].flatMap((folder) =>
        readdirSync(tests(folder))
          .map((name) => tests(folder, name))
          .filter((file) => !/\.(?:gz|sha256|version)$/.test(file)),
      );
      expect(names.length).toBeGreaterThan(20);
      const statuses = names.flatMap((file) =>
        [{}, { CFS_PARSE_STRICT: '1' }].map(
          (env) => expectSame('mkcomposefs', ['--from-file', file, '-'], { env, messages: 'free' }).status,
        ),
      );
      expect(new Set(statuses)).toEqual(new Set([0, 1]));
    });
  });
}
