/** A plan as objects that tests change, or make of something else than a tree, and a plan again. */

import type { ByteString } from '../../src/formats/encoding.ts';
import type { ImagePlan } from '../../src/formats/erofs-plan.ts';
import type { XattrEntry } from '../../src/formats/erofs-xattrs.ts';
import { isExternal, type TreeNode } from '../../src/formats/tree.ts';

export interface CraftedInode {
  node: TreeNode;
  mode: number;
  nlink: number;
  /** All of them, also those that a plan keeps in its `backing`. */
  xattrs: readonly XattrEntry[];
  /** Of a directory, with "." and "..". */
  entries: readonly { name: ByteString; inode: CraftedInode }[];
}

export function craftedInodes({ inodes, entries, backing }: ImagePlan): CraftedInode[] {
  const crafted = inodes.nodes.map((node, ino): CraftedInode => {
    const [mode, nlink, xattrs] = [inodes.mode[ino], inodes.nlink[ino], inodes.xattrs[ino]];
    const all = backing !== undefined && isExternal(node) ? backing.allOf(ino, node, xattrs ?? []) : xattrs;
    return { node, mode: mode ?? 0, nlink: nlink ?? 0, xattrs: all ?? [], entries: [] };
  });
  for (const [ino, inode] of crafted.entries()) {
    const [from, to] = [inodes.entriesFrom[ino], inodes.entriesTo[ino]];
    inode.entries = entries.names.slice(from, to).map((name, i) => {
      const target = entries.inodes[(from ?? 0) + i] ?? 0;
      return { name, inode: crafted[target] as CraftedInode };
    });
  }
  return crafted;
}

/** Numbered as they come. */
export function planOf(
  crafted: readonly CraftedInode[],
  rest: Pick<ImagePlan, 'version' | 'xattrs' | 'buildTimeSec' | 'buildTimeNsec'>,
): ImagePlan {
  const numbers = new Map(crafted.map((inode, ino) => [inode, ino]));
  const all = crafted.flatMap(({ entries }) => entries);
  const ends = new Uint32Array(crafted.length);
  let end = 0;
  for (const [ino, { entries }] of crafted.entries()) ends[ino] = end += entries.length;
  return {
    version: rest.version,
    inodes: {
      nodes: crafted.map(({ node }) => node),
      mode: Uint16Array.from(crafted, ({ mode }) => mode),
      nlink: Uint32Array.from(crafted, ({ nlink }) => nlink),
      isExternal: Uint8Array.from(crafted, ({ node }) => (isExternal(node) ? 1 : 0)),
      xattrs: crafted.map(({ xattrs }) => xattrs),
      entriesFrom: ends.map((to, ino) => to - (crafted[ino]?.entries.length ?? 0)),
      entriesTo: ends,
    },
    entries: {
      names: all.map(({ name }) => name),
      inodes: all.map(({ inode }) => numbers.get(inode) as number),
    },
    xattrs: rest.xattrs,
    hasOneTime: false,
    buildTimeSec: rest.buildTimeSec,
    buildTimeNsec: rest.buildTimeNsec,
  };
}
