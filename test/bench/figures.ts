/** Figures of alternating runs, and the table that shows ours beside the reference's. Nothing here judges. */

export interface Row {
  readonly what: string;
  readonly sealroot: string;
  readonly reference?: string;
  /** sealroot / reference. */
  readonly ratio?: string;
  /** What the project has promised to stay below. */
  readonly limit?: string;
  /** What stands behind the text of `sealroot` and `reference`, in the base unit: seconds, KiB, a number. */
  readonly values?: readonly [sealroot: number, reference: number];
}

/** Half of the values lie below, half above; the mean of the two in the middle when their number is even. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  if (low === undefined || high === undefined) throw new Error('cannot take the median of no values');
  return (low + high) / 2;
}

/** A row of two numbers and their ratio. */
export function compared(
  what: string,
  [sealroot, reference]: readonly [number, number],
  format: (value: number) => string,
  limit?: string,
): Row {
  const ratio = (sealroot / reference).toFixed(2);
  const values = [sealroot, reference] as const;
  const row = { what, sealroot: format(sealroot), reference: format(reference), ratio, values };
  return limit === undefined ? row : { ...row, limit };
}

/** A row for the median and one for the least. */
export function medianAndLeast(
  what: string,
  [sealroot, reference]: readonly [readonly number[], readonly number[]],
  format: (value: number) => string,
  limit?: string,
): Row[] {
  return [
    compared(`${what}, median of ${sealroot.length}`, [median(sealroot), median(reference)], format, limit),
    compared(`${what}, least`, [Math.min(...sealroot), Math.min(...reference)], format),
  ];
}

export const bytes = (value: number): string => `${value.toLocaleString('en')} bytes`;
export const kib = (value: number): string => `${value.toLocaleString('en')} KiB`;
export const count = (value: number): string => value.toLocaleString('en');
export const seconds = (value: number): string => `${value.toFixed(2)} s`;
export const milliseconds = (value: number): string => `${value.toFixed(1)} ms`;
export const millions = (value: number): string => `${(value / 1e6).toFixed(1)} M`;

const COLUMNS = ['what', 'sealroot', 'reference', 'ratio', 'limit'] as const;

/** A Markdown table with a title, its columns aligned for a terminal. */
export function formatTable(title: string, rows: readonly Row[]): string {
  const header: Row = {
    what: '',
    sealroot: 'sealroot',
    reference: 'reference',
    ratio: 'ratio',
    limit: 'limit',
  };
  const cells = [header, ...rows].map((row) => COLUMNS.map((column) => row[column] ?? ''));
  const widths = COLUMNS.map((_, column) => Math.max(3, ...cells.map((line) => line[column]?.length ?? 0)));
  const lines = cells.map((line) => {
    const padded = line.map((cell, column) => {
      const width = widths[column] ?? 0;
      return column === 0 ? cell.padEnd(width) : cell.padStart(width);
    });
    return `| ${padded.join(' | ')} |`;
  });
  const rule = `| ${widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  return [`## ${title}`, '', lines[0], rule, ...lines.slice(1), ''].join('\n');
}
