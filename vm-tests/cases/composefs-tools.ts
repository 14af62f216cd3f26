/**
 * mkcomposefs, composefs-info and mount.composefs where fs-verity exists: the object store gets it, an image is
 * mounted under its digest alone, and a file whose object has lost fs-verity cannot be read.
 */
import { strict as assert } from 'node:assert';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { ensureCached } from '../../tools/cache.ts';
import { runHere } from '../../tools/chroots.ts';
import { ensureDevicePackage, installInto } from '../../tools/device-package.ts';
import type { VmCase } from '../case.ts';
import { file } from '../cpio.ts';
import { fastBoot, ROOT_MODULES } from '../fast-boot.ts';
import { testKernel } from '../guest-kernel.ts';
import { loadModules } from '../kernel-modules.ts';
import { ensureTrixie } from '../os-tree.ts';
import { captured, requireDone } from '../outcome.ts';
import { withLayer } from '../tree-layer.ts';

/** Instead of any boot: the disk is an ordinary system, and the script runs in it. */
const ENTER = `mount -t ext4 /dev/vda /sysroot || finish 1 'mount of /dev/vda failed'
mkdir /run/case
cp /case/* /bin/busybox /run/case/
for folder in proc sys dev run; do mount -o move /$folder /sysroot/$folder; done
exec chroot /sysroot /bin/bash /run/case/tools
`;

const TOOLS = `. /run/case/events.sh
. /run/case/finish.sh
event entered
mkdir /run/bin
for tool in mkcomposefs composefs-info mount.composefs; do
    ln -s "$(readlink -f /usr/bin/sealroot)" /run/bin/$tool
done
PATH=/run/bin:/usr/sbin:/usr/bin
cd /root
mkdir mnt sealed
read_all() { find mnt -type f -exec cat {} + >/dev/null; }
unprotected() { find objects -type f -exec lsattr {} + | grep -v '^[^ ]*V'; find objects -type f | wc -l; }

capture build mkcomposefs --digest-store=objects --print-digest /usr/lib/systemd sealed/image.cfs
digest=$(composefs-info measure-file sealed/image.cfs)
capture unprotected unprotected
capture no-verity mount.composefs -o basedir=objects,digest=$digest sealed/image.cfs mnt
# The store seals whatever it takes in: the image, too.
capture seal mkcomposefs --digest-store=images sealed /dev/null
image=$(find images -type f)
capture measured composefs-info measure-file "$image"
capture wrong mount.composefs -o basedir=objects,digest=$(printf %064d 0) "$image" mnt
capture right mount.composefs -o basedir=objects,digest=$digest "$image" mnt
capture compare diff -r --no-dereference /usr/lib/systemd mnt
umount mnt
capture our-wrong sealroot image mount --basedir objects --digest $(printf %064d 0) "$image" mnt
capture our-right sealroot image mount --basedir objects --digest $digest "$image" mnt
capture our-options findmnt --noheadings --output OPTIONS mnt
capture our-compare diff -r --no-dereference /usr/lib/systemd mnt
umount mnt

victim=$(find objects -type f | sort | head -n 1)
cp -p "$victim" copy
mv copy "$victim"
mount.composefs -o basedir=objects,verity "$image" mnt
capture without-verity read_all
umount mnt
mount.composefs -o basedir=objects "$image" mnt
capture not-asked read_all
umount mnt

mkdir wide
small=/usr/lib/systemd/system
wide=$(mkcomposefs --hash-alg=sha512 --digest-store=wide-objects --print-digest $small wide/image.cfs)
mkcomposefs --hash-alg=sha512 --digest-store=wide-images wide /dev/null
image=$(find wide-images -type f)
capture wide-name echo "$image"
capture wide-measured sealroot image digest --hash-alg sha512 "$image"
capture wide-short mount.composefs -o basedir=wide-objects,digest=$digest "$image" mnt
capture wide-tool mount.composefs -o basedir=wide-objects,digest=$wide "$image" mnt
capture wide-compare diff -r --no-dereference $small mnt
umount mnt
capture wide-mount sealroot image mount --basedir wide-objects --digest fsverity-sha512-12:$wide "$image" mnt
capture wide-again diff -r --no-dereference $small mnt
umount mnt
finish 0
`;

