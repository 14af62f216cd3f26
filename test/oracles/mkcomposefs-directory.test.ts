/**
 * Our mkcomposefs beside the real one on directories: real trees, random ones, one with everything that is odd, and
 * command lines that are wrong. Needs root. Set SEALROOT_SEED for other random trees.
 */

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { pathBytes, setXattr } from '../../src/adapters/syscalls.ts';
import { VerityComputer } from '../../src/adapters/verity.ts';
import { ascii, hex } from '../../src/formats/encoding.ts';
import { ensureInstallerTree } from '../../tools/installer-tree.ts';
import { directory, file, growRandomTree, link, xattr } from './random-tree.ts';
import {
  expectSame,
  expectSameBytes,
  forkyRoot,
  ours,
  theirArgv,
  theirs,
  useTools,
} from './reference-tool.ts';

const SEED = Number(process.env.SEALROOT_SEED ?? 20261122);
const { work, bin } = useTools();

const OPTIONS: readonly (readonly string[])[] = [
  [],
  ['--use-epoch', '--skip-devices', '--threads=3'],
  ['--user-xattrs', '--max-version=0'],
  ['--skip-xattrs', '--min-version=1'],
];

/** The image of both for every set of options, on standard output and in a file. */
function expectSameImages(tree: string): void {
  for (const options of OPTIONS) {
    const image = expectSame('mkcomposefs', [...options, '--print-digest', tree, '-']);
    expect([image.status, image.stderr]).toEqual([0, '']);
    const written = ours('mkcomposefs', [...options, '--print-digest', tree, 'image.cfs']);
    expectSameBytes(
      Buffer.concat([readFileSync(path.join(work(), 'image.cfs')), written.stdout]),
      image.stdout,
      `image of ${tree}`,
    );
  }
}

/** One of everything that a file system can hold and that an image treats in its own way. */
async function growOddTree(root: string): Promise<void> {
  for (const size of [0, 1, 63, 64, 65, 4095, 4096, 4097, 524288, 524289]) file(root, `size-${size}`, size);
  const odd = Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0x0a, 0x5c, 0x80, 0x3d])]);
  writeFileSync(odd, 'a name that is not UTF-8');
  symlinkSync(Buffer.from([0xfe, 0x20, 0x2d]), Buffer.concat([odd, Buffer.from('-link')]));
  mkdirSync(Buffer.concat([odd, Buffer.from('-dir')]));
  file(root, 'n'.repeat(255), 5);
  link(root, 'dangling', 'x'.repeat(4095));
  for (const [name, ...arguments_] of [
    ['fifo', 'p'],
    ['char', 'c', '1', '3'],
    ['block', 'b', '259', '70000'],
    ['whiteout', 'c', '0', '0'],
    ['ab', 'c', '0', '0'],
  ]) {
    execFileSync('mknod', [path.join(root, name ?? ''), ...arguments_]);
  }
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path.join(root, 'socket'), resolve));
  const below = directory(root, 'below');
  const many = directory(below, 'many');
  for (let i = 0; i < 300; i++) file(many, `entry-${i}`, i % 70);
  execFileSync('cp', ['-a', path.join(root, 'whiteout'), path.join(below, 'whiteout-too')]);
  execFileSync('cp', ['-a', path.join(root, 'socket'), path.join(below, 'socket-too')]);
  server.close();
  linkSync(path.join(root, 'size-4097'), path.join(below, 'another-name'));
  linkSync(path.join(root, 'fifo'), path.join(below, 'another-fifo'));
  for (const name of [
    'user.a',
    'trusted.overlay.redirect',
    'trusted.overlay.overlay.x',
    'user.overlay.opaque',
  ]) {
    xattr(path.join(root, 'size-65'), name, `value of ${name}`);
    xattr(below, name, '');
  }
  xattr(path.join(below, 'whiteout-too'), 'trusted.z', 'on a device');
  xattr(path.join(root, 'dangling'), 'trusted.z', 'on a link');
  const acl = Buffer.from(
    '0200000001000600ffffffff02000600e803000004000400ffffffff10000600ffffffff20000400ffffffff',
    'hex',
  );
  setXattr(pathBytes(path.join(root, 'size-64')), ascii('system.posix_acl_access'), acl);
  utimesSync(path.join(root, 'size-1'), new Date(-1500), new Date(-1500));
  lutimesSync(path.join(root, 'dangling'), 2 ** 33, 2 ** 33 + 0.25);
}

