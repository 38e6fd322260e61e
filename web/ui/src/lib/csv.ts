// What a chart draws, as a table for a spreadsheet.
import type { Line } from './chart';

// A spreadsheet takes text that begins with one of these for a formula.
const FORMULA = /^[=+\-@\t\r]/;

const cell = (text: string) => {
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

// csvOf has a row for each step, with the time in UTC, and a column for each line.
export function csvOf(times: number[], lines: Line[]): string {
  const head = ['time', ...lines.map((l) => cell(l.name))];
  const rows = times.map((t, i) => [
    new Date(t * 1000).toISOString(),
    ...lines.map((l) => {
      const v = l.values[i];
      return v === null || v === undefined ? '' : String(l.negate ? -v : v);
    }),
  ]);
  return [head, ...rows].map((r) => `${r.join(',')}\r\n`).join('');
}
