import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sealroot, useCli } from './run-cli.ts';

useCli();

const COMMANDS = [
  'keygen',
  'seal',
  'verify',
  'image create',
  'image dump',
  'image digest',
  'disk create',
  'admin deploy',
  'admin plan',
  'admin status',
  'explain',
];

/** All that it needs but a key. */
const DISK = ['disk', 'create', '--repo', 'r', '--ref', 'x', '--os', 'o', '--output', 'd'];

describe('sealroot', () => {
  it.each(COMMANDS)('%s --help is a manual page with examples that start with its name', (name) => {
    const { status, stdout, stderr } = sealroot([...name.split(' '), '--help']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const sections = stdout.split('\n').filter((line) => /^[A-Z]/.test(line));
    expect(sections).toEqual(['NAME', 'SYNOPSIS', 'DESCRIPTION', 'OPTIONS', 'EXIT STATUS', 'EXAMPLES']);
    expect(stdout).toMatch(new RegExp(`NAME\n    sealroot ${name} - \\w`));
    expect(stdout.slice(stdout.indexOf('EXAMPLES'))).toContain(`    sealroot ${name} `);
    expect(stdout.split('\n').filter((line) => line.length > 100 && !line.includes('sealroot '))).toEqual([]);
  });

  it.each([
    ['seal', '--repo REPO [--key FILE]... [--floor SECONDS] [--resign] [--destroy-key] [--json] REF'],
    ['image ls', '[--json] IMAGE [PATH]'],
    ['admin', 'COMMAND [OPTION...]'],
  ])('%s --help tells what must be given from what may, and what may be repeated', (name, synopsis) => {
    const { stdout } = sealroot([...name.split(' '), '--help']);
    const [, text = ''] = /\nSYNOPSIS\n(.*?)\n\n/s.exec(stdout) ?? [];
    expect(text.trim().split(/\s+/).join(' ')).toBe(`sealroot ${name} ${synopsis}`);
  });

  it('lists its commands and its version', () => {
    const { status, stdout } = sealroot(['--help']);
    expect(status).toBe(0);
    for (const name of COMMANDS) expect(stdout).toMatch(new RegExp(`^    ${name.split(' ')[0]}\\b`, 'm'));
    const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'));
    expect(sealroot(['--version'])).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('shows the page on standard error when no command is given', () => {
    for (const args of [[], ['image'], ['disk'], ['admin']]) {
      const { status, stdout, stderr } = sealroot(args);
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
      expect(stderr).toMatch(/^NAME\n/);
      expect(stderr).not.toContain('sealroot: error');
    }
  });

  it.each([
    [['nope'], 'cannot run sealroot: unknown command'],
    [['image', 'nope'], 'cannot run sealroot image: unknown command'],
    [['sael'], "cannot run sealroot: unknown command 'sael' (Did you mean seal?)"],
    [['keygen'], "cannot run sealroot keygen: required option '--out DIR' not specified"],
    [['keygen', '--out'], "cannot run sealroot keygen: option '--out DIR' argument missing"],
    [['keygen', '--out', ''], 'It is empty'],
    [['keygen', '--out', 'a', '--out', 'b'], 'It was given before, as a'],
    [['keygen', '--out', 'a', 'b'], 'too many arguments'],
    [['keygen', '--out', 'a', '--frobnicate'], "unknown option '--frobnicate'"],
    [['seal', '--repo', 'r', '--key', 'k'], "missing required argument 'REF'"],
    [['seal', '--repo', 'r', 'x', '--key', ''], 'It is empty'],
    [['seal', '--repo', 'r', 'x', '--key', 'k', '--floor', '1', '--floor', '2'], 'It was given before, as 1'],
    [['image', 'digest'], "missing required argument 'IMAGE'"],
    [[...DISK, '--pubkey', 'p', '--format', 'vmdk'], 'It must be one of: qcow2, raw'],
    [DISK, "cannot run sealroot disk create: required option '--pubkey FILE' not specified"],
  ])('%j is a usage error', (args, text) => {
    const { status, stdout, stderr } = sealroot(args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain(text);
    expect(stderr).toMatch(
      /^sealroot: error: cannot run .*[^.\n]\nsealroot: hint: sealroot.* --help shows how it is called\n$/,
    );
  });
});