describe('mkcomposefs DIR', () => {
  it('writes the same images of real trees', () => {
    for (const tree of ['usr/lib/systemd', 'usr/share/bash-completion', 'etc', 'usr/bin']) {
      expectSameImages(path.join(forkyRoot(), tree));
    }
    expectSameImages('/usr/share/doc');
  });

  it('writes the same images of the system of the Debian installer', async () => {
    const tree = await ensureInstallerTree();
    expect(lstatSync(path.join(tree, 'dev/console')).isCharacterDevice()).toBe(true);
    expectSameImages(tree);
  });

  it('writes the same images of random trees', () => {
    for (let seed = SEED; seed < SEED + 5; seed++) {
      const tree = directory(work(), `random-${seed}`);
      growRandomTree(tree, seed);
      expectSameImages(tree);
    }
  });

  it('writes the same image of one of everything', async () => {
    const tree = directory(work(), 'odd');
    await growOddTree(tree);
    expectSameImages(tree);
    const empty = directory(work(), 'empty');
    expectSameImages(empty);
    expectSameImages(`${empty}//`);
  });

  it.each([
    [['no-such-folder', 'x']],
    [['bin/mkcomposefs', 'x']],
    [['/etc/passwd', '-']],
    [['bin', 'no-such-folder/x']],
    [['bin', 'bin']],
    [['bin', '']],
    [['', 'x']],
    [[]],
    [['bin']],
    [['bin', 'x', 'y']],
    [['--print-digest-only', 'bin', 'x']],
    [['--print-digest-only']],
    [['--skip-xattrs', '--user-xattrs', 'bin', 'x']],
    [['--min-version=2', 'bin', '-']],
    [['--max-version=-1', 'bin', '-']],
    [['--max-version=9223372036854775808', 'bin', '-']],
    [['--min-version=0x1', 'bin', '-']],
    [['--max-version=', 'bin', '-']],
    [['--threads=0', 'bin', '-']],
    [['--threads=-4294967297', 'bin', '-']],
    [['--threads=two', 'bin', '-']],
    [['--min-version']],
    [['bin', '-', '--threads']],
    [['--print', 'bin', '-']],
    [['--use', 'bin', '-']],
    [['--print-digest=yes', 'bin', '-']],
    [['--no-such-option', 'bin', '-']],
    [['--help']],
    [['--hardlink', 'bin', '-']],
    [['-C', 'bin', '-']],
    [['-R', 'bin', '-']],
    [['-h']],
    [['--from-file', 'no-such-file', '-']],
    [['--from-file', 'bin', '-']],
  ])('fails as the real one does with %j', (args) => {
    const { status } = expectSame('mkcomposefs', args);
    expect(status).toBe(1);
  });

  it.each([
    [['--print-digest-o', 'bin']],
    [['bin', '--print-digest-only', '--th', '2']],
    [['bin', '--', '-']],
    [['--print-digest-only', '--', 'bin']],
    [['--min-version=4294967296', '--max', '1', 'bin', '-']],
    [['--min-version= +1', 'bin', '-']],
    [['bin', '-', '--skip-d', '--print-digest']],
  ])('understands %j as the real one does', (args) => {
    expect(expectSame('mkcomposefs', args).status).toBe(0);
  });

  it('permutes its arguments unless POSIXLY_CORRECT is set', () => {
    expectSame('mkcomposefs', ['bin', '--print-digest-only']);
    const { status } = expectSame('mkcomposefs', ['bin', '--print-digest-only'], {
      env: { POSIXLY_CORRECT: '' },
    });
    expect([status, readdirSync(work()).filter((name) => name.startsWith('--'))]).toEqual([
      0,
      ['--print-digest-only'],
    ]);
    rmSync(path.join(work(), '--print-digest-only'));
  });

  it('takes a name that is not UTF-8 from the command line', () => {
    const script = 'mkdir -p "$(printf "raw\\377dir")"; printf x > "$(printf "raw\\377dir/\\376")"';
    execFileSync('sh', ['-c', script], { cwd: work() });
    const both = [path.join(bin(), 'mkcomposefs'), `${theirArgv('mkcomposefs', []).join(' ')}`].map((tool) =>
      execFileSync('bash', ['--norc', '-c', `${tool} --print-digest "$(printf "raw\\377dir")" -`], {
        cwd: work(),
      }),
    );
    expect(both[0]?.equals(both[1] ?? Buffer.alloc(0))).toBe(true);
  });

  it('is the same tool as `sealroot mkcomposefs`', () => {
    const { stdout } = spawnSync(
      path.join(bin(), 'sealroot'),
      ['mkcomposefs', '--print-digest-only', 'bin'],
      {
        cwd: work(),
      },
    );
    expect(stdout.toString()).toBe(theirs('mkcomposefs', ['--print-digest-only', 'bin']).stdout.toString());
  });
});

