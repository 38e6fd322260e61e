// Lines of a journal as they are shown.
import type { Line } from '../api/types/look';

// PRIORITIES are journald's, as a filter names them: this one and those more important.
export const PRIORITIES = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug'] as const;

// secondsOf is when a line was written, undefined if it does not say.
export function secondsOf(l: Line): number | undefined {
  const n = Number(l.__REALTIME_TIMESTAMP);
  return n > 0 ? n / 1e6 : undefined;
}

// levelOf is how a line is marked: errors, warnings, and what is only for debugging.
export function levelOf(l: Line): 'crit' | 'warn' | 'off' | '' {
  const p = l.PRIORITY === undefined ? 6 : Number(l.PRIORITY);
  return p <= 3 ? 'crit' : p === 4 ? 'warn' : p === 7 ? 'off' : '';
}

// Shown is a line or what stands between lines: another boot, or the moment that one
// looks for.
export type Shown = { line: Line } | { boot: string } | { moment: true };

// late is how long after the end of a process its last lines may be dated, in seconds:
// journald dates them when it reads them.
const late = 1;

// arrange puts the lines in order, with what stands between them. found says whether the
// moment is among them.
export function arrange(lines: Line[], moment: number | undefined): { shown: Shown[]; found: boolean } {
  const shown: Shown[] = [];
  let boot = '';
  let found = false;
  let before = false; // a line from before the moment was there, or of it
  for (const line of lines) {
    const t = secondsOf(line);
    if (moment !== undefined && t !== undefined && !found) {
      if (t <= moment + late) before = true;
      else if (before) {
        shown.push({ moment: true });
        found = true;
      }
    }
    if (line._BOOT_ID && boot && line._BOOT_ID !== boot) shown.push({ boot: line._BOOT_ID });
    boot = line._BOOT_ID || boot;
    shown.push({ line });
  }
  // A unit that failed says nothing more.
  if (before && !found) {
    shown.push({ moment: true });
    found = true;
  }
  return { shown, found };
}

const UNIT = /\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)$/;

// unitOf is the unit that an alert is about, undefined if it is about none.
export const unitOf = (labels: Record<string, string>): string | undefined =>
  [labels.unit, labels.name].find((x) => x && UNIT.test(x));

// journalUnit is the unit whose messages tell about a unit: what a timer or socket
// starts has a name of its own.
export const journalUnit = (unit: string): string => unit.replace(/\.(timer|path)$/, '.service');

// most is how many lines are kept while one follows.
export const most = 2000;

export const appended = (lines: Line[], more: Line[]): Line[] => [...lines, ...more].slice(-most);
