/**
 * The one error type of sealroot. `kind` says who is at fault and fixes the exit status, `code` is stable and
 * is what scripts and tests match, `message` reads `cannot <verb> <what>: <fact with values>`, lower case and
 * without a full stop. The remedy is separate: only the outermost layer prints it.
 */

/** refused: a policy says no (exit 1); usage (2); input: malformed data (3); system: the operating system said no (4). */
export type ErrorKind = 'refused' | 'usage' | 'input' | 'system';

export class SealrootError extends Error {
  readonly kind: ErrorKind;
  /** Stable, kebab-case, e.g. `signature-none-valid`. */
  readonly code: string;
  /** What the reader can do about it; printed as a hint. */
  readonly hint: string | undefined;

  constructor(kind: ErrorKind, code: string, message: string, hint?: string) {
    super(message);
    this.kind = kind;
    this.code = code;
    this.hint = hint;
  }
}

export function refused(code: string, message: string, hint?: string): SealrootError {
  return new SealrootError('refused', code, message, hint);
}

export function badInput(code: string, message: string, hint?: string): SealrootError {
  return new SealrootError('input', code, message, hint);
}

export function systemError(code: string, message: string, hint?: string): SealrootError {
  return new SealrootError('system', code, message, hint);
}

export function usageError(code: string, message: string, hint?: string): SealrootError {
  return new SealrootError('usage', code, message, hint);
}

/** The exit status of a failed command. */
export function exitStatus(kind: ErrorKind): number {
  switch (kind) {
    case 'refused':
      return 1;
    case 'usage':
      return 2;
    case 'input':
      return 3;
    case 'system':
      return 4;
  }
}
