/**
 * What the reader finds wrong with an image. The same checks serve two masters: who reads an image stops at the
 * first violation, `image check` wants all of them.
 */

import { atOffset } from './bytes.ts';
import { type ByteString, printable } from './encoding.ts';
import { badInput } from './errors.ts';

export interface Finding {
  /** Stable: `erofs-...` says that it is no well-formed EROFS, `composefs-...` that composefs does not write it. */
  readonly code: string;
  /** In the image, in bytes. */
  readonly offset: number;
  readonly fact: string;
  /** The inode number (nid) and the first path of what it is about; at most the last 4096 bytes of the path. */
  readonly nid?: number;
  readonly path?: ByteString;
}

/** A thing with a name in the image. */
export interface Place {
  readonly nid: number;
  readonly name: ByteString;
  readonly parent: Place | undefined;
}

/** Gets every violation. After `add` has returned the checks go on with what is left. */
export interface Findings {
  add(code: string, offset: number, fact: string, place?: Place): void;
}

const MAX_PATH_BYTES = 4096;

/** `/` for the root. Names of a malformed image may lie deeper than a path can be long: such a path is cut. */
export function pathOf(place: Place): ByteString {
  const names: string[] = [];
  let length = 0;
  let at: Place | undefined = place;
  for (; at?.parent !== undefined && length <= MAX_PATH_BYTES; at = at.parent) {
    names.push(at.name);
    length += at.name.length + 1;
  }
  const path = names.length === 0 ? '/' : `/${names.reverse().join('/')}`;
  return (at?.parent === undefined ? path : `...${path.slice(-MAX_PATH_BYTES)}`) as ByteString;
}

/** `names do not follow the entries at offset 4096 (0x1000), of "/usr"` */
export function findingText({ offset, fact, path }: Finding): string {
  return `${fact} ${atOffset(offset)}${path === undefined ? '' : `, of "${printable(path)}"`}`;
}

function finding(code: string, offset: number, fact: string, place: Place | undefined): Finding {
  return place === undefined
    ? { code, offset, fact }
    : { code, offset, fact, nid: place.nid, path: pathOf(place) };
}

/** Throws the first violation as bad input. */
export const REFUSE: Findings = {
  add(code, offset, fact, place) {
    throw badInput(code, `cannot read image: ${findingText(finding(code, offset, fact, place))}`);
  },
};

/** Keeps violations in the order in which they were found; only the first `limit` of them, but counts all. */
export class FindingList implements Findings {
  readonly list: Finding[] = [];
  count = 0;
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(code: string, offset: number, fact: string, place?: Place): void {
    this.count++;
    if (this.list.length < this.#limit) this.list.push(finding(code, offset, fact, place));
  }
}
