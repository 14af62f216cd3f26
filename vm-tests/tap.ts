/**
 * The Test Anything Protocol, version 14 (testanything.org/tap-version-14-specification.html): the part that a run
 * of cases needs, which is a plan, test points, one level of subtests and comments. Text in, text out.
 */

export interface TestPoint {
  readonly title: string;
  readonly passed: boolean;
  readonly seconds: number;
  /** What went wrong, several lines; only for a failed one. */
  readonly failure?: string;
}

/** `#` and `\` end or escape a description, a line end would start another line. */
export function escapeDescription(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('#', '\\#').replaceAll('\n', ' ');
}

export function comment(text: string): string {
  return `${text
    .trimEnd()
    .split('\n')
    .map((line) => `# ${line}`.trimEnd())
    .join('\n')}\n`;
}

/** One line, and for a failed point the failure as a YAML block scalar. */
export function testPoint(number: number, { title, passed, seconds, failure }: TestPoint): string {
  const line = `${passed ? 'ok' : 'not ok'} ${number} - ${escapeDescription(title)} # time=${(seconds * 1000).toFixed(0)}ms\n`;
  if (failure === undefined) return line;
  return `${line}  ---\n  message: |\n${indent(failure.trimEnd(), '    ')}  ...\n`;
}

/** A case with its steps as a subtest. */
export function subtest(number: number, point: TestPoint, steps: readonly TestPoint[]): string {
  const inner = `${steps.map((step, index) => testPoint(index + 1, step)).join('')}1..${steps.length}\n`;
  return `# Subtest: ${escapeDescription(point.title)}\n${indent(inner, '    ')}${testPoint(number, point)}`;
}

function indent(text: string, by: string): string {
  return `${text
    .replace(/\n$/, '')
    .split('\n')
    .map((line) => by + line)
    .join('\n')}\n`;
}
