/** One bit of the signature in the detached metadata, where it lies on the disk. */

import { openVariant } from '../../src/formats/gvariant.ts';
import { ED25519_SIGNATURES_KEY, parseCommitMeta } from '../../src/formats/ostree-objects.ts';
import { refusalCase } from '../refusal.ts';

export default refusalCase({
  title: 'one bit of the signature flipped',
  code: 'signature-none-valid',
  tamper({ disk, commitMetaPath }) {
    const bytes = disk.read(commitMetaPath);
    const entry = parseCommitMeta(bytes).get(ED25519_SIGNATURES_KEY);
    if (entry === undefined) throw new Error(`cannot find a signature in ${commitMetaPath}`);
    const [signature] = openVariant(entry, 'aay', 'signatures');
    if (signature === undefined) throw new Error(`cannot find a signature in ${commitMetaPath}`);
    disk.flipBit(commitMetaPath, bytes.indexOf(signature));
  },
});
