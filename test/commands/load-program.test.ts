import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compiledFile, scriptOf } from '../../src/load-program.ts';
import { bundleProgram } from '../../tools/bundle.ts';

// Below the project, where node finds the packages.
const folder = mkdtempSync(path.join(import.meta.dirname, '../../.cache/compiled-'));
const program = path.join(folder, 'command-line.js');

beforeAll(() => bundleProgram(folder));
afterAll(() => rmSync(folder, { recursive: true }));

function node(...args: readonly string[]): string {
  return execFileSync(process.execPath, args, { encoding: 'utf8' });
}

/** Whether Node.js takes the compiled code; a process that has compiled the same text itself does not look at it. */
function takes(file: string): boolean {
  const text = path.join(folder, 'text');
  writeFileSync(text, scriptOf(file));
  const script = `
    const { readFileSync } = require('node:fs');
    const cachedData = readFileSync('${compiledFile(file)}');
    const { cachedDataRejected } = new (require('node:vm').Script)(readFileSync('${text}', 'utf8'), { cachedData });
    console.log(cachedDataRejected);`;
  return node('-e', script) === 'false\n';
}

describe('a program of the package', () => {
  it.each([
    'command-line',
    'image',
    'mkcomposefs',
    'composefs-info',
    'mount-composefs',
  ])('%s comes with code that this Node.js takes', (name) => {
    expect(takes(path.join(folder, `${name}.js`))).toBe(true);
  });

  it('loads no modules with sockets before something of them is called for', () => {
    const list = path.join(folder, 'modules.cjs');
    const late = ['child_process', 'crypto', 'net', 'tty', 'zlib'].map((name) => `NativeModule ${name}`);
    // console.log() would load one of them.
    writeFileSync(
      list,
      `process.on('exit', () => {
         const late = ${JSON.stringify(late)};
         const loaded = process.moduleLoadList.filter((name) => late.includes(name));
         require('node:fs').writeSync(1, 'loaded: ' + loaded.join());
       });`,
    );
    const file = path.join(folder, 'data');
    writeFileSync(file, 'data');
    const run = (...args: readonly string[]) => node('-r', list, path.join(folder, 'sealroot.js'), ...args);
    expect(run('explain', 'image-missing')).toMatch(/loaded: $/);
    expect(run('image', 'digest', file)).toMatch(/loaded: $/);
    expect(run('image', 'digest', '--block-size=1024', file)).toMatch(/loaded: NativeModule crypto$/);
  });

  it('runs beside the code of another Node.js, and without any', () => {
    const version = () => node(path.join(folder, 'sealroot.js'), '--version');
    const expected = version();
    const code = readFileSync(compiledFile(program));
    // What follows the magic number tells the version.
    writeFileSync(compiledFile(program), code.fill(0xff, 4, 8));
    expect(takes(program)).toBe(false);
    expect(version()).toBe(expected);
    rmSync(compiledFile(program));
    expect(version()).toBe(expected);
  });
});
