/** What a hostile disk can put in the place of a file or directory, through the real program: named, and no mount. */

import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildPrepareRoot } from '../../initrd/build.ts';
import { UNTAMPERED } from '../formats/mutation-inputs.ts';
import { codeOf, makeRig, put, type Rig } from './prepare-root-rig.ts';

let binary = '';
let rig: Rig;

beforeAll(async () => {
  binary = await buildPrepareRoot();
});

afterEach(() => rig.remove());

interface Attack {
  readonly name: string;
  readonly attack: (rig: Rig) => void;
  readonly code: string;
  readonly status?: number;
}

const checksum = UNTAMPERED.checksum;
const DEVICE = `ostree/deploy/os/deploy/${checksum}.0`;

function mknod(path: string, ...type: string[]): void {
  execFileSync('mknod', [path, ...type]);
}

/** Every way for `path(rig)` to be something else than the file it should be. */
function replacements(what: string, path: (rig: Rig) => string, code: string, missing: string): Attack[] {
  const replace = (make: (path: string, rig: Rig) => void) => (stage: Rig) => {
    unlinkSync(path(stage));
    make(path(stage), stage);
  };
  return [
    { name: `${what}: missing`, attack: replace(() => {}), code: missing },
    { name: `${what}: a FIFO`, attack: replace((at) => mknod(at, 'p')), code },
    { name: `${what}: a character device`, attack: replace((at) => mknod(at, 'c', '1', '5')), code },
    { name: `${what}: a block device`, attack: replace((at) => mknod(at, 'b', '7', '200')), code },
    {
      name: `${what}: a device without a driver`,
      attack: replace((at) => mknod(at, 'c', '240', '77')),
      code,
    },
    { name: `${what}: a directory`, attack: replace((at) => mkdirSync(at)), code },
    {
      name: `${what}: a relative link to the very file`,
      attack: (stage) => {
        renameSync(path(stage), `${path(stage)}.moved`);
        symlinkSync(`./${path(stage).split('/').pop()}.moved`, path(stage));
      },
      code,
    },
    {
      name: `${what}: an absolute link into the initramfs`,
      attack: replace((at, stage) => {
        renameSyncFile(stage);
        symlinkSync('/usr/lib/sealroot/copy', at);
      }),
      code,
    },
    { name: `${what}: a dangling link`, attack: replace((at) => symlinkSync('nowhere', at)), code },
    {
      name: `${what}: a link to itself`,
      attack: replace((at) => symlinkSync(at.split('/').pop() ?? '', at)),
      code,
    },
    {
      name: `${what}: a link to /proc/self/fd/0`,
      attack: replace((at) => symlinkSync('/proc/self/fd/0', at)),
      code,
    },
  ];
}

/** A file that the attacker could want to be read instead. */
function renameSyncFile(stage: Rig): void {
  put(join(stage.folder, 'usr/lib/sealroot/copy'), UNTAMPERED.commit);
}

/** A directory on the way, replaced by a link to where it was moved, or by something else. */
function onTheWay(what: string, path: (rig: Rig) => string, code: string): Attack[] {
  return [
    {
      name: `${what}: behind a relative link`,
      attack: (stage) => {
        const at = path(stage);
        renameSync(at, `${at}-moved`);
        symlinkSync(`${at.split('/').pop()}-moved`, at);
      },
      code,
    },
    {
      name: `${what}: behind an absolute link`,
      attack: (stage) => {
        const at = path(stage);
        renameSync(at, `${at}-moved`);
        symlinkSync(`${at.slice(stage.folder.length)}-moved`, at);
      },
      code,
    },
    {
      name: `${what}: a file`,
      attack: (stage) => {
        rmSync(path(stage), { recursive: true });
        writeFileSync(path(stage), '');
      },
      code,
    },
  ];
}

const objectDirectory = (stage: Rig) => dirname(stage.object('commit'));

const ATTACKS: Attack[] = [
  ...replacements('commit', (stage) => stage.object('commit'), 'not-a-regular-file', 'commit-missing'),
  ...replacements(
    'commitmeta',
    (stage) => stage.object('commitmeta'),
    'not-a-regular-file',
    'commitmeta-missing',
  ),
  ...replacements('image', (stage) => join(stage.deployment, '.ostree.cfs'), 'image-unsafe', 'image-missing'),
  ...onTheWay('object directory', objectDirectory, 'not-a-regular-file'),
  ...onTheWay('repository', (stage) => join(stage.sysroot, 'ostree/repo'), 'not-a-regular-file'),
  {
    name: 'image: empty',
    attack: (stage) => truncateSync(join(stage.deployment, '.ostree.cfs')),
    code: 'image-unsafe',
  },
  {
    name: 'image: same bytes without fs-verity',
    attack: () => {},
    code: 'image-verity-missing',
  },
  {
    name: 'commit: sparse, one byte above 16 MiB',
    attack: (stage) => truncateSync(stage.object('commit'), 16 * 1024 * 1024 + 1),
    code: 'file-too-large',
  },
  {
    name: 'commit: sparse, 8 TiB',
    attack: (stage) => truncateSync(stage.object('commit'), 8 * 2 ** 40),
    code: 'file-too-large',
  },
  {
    name: 'commit: exactly 16 MiB',
    attack: (stage) => truncateSync(stage.object('commit'), 16 * 1024 * 1024),
    code: 'commit-checksum-mismatch',
  },
  {
    name: 'commitmeta: exactly 16 MiB of zeros',
    attack: (stage) => {
      truncateSync(stage.object('commitmeta'));
      truncateSync(stage.object('commitmeta'), 16 * 1024 * 1024);
    },
    code: 'commitmeta-malformed',
  },
  {
    name: 'commitmeta: exactly 16 MiB of ones',
    attack: (stage) => writeFileSync(stage.object('commitmeta'), Buffer.alloc(16 * 1024 * 1024, 1)),
    code: 'commitmeta-malformed',
  },
];