describe('mkcomposefs --from-file', () => {
  const dump =
    '/ 4096 40755 2 0 0 0 0.0 - - -\n/a 2 100644 1 0 0 0 0.5 - ab - user.x=1\n/b 0 @100644 1 0 0 0 0.0 /a - -\n';

  it('reads a file, standard input and a pipe', () => {
    writeFileSync(path.join(work(), 'dump'), dump);
    for (const source of ['dump', '-']) {
      const { status } = expectSame('mkcomposefs', ['--from-file', '--print-digest', source, '-'], {
        input: dump,
      });
      expect(status).toBe(0);
    }
    const piped = execFileSync('bash', ['--norc', '-c', 'mkcomposefs --from-file <(cat dump) -'], {
      cwd: work(),
      env: { PATH: `${bin()}:${process.env.PATH}` },
    });
    expectSameBytes(piped, theirs('mkcomposefs', ['--from-file', 'dump', '-']).stdout, 'image');
  });

  it.each([
    ['', 'nothing'],
    ['\n', 'an empty line'],
    ['/ 4096 40755 2 0 0 0 0.0 - - -\n/a/b 0 100644 1 0 0 0 0.0 - - -\n', 'a parent that is missing'],
    ['/ 0 100644 1 0 0 0 0.0 - - -\n', 'a root that is a file'],
    ['/ x 40755 2 0 0 0 0.0 - - -\n', 'a size that is no number'],
    [dump.slice(0, 40), 'half a line'],
  ])('fails as the real one does for %j, %s', (input) => {
    expect(expectSame('mkcomposefs', ['--from-file', '-', '-'], { input, messages: 'free' }).status).toBe(1);
  });
});

describe('mkcomposefs --from-file with CFS_PARSE_STRICT', () => {
  const root = '/ 0 40755 2 0 0 0 0.0 - - -\n';

  it.each([
    [root.trimEnd(), 1],
    [`${root}/a 0 100644 1 0 0 7 0.0 - - -\n`, 1],
    [`${root}/a 0 10644 1 0 0 4294967296 0.0 - - -\n`, 1],
    [`${root}/a 3 120777 1 0 0 0 0.0 to - -\n`, 1],
    [`${root}/a 2 120777 1 0 0 0 0.0 to xy -\n`, 1],
    [`${root}/a 2 120777 1 0 0 0 0.0 to \\x -\n`, 1],
    [`${root}/a 0 20644 1 0 0 7 0.0 - - -\n/b 9 @20644 1 0 0 7 0.0 /a - -\n`, 0],
    [`${root}/a 2 120777 1 0 0 0 0.0 to - -\n/b 5 10644 1 0 0 0 0.0 - - -\n`, 0],
  ])('does as the real one for %j', (input, status) => {
    for (const value of ['1', '']) {
      const strict = { input, env: { CFS_PARSE_STRICT: value }, messages: 'free' } as const;
      expect(expectSame('mkcomposefs', ['--from-file', '-', '-'], strict).status).toBe(status);
    }
    expectSame('mkcomposefs', ['--from-file', '-', '-'], { input, messages: 'free' });
  });
});

