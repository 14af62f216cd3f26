/**
 * What a newcomer sees when what the scripts need cannot be had: one line with the cause, one with the remedy, and
 * nothing was started. The real apt, npm and kernel say no here, each for a reason that the test gives it.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const PROJECT_ROOT = path.join(import.meta.dirname, '../..');

/** Another user, who may read what root may: the checkout, and Node.js wherever root has it. */
const NOBODY = [...['setpriv', '--reuid=65534', '--inh-caps=+dac_override', '--ambient-caps=+dac_override']];

/** A checkout of its own with nothing but what the script reads. */
let checkout: string;

beforeEach(() => {
  checkout = mkdtempSync(path.join(tmpdir(), 'sealroot-checkout-'));
  mkdirSync(path.join(checkout, 'tools'));
  for (const name of ['tools/with-dependencies.sh', 'package.json', 'package-lock.json']) {
    cpSync(path.join(PROJECT_ROOT, name), path.join(checkout, name));
  }
});
afterEach(() => rmSync(checkout, { recursive: true }));

/** Runs the script as `npm run demo` would, below `wrapper`; its command prints STARTED. */
function runScript(wrapper: readonly string[] = [], env: Readonly<Record<string, string>> = {}) {
  const script = path.join(checkout, 'tools/with-dependencies.sh');
  const [command = '', ...args] = [...wrapper, 'sh', script, 'echo', 'STARTED'];
  const { status, stdout, stderr } = spawnSync(command, args, {
    env: { ...process.env, LC_ALL: 'C.UTF-8', npm_lifecycle_event: 'demo', ...env },
    encoding: 'utf8',
    timeout: 120_000,
  });
  return { status, stdout, lastLines: stderr.trimEnd().split('\n').slice(-2) };
}

/** Lets apt look at a folder without packages, sources and lists. */
function emptyAptRoot(): Record<string, string> {
  const apt = path.join(checkout, 'apt');
  for (const folder of ['dpkg', 'lists/partial', 'cache/archives/partial', 'sources']) {
    mkdirSync(path.join(apt, folder), { recursive: true });
  }
  writeFileSync(path.join(apt, 'dpkg/status'), '');
  writeFileSync(path.join(apt, 'sources.list'), `deb [trusted=yes] file:${apt}/no-mirror ./\n`);
  const settings = {
    'Dir::State': apt,
    'Dir::State::status': path.join(apt, 'dpkg/status'),
    'Dir::Cache': path.join(apt, 'cache'),
    'Dir::Etc::sourcelist': path.join(apt, 'sources.list'),
    'Dir::Etc::sourceparts': path.join(apt, 'sources'),
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`);
  writeFileSync(path.join(apt, 'apt.conf'), lines.join(''));
  return { APT_CONFIG: path.join(apt, 'apt.conf'), DPKG_ADMINDIR: path.join(apt, 'dpkg') };
}

describe('what cannot work is refused before anything starts', () => {
  it('without root', () => {
    expect(runScript(NOBODY)).toEqual({
      status: 4,
      stdout: '',
      lastLines: [
        'sealroot: error: cannot npm run demo: not root',
        'sealroot: hint: sudo env "PATH=$PATH" npm run demo',
      ],
    });
  });

  it('as root of a container that may not mount', () => {
    expect(runScript(['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin'])).toEqual({
      status: 4,
      stdout: '',
      lastLines: [
        'sealroot: error: cannot npm run demo: root may not make namespaces here',
        'sealroot: hint: a container has to be a privileged one',
      ],
    });
  });

  it.each([
    ['99.0', false],
    [`${major()}.99`, false],
    [`${major()}.${minor()}`, true],
    [`${major() - 1}.99`, true],
  ])('with package.json asking for Node.js %s', (wanted, starts) => {
    const file = path.join(checkout, 'package.json');
    const manifest = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...manifest, engines: { node: `>=${wanted}` } }));
    // Stops at the next check when the version is right.
    const { status, lastLines } = runScript(NOBODY);
    const refusal = `sealroot: error: cannot npm run demo: Node.js ${process.version}, expected >=${wanted}`;
    expect(status).toBe(4);
    expect(lastLines[0] !== refusal).toBe(starts);
  });

  it('when apt cannot install', () => {
    const { status, stdout, lastLines } = runScript([], emptyAptRoot());
    expect([status, stdout]).toEqual([4, '']);
    expect(lastLines[0]).toBe(
      'sealroot: error: cannot install Debian packages: apt-get ended with status 100, its reason stands above',
    );
    expect(lastLines[1]).toMatch(/^sealroot: hint: repeat this when .*apt-get install.* musl-tools .* work$/);
  });

  it('when npm cannot install', () => {
    const offline = { npm_config_offline: 'true', npm_config_cache: path.join(checkout, 'npm-cache') };
    const { status, stdout, lastLines } = runScript([], offline);
    expect([status, stdout]).toEqual([4, '']);
    expect(lastLines).toEqual([
      'sealroot: error: cannot install npm packages: npm ci ended with status 1, its reason stands above',
      "sealroot: hint: repeat this when 'npm ci' works here",
    ]);
  });
});

function major(): number {
  return Number(process.versions.node.split('.')[0]);
}

function minor(): number {
  return Number(process.versions.node.split('.')[1]);
}
