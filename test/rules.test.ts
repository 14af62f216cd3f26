/** The architecture, as tests: who may import whom, how long a file may get, what the initramfs set may not use. */

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort();
}

/** Every module that a file names in an import or export, statically or dynamically; relative ones as project paths. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\s[^;]*?from\s+'([^']+)'|import\(\s*'([^']+)'\s*\)|^import\s+'([^']+)'/g,
  );
  return [...found].map((match) => {
    const name = match[1] ?? match[2] ?? match[3] ?? '';
    return name.startsWith('.') ? relative(root, resolve(root, dirname(file), name)) : name;
  });
}

/** folder -> prefixes of project paths and packages that its files may import. */
const ALLOWED: Record<string, readonly string[]> = {
  'src/formats': ['src/formats/', '@noble/curves/'],
  'src/adapters': ['src/formats/', 'src/adapters/', 'node:', 'node-gtk', 'koffi'],
  'src/commands': ['src/formats/', 'src/adapters/', 'src/commands/', 'node:'],
  'src/personalities': ['src/formats/', 'src/adapters/', 'src/personalities/', 'node:'],
};

const INITRD_BUILD = ['build.ts', 'bundle.ts', 'lowering.ts', 'patched-quickjs.ts', 'quickjs-source.ts'];

function initrdProgram(): string[] {
  return sources('initrd').filter((file) => !INITRD_BUILD.includes(file.slice('initrd/'.length)));
}

function offences(files: readonly string[], allowed: readonly string[]): string[] {
  return files.flatMap((file) =>
    importsOf(file)
      .filter((name) => !allowed.some((prefix) => name.startsWith(prefix)))
      .map((name) => `${file} imports ${name}`),
  );
}

describe('import directions', () => {
  for (const [folder, allowed] of Object.entries(ALLOWED)) {
    it(`${folder} imports only ${allowed.join(' ')}`, () => {
      const files = sources(folder);
      expect(files.length).toBeGreaterThan(0);
      expect(offences(files, allowed)).toEqual([]);
    });
  }

  it('the program of the initramfs imports src/formats and its own files only', () => {
    const files = initrdProgram();
    expect(files.length).toBeGreaterThan(0);
    expect(offences(files, ['src/formats/', 'initrd/'])).toEqual([]);
  });

  it('node-gtk is imported lazily, so that commands without libostree start without it', () => {
    const offenders = sources('src').filter((file) =>
      /^import (?!type)[^;]*from 'node-gtk'/m.test(readFileSync(join(root, file), 'utf8')),
    );
    expect(offenders).toEqual([]);
  });
});

describe('the pure folders', () => {
  const engineFree = [...sources('src/formats').filter((file) => !/dump(-read)?\.ts$/.test(file))];
  const initrd = initrdProgram();

  it('name nothing of Node and nothing that a raw QuickJS context lacks', () => {
    const banned =
      /(?<![#.\w])(?:process|Buffer|TextDecoder|TextEncoder|require|console|JSON|Date|Promise|Proxy|Intl|async|await)\b(?=[.(\s])/;
    const offenders = [...engineFree, ...initrd].flatMap((file) =>
      codeLines(readFileSync(join(root, file), 'utf8'))
        .filter((line) => banned.test(line))
        .map((line) => `${file}: ${line.trim()}`),
    );
    expect(offenders).toEqual([]);
  });
});

/** The lines of a file without comments and string contents, near enough for a search for identifiers. */
function codeLines(text: string): string[] {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/\/\/[^\n]*/g, '')
    .replace(/'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`|"(?:[^"\\\n]|\\.)*"/g, "''")
    .split('\n');
}

describe('sizes', () => {
  it('no source file exceeds 400 lines', () => {
    const long = ['src', 'initrd', 'vm-tests', 'tools'].flatMap(sources).flatMap((file) => {
      const lines = readFileSync(join(root, file), 'utf8').split('\n').length - 1;
      return lines > 400 ? [`${file}: ${lines}`] : [];
    });
    expect(long).toEqual([]);
  });

  it('test vectors stay small', () => {
    const files = readdirSync(join(root, 'test/vectors'), { recursive: true, withFileTypes: true }).filter(
      (entry) => entry.isFile(),
    );
    expect(files.length).toBeGreaterThan(0);
    const bytes = files.reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
    expect(bytes).toBeLessThan(2 * 1024 * 1024);
  });
});
