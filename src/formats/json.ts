/**
 * JSON (RFC 8259) of plain data, for the initramfs, whose engine has none. Byte strings come out as Latin-1 text:
 * every byte keeps a character of its own. Only what our records hold: no fractions, no nested `undefined`.
 */

export type Json =
  | string
  | number
  | bigint
  | boolean
  | null
  | readonly Json[]
  | { readonly [name: string]: Json | undefined };

/** On one line. Members that are undefined are left out. */
export function encodeJson(value: Json): string {
  if (typeof value === 'string') return quoted(value);
  if (value === null || typeof value !== 'object') return String(value);
  if (isArray(value)) return `[${value.map(encodeJson).join(',')}]`;
  const members: string[] = [];
  for (const [name, member] of Object.entries(value)) {
    if (member !== undefined) members.push(`${quoted(name)}:${encodeJson(member)}`);
  }
  return `{${members.join(',')}}`;
}

function isArray(value: object): value is readonly Json[] {
  return Array.isArray(value);
}

const HEX = '0123456789abcdef';

/** Everything but printable ASCII is escaped, so that the text is its own UTF-8. Most text needs nothing. */
function quoted(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    // Not isPlain(): a call for each character costs the boot more than the rest of its record.
    if (code >= 0x7f || code < 0x20 || code === 0x22 || code === 0x5c)
      return `"${text.slice(0, i)}${escaped(text.slice(i))}"`;
  }
  return `"${text}"`;
}

function isPlain(code: number): boolean {
  return code >= 0x20 && code < 0x7f && code !== 0x22 && code !== 0x5c;
}

function escaped(text: string): string {
  let out = '';
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const digit = (shift: number) => HEX.charAt((code >> shift) & 15);
    out += isPlain(code) ? text.charAt(i) : `\\u${digit(12)}${digit(8)}${digit(4)}${digit(0)}`;
  }
  return out;
}
