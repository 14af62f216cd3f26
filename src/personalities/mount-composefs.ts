/** mount.composefs(1) of composefs 1.0.8: mounts an image, also as the helper of mount(8). */

import { openSync } from 'node:fs';
import { type ComposefsMountOptions, mountComposefs } from '../adapters/composefs-mount.ts';
import { pathBuffer } from '../adapters/directory-source.ts';
import { errnoOf, errnoText } from '../adapters/error-text.ts';
import { measureVerity } from '../adapters/verity.ts';
import { type ByteString, hex, printable } from '../formats/encoding.ts';
import { parseArguments } from './getopt.ts';
import type { Call } from './tool.ts';

function usage(name: string): string {
  return `usage: ${name} [-t type] [-o opt[,opts..]] IMAGE MOUNTPOINT
Example:
  ${name} -o basedir=/composefs/objects exampleimage.cfs /mnt/exampleimage
or, as a mount helper:
  mount -t composefs -o basedir=/composefs/objects exampleimage.cfs /mnt/exampleimage

Supported options:
  basedir=PATH[:PATH]    Specify location of basedir(s)
  digest=DIGEST          Specify required image digest
  idmap=PATH             Specify path to a user namespace whose ID mapping should be used
  verity                 Require all files to have specified and valid fs-verity digests
  tryverity              If supported by kernel, require fs-verity
  ro                     Read only
  rw                     Read/write
  upperdir               Overlayfs upperdir
  workdir                Overlayfs workdir
`;
}

/** The reference's messages end in a newline of their own before that of errx(3). */
function fail(call: Call, text: string): never {
  call.fail(`${text}\n`);
}

export function mountTool(call: Call): void {
  const { text, operands } = parse(call);
  const [image, target] = operands;
  if (image === undefined) call.exit(`No source path specified\n${usage(call.name)}`);
  if (target === undefined) call.exit(`No mount path specified\n${usage(call.name)}`);
  const given = namedOptions(call, text);
  const options = mountOptions(call, given);
  const file = open(call, image, image);
  const digest = given.get('digest');
  try {
    if (digest !== undefined) requireImageDigest(call, file, image, digest);
    mountComposefs(file, target, options);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    failToMount(call, image, errnoText(errno));
  }
}

function failToMount(call: Call, image: ByteString, reason: string): never {
  fail(call, `Failed to mount composefs ${image}: ${reason}`);
}

function parse(call: Call): { text: ByteString | undefined; operands: readonly ByteString[] } {
  const grammar = { short: 'ht:o:' };
  const { options, operands, mistake } = parseArguments(
    call.args,
    grammar,
    process.env.POSIXLY_CORRECT !== undefined,
  );
  let text: ByteString | undefined;
  for (const { name, value } of options) {
    if (name === 'h') call.exit(usage(call.name), 0);
    else if (name === 'o') text = value;
    else if (value !== 'composefs') fail(call, `Unsupported fs type '${value}'`);
  }
  if (mistake !== undefined) call.exit(`${call.name}: ${mistake.message}\n${usage(call.name)}`);
  return { text, operands };
}

const WITH_VALUE = ['basedir', 'digest', 'upperdir', 'workdir', 'idmap'] as const;
const WITHOUT_VALUE = ['verity', 'tryverity', 'rw', 'ro'] as const;
type OptionName = (typeof WITH_VALUE)[number] | (typeof WITHOUT_VALUE)[number];

/** By name, the last of each. */
function namedOptions(call: Call, text: ByteString | undefined): Map<OptionName, ByteString> {
  const given = new Map<OptionName, ByteString>();
  for (const { key, value } of text === undefined ? [] : splitOptions(text)) {
    const withValue = WITH_VALUE.find((name) => name === key);
    const withoutValue = WITHOUT_VALUE.find((name) => name === key);
    if (withValue !== undefined) {
      if (value === undefined) fail(call, `No value specified for ${key} option`);
      given.set(withValue, value);
    } else if (withoutValue !== undefined) {
      if (key === 'rw') given.delete('ro');
      given.set(withoutValue, '' as ByteString);
    } else {
      fail(call, `Unsupported option ${key}`);
    }
  }
  return given;
}

/** At commas. A backslash takes its meaning from the character after it, and is itself taken out of values. */
function splitOptions(text: ByteString): { key: string; value: ByteString | undefined }[] {
  const found: { key: string; value: ByteString | undefined }[] = [];
  for (let start = 0; start <= text.length; ) {
    let equal = -1;
    let end = start;
    for (; end < text.length && text[end] !== ','; end++) {
      if (text[end] === '=' && equal < 0) equal = end;
      else if (text[end] === '\\' && end + 1 < text.length) end++;
    }
    const key = text.slice(start, equal < 0 ? end : equal);
    const value = equal < 0 ? undefined : text.slice(equal + 1, end).replaceAll(/\\([\s\S]?)/g, '$1');
    found.push({ key, value: value as ByteString | undefined });
    start = end + 1;
  }
  return found;
}

function mountOptions(call: Call, given: ReadonlyMap<OptionName, ByteString>): ComposefsMountOptions {
  const basedirs = basedirsOf(call, given.get('basedir'));
  const upperdir = given.get('upperdir');
  const workdir = given.get('workdir');
  if ((upperdir === undefined) !== (workdir === undefined)) {
    fail(call, 'Both workdir and upperdir must be specified if used');
  }
  const required = given.has('verity') || given.has('digest');
  const idmap = given.get('idmap');
  return {
    basedirs,
    verity: required ? 'require' : given.has('tryverity') ? 'try' : 'none',
    readOnly: given.has('ro'),
    ...(upperdir === undefined || workdir === undefined ? {} : { layer: { upperdir, workdir } }),
    ...(idmap === undefined ? {} : { userNamespace: open(call, idmap, `userns ${idmap}`) }),
  };
}

function basedirsOf(call: Call, text: ByteString | undefined): ByteString[] {
  if (text === undefined) call.exit(`No object dirs specified\n${usage(call.name)}`);
  const basedirs = text.split(':');
  if (basedirs.includes('')) fail(call, 'Value for basedir option has incorrect format');
  return basedirs as ByteString[];
}

function open(call: Call, path: ByteString, what: string): number {
  try {
    return openSync(pathBuffer(path), 'r');
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    return fail(call, `Failed to open ${what}: ${errnoText(errno)}`);
  }
}

/** Whoever names a digest wants it checked: an empty or cut one is a wrong one, where the reference takes the former. */
function requireImageDigest(call: Call, file: number, image: ByteString, digest: ByteString): void {
  if (!/^(?:[0-9a-fA-F]{2}){1,64}$/.test(digest)) failToMount(call, image, errnoText('EINVAL'));
  const algorithm = digest.length > 64 ? 'sha512' : 'sha256';
  const measured = measureVerity(file, `"${printable(image)}"`, algorithm);
  if (measured === undefined) failToMount(call, image, 'Image has no fs-verity');
  if (hex(measured) !== digest.toLowerCase()) failToMount(call, image, 'Image has wrong fs-verity');
}