/** Where the link that `ostree=` names can lead. `link` replaces the last link; the rest stays. */
function leading(name: string, target: string, code: string, also?: (rig: Rig) => void): Attack {
  return {
    name: `ostree=: ${name}`,
    attack: (stage) => {
      const link = join(stage.sysroot, 'ostree/boot.1.1/os/0/0');
      unlinkSync(link);
      symlinkSync(target, link);
      also?.(stage);
    },
    code,
  };
}

const UP = '../../../..';
const RESOLUTION: Attack[] = [
  leading('an absolute link inside the physical root', `/${DEVICE}`, 'image-verity-missing'),
  leading('more `..` than there are directories', `${'../'.repeat(40)}${DEVICE}`, 'image-verity-missing'),
  leading('nothing there', `${UP}/ostree/deploy/os/deploy/none.0`, 'deployment-unresolvable'),
  leading('a link to itself', '0', 'deployment-unresolvable'),
  leading('a loop of two links', '1', 'deployment-unresolvable', (stage) =>
    symlinkSync('0', join(stage.sysroot, 'ostree/boot.1.1/os/0/1')),
  ),
  leading('the physical root', '/', 'deployment-malformed'),
  leading('a directory in the deployment', `/${DEVICE}/etc`, 'deployment-malformed'),
  leading('the stateroot', '/ostree/deploy/os', 'deployment-malformed'),
  leading('a file', '/file', 'deployment-unresolvable', (stage) => put(join(stage.sysroot, 'file'), 'x')),
  leading('a FIFO', '/fifo', 'deployment-unresolvable', (stage) => mknod(join(stage.sysroot, 'fifo'), 'p')),
  leading('an absolute path of the initramfs', '/usr/lib/sealroot', 'deployment-unresolvable'),
  leading('a link of /proc', '/proc/self/cwd', 'deployment-unresolvable'),
  ...[
    'nonsense.0',
    checksum,
    `${checksum}.`,
    `${checksum}.x`,
    `${checksum}.00`,
    `${checksum}.0.0`,
    `${checksum.toUpperCase()}.0`,
    `${checksum}.-1`,
    `${checksum}.12345678901`,
  ].map((name) =>
    leading(
      `a deployment called ${name}`,
      `/ostree/deploy/os/deploy/${name}`,
      'deployment-malformed',
      (stage) => mkdirSync(join(stage.sysroot, 'ostree/deploy/os/deploy', name), { recursive: true }),
    ),
  ),
  leading('a deployment outside ostree/deploy', '/elsewhere', 'deployment-malformed', (stage) =>
    renameSync(stage.deployment, join(stage.sysroot, 'elsewhere')),
  ),
  leading('a name that is not UTF-8', '/x', 'deployment-malformed', (stage) => {
    const odd = Buffer.concat([Buffer.from(`${stage.sysroot}/b`), Buffer.from([0xff, 0xc3, 0x0a])]);
    mkdirSync(odd);
    symlinkSync(odd.subarray(Buffer.byteLength(`${stage.sysroot}/`)), join(stage.sysroot, 'x'));
  }),
];

function attackTests(attacks: readonly Attack[]): void {
  for (const { name, attack, code } of attacks) {
    it(`${name}: ${code}`, async () => {
      rig = makeRig(binary);
      attack(rig);
      const { status, stdout, stderr } = await rig.run();
      expect(codeOf(stderr)).toBe(code);
      expect(status).toBe(1);
      expect(stdout).toBe('');
    });
  }
}

describe('files on a hostile disk', () => attackTests(ATTACKS));
describe('where ostree= leads', () => attackTests(RESOLUTION));

