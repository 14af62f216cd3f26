import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  createReadStream,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ioctl } from '../../src/adapters/syscalls.ts';
import { ArchiveRepo } from './archive-repo.ts';
import { CACHE_HOME, PROGRAM, sealroot, sealrootRaw, useCli } from './run-cli.ts';

useCli();

/** `fsverity digest` of an empty file. */
const EMPTY_DIGEST = '3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95';

/** Of the vectors, whose files nobody has touched for a while. */
const VECTOR_COMMIT = '76a7b26144caf4962f108093326dd79506af8deab4e887e425865a00949027fb';

/** linux/ioctls.h: file status flag O_NONBLOCK on or off. */
const FIONBIO = 0x5421;

function dumpOf(lines: readonly string[]): string {
  return `${['/ 4096 40755 2 0 0 0 0.0 - - -', ...lines].join('\n')}\n`;
}

let folder: string;
let repo: ArchiveRepo;
let image: string;

beforeEach(() => {
  folder = mkdtempSync(join(process.env.TMPDIR ?? '/tmp', 'sealroot-image-'));
  repo = new ArchiveRepo(join(folder, 'repo'));
  repo.commit({ ref: 'os/x' });
  image = join(folder, 'os.cfs');
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function create(output: string, ...args: string[]) {
  return sealrootRaw(['image', 'create', '--repo', repo.path, '--commit', 'os/x', output, ...args]);
}

describe('sealroot image create', () => {
  it('writes the image and prints its digest, the same every time', () => {
    const first = create(image);
    expect(first.stderr).toBe('');
    expect(first.stdout.toString()).toMatch(/^fsverity-sha256-12:[0-9a-f]{64}\n$/);
    const bytes = readFileSync(image);
    expect(create(image).stdout).toEqual(first.stdout);
    expect(readFileSync(image)).toEqual(bytes);
    expect(sealroot(['image', 'digest', image]).stdout).toBe(first.stdout.toString());
    expect(readdirSync(folder).sort()).toEqual(['os.cfs', 'repo']);
  });

  it('keeps what it has read for the next time, unless it is told not to', () => {
    const vectors = join(import.meta.dirname, '../vectors/upstream-signed/repo');
    const made = (...args: string[]) => {
      const argv = ['image', 'create', '--repo', vectors, '--commit', VECTOR_COMMIT, ...args, '-'];
      const { status, stdout, stderr } = sealrootRaw(argv);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      return stdout;
    };
    const kept = () => (existsSync(CACHE_HOME) ? readdirSync(join(CACHE_HOME, 'sealroot')) : []);
    // Of a slow run: what other tests have read was old enough to be kept.
    rmSync(CACHE_HOME, { recursive: true, force: true });
    const image = made('--no-cache');
    expect(made('--no-digests')).not.toEqual(image);
    expect(kept()).toEqual([]);
    expect(made()).toEqual(image);
    expect(kept()).toHaveLength(1);
    expect(made()).toEqual(image);
    // Nobody writes to it, and nobody waits for that.
    const [name = ''] = kept();
    rmSync(join(CACHE_HOME, 'sealroot', name));
    execFileSync('mkfifo', [join(CACHE_HOME, 'sealroot', name)]);
    expect(made()).toEqual(image);
    expect(lstatSync(join(CACHE_HOME, 'sealroot', name)).isFile()).toBe(true);

    rmSync(join(CACHE_HOME, 'sealroot'), { recursive: true });
    writeFileSync(join(CACHE_HOME, 'sealroot'), 'no folder');
    const argv = ['image', 'create', '--repo', vectors, '--commit', VECTOR_COMMIT, '-'];
    const unkept = sealrootRaw(argv);
    expect(unkept).toMatchObject({ status: 0, stdout: image });
    expect(unkept.stderr).toMatch(
      /^sealroot: warning: cannot write .*\/sealroot\/digests-[0-9a-f]{16}: EEXIST\n$/,
    );
  });

  it('writes nothing but the image to standard output for -', () => {
    create(image);
    expect(create('-').stdout.equals(readFileSync(image))).toBe(true);
  });

  it('leaves an old image alone when it fails', () => {
    writeFileSync(image, 'old');
    rmSync(repo.objectPath(repo.ref('os/x'), 'commit'));
    const { status, stdout, stderr } = create(image);
    expect({ status, stdout: stdout.length }).toEqual({ status: 4, stdout: 0 });
    expect(stderr).toContain('cannot read commit');
    expect(readFileSync(image, 'utf8')).toBe('old');
    expect(readdirSync(folder).sort()).toEqual(['os.cfs', 'repo']);
  });

  it('replaces no link, folder or FIFO', () => {
    symlinkSync('elsewhere', image);
    // No device of the machine's own: a defect would replace it.
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    for (const output of [image, folder, fifo]) {
      const { status, stderr } = create(output);
      expect(status).toBe(2);
      expect(stderr).toContain(`cannot write image ${output}: it exists and is not a regular file`);
    }
    expect(existsSync(join(folder, 'elsewhere'))).toBe(false);
    expect(lstatSync(fifo).isFIFO()).toBe(true);
  });

  it('reports a folder that is not there, and makes none', () => {
    const { status, stderr } = create(join(folder, 'none/os.cfs'));
    expect(status).toBe(4);
    expect(stderr).toContain('ENOENT');
    expect(existsSync(join(folder, 'none'))).toBe(false);
  });
});

describe('images with SHA-512 digests', () => {
  const WIDE = ['--hash-alg', 'sha512'];

  it('name every file by it, pass the check, and come back from their dump', () => {
    const made = create(image, ...WIDE);
    expect(made.stdout.toString()).toBe(sealroot(['image', 'digest', ...WIDE, image]).stdout);
    const dump = sealroot(['image', 'dump', image]).stdout;
    const digests = dump.split('\n').map((line) => line.split(' ')[10]);
    expect(digests.filter((digest) => digest && digest !== '-').map((digest) => digest?.length)).toEqual([
      128, 128,
    ]);
    expect(sealroot(['image', 'check', image]).stdout).toMatch(/^\d+ inodes, no violations\n$/);
    const again = sealrootRaw(['mkcomposefs', '--from-file', '-', '-'], dump);
    expect(again.stdout.equals(readFileSync(image))).toBe(true);
    create(image);
    const usual = sealroot(['image', 'dump', image]).stdout;
    expect(usual.replaceAll(/ [0-9a-f]{64}(?= |$)/gm, ' D')).toBe(
      dump.replaceAll(/ [0-9a-f]{128}(?= |$)/gm, ' D'),
    );
  });

  it('are made of directories, with an object store', () => {
    const tree = join(folder, 'tree');
    const store = join(folder, 'store');
    mkdirSync(tree);
    writeFileSync(join(tree, 'file'), 'x'.repeat(5000));
    const made = sealroot([
      'mkcomposefs',
      '--hash-alg=sha512',
      '--print-digest',
      `--digest-store=${store}`,
      tree,
      image,
    ]);
    expect(made).toMatchObject({ status: 0, stderr: '' });
    expect(`fsverity-sha512-12:${made.stdout}`).toBe(sealroot(['image', 'digest', ...WIDE, image]).stdout);
    const [object = ''] = sealroot(['image', 'objects', image]).stdout.split('\n');
    const digest = sealroot(['image', 'digest', ...WIDE, join(tree, 'file')]).stdout.trim();
    expect(`fsverity-sha512-12:${object.replace('/', '')}`).toBe(digest);
    expect(readFileSync(join(store, object), 'utf8')).toBe('x'.repeat(5000));
    const wrong = sealroot(['mkcomposefs', '--hash-alg=md5', tree, image]);
    expect(wrong).toMatchObject({ status: 1, stderr: 'Invalid hash algorithm md5\n' });
  });
});

describe('sealroot image dump', () => {
  it('loses nothing in a pipe that is full and does not block', async () => {
    // More than a pipe holds.
    const lines = Array.from({ length: 5000 }, (_, i) => `/${i} 0 100644 1 0 0 0 0.0 - - -`);
    const made = sealrootRaw(['mkcomposefs', '--from-file', '-', '-'], dumpOf(lines));
    writeFileSync(image, made.stdout);
    const whole = sealroot(['image', 'dump', image]).stdout;
    expect(whole.length).toBeGreaterThan(65536);

    const path = join(folder, 'pipe');
    execFileSync('mkfifo', [path]);
    const end = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    const child = spawn(process.execPath, [PROGRAM, 'image', 'dump', image], {
      stdio: ['ignore', end, 'inherit'],
    });
    // Whoever starts a program makes its standard output block; it is the same open file as ours.
    ioctl(end, FIONBIO, Buffer.from(Int32Array.of(1).buffer), 'unblock the pipe');
    const reader = createReadStream(path);
    closeSync(end);
    const [[status], text] = await Promise.all([once(child, 'exit'), reader.setEncoding('utf8').toArray()]);
    expect(status).toBe(0);
    expect(text.join('') === whole).toBe(true);
  });

  it('prints the files of the image, from a file and from standard input', () => {
    create(image);
    const { status, stdout } = sealroot(['image', 'dump', image]);
    expect(status).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^\/ \d+ 40755 /);
    expect(lines.map((line) => line.split(' ')[0])).toEqual(
      expect.arrayContaining(['/usr/bin/hello', '/usr/bin/hi']),
    );
    expect(lines.find((line) => line.startsWith('/usr/bin/hi '))).toContain(' 120777 ');
    expect(sealroot(['image', 'dump', '-'], readFileSync(image)).stdout).toBe(stdout);
  });

  it('rejects what is no image', () => {
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(8192, 0x5a)]) {
      const { status, stdout, stderr } = sealroot(['image', 'dump', '-'], bytes);
      expect({ status, stdout }).toEqual({ status: 3, stdout: '' });
      expect(stderr).toMatch(/^sealroot: error: cannot /);
    }
  });
});

