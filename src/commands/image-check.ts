/** `sealroot image check`: everything that is wrong with an image, not only the first. */

import { escapeField } from '../formats/dump.ts';
import { findingText } from '../formats/erofs-findings.ts';
import { checkImage } from '../formats/erofs-read.ts';
import { readImageFile } from './image-digest.ts';

/** Who has so many violations does not read them one by one. */
const MAX_FINDINGS = 10_000;

export interface ImageViolation {
  code: string;
  /** In the image, in bytes. */
  offset: number;
  /** For people: what, and where. */
  text: string;
  /** Inode number (EROFS: nid) and path, escaped as in a dump, where the violation is about a file. */
  nid?: number;
  path?: string;
}

export interface ImageCheckResult {
  image: string;
  /** Inodes that could be read. */
  inodes: number;
  /** How many violations there are; at most 10000 of them are listed. */
  count: number;
  violations: ImageViolation[];
}

/** Whatever the bytes are, they are a result and no error. */
export async function imageCheck(options: { image: string }): Promise<ImageCheckResult> {
  const { findings, count, inodes } = checkImage(await readImageFile(options.image), MAX_FINDINGS);
  const violations = findings.map((finding) => {
    const { code, offset, nid, path } = finding;
    const violation: ImageViolation = { code, offset, text: findingText(finding) };
    if (nid !== undefined) violation.nid = nid;
    if (path !== undefined) violation.path = escapeField(path);
    return violation;
  });
  return { image: options.image, inodes, count, violations };
}
