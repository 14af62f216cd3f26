/** Small repositories in archive mode, written by hand, so that tests need neither the ostree program nor root. */

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { ascii, type ByteString, parseHex } from '../../src/formats/encoding.ts';
import { encode, type Vardict } from '../../src/formats/gvariant.ts';
import { type Commit, encodeCommit, encodeCommitMeta, swapped } from '../../src/formats/ostree-objects.ts';

/** A file's content, a link's target, or a directory. */
export type TestTree = { readonly [name: string]: string | { link: string } | TestTree };

export const SMALL_TREE: TestTree = {
  usr: { bin: { hello: 'echo hello\n', hi: { link: 'hello' } }, lib: { big: 'x'.repeat(10000), empty: '' } },
};

export interface TestCommit
  extends Partial<Pick<Commit, 'parent' | 'related' | 'subject' | 'body' | 'timestamp'>> {
  ref?: string;
  tree?: TestTree;
  metadata?: Vardict;
  detached?: Vardict;
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function u32be(value: number): number {
  return Buffer.from(Uint32Array.of(value).buffer).readUInt32BE();
}

export class ArchiveRepo {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
    for (const folder of ['objects', 'refs/heads', 'refs/remotes', 'state', 'tmp', 'extensions']) {
      mkdirSync(join(path, folder), { recursive: true });
    }
    writeFileSync(join(path, 'config'), '[core]\nrepo_version=1\nmode=archive-z2\n');
  }

  objectPath(checksum: string, type: string): string {
    return join(this.path, 'objects', checksum.slice(0, 2), `${checksum.slice(2)}.${type}`);
  }

  object(checksum: string, type: string): Uint8Array {
    return new Uint8Array(readFileSync(this.objectPath(checksum, type)));
  }

  ref(name: string): string {
    return readFileSync(join(this.path, 'refs/heads', name), 'utf8').trim();
  }

  setRef(name: string, checksum: string): void {
    const path = join(this.path, 'refs/heads', name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${checksum}\n`);
  }

  /** Returns the checksum. */
  commit(commit: TestCommit = {}): string {
    const { ref, tree = SMALL_TREE, detached, metadata = new Map() } = commit;
    const bytes = encodeCommit({
      metadata,
      ...(commit.parent !== undefined && { parent: commit.parent }),
      related: commit.related ?? [],
      subject: commit.subject ?? ascii('a subject'),
      body: commit.body ?? ascii('a body'),
      timestamp: commit.timestamp ?? 1700000000n,
      rootTree: this.#directory(tree),
      rootMeta: this.#dirMeta(),
    });
    const checksum = this.#write(sha256(bytes), 'commit', bytes);
    if (detached !== undefined) this.setDetached(checksum, detached);
    if (ref !== undefined) this.setRef(ref, checksum);
    return checksum;
  }

  setDetached(checksum: string, detached: Vardict): void {
    this.#write(checksum, 'commitmeta', encodeCommitMeta(detached));
  }

  #write(checksum: string, type: string, bytes: Uint8Array): string {
    const path = this.objectPath(checksum, type);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
    return checksum;
  }

  #dirMeta(): string {
    const bytes = encode('(uuua(ayay))', [0, 0, u32be(0o40755), []]);
    return this.#write(sha256(bytes), 'dirmeta', bytes);
  }

  #directory(tree: TestTree): string {
    const files: (readonly [ByteString, Uint8Array])[] = [];
    const folders: (readonly [ByteString, Uint8Array, Uint8Array])[] = [];
    for (const name of Object.keys(tree).sort()) {
      const entry = tree[name];
      if (entry === undefined) continue;
      if (typeof entry === 'string') files.push([ascii(name), parseHex(this.#file(entry), name)]);
      else if (typeof entry.link === 'string') {
        files.push([ascii(name), parseHex(this.#file('', entry.link), name)]);
      } else {
        const sums = [this.#directory(entry as TestTree), this.#dirMeta()] as const;
        folders.push([ascii(name), parseHex(sums[0], name), parseHex(sums[1], name)]);
      }
    }
    const bytes = encode('(a(say)a(sayay))', [files, folders]);
    return this.#write(sha256(bytes), 'dirtree', bytes);
  }

  #file(content: string, link = ''): string {
    const mode = u32be(link === '' ? 0o100644 : 0o120777);
    const bytes = Buffer.from(content);
    const header = encode('(uuuusa(ayay))', [0, 0, mode, 0, ascii(link), []]);
    const checksum = sha256(Buffer.concat([sized(header), bytes]));
    const size = swapped(BigInt(bytes.length));
    const stored = encode('(tuuuusa(ayay))', [size, 0, 0, mode, 0, ascii(link), []]);
    const body = link === '' ? deflateRawSync(bytes) : Buffer.alloc(0);
    return this.#write(checksum, 'filez', Buffer.concat([sized(stored), body]));
  }
}

/** A variant after its size (u32, big endian) and four zero bytes. */
function sized(variant: Uint8Array): Uint8Array {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(variant.length, 0);
  return Buffer.concat([head, variant]);
}