describe('sealroot image digest', () => {
  it('is the fs-verity digest', () => {
    expect(sealroot(['image', 'digest', '-'], '').stdout).toBe(`fsverity-sha256-12:${EMPTY_DIGEST}\n`);
    writeFileSync(image, '');
    expect(JSON.parse(sealroot(['image', 'digest', '--json', image]).stdout)).toEqual({
      image,
      digest: EMPTY_DIGEST,
      algorithm: 'sha256',
      blockSize: 4096,
    });
  });

  it('takes algorithm and block size', () => {
    const digest = (...args: string[]) => sealroot(['image', 'digest', ...args, '-'], 'hello\n');
    // fsverity digest --hash-alg=sha512, and the same with --block-size=65536
    const hello = {
      4096: '21fe275216d7dafb8afa8f8257ae96215b74c1dad980238e6fdbbd0c41a44adb8d3e1f95c7e3dad3e25037369d1c87dd107ceb7eb9c9c868eb2b18b57ddd4125',
      65536:
        '1acf30ab2641134aa2cd858fe4878c74845e8d20487a1ecab3f60d5f223894e03470ba4b4517d0ce5a304b4621c506e3f4598e5a21587bf3299e9d3405c20c28',
    };
    expect(digest('--hash-alg', 'sha512').stdout).toBe(`fsverity-sha512-12:${hello[4096]}\n`);
    expect(digest('--hash-alg', 'sha512', '--block-size', '65536').stdout).toBe(
      `fsverity-sha512-16:${hello[65536]}\n`,
    );
    expect(JSON.parse(digest('--hash-alg', 'sha512', '--json').stdout)).toMatchObject({
      digest: hello[4096],
      algorithm: 'sha512',
      blockSize: 4096,
    });
    for (const wrong of [
      ['--hash-alg', 'md5'],
      ['--block-size', '512'],
      ['--block-size', '5000'],
      ['--block-size', ''],
    ]) {
      expect(digest(...wrong)).toMatchObject({ status: 2, stdout: '' });
    }
  });

  it('takes standard input in its order when it comes in many pieces', () => {
    const bytes = Buffer.alloc(1 << 20);
    for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(at, at);
    writeFileSync(image, bytes);
    const { status, stdout } = sealroot(['image', 'digest', image]);
    expect(status).toBe(0);
    expect(sealroot(['image', 'digest', '-'], bytes)).toEqual({ status, stdout, stderr: '' });
  });

  it('reports a file that is not there, and one that is no file', () => {
    expect(sealroot(['image', 'digest', image])).toMatchObject({ status: 4, stdout: '' });
    expect(sealroot(['image', 'digest', folder])).toMatchObject({ status: 3, stdout: '' });
  });
});
