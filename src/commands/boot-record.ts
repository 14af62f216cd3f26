/** /run/sealroot/booted.json: what sealroot-prepare-root has noted of the present boot. */

import { readBoundedIfExists } from '../adapters/files.ts';
import type { KeyPlace } from './trusted-keys.ts';

export const BOOT_RECORD = '/run/sealroot/booted.json';

const MAX_RECORD_BYTES = 1024 * 1024;

export interface BootRecord {
  /** Below the physical root. */
  deployment: string;
  commit: string;
  digest: string;
  /** The key that counted then. */
  key: KeyPlace;
  /** Refused in that boot, before this one. */
  passedOver: { deployment: string; code: string; message: string }[];
  /** What each part of the boot took. */
  microseconds: Record<string, number>;
}

/** undefined: this boot has left none, or something else has written it. */
export function readBootRecord(path = BOOT_RECORD): BootRecord | undefined {
  const bytes = readBoundedIfExists(path, MAX_RECORD_BYTES);
  if (bytes === undefined) return undefined;
  try {
    const record: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    return isRecord(record) ? record : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isRecord(value: unknown): value is BootRecord {
  const { deployment, commit, key, passedOver, microseconds } = (value ?? {}) as Partial<BootRecord>;
  return (
    typeof deployment === 'string' &&
    typeof commit === 'string' &&
    typeof key?.publicKey === 'string' &&
    Array.isArray(passedOver) &&
    typeof microseconds === 'object'
  );
}
