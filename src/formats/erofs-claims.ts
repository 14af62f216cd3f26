/** Which bytes of an image are in use. What is claimed was nobody else's: that bounds all work by the size of the image. */

export class Claims {
  /** A bit for each word of four bytes. */
  readonly used: Int32Array;
  /** Bytes that can still be claimed. */
  left: number;

  constructor(imageBytes: number) {
    this.used = new Int32Array((imageBytes >> 7) + 1);
    this.left = imageBytes;
  }

  /** False, and nothing is noted, when one of the words that hold [start, end) is in use. */
  add(start: number, end: number): boolean {
    const { used } = this;
    if (end - start > this.left) return false;
    const first = start >> 2;
    const last = (end - 1) >> 2;
    const from = first >> 5;
    const to = last >> 5;
    // The bits of the first and of the last group that are meant.
    const head = -1 << (first & 31);
    const foot = -1 >>> (31 - (last & 31));
    const before = used[from] as number;
    if (from === to) {
      const bits = head & foot;
      if ((before & bits) !== 0) return false;
      used[from] = before | bits;
    } else {
      const behind = used[to] as number;
      if ((before & head) !== 0 || (behind & foot) !== 0) return false;
      for (let group = from + 1; group < to; group++) if (used[group] !== 0) return false;
      used[from] = before | head;
      used.fill(-1, from + 1, to);
      used[to] = behind | foot;
    }
    this.left -= end - start;
    return true;
  }
}