describe('the output of mkcomposefs', () => {
  it('is not there after a failure, where the real one leaves an empty file', () => {
    theirs('mkcomposefs', ['no-such-folder', 'failed-theirs']);
    expect(statSync(path.join(work(), 'failed-theirs')).size).toBe(0);
    ours('mkcomposefs', ['no-such-folder', 'failed']);
    expect(existsSync(path.join(work(), 'failed'))).toBe(false);
    writeFileSync(path.join(work(), 'kept'), 'old', { mode: 0o600 });
    ours('mkcomposefs', ['--from-file', '-', 'kept'], { input: 'no dump' });
    expect(readFileSync(path.join(work(), 'kept'), 'utf8')).toBe('old');
    expect(ours('mkcomposefs', ['bin', 'kept']).status).toBe(0);
    expect(statSync(path.join(work(), 'kept')).mode & 0o7777).toBe(0o600);
  });

  it('goes to devices, pipes, links and descriptors as it does there', () => {
    const digest = theirs('mkcomposefs', ['--print-digest-only', 'bin']).stdout.toString();
    const tool = path.join(bin(), 'mkcomposefs');
    const shell = (script: string) =>
      execFileSync('bash', ['--norc', '-euc', script], { cwd: work() }).toString();
    expect(shell(`${tool} bin /dev/null; test -c /dev/null; echo same`)).toBe('same\n');
    expect(shell(`umask 027; ${tool} bin fresh; stat -c %a fresh`)).toBe('640\n');
    shell(`: > target; ln -s target to-file; ${tool} bin to-file; test -L to-file; cmp fresh target`);
    shell(`${tool} bin /proc/self/fd/3 3> held; cmp fresh held`);
    shell(`mkfifo pipe; ${tool} bin pipe & cmp fresh pipe; wait $!`);
    expect(shell(`${tool} bin fresh --print-digest`)).toBe(digest);
    const full = ours('mkcomposefs', ['bin', '/dev/full']);
    expect([full.status, full.stderr]).toEqual([
      1,
      'mkcomposefs: cannot write file: No space left on device\n',
    ]);
    expect(theirs('mkcomposefs', ['bin', '/dev/full']).status).toBe(1);
  });
});

/** Everything in a store: path, type, mode, size and content. */
function listStore(store: string): string[] {
  return execFileSync('find', ['.', '-type', 'f', '-printf', '%P %m %s ', '-exec', 'sha256sum', '{}', ';'], {
    cwd: store,
  })
    .toString()
    .split('\n')
    .sort();
}

describe('mkcomposefs --digest-store', () => {
  it('makes the same store as the real one', () => {
    const tree = path.join(forkyRoot(), 'usr/bin');
    expectSame('mkcomposefs', [`--digest-store=${path.join(work(), 'a/b/theirs')}`, tree, '-']);
    const args = (store: string) => [`--digest-store=${store}`, '--print-digest', tree, '-'];
    expectSameBytes(
      ours('mkcomposefs', args('a/b/ours')).stdout,
      theirs('mkcomposefs', args('a/b/second')).stdout,
      'image',
    );
    const objects = listStore(path.join(work(), 'a/b/ours'));
    expect(objects.length).toBeGreaterThan(100);
    expect(objects).toEqual(listStore(path.join(work(), 'a/b/second')));
    // A second time nothing changes, and no object is written again.
    const before = execFileSync('find', ['a/b/ours', '-printf', '%p %i %C@\n'], { cwd: work() }).toString();
    ours('mkcomposefs', args('a/b/ours'));
    expect(execFileSync('find', ['a/b/ours', '-printf', '%p %i %C@\n'], { cwd: work() }).toString()).toBe(
      before,
    );
  });

  it('replaces an object that is not whole, where the real one keeps it', () => {
    const tree = directory(work(), 'one-object');
    file(tree, 'a', 5000);
    const dump = () => ours('mkcomposefs', ['--digest-store=repaired', tree, '-']);
    dump();
    const [object = ''] = listStore(path.join(work(), 'repaired')).filter((line) => line !== '');
    const target = path.join(work(), 'repaired', object.split(' ')[0] ?? '');
    writeFileSync(target, 'half');
    theirs('mkcomposefs', ['--digest-store=repaired', tree, '-']);
    expect(readFileSync(target, 'utf8')).toBe('half');
    expect(dump().status).toBe(0);
    expect(readFileSync(target)).toEqual(readFileSync(path.join(tree, 'a')));
  });

  it('fails as the real one does when the store cannot be made, and leaves nothing behind', () => {
    writeFileSync(path.join(work(), 'a-file'), '');
    for (const store of ['a-file', 'a-file/below', '/proc/store', '/dev/null']) {
      const { status } = expectSame(
        'mkcomposefs',
        [`--digest-store=${store}`, '/usr/share/doc', 'no-image'],
        {
          messages: 'free',
        },
      );
      expect(status).toBe(1);
      rmSync(path.join(work(), 'no-image'), { force: true });
    }
  });

  it('never shows half an object: a full file system, and kill -9 at any moment', async () => {
    const store = directory(work(), 'small');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'small', store]);
    try {
      const full = ours('mkcomposefs', [`--digest-store=${store}`, '/usr/bin', 'never']);
      expect([full.status, existsSync(path.join(work(), 'never'))]).toEqual([1, false]);
      expect(full.stderr).toMatch(/^mkcomposefs: cannot fill store: .*No space left on device\n$/);
      expectWholeObjects(store);
      expect(readdirSync(store).filter((name) => name.startsWith('.'))).toEqual([]);
    } finally {
      execFileSync('umount', [store]);
    }
    const killed = path.join(work(), 'killed');
    for (const entries of [5, 40, 80]) {
      await killAfter(killed, entries);
      expectWholeObjects(killed);
    }
    const { status } = ours('mkcomposefs', [`--digest-store=${killed}`, '/usr/bin', '-']);
    expect(status).toBe(0);
    expectWholeObjects(killed);
  });
});

