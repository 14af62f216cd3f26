/**
 * Writes the golden images and prints their digests; compiled as the program of the initramfs is, and run under the
 * same runtime: `sys` is that of initrd/runtime/sys.d.ts.
 */

/// <reference path="../../initrd/runtime/sys.d.ts" />

import { hex, utf8 } from '../../src/formats/encoding.ts';
import { writeImage } from '../../src/formats/erofs-write.ts';
import { verityDigest } from '../../src/formats/fsverity.ts';
import { validateTree } from '../../src/formats/tree.ts';
import { GOLDEN_TREES } from './golden-trees.ts';

const STANDARD_OUTPUT = 1;
const hasher = {
  sha256: (data: Uint8Array) => sys.sha256(data),
  sha512: (parts: readonly Uint8Array[]) => sys.sha512(...parts),
};

for (const [name, tree] of GOLDEN_TREES) {
  const digest = verityDigest(writeImage(validateTree(tree())), hasher);
  const line = utf8(`${name} ${hex(digest)}\n`);
  sys.syscall(sys.nr.write, STANDARD_OUTPUT, line, line.length);
}
sys.syscall(sys.nr.exit_group, 0);
