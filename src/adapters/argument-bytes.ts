/** The command line as bytes: Node decodes it as UTF-8 and replaces what is none, so such a name would be lost. */

import { readFileSync } from 'node:fs';
import { type ByteString, toByteString } from '../formats/encoding.ts';
import { pathBytes } from './syscalls.ts';

/** The last `count` arguments of this process. */
export function lastArguments(count: number): ByteString[] {
  const decoded = process.argv.slice(process.argv.length - count);
  if (!decoded.some((text) => text.includes('\ufffd'))) return decoded.map(pathBytes);
  const all = toByteString(readFileSync('/proc/self/cmdline')).split('\0');
  all.pop();
  return all.slice(all.length - count) as ByteString[];
}
