/** What is fuzzed, with what it begins from and the laws that hold for whatever comes in. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { equalBytes } from '../../src/formats/bytes.ts';
import { kernelArguments } from '../../src/formats/cmdline.ts';
import { dumpImage } from '../../src/formats/dump.ts';
import { finishDump, parseDump, readLines, startDump } from '../../src/formats/dump-read.ts';
import { toByteString } from '../../src/formats/encoding.ts';
import { layoutImage } from '../../src/formats/erofs-places.ts';
import { planImage } from '../../src/formats/erofs-plan.ts';
import { checkImage, readImage } from '../../src/formats/erofs-read.ts';
import { emitImage, writeImage } from '../../src/formats/erofs-write.ts';
import { SealrootError } from '../../src/formats/errors.ts';
import { keyfileBoolean, keyfileValue, parseKeyfile } from '../../src/formats/keyfile.ts';
import { parsePublicKeys, parseRevokedKeys, parseSecretKey } from '../../src/formats/keys.ts';
import {
  encodeCommit,
  encodeCommitMeta,
  parseCommit,
  parseCommitMeta,
} from '../../src/formats/ostree-objects.ts';
import {
  parseArchiveHeader,
  parseDirMeta,
  parseDirTree,
  parseOstreeMeta,
} from '../../src/formats/ostree-tree-objects.ts';
import { parsePolicy } from '../../src/formats/policy.ts';
import { S_IFCHR, S_IFMT, type ValidatedTree, validateTree } from '../../src/formats/tree.ts';
import { craftedInodes, planOf } from '../formats/crafted-plan.ts';
import { formatDump } from '../formats/format-dump.ts';
import { FIXTURE_DUMP, fixtureImage } from '../formats/image-fixture.ts';
import { rewriteImage } from '../formats/rewrite-image.ts';
import { randomDump } from '../oracles/random-dump.ts';
import { RUNTIME_BYTES, RUNTIME_OBJECTS } from './runtime-targets.ts';
import { accepts, requireLaw, type Target } from './target.ts';
import { VERDICT } from './verdict-target.ts';

const VECTORS = join(import.meta.dirname, '../vectors/upstream-signed');
const OBJECTS = join(VECTORS, 'repo/objects');

function vector(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(VECTORS, name)));
}

function objects(type: string): Uint8Array[] {
  return readdirSync(OBJECTS, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(`.${type}`))
    .sort()
    .map((name) => new Uint8Array(readFileSync(join(OBJECTS, name))));
}

function text(...lines: string[]): Uint8Array {
  return new Uint8Array(Buffer.from(`${lines.join('\n')}\n`, 'latin1'));
}

const XATTR = 'security.selinux=system_u:object_r:bin_t:s0';
const DUMPS = [
  FIXTURE_DUMP,
  `/ 0 40755 2 0 0 0 0.0 - - - ${XATTR}\n/a 0 100644 1 0 0 0 0.0 - - - ${XATTR}\n/b 0 @100644 1 0 0 0 0.0 /a - -\n`,
  '/ 0 40755 2 0 0 0 -1.999 - - -\n/l 3 120777 1 0 0 0 0.0 x\\ny - -\n/w 0 20644 1 0 0 0 0.0 - - -\n',
  `/ 0 40755 2 0 0 0 0.0 - - -\n/f 9007199254740992 100644 1 4294967295 0 0 0.0 a/b - ${'5'.repeat(64)}\n`,
];

function dumps(): Uint8Array[] {
  const random = fc.sample(randomDump, { numRuns: 40, seed: 1 }).filter((dump) => dump.length < 4096);
  return [...DUMPS.map((dump) => new Uint8Array(Buffer.from(dump))), ...random];
}

/** Without the 256 root whiteouts that make up most of every small image, and most of the time. */
function withoutWhiteouts(dump: Uint8Array): Uint8Array | undefined {
  try {
    const plan = planImage(parseDump(dump), 0);
    const real = (mode: number, rdev: number) => (mode & S_IFMT) === S_IFCHR && rdev === 0;
    const inodes = craftedInodes(plan).filter(({ mode, node }) => !real(mode, node.rdev));
    for (const inode of inodes) inode.entries = inode.entries.filter((entry) => inodes.includes(entry.inode));
    const small = planOf(inodes, plan);
    return emitImage(small, layoutImage(small));
  } catch (error) {
    if (error instanceof SealrootError) return undefined; // a few random trees have no image
    throw error;
  }
}

function images(): Uint8Array[] {
  const small = dumps().map(withoutWhiteouts);
  return [
    fixtureImage(),
    ...small.filter((image) => image !== undefined && image.length <= 12288),
  ] as Uint8Array[];
}

/** A few bits that are wrong on purpose: every image with a whole set of whiteouts is worth a full look. */
const THOROUGH = 8;

