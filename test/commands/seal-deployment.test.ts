import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildImage } from '../../src/adapters/image.ts';
import { openObjectStore } from '../../src/adapters/object-store.ts';
import {
  blameObject,
  judge,
  makeSignedImage,
  objectsOf,
  type Sealing,
  sealDeployment,
  sealObjects,
} from '../../src/commands/seal-deployment.ts';
import { loadTrustedKeys } from '../../src/commands/trusted-keys.ts';
import { hex } from '../../src/formats/encoding.ts';
import { refused } from '../../src/formats/errors.ts';

const VECTORS = join(import.meta.dirname, '../vectors/upstream-signed');
const ONE = '76a7b26144caf4962f108093326dd79506af8deab4e887e425865a00949027fb';
const OTHER = new Uint8Array(32).fill(0xab);

let folder = '';
let repo = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealroot-seal-deployment-'));
  repo = join(folder, 'repo');
  cpSync(join(VECTORS, 'repo'), repo, { recursive: true });
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

function verdict() {
  return judge(openObjectStore(repo), ONE, loadTrustedKeys([join(VECTORS, 'key1.pub')]));
}

function sealing(): Sealing {
  return makeSignedImage(openObjectStore(repo), verdict());
}

describe('makeSignedImage()', () => {
  it('refuses to make another image than the signed one', () => {
    const { digest } = verdict();
    expect(() => makeSignedImage(openObjectStore(repo), { ...verdict(), digest: OTHER })).toThrow(
      expect.objectContaining({
        kind: 'refused',
        code: 'image-digest-mismatch',
        message: `cannot seal commit ${ONE}: its objects make the image ${hex(digest)}, signed is ${hex(OTHER)}`,
      }),
    );
  });
});

describe('objectsOf()', () => {
  it('refuses an image that names no digest for an object', () => {
    const { image } = buildImage(openObjectStore(repo, { digests: 'none' }), ONE);
    expect(() => objectsOf({ verdict: verdict(), image })).toThrow(
      expect.objectContaining({ kind: 'refused', code: 'object-digest-missing' }),
    );
  });
});

describe('sealObjects()', () => {
  it('names path and checksum of the object that measures something else', () => {
    const whole = sealing();
    const objects = objectsOf(whole);
    const wrong = objects[1];
    const digests = new Map(objects.map(({ payload, digest }) => [join(repo, 'objects', payload), digest]));
    const seal = (path: string) =>
      path.endsWith(wrong?.payload ?? '') ? OTHER : (digests.get(path) ?? OTHER);
    const checksum = wrong?.payload.replace(/^(..)\/(.*)\.file$/, '$1$2');
    expect(() => sealObjects(whole, repo, seal)).toThrow(
      expect.objectContaining({
        kind: 'refused',
        code: 'object-digest-mismatch',
        message: `cannot seal commit ${ONE}: object ${checksum}, ${wrong?.path}, measures ${hex(OTHER)}, the signed image has ${hex(wrong?.digest ?? OTHER)}`,
      }),
    );
  });
});

describe('sealDeployment()', () => {
  it('leaves no image in the deployment that measures something else', () => {
    expect(() => sealDeployment(sealing(), folder, () => OTHER, 'durable')).toThrow(
      expect.objectContaining({ kind: 'refused', code: 'image-digest-mismatch' }),
    );
    expect(existsSync(join(folder, '.ostree.cfs'))).toBe(false);
  });
});

describe('blameObject()', () => {
  it('blames no object when all of them are what their checksums say: another image was signed', async () => {
    const error = refused('image-digest-mismatch', 'cannot seal: another image');
    expect(await blameObject(error, repo, ONE)).toBe(error);
  });
});