/** Every object's content has the digest of its name. */
function expectWholeObjects(store: string): void {
  const computer = new VerityComputer();
  const objects = readdirSync(store, { recursive: true, withFileTypes: true }).filter(
    (entry) => entry.isFile() && !entry.name.startsWith('.'),
  );
  expect(objects.length).toBeGreaterThan(0);
  for (const { parentPath, name } of objects) {
    const target = path.join(parentPath, name);
    const fd = openSync(target, 'r');
    const digest = hex(computer.ofDescriptor(fd, statSync(target).size, target));
    closeSync(fd);
    expect(digest).toBe(path.basename(parentPath) + name);
  }
}

/** Ends our tool with SIGKILL as soon as the store has so many entries. */
async function killAfter(store: string, entries: number): Promise<void> {
  mkdirSync(store, { recursive: true });
  const child = spawn(path.join(bin(), 'mkcomposefs'), [`--digest-store=${store}`, '/usr/bin', '-'], {
    stdio: 'ignore',
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  while (readdirSync(store).length < entries && child.exitCode === null) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  child.kill('SIGKILL');
  await ended;
}

describe('mkcomposefs --hardlinks', () => {
  it('keeps the names of one file together, in the order of names', () => {
    const tree = directory(work(), 'linked');
    const below = directory(tree, 'a');
    file(below, 'z', 100);
    linkSync(path.join(below, 'z'), path.join(tree, 'b'));
    linkSync(path.join(below, 'z'), path.join(below, 'y'));
    execFileSync('mknod', [path.join(tree, 'p'), 'p']);
    linkSync(path.join(tree, 'p'), path.join(below, 'q'));
    linkSync(path.join(below, 'z'), path.join(work(), 'outside'));
    const image = path.join(work(), 'linked.cfs');
    expect(ours('mkcomposefs', ['--hardlinks', '--use-epoch', tree, image]).status).toBe(0);
    const dump = theirs('composefs-info', ['dump', image]).stdout.toString();
    const links = dump
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split(' '))
      .map(
        ([name, , mode, nlink, , , , , payload]) =>
          `${name} ${mode} ${nlink} ${mode?.startsWith('@') ? payload : ''}`,
      );
    expect(links).toEqual([
      '/ 40755 3 ',
      '/a 40755 2 ',
      '/a/q 10644 2 ',
      '/a/y 100644 3 ',
      '/a/z @100644 3 /a/y',
      '/b @100644 3 /a/y',
      '/p @10644 2 /a/q',
    ]);
    const again = theirs('mkcomposefs', ['--from-file', '-', '-'], { input: dump });
    expectSameBytes(again.stdout, readFileSync(image), 'image');
  });

  it('changes nothing without it', () => {
    expectSame('mkcomposefs', [path.join(work(), 'linked'), '-']);
  });
});