/** An ext4 that can do fs-verity, with a system that has Node.js and sealroot. */
async function ensureToolsDisk(): Promise<string> {
  const system = await ensureTrixie('next');
  const devicePackage = await ensureDevicePackage();
  const folder = await ensureCached({
    kind: 'vm',
    name: 'tools-disk',
    recipe: { system: path.basename(system), package: path.basename(devicePackage), version: 1 },
    build: async (temporary) => {
      await mkdir(temporary);
      await withLayer(system, async (tree) => {
        await installInto(tree);
        const options = ['-q', '-t', 'ext4', '-O', 'verity', '-b', '4096', '-d', tree];
        await runHere(['mke2fs', ...options, path.join(temporary, 'disk.raw'), '700M']);
      });
    },
    discard: (temporary) => rm(temporary, { recursive: true, force: true }),
  });
  return path.join(folder, 'disk.raw');
}

export default {
  title: 'the tools of composefs use fs-verity where it exists',
  deadlineSeconds: 900,
  async run(context) {
    const disk = await ensureToolsDisk();
    const kernel = await testKernel();
    const modules = await loadModules(kernel, ROOT_MODULES);
    const extra = [
      file('case/tools', TOOLS),
      file('modules', modules.map(({ name }) => `${name}\n`).join('')),
      ...modules.map(({ name, data }) => file(`modules.d/${name}.ko`, data)),
    ];
    const initrd = path.join(context.folder, 'initrd.cpio');
    const boot = await fastBoot(kernel, { beforeRoot: ENTER, extra }, '', initrd);
    const disks = [{ file: disk, format: 'raw', writes: 'discard' }] as const;
    const machine = await context.start({ name: 'tools', boot, disks, memoryMiB: 1024 });
    await machine.waitForEvent('entered', 120);
    await machine.waitForEnd(600);
    requireDone(machine);
    const result = (name: string) => captured(machine, name);

    await context.step('every object that mkcomposefs stores has fs-verity', () => {
      assert.equal(result('build').status, 0, result('build').output);
      assert.match(result('unprotected').output, /^[1-9][0-9]*\n$/);
    });
    await context.step('an image without fs-verity, or with another digest, is not mounted', () => {
      assert.deepEqual(result('no-verity').status, 1);
      assert.match(result('no-verity').output, /Image has no fs-verity/);
      assert.deepEqual(result('wrong').status, 1);
      assert.match(result('wrong').output, /Image has wrong fs-verity/);
    });
    await context.step('under its digest the image is mounted, and shows the source', () => {
      assert.equal(result('measured').output, result('build').output);
      assert.deepEqual(result('right'), { status: 0, output: '' });
      assert.deepEqual(result('compare'), { status: 0, output: '' });
    });
    await context.step('so it is by our own verb, for good', () => {
      assert.deepEqual(result('our-wrong').status, 1);
      assert.match(result('our-wrong').output, /its fs-verity digest is [0-9a-f]{64}, expected 0{64}/);
      assert.deepEqual(result('our-right'), { status: 0, output: '' });
      assert.match(result('our-options').output, /^ro,.*verity=require/);
      assert.deepEqual(result('our-compare'), { status: 0, output: '' });
    });
    await context.step(
      'a file whose object has no fs-verity cannot be read, unless nobody asks for it',
      () => {
        assert.match(result('without-verity').output, /Input\/output error/);
        assert.deepEqual(result('not-asked'), { status: 0, output: '' });
      },
    );
    await context.step('the kernel has SHA-512, too', () => {
      const [, digest = ''] =
        /^fsverity-sha512-12:([0-9a-f]{128})\n$/.exec(result('wide-measured').output) ?? [];
      assert.equal(result('wide-name').output.trim(), `wide-images/${digest.slice(0, 2)}/${digest.slice(2)}`);
      assert.equal(result('wide-short').status, 1);
      for (const name of ['wide-tool', 'wide-compare', 'wide-mount', 'wide-again']) {
        assert.deepEqual(result(name), { status: 0, output: '' });
      }
    });
  },
} satisfies VmCase;
