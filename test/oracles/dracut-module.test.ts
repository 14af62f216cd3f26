/**
 * The dracut module against the real dracut: the initramfs of the real tree holds what a sealed boot needs and
 * nothing that weakens it, and one that could not boot sealed is not built at all.
 */
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildPrepareRoot } from '../../initrd/build.ts';
import { CACHE_DIR } from '../../tools/cache.ts';
import { runHere, runIn } from '../../tools/chroots.ts';
import { buildInitramfs, installSealedBoot, TREE_PATHS } from '../../vm-tests/initramfs.ts';
import { ensureTrixie, kernelVersionOf } from '../../vm-tests/os-tree.ts';
import { withLayer } from '../../vm-tests/tree-layer.ts';

const KEY = publicKey();
const OTHER_KEY = publicKey();

function publicKey(): string {
  const der = generateKeyPairSync('ed25519').publicKey.export({ format: 'der', type: 'spki' });
  return `${der.subarray(-32).toString('base64')}\n`;
}
const OSTREE_CONF = 'usr/lib/ostree/prepare-root.conf';
const OSTREE_ETC_CONF = 'etc/ostree/prepare-root.conf';

let scratch: string;
let kernelVersion: string;

/** What a test changes in the tree: a file's new text, or undefined for no such file. */
type Changes = Readonly<Record<string, string | undefined>>;

/** Runs `action` in trixie with the sealed boot installed and then changed. */
async function inTree<T>(changes: Changes, action: (tree: string) => Promise<T>): Promise<T> {
  return await withLayer(await ensureTrixie(), async (tree) => {
    await installSealedBoot(tree, {
      prepareRoot: await buildPrepareRoot(),
      publicKey: path.join(scratch, 'key.pub'),
    });
    for (const [name, text] of Object.entries(changes)) {
      await rm(path.join(tree, name), { force: true });
      if (text === undefined) continue;
      await mkdir(path.dirname(path.join(tree, name)), { recursive: true });
      await writeFile(path.join(tree, name), text);
    }
    return await action(tree);
  });
}

/** Builds in a changed tree; returns dracut's message and whether an image was left behind. */
async function failure(changes: Changes): Promise<{ message: string; image: boolean }> {
  return await inTree(changes, async (tree) => {
    const message = await buildInitramfs(tree, {
      kernelVersion,
      output: '/tmp/initramfs.img',
      only: ['sealroot'],
    }).then(
      () => 'built',
      (error: Error) => error.message,
    );
    return { message, image: existsSync(path.join(tree, 'tmp/initramfs.img')) };
  });
}

/** What lsinitrd lists, and a way to read a file of the image. */
async function build(changes: Changes, options: { add?: string[]; only?: string[] } = {}) {
  return await inTree(changes, async (tree) => {
    await buildInitramfs(tree, { kernelVersion, output: '/tmp/initramfs.img', ...options });
    await runIn(tree, ['mkdir', '/tmp/unpacked']);
    await runIn(tree, ['lsinitrd', '--unpack', '/tmp/initramfs.img'], { cwd: '/tmp/unpacked' });
    const { stdout } = await runIn(tree, ['find', '.', '-printf', '%P -> %l\n'], { cwd: '/tmp/unpacked' });
    const links = new Map(
      stdout
        .toString()
        .split('\n')
        .map((line) => line.split(' -> ') as [string, string]),
    );
    const read = (name: string) => readFileSync(path.join(tree, 'tmp/unpacked', name));
    const policy = links.has(TREE_PATHS.policy) ? read(TREE_PATHS.policy).toString() : undefined;
    const binary = read(TREE_PATHS.prepareRoot);
    const early = read('etc/modules-load.d/sealroot.conf').toString();
    return { links, policy, binary, early };
  });
}

beforeAll(async () => {
  kernelVersion = await kernelVersionOf(await ensureTrixie());
  await mkdir(path.join(CACHE_DIR, 'test'), { recursive: true });
  scratch = await mkdtemp(path.join(CACHE_DIR, 'test/dracut-'));
  await writeFile(path.join(scratch, 'key.pub'), KEY);
});

afterAll(async () => {
  await rm(scratch, { recursive: true });
});

