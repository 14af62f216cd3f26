import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ArchiveRepo } from './archive-repo.ts';
import { sealroot, sealrootRaw, useCli } from './run-cli.ts';

useCli();

/** `fsverity digest` of an empty file. */
const EMPTY_DIGEST = '3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95';

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
    expect(first.stdout.toString()).toMatch(/^[0-9a-f]{64}\n$/);
    const bytes = readFileSync(image);
    expect(create(image).stdout).toEqual(first.stdout);
    expect(readFileSync(image)).toEqual(bytes);
    expect(sealroot(['image', 'digest', image]).stdout).toBe(first.stdout.toString());
    expect(readdirSync(folder).sort()).toEqual(['os.cfs', 'repo']);
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

describe('sealroot image dump', () => {
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
    expect(sealroot(['image', 'digest', '-'], '').stdout).toBe(`${EMPTY_DIGEST}\n`);
    writeFileSync(image, '');
    expect(JSON.parse(sealroot(['image', 'digest', '--json', image]).stdout)).toEqual({
      image,
      digest: EMPTY_DIGEST,
      algorithm: 'sha256',
      blockSize: 4096,
    });
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
