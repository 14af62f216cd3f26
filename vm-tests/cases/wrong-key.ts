/**
 * The initramfs trusts another key than the one that signed, under dracut and systemd. In both boots the key file
 * stands in an archive behind dracut's; only its one line differs.
 */
import { readFile } from 'node:fs/promises';
import { ensureBaseDisk, ensureTestKeys } from '../base-disk.ts';
import type { VmCase } from '../case.ts';
import { file } from '../cpio.ts';
import { KEY_PATH } from '../fast-boot.ts';
import { SystemRefusalCase } from '../refusal.ts';

export default {
  title: 'a commit signed by a key that the initramfs does not hold is refused',
  deadlineSeconds: 3600,
  async run(context) {
    const base = await ensureBaseDisk();
    const refusal = new SystemRefusalCase(context, base);
    const trusting = async (publicKey: string) => ({
      initramfsFiles: [file(KEY_PATH, await readFile(publicKey, 'utf8'))],
    });
    await refusal.systemBootsUntampered(await trusting(base.keys.publicKey));
    const { publicKey } = await ensureTestKeys('other');
    await refusal.systemIsRefused('another key', 'signature-none-valid', await trusting(publicKey));
  },
} satisfies VmCase;
