/**
 * Judges signatures with what sealroot-prepare-root judges with: the same sources, the hash functions in C, compiled
 * and run as it is. Standard input is a row of records: u32 length of the message, key, signature, message. Standard
 * output is a character for each: 1 accepted, 0 not.
 */

import * as sys from '../../initrd/sys.ts';
import { ByteReader } from '../../src/formats/bytes.ts';
import { ED25519_KEY_BYTES, ED25519_SIGNATURE_BYTES, ed25519Verify } from '../../src/formats/ed25519.ts';
import { utf8 } from '../../src/formats/encoding.ts';

const STANDARD_INPUT = 0 as sys.Descriptor;
const MAX_INPUT = 16 << 20;
const LENGTH_BYTES = 4;

const buffer = new Uint8Array(MAX_INPUT);
let size = 0;
for (let count = -1; count !== 0; size += count) {
  count = sys.read(STANDARD_INPUT, buffer.subarray(size), 'standard input');
}
const input = new ByteReader(buffer.subarray(0, size), 'standard input');
let judgements = '';
for (let at = 0; at < size; ) {
  const key = at + LENGTH_BYTES;
  const signature = key + ED25519_KEY_BYTES;
  const message = signature + ED25519_SIGNATURE_BYTES;
  const end = message + input.u32(at);
  const part = (from: number, to: number) => buffer.slice(from, to);
  const accepted = ed25519Verify(
    part(key, signature),
    part(message, end),
    part(signature, message),
    sys.hasher,
  );
  judgements += accepted ? '1' : '0';
  at = end;
}
sys.write(sys.STDOUT, utf8(judgements), 'standard output');
sys.exit(0);
