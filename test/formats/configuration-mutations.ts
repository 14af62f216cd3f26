/** The rows of verdict-mutations.ts that change what the initramfs brings: keys, policy, command line. */

import { concatBytes } from '../../src/formats/bytes.ts';
import { base64, hex, parseBase64, parseHex, utf8 } from '../../src/formats/encoding.ts';
import {
  anythingSignature,
  appended,
  conf,
  flip,
  identity,
  key1Line,
  key2,
  type Mutation,
  metadataWith,
  OSTREE_ARGUMENT,
  secret,
  text,
} from './mutation-inputs.ts';

export const KEYS: readonly Mutation[] = [
  { name: 'keys: no file', keys: null, expectedCode: 'keys-missing', program: true },
  { name: 'keys: empty', keys: new Uint8Array(0), expectedCode: 'keys-missing' },
  { name: 'keys: blank lines', keys: text('\n \r\n\n'), expectedCode: 'keys-missing' },
  { name: 'keys: a comment', keys: text('# none yet\n'), expectedCode: 'keys-missing' },
  { name: 'keys: not text', keys: new Uint8Array([0xff, 0xfe, 0, 1, 0x80]), expectedCode: 'keys-missing' },
  { name: 'keys: the raw 32 bytes', keys: parseBase64(key1Line, 'key'), expectedCode: 'keys-missing' },
  { name: 'keys: hex', keys: text(hex(parseBase64(key1Line, 'key'))), expectedCode: 'keys-missing' },
  { name: 'keys: 31 bytes', keys: text(base64(new Uint8Array(31))), expectedCode: 'keys-missing' },
  { name: 'keys: the secret key', keys: text(base64(secret)), expectedCode: 'keys-missing' },
  { name: 'keys: without padding', keys: text(key1Line.slice(0, -1)), expectedCode: 'keys-missing' },
  { name: 'keys: of somebody else', keys: key2, expectedCode: 'signature-none-valid' },
  {
    name: 'keys: a bit flipped',
    keys: text(base64(flip(parseBase64(key1Line, 'key'), 31, 0x80))),
    expectedCode: 'signature-none-valid',
  },
  {
    name: 'keys: of small order, with a signature that holds for every message',
    keys: text(base64(identity)),
    commitmeta: metadataWith([anythingSignature]),
    expectedCode: 'keys-missing',
  },
  {
    name: 'keys: not canonical',
    keys: text(base64(parseHex(`ee${'ff'.repeat(30)}7f`, 'key'))),
    expectedCode: 'keys-missing',
  },
];

function composefs(value: string): Uint8Array {
  return text(`[composefs]\nenabled=${value}\n`);
}

export const POLICY: readonly Mutation[] = [
  { name: 'policy: no file', conf: null, expectedCode: 'policy-missing', program: true },
  { name: 'policy: empty', conf: new Uint8Array(0), expectedCode: 'policy-not-sealed' },
  ...['Yes', 'perhaps', 'Signed', 'signed ', '"signed"', ''].map((value) => ({
    name: `policy: composefs.enabled=${value}.`,
    conf: composefs(value),
    expectedCode: 'policy-malformed',
  })),
  {
    name: 'policy: signed in another group',
    conf: text('[compose]\nenabled=signed\n'),
    expectedCode: 'policy-not-sealed',
  },
  {
    name: 'policy: no, then signed',
    conf: text('[composefs]\nenabled=no\nenabled=signed\n'),
    expectedCode: undefined,
  },
  {
    name: 'policy: unknown key in [sealroot]',
    conf: appended(conf, ...utf8('[sealroot]\nmode=x\n')),
    expectedCode: 'policy-malformed',
  },
  {
    name: 'policy: duplicate key in [sealroot]',
    conf: appended(conf, ...utf8('[sealroot]\nmode=x\nmode=x\n')),
    expectedCode: 'policy-malformed',
  },
  {
    name: 'policy: a line that is nothing',
    conf: appended(conf, ...utf8('nothing\n')),
    expectedCode: 'policy-malformed',
  },
  {
    name: 'policy: a key before the first group',
    conf: concatBytes([utf8('x=1\n'), conf]),
    expectedCode: 'policy-malformed',
  },
  { name: 'policy: not UTF-8', conf: appended(conf, 0x23, 0xff, 0x0a), expectedCode: 'policy-malformed' },
  { name: 'policy: a NUL byte', conf: appended(conf, 0x23, 0, 0x0a), expectedCode: 'policy-malformed' },
  {
    name: 'policy: sysroot.readonly is no boolean',
    conf: text('[composefs]\nenabled=signed\n[sysroot]\nreadonly=perhaps\n'),
    expectedCode: 'policy-malformed',
  },
  {
    name: 'policy: relative keypath',
    conf: text('[composefs]\nenabled=signed\nkeypath=etc/k\n'),
    expectedCode: 'policy-malformed',
  },
  {
    name: 'policy: empty keypath',
    conf: text('[composefs]\nenabled=signed\nkeypath=\n'),
    expectedCode: 'policy-malformed',
  },
  {
    name: 'policy: keypath without a file',
    conf: text('[composefs]\nenabled=signed\nkeypath=/nonexistent/key\n'),
    expectedCode: 'keys-missing',
    program: true,
  },
  ...['etc.transient', 'root.transient', 'root.transient-ro'].map((name) => ({
    name: `policy: ${name}`,
    conf: appended(conf, ...utf8(`[${name.split('.')[0]}]\n${name.split('.')[1]}=true\n`)),
    expectedCode: undefined,
  })),
  {
    name: 'policy: root.transient and root.transient-ro',
    conf: appended(conf, ...utf8('[root]\ntransient=true\ntransient-ro=true\n')),
    expectedCode: 'policy-malformed',
  },
  ...[
    'refs=a',
    'min-timestamp=0',
    `not-after=${key1Line} 5`,
    'rebuild-image=true',
    'on-failure=next-deployment',
  ].map((line) => ({
    name: `policy: not sealed, and [sealroot] ${line}`,
    conf: text(`[composefs]\nenabled=yes\n[sealroot]\n${line}\n`),
    expectedCode: 'policy-malformed',
  })),
  {
    name: 'policy: no composefs, and root.transient',
    conf: text('[composefs]\nenabled=no\n[root]\ntransient=true\n'),
    expectedCode: 'policy-malformed',
  },
];

/** Which a phone's boot loader names instead of a deployment. */
const SLOTS: readonly Mutation[] = [
  {
    name: 'command line: a slot for which there is no link',
    cmdline: `androidboot.slot_suffix=_a ${OSTREE_ARGUMENT}\n`,
    expectedCode: 'deployment-unresolvable',
    program: true,
  },
  {
    name: 'command line: an unknown slot',
    cmdline: `${OSTREE_ARGUMENT} androidboot.slot_suffix=_A\n`,
    expectedCode: 'cmdline-slot-unknown',
    program: true,
  },
];

const NO_OSTREE: readonly Mutation[] = [
  ['empty', '\n'],
  ['no ostree=', 'root=LABEL=root rw quiet\n'],
  ['ostree without a value', 'root=LABEL=root ostree quiet\n'],
  ['ostree= only inside quotes', `root=LABEL=root x="a ${OSTREE_ARGUMENT}"\n`],
  ['ostree= only as the end of another name', `root=LABEL=root x${OSTREE_ARGUMENT}\n`],
].map(([name, cmdline]) => ({
  name: `command line: ${name}`,
  cmdline: cmdline ?? '',
  expectedCode: 'cmdline-ostree-missing',
  program: true,
}));

export const CMDLINE: readonly Mutation[] = [...NO_OSTREE, ...SLOTS];
