/**
 * Key files as GLib's GKeyFile reads them: the format of ostree's prepare-root.conf. UTF-8 text; `[group]`,
 * `key=value`, `#` comments; white space around `=` is no part of key or value, white space after the value is;
 * a group that comes twice continues; of a duplicate key the last value holds; a line that is nothing of this is an
 * error, and so is a key before the first group. One carriage return at the end of a line is stripped.
 *
 * Left out: lists, numbers, comments as values, and the special meaning of the key `Encoding`.
 */

import { type ByteString, printable, utf8String } from './encoding.ts';
import { badInput, type SealrootError } from './errors.ts';

export interface DuplicateKey {
  readonly group: ByteString;
  readonly key: ByteString;
  /** Where it stands again, from 1. */
  readonly line: number;
}

export interface Keyfile {
  /** group -> key -> value as written; `unescapeValue` undoes the escapes where they count. */
  readonly groups: ReadonlyMap<ByteString, ReadonlyMap<ByteString, ByteString>>;
  readonly duplicates: readonly DuplicateKey[];
}

/** Throws `keyfile-malformed`; `what` names the file in the message. */
export function parseKeyfile(bytes: Uint8Array, what: string): Keyfile {
  const content = utf8String(bytes);
  if (content === undefined) throw malformed(what, 'not UTF-8');
  if (content.includes('\0')) throw malformed(what, 'a NUL byte');
  const groups = new Map<ByteString, Map<ByteString, ByteString>>();
  const duplicates: DuplicateKey[] = [];
  let group: ByteString | undefined;
  const lines = content.split('\n');
  for (let i = 0; i < lines.length; i++) {
    const text = parseableLine(lines[i] ?? '');
    const line = i + 1;
    if (text === '' || text.startsWith('#')) continue;
    const header = groupName(text);
    if (header !== undefined) {
      if (!isGroupName(header))
        throw malformed(what, `bad group name "${printable(header)}" in line ${line}`);
      group = header as ByteString;
      if (!groups.has(group)) groups.set(group, new Map());
      continue;
    }
    const [key, value] = keyAndValue(text, what, line);
    const values = group === undefined ? undefined : groups.get(group);
    if (group === undefined || values === undefined) {
      throw malformed(what, `key "${printable(key)}" in line ${line} before the first group`);
    }
    if (values.has(key)) duplicates.push({ group, key, line });
    values.set(key, value);
  }
  return { groups, duplicates };
}

/** The value as written, or undefined. */
export function keyfileValue(keyfile: Keyfile, group: string, key: string): ByteString | undefined {
  return keyfile.groups.get(group as ByteString)?.get(key as ByteString);
}

/** A boolean as g_key_file_get_boolean reads it: true, false, 1 or 0, trailing white space allowed. */
export function keyfileBoolean(
  keyfile: Keyfile,
  group: string,
  key: string,
  what: string,
): boolean | undefined {
  const raw = keyfileValue(keyfile, group, key);
  if (raw === undefined) return undefined;
  let end = raw.length;
  while (end > 0 && isSpace(raw.charCodeAt(end - 1))) end--;
  const text = raw.slice(0, end);
  if (text === 'true' || text === '1') return true;
  if (text === 'false' || text === '0') return false;
  throw malformed(what, `${group}.${key} is "${printable(raw)}", expected true or false`);
}

/** A value as g_key_file_get_string returns it: \s \n \t \r \\ undone, any other escape is an error. */
export function unescapeValue(value: ByteString, what: string): ByteString {
  let out = '';
  for (let i = 0; i < value.length; i++) {
    const char = value.charAt(i);
    if (char !== '\\') {
      out += char;
      continue;
    }
    const at = 'sntr\\'.indexOf(value.charAt(i + 1));
    if (at < 0 || i + 1 === value.length) throw malformed(what, `bad escape in "${printable(value)}"`);
    out += ' \n\t\r\\'.charAt(at);
    i++;
  }
  return out as ByteString;
}

function malformed(what: string, fact: string): SealrootError {
  return badInput('keyfile-malformed', `cannot read ${what}: ${fact}`);
}

/** Without the line's carriage return and the white space before it begins. */
function parseableLine(line: string): string {
  return trimStart(line.endsWith('\r') ? line.slice(0, -1) : line);
}

/** What stands between the brackets if only blanks follow; undefined if this is no group line. */
function groupName(text: string): string | undefined {
  const close = text.indexOf(']');
  if (!text.startsWith('[') || close < 0) return undefined;
  for (let i = close + 1; i < text.length; i++) {
    if (text.charAt(i) !== ' ' && text.charAt(i) !== '\t') return undefined;
  }
  return text.slice(1, close);
}

function isGroupName(name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code < 0x20 || code === 0x7f || name.charAt(i) === '[') return false;
  }
  return name !== '';
}

function keyAndValue(text: string, what: string, line: number): [ByteString, ByteString] {
  const equals = text.indexOf('=');
  if (equals < 1) {
    throw malformed(what, `line ${line} is neither a group, a key with a value, nor a comment`);
  }
  let end = equals;
  while (end > 0 && isSpace(text.charCodeAt(end - 1))) end--;
  const key = text.slice(0, end);
  if (!isKeyName(key)) throw malformed(what, `bad key name "${printable(key)}" in line ${line}`);
  return [key as ByteString, trimStart(text.slice(equals + 1)) as ByteString];
}

/** Any text without brackets, and one `[locale]` after it, which may be empty. */
function isKeyName(key: string): boolean {
  const open = key.indexOf('[');
  const name = open < 0 ? key : key.slice(0, open);
  if (name === '' || name.endsWith(' ') || name.includes(']')) return false;
  if (open < 0) return true;
  for (let i = open + 1; i < key.length - 1; i++) if (!isLocaleChar(key.charCodeAt(i))) return false;
  return key.endsWith(']');
}

/** Letters, digits and -_.@; GLib also takes letters beyond ASCII, which no locale's name has. */
function isLocaleChar(code: number): boolean {
  const letter = (code | 0x20) >= 0x61 && (code | 0x20) <= 0x7a;
  return letter || (code >= 0x30 && code <= 0x39) || '-_.@'.includes(String.fromCharCode(code));
}

/** g_ascii_isspace. */
function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0c || code === 0x0d;
}

function trimStart(text: string): string {
  let at = 0;
  while (at < text.length && isSpace(text.charCodeAt(at))) at++;
  return text.slice(at);
}