const EROFS: Target = {
  name: 'erofs',
  corpus: images,
  run: (bytes, run) => {
    const accepted = accepts(() => readImage(bytes));
    if (run % THOROUGH === 0) {
      const { count } = checkImage(bytes, 10);
      requireLaw((count === 0) === accepted, `image check finds ${count} violations, accepted: ${accepted}`);
    }
    if (accepted) {
      requireLaw(
        equalBytes(rewriteImage(bytes), bytes),
        'an accepted image is written again with other bytes',
      );
      const dump = dumpImage(bytes);
      requireLaw(
        equalBytes(dump, formatDump(readImage(bytes))),
        'the dump of an image is not that of its tree',
      );
      accepts(() => writeImage(parseDump(dump)));
    }
    return accepted;
  },
};

function parseInTwo(dump: Uint8Array, cut: number): ValidatedTree {
  const parser = startDump();
  const used = readLines(parser, dump.subarray(0, cut), false);
  readLines(parser, dump.subarray(used), true);
  return finishDump(parser);
}

const DUMP: Target = {
  name: 'dump',
  corpus: dumps,
  run: (bytes, run) => {
    let tree: ValidatedTree | undefined;
    const accepted = accepts(() => {
      tree = parseDump(bytes);
    });
    requireLaw(
      accepts(() => parseInTwo(bytes, run % (bytes.length + 1))) === accepted,
      'a dump in two pieces is another dump',
    );
    if (tree === undefined) return accepted;
    const made = tree;
    requireLaw(
      accepts(() => validateTree(made)),
      'a dump makes a tree that is not valid',
    );
    if (run % THOROUGH === 0) {
      let image: Uint8Array | undefined;
      accepts(() => {
        image = writeImage(made);
      });
      if (image !== undefined) {
        const { findings } = checkImage(image, 1);
        requireLaw(findings.length === 0, `an image that was written does not pass: ${findings[0]?.code}`);
      }
    }
    return accepted;
  },
};

type Parser = (bytes: Uint8Array) => unknown;
const PARSERS: readonly (readonly [parse: Parser, corpus: () => Uint8Array[]])[] = [
  [(bytes) => encodeCommit(parseCommit(bytes)), () => objects('commit')],
  [(bytes) => encodeCommitMeta(parseCommitMeta(bytes)), () => objects('commitmeta')],
  [parseDirTree, () => objects('dirtree')],
  [parseDirMeta, () => objects('dirmeta')],
  [parseOstreeMeta, () => objects('dirmeta')],
  [parseArchiveHeader, () => objects('filez')],
];

const GVARIANT: Target = {
  name: 'gvariant',
  corpus: () => PARSERS.flatMap(([, corpus]) => corpus()),
  run: (bytes, run) => {
    const [parse] = PARSERS[run % PARSERS.length] as (typeof PARSERS)[number];
    return accepts(() => {
      const written = parse(bytes);
      const same = !(written instanceof Uint8Array) || equalBytes(written, bytes);
      requireLaw(same, 'an accepted object is written again with other bytes');
    });
  },
};

const KEYFILES = [
  text('[core]', 'repo_version=1', 'mode=bare-user', '# comment', '', '[remote "a"]', 'url=file:///x\\sy'),
  text('[composefs]', 'enabled = signed', 'keypath=/etc/ostree/x.key', '[sysroot]', 'readonly = true'),
  text(
    '[etc]',
    'transient=no',
    '[sealroot]',
    'on-failure=reboot',
    'refs=os/stable;os/next',
    'min-timestamp=1',
  ),
];

const KEYFILE: Target = {
  name: 'keyfile',
  corpus: () => KEYFILES,
  run: (bytes) =>
    accepts(() => {
      const file = parseKeyfile(bytes, 'keyfile');
      keyfileValue(file, 'core', 'mode');
      accepts(() => keyfileBoolean(file, 'sysroot', 'readonly', 'keyfile'));
    }),
};

const POLICY: Target = {
  name: 'policy',
  corpus: () => KEYFILES.slice(1),
  run: (bytes) => accepts(() => parsePolicy(bytes)),
};

const CMDLINE: Target = {
  name: 'cmdline',
  corpus: () => [
    text('root=LABEL=root rw ostree=/ostree/boot.1/os/0/0 quiet'),
    text('a="b c" "d=e f" =g " h'),
  ],
  run: (bytes) => {
    const found = kernelArguments(toByteString(bytes));
    const length = found.reduce((sum, { key, value }) => sum + key.length + (value?.length ?? 0), 0);
    requireLaw(length <= bytes.length, 'the arguments are longer than their line');
    return true;
  },
};

const KEYS: Target = {
  name: 'keys',
  corpus: () => [vector('key1.pub'), vector('key2.pub'), vector('key1.test-secret')],
  run: (bytes) => {
    accepts(() => parseRevokedKeys(bytes, 'revoked keys'));
    accepts(() => parseSecretKey(bytes));
    return accepts(() => parsePublicKeys(bytes));
  },
};

export const TARGETS: readonly Target[] = [
  EROFS,
  DUMP,
  GVARIANT,
  KEYFILE,
  POLICY,
  CMDLINE,
  KEYS,
  VERDICT,
  RUNTIME_BYTES,
  RUNTIME_OBJECTS,
];