describe('files of the initramfs', () => {
  it('refuses a policy above 64 KiB', async () => {
    rig = makeRig(binary, { ...UNTAMPERED, conf: new Uint8Array(65537).fill(0x0a) });
    expect(codeOf((await rig.run()).stderr)).toBe('file-too-large');
  });

  it('refuses a key path that is a FIFO, without waiting', async () => {
    rig = makeRig(binary, { ...UNTAMPERED, keys: null });
    mknod(join(rig.folder, 'etc/ostree/initramfs-root-binding.key'), 'p');
    expect(codeOf((await rig.run()).stderr)).toBe('not-a-regular-file');
  });

  it('follows links of the initramfs, which is trusted', async () => {
    rig = makeRig(binary);
    const keys = join(rig.folder, 'etc/ostree/initramfs-root-binding.key');
    renameSync(keys, join(rig.folder, 'keys'));
    symlinkSync('/keys', keys);
    expect(codeOf((await rig.run()).stderr)).toBe('image-verity-missing');
  });

  it('reads the keys where composefs.keypath says', async () => {
    const conf = Buffer.from('[composefs]\nenabled=signed\nkeypath=/elsewhere\n');
    rig = makeRig(binary, { ...UNTAMPERED, conf });
    linkSync(join(rig.folder, 'etc/ostree/initramfs-root-binding.key'), join(rig.folder, 'elsewhere'));
    expect(codeOf((await rig.run()).stderr)).toBe('image-verity-missing');
    unlinkSync(join(rig.folder, 'elsewhere'));
    expect((await rig.run()).stderr).toContain('keys-missing: cannot read /elsewhere: ENOENT');
  });
});

describe('what is said, and where', () => {
  const line =
    /^sealroot-prepare-root: error: image-missing: cannot open \/sysroot\/ostree\/deploy\/os\/deploy\/[0-9a-f]{64}\.0\/\.ostree\.cfs: ENOENT; [ -~]+\n$/;

  function withoutImage(): Rig {
    const stage = makeRig(binary);
    unlinkSync(join(stage.deployment, '.ostree.cfs'));
    return stage;
  }

  it('is one line on the journal and leaves the console to it when standard error is a socket', async () => {
    rig = withoutImage();
    const { journal, stderr, console } = await rig.run('socket');
    expect(stderr).toMatch(line);
    expect(journal).toBe(`<3>${stderr}`);
    expect(console).toBe('');
  });

  it('is one line on each of standard error and console when standard error is a file', async () => {
    rig = withoutImage();
    const { stderr, console } = await rig.run('file');
    expect(stderr).toMatch(line);
    expect(console).toBe(stderr);
  });

  it('is one line on the console when standard error is closed', async () => {
    rig = withoutImage();
    const { status, stderr, console } = await rig.run('closed');
    expect(status).toBe(1);
    expect(stderr).toBe('');
    expect(console).toMatch(line);
  });

  it('keeps bytes of the disk out of the terminal', async () => {
    rig = makeRig(binary, { ...UNTAMPERED, cmdline: 'ostree=/\x1b[2Jx\x07\xff\n' });
    const { stderr } = await rig.run();
    expect(codeOf(stderr)).toBe('deployment-unresolvable');
    expect(stderr).toContain('ostree=/\\x1b[2Jx\\x07');
  });

  it('warns about the arguments that ostree would follow', async () => {
    rig = makeRig(binary, {
      ...UNTAMPERED,
      cmdline: `ostree.prepare-root.composefs=0 ${UNTAMPERED.cmdline}`,
    });
    const { journal } = await rig.run();
    expect(journal.split('\n')[0]).toBe(
      '<4>sealroot-prepare-root: warning: cannot follow kernel argument ostree.prepare-root.composefs: ' +
        'only /usr/lib/sealroot/prepare-root.conf decides',
    );
  });

  it.each([
    ['its own root', ['/'], 'boot with an initramfs, which the disk cannot change, and mount '],
    ['a kernel command line', ['/sysroot', 'ostree=/x'], 'name the physical root only: the kernel command '],
    ['an unknown option', ['--frob', '/sysroot'], 'call it as sealroot-prepare-root [PHYSICAL-ROOT]\n'],
  ])('refuses to use %s, and says what to do', async (_, args, remedy) => {
    rig = makeRig(binary);
    const { status, stderr } = await rig.run('socket', args);
    expect([status, codeOf(stderr)]).toEqual([1, 'usage']);
    expect(stderr).toContain(`; ${remedy}`);
  });

  it('exits 4 when the system fails', async () => {
    rig = makeRig(binary);
    rmSync(join(rig.folder, 'usr/lib/sealroot/prepare-root.conf'));
    mkdirSync(join(rig.folder, 'usr/lib/sealroot/prepare-root.conf'));
    const { status, stderr } = await rig.run();
    // A directory can be opened; it is no regular file.
    expect([status, codeOf(stderr)]).toEqual([1, 'not-a-regular-file']);
    chmodSync(rig.folder, 0o755);
    renameSync(join(rig.folder, 'usr/lib/sealroot'), join(rig.folder, 'moved'));
    symlinkSync('sealroot', join(rig.folder, 'usr/lib/sealroot'));
    const looping = await rig.run();
    expect([looping.status, codeOf(looping.stderr)]).toEqual([4, 'system-call-failed']);
  });
});
