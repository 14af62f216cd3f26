/** Prints what the functions in C make of the cases, and which of the forbidden ones they refuse. */

import * as sys from '../../initrd/sys.ts';
import { utf8 } from '../../src/formats/encoding.ts';
import { FORBIDDEN, judgements } from './byte-strings-cases.ts';

const print = (line: string) => sys.write(sys.STDOUT, utf8(`${line}\n`), 'standard output');

for (const line of judgements()) print(line);
for (const [name, act] of Object.entries(FORBIDDEN)) {
  let outcome = 'done';
  try {
    act();
  } catch (error) {
    // Memory that ran out is a length that nobody has looked at.
    outcome = error instanceof RangeError || error instanceof TypeError ? 'refused' : `failed: ${error}`;
  }
  print(`${name}: ${outcome}`);
}
sys.exit(0);