describe('50sealroot builds an initramfs', () => {
  it('with verifier, policy, key, unit and kernel modules, and without a way around them', async () => {
    const { links, policy, binary, early } = await build({}, { add: ['ostree'] });
    const names = [...links.keys()];
    expect(binary).toEqual(readFileSync(await buildPrepareRoot()));
    expect(policy).toBe('[composefs]\nenabled=signed\n[sysroot]\nreadonly=true\n');
    expect(names).toContain(TREE_PATHS.key);
    for (const module of ['erofs', 'overlay', 'loop']) {
      expect(names.filter((name) => name.endsWith(`/${module}.ko.xz`))).toHaveLength(1);
    }
    expect(early).toBe('erofs\noverlay\n');
    expect(names).toContain('usr/lib/systemd/systemd-modules-load');
    for (const unit of ['initrd-root-fs.target', 'initrd-switch-root.service']) {
      expect(links.get(`etc/systemd/system/${unit}.requires/sealroot-prepare-root.service`)).toBe(
        `/${TREE_PATHS.unit}`,
      );
    }
    for (const unit of ['emergency', 'rescue', 'dracut-emergency']) {
      expect(names).toContain(`etc/systemd/system/${unit}.service.d/50-sealroot.conf`);
    }
    expect(links.get('etc/systemd/system/debug-shell.service')).toBe('/dev/null');
    expect(links.get('etc/systemd/system-generators/systemd-debug-generator')).toBe('/dev/null');
    // `--add ostree` above: the omission in our configuration file wins.
    expect(names).not.toContain('usr/lib/ostree/ostree-prepare-root');
  });

  it("with ostree's policy, /etc merged over /usr/lib, when there is none of our own", async () => {
    const changes = {
      [TREE_PATHS.policy]: undefined,
      [TREE_PATHS.key]: undefined,
      [OSTREE_CONF]: '[composefs]\nenabled=verity',
      [OSTREE_ETC_CONF]: '[composefs]\nenabled = signed\r\nkeypath=/etc/other.key\n',
      'etc/other.key': KEY,
      'etc/other.key.revoked': OTHER_KEY,
    };
    const { policy, links } = await build(changes, { only: ['sealroot'] });
    expect(policy).toBe(
      '[composefs]\nenabled=verity\n[composefs]\nenabled = signed\r\nkeypath=/etc/other.key\n',
    );
    expect([...links.keys()].filter((name) => name.includes('other.key')).sort()).toEqual([
      'etc/other.key',
      'etc/other.key.revoked',
    ]);
  });
});

describe('50sealroot and a policy that is not sealed', () => {
  it('asks for no key', async () => {
    const changes = { [TREE_PATHS.policy]: '[composefs]\nenabled=maybe\n', [TREE_PATHS.key]: undefined };
    const { policy, links } = await build(changes, { only: ['sealroot'] });
    expect(policy).toBe('[composefs]\nenabled=maybe\n');
    expect([...links.keys()]).not.toContain(TREE_PATHS.key);
  });

  it('takes the key along when there is one: a kernel argument may seal the boot', async () => {
    const { links } = await build(
      { [TREE_PATHS.policy]: '[composefs]\nenabled=no\n' },
      { only: ['sealroot'] },
    );
    expect([...links.keys()]).toContain(TREE_PATHS.key);
  });
});

describe('50sealroot and a policy that permits a shell', () => {
  it('leaves the failure units as they are, but nothing that opens one without a failure', async () => {
    const policy = '[composefs]\nenabled=signed\n[sealroot]\nshell=true\n';
    const { links } = await build({ [TREE_PATHS.policy]: policy }, { only: ['sealroot'] });
    expect([...links.keys()].filter((name) => name.endsWith('50-sealroot.conf'))).toEqual([]);
    expect(links.get('etc/systemd/system/debug-shell.service')).toBe('/dev/null');
    expect(links.get('etc/systemd/system-generators/systemd-debug-generator')).toBe('/dev/null');
  });
});

describe('50sealroot fails the build and leaves no image', () => {
  const rows: readonly (readonly [name: string, changes: Changes, expected: string])[] = [
    [
      'without a key',
      { [TREE_PATHS.key]: undefined },
      `keys-missing: cannot read /${TREE_PATHS.key}: ENOENT`,
    ],
    ['with an empty key file', { [TREE_PATHS.key]: '' }, 'keys-missing: '],
    [
      'with a key of 31 bytes',
      { [TREE_PATHS.key]: `${Buffer.alloc(31).toString('base64')}\n` },
      'keys-missing: ',
    ],
    [
      'with a key that is no point of the curve',
      { [TREE_PATHS.key]: `${Buffer.alloc(32, 2).toString('base64')}\n` },
      'keys-missing: ',
    ],
    [
      'with a revoked key that is none',
      { [`${TREE_PATHS.key}.revoked`]: '# none yet\n' },
      'revoked-malformed: ',
    ],
    [
      'with an unknown key in [sealroot]',
      { [TREE_PATHS.policy]: '[composefs]\nenabled=signed\n[sealroot]\non-fail=reboot\n' },
      'policy-malformed: cannot read ',
    ],
    ['without a policy', { [TREE_PATHS.policy]: undefined }, 'no policy'],
    [
      'with a policy that does not say whether it is sealed',
      { [TREE_PATHS.policy]: '[sysroot]\nreadonly=true\n' },
      'policy-not-sealed: cannot boot by ',
    ],
    [
      'with the key of another group',
      { [TREE_PATHS.policy]: '[root]\nenabled=signed\n[composefs]\n' },
      'composefs.enabled is not set',
    ],
    ['without the verifier', { [TREE_PATHS.prepareRoot]: undefined }, 'sealroot-prepare-root is missing'],
    ['without the unit', { [TREE_PATHS.unit]: undefined }, 'sealroot-prepare-root.service is missing'],
  ];
  it.each(rows)('%s', async (_, changes, expected) => {
    const { message, image } = await failure(changes);
    expect(message).toContain('sealroot: cannot build a sealed initramfs:');
    expect(message).toContain(expected);
    expect(image).toBe(false);
  });
});

describe('the shell of the dracut module', () => {
  it('pleases shellcheck', async () => {
    const folder = path.join(import.meta.dirname, '../../dracut-module/50sealroot');
    const { stdout } = await runHere(['shellcheck', `${folder}/module-setup.sh`, `${folder}/no-shell.sh`]);
    expect(stdout.toString()).toBe('');
  });
});
