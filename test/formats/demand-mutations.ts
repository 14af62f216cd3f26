/** The rows of verdict-mutations.ts about what the policy demands of a signed commit: refs, times, revoked keys. */

import { ascii, base64, parseBase64, utf8 } from '../../src/formats/encoding.ts';
import { makeVariant } from '../../src/formats/gvariant.ts';
import {
  appended,
  conf,
  flip,
  key1Line,
  key2Line,
  type Mutation,
  metadataWith,
  renamed,
  signedWith,
  text,
  vector,
} from './mutation-inputs.ts';

/** Of the untampered commit. */
const TIME = 1700000000;

function policy(...lines: string[]): Uint8Array {
  return appended(conf, ...utf8(`[sealroot]\n${lines.join('\n')}\n`));
}

function bound(...refs: string[]) {
  return signedWith({ 'ostree.ref-binding': makeVariant('as', refs.map(ascii)) });
}

const REFS: readonly Mutation[] = [
  { name: 'refs: the one', conf: policy('refs=test/one'), expectedCode: undefined },
  { name: 'refs: one of several', conf: policy('refs=os/a;test/one;os/b;'), expectedCode: undefined },
  {
    name: 'refs: bound to several, the last is allowed',
    conf: policy('refs=os/b'),
    ...bound('os/a', 'os/b'),
    expectedCode: undefined,
  },
  { name: 'refs: another product', conf: policy('refs=os/other'), expectedCode: 'ref-not-allowed' },
  {
    name: 'refs: the beginning of the allowed one',
    conf: policy('refs=test/one2'),
    expectedCode: 'ref-not-allowed',
  },
  {
    name: 'refs: the allowed one is its beginning',
    conf: policy('refs=test/on'),
    expectedCode: 'ref-not-allowed',
  },
  {
    name: 'refs: bound to none',
    conf: policy('refs=test/one'),
    ...bound(),
    expectedCode: 'ref-not-allowed',
  },
  {
    name: 'refs: no binding',
    conf: policy('refs=test/one'),
    ...signedWith({ 'ostree.ref-binding': undefined }),
    expectedCode: 'ref-not-allowed',
  },
  {
    name: 'refs: binding that is text',
    conf: policy('refs=test/one'),
    ...signedWith({ 'ostree.ref-binding': makeVariant('s', ascii('test/one')) }),
    expectedCode: 'commit-malformed',
  },
  ...['', ';', 'a;;b', 'test/one ', 'a; test/one', 'te\\\\;st', '"test/one"'].map((value) => ({
    name: `refs: policy says refs=${value}.`,
    conf: policy(`refs=${value}`),
    expectedCode: 'policy-malformed',
  })),
];

const TIMES: readonly Mutation[] = [
  { name: 'min-timestamp: the very time', conf: policy(`min-timestamp=${TIME}`), expectedCode: undefined },
  {
    name: 'min-timestamp: a second later',
    conf: policy(`min-timestamp=${TIME + 1}`),
    expectedCode: 'commit-below-floor',
  },
  {
    name: 'min-timestamp: a commit of 1970',
    conf: policy('min-timestamp=1'),
    ...signedWith({}, 0n),
    expectedCode: 'commit-below-floor',
  },
  {
    name: 'min-timestamp: a commit from after the sun',
    conf: policy(`min-timestamp=${TIME}`),
    ...signedWith({}, 2n ** 64n - 1n),
    expectedCode: undefined,
  },
  ...['', '-1', '1.5', '1e9', '0x10', '2023-11-14', ' ', '1700000000 ', '1'.repeat(13)].map((value) => ({
    name: `min-timestamp: policy says min-timestamp=${value}.`,
    conf: policy(`min-timestamp=${value}`),
    expectedCode: 'policy-malformed',
  })),
];

/** The untampered boot has one signature, by key1; `two` has one by each. */
const two = { ...renamed(vector('two.commit')), commitmeta: vector('two.commitmeta') };

const KEY_TIMES: readonly Mutation[] = [
  {
    name: 'not-after: the very time',
    conf: policy(`not-after=${key1Line} ${TIME}`),
    expectedCode: undefined,
  },
  {
    name: 'not-after: a second before',
    conf: policy(`not-after=${key1Line} ${TIME - 1}`),
    expectedCode: 'key-expired',
  },
  {
    name: 'not-after: of another key',
    conf: policy(`not-after=${key2Line} ${TIME - 1}`),
    expectedCode: undefined,
  },
  {
    name: 'not-after: the stricter of two for one key',
    conf: policy(`not-after=${key1Line} ${TIME};${key1Line} 1`),
    expectedCode: 'key-expired',
  },
  {
    name: 'not-after: the first key is out of its time, the second is not',
    conf: policy(`not-after=${key1Line} 1`),
    keys: text(`${key1Line}\n${key2Line}\n`),
    ...two,
    expectedCode: undefined,
  },
  {
    name: 'not-after: both keys are out of their time',
    conf: policy(`not-after=${key1Line} 1;${key2Line} 2;`),
    keys: text(`${key1Line}\n${key2Line}\n`),
    ...two,
    expectedCode: 'key-expired',
  },
  ...[
    '',
    key1Line,
    `${key1Line} `,
    `${key1Line}  5`,
    `${key1Line} 5 5`,
    `5 ${key1Line}`,
    `${base64(new Uint8Array(31))} 5`,
    `${key1Line.slice(0, -1)} 5`,
  ].map((value) => ({
    name: `not-after: policy says not-after=${value}.`,
    conf: policy(`not-after=${value}`),
    expectedCode: 'policy-malformed',
  })),
];

const key1 = parseBase64(key1Line, 'key');

const REVOKED: readonly Mutation[] = [
  { name: 'revoked: an empty file', revoked: text(''), expectedCode: undefined },
  { name: 'revoked: another key', revoked: text(`${key2Line}\n`), expectedCode: undefined },
  { name: 'revoked: the only key', revoked: text(`\n${key1Line}\r\n`), expectedCode: 'key-revoked' },
  {
    name: 'revoked: the key twice in the key file',
    keys: text(`${key1Line}\n${key1Line}\n`),
    revoked: text(key1Line),
    expectedCode: 'key-revoked',
  },
  {
    name: 'revoked: the signer, while another key is trusted',
    keys: text(`${key1Line}\n${key2Line}\n`),
    revoked: text(key1Line),
    expectedCode: 'key-revoked',
  },
  {
    name: 'revoked: one of two signers',
    keys: text(`${key1Line}\n${key2Line}\n`),
    revoked: text(key1Line),
    ...two,
    expectedCode: undefined,
  },
  {
    name: 'revoked: a key that did not sign either',
    keys: text(`${key1Line}\n`),
    revoked: text(key1Line),
    commitmeta: metadataWith([new Uint8Array(64)]),
    expectedCode: 'signature-none-valid',
  },
  ...[
    `# ${key1Line}`,
    key1Line.slice(0, -1),
    `${key1Line} `.repeat(2),
    base64(flip(key1, 0).subarray(1)),
  ].map((line) => ({
    name: `revoked: a line that is no key: ${line}`,
    revoked: text(`${line}\n`),
    expectedCode: 'revoked-malformed',
  })),
];

export const DEMANDS: readonly Mutation[] = [...REFS, ...TIMES, ...KEY_TIMES, ...REVOKED];
