/** The ratios of a table as an SVG picture: one bar each, and a mark where the promise is. */

import type { Row } from './figures.ts';

const WIDTH = 720;
const LABEL_WIDTH = 330;
const ROW_HEIGHT = 30;
const BAR_HEIGHT = 16;
const TOP = 44;

/** Rows without a ratio and a numeric limit are left out. What was measured of each, behind a colon, is for the title to say. */
export function ratioChart(title: string, rows: readonly Row[]): string {
  const bars = rows
    .map(({ what, ratio, limit }) => ({
      what: what.replace(/: .*$/, ''),
      ratio: Number(ratio),
      limit: Number(limit),
    }))
    .filter(({ ratio, limit }) => ratio > 0 && limit > 0);
  const most = Math.max(1.2, ...bars.flatMap(({ ratio, limit }) => [ratio, limit])) * 1.1;
  const x = (value: number) => LABEL_WIDTH + (value / most) * (WIDTH - LABEL_WIDTH - 10);
  const height = TOP + bars.length * ROW_HEIGHT + 14;
  const parts = bars.map(({ what, ratio, limit }, i) => {
    const y = TOP + i * ROW_HEIGHT;
    const middle = y + BAR_HEIGHT - 4;
    return [
      `<text x="${LABEL_WIDTH - 8}" y="${middle}" text-anchor="end">${escapeXml(what)}</text>`,
      `<rect x="${LABEL_WIDTH}" y="${y}" width="${(x(ratio) - LABEL_WIDTH).toFixed(1)}" height="${BAR_HEIGHT}" fill="${ratio <= limit ? '#186' : '#c73'}"/>`,
      `<line x1="${x(limit).toFixed(1)}" y1="${y - 3}" x2="${x(limit).toFixed(1)}" y2="${y + BAR_HEIGHT + 3}" stroke="#222" stroke-width="2"/>`,
      `<text x="${(x(ratio) - 6).toFixed(1)}" y="${middle}" text-anchor="end" fill="#fff">${ratio.toFixed(2)}</text>`,
    ].join('\n');
  });
  const one = x(1).toFixed(1);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="12">
<title>${escapeXml(title)}</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="10" y="18" font-size="13">${escapeXml(title)}</text>
<line x1="${one}" y1="${TOP - 8}" x2="${one}" y2="${height - 8}" stroke="#999" stroke-dasharray="4 3"/>
<text x="${one}" y="${TOP - 12}" text-anchor="middle" fill="#666">1 = the C tool; mark = at most</text>
${parts.join('\n')}
</svg>
`;
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
