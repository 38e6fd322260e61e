// Gaps that the server fills with what exporters kept.
import { ago } from './format';

// Mirrors /api/clanmon/v1/backfill. Times are RFC 3339.
export interface Gap {
  job: string;
  instance: string;
  machine?: string;
  from: string;
  to: string;
  until: string; // up to where it is filled
  filling: boolean;
  seconds_left?: number;
  error?: string; // of the last attempt
}
export interface Backfill {
  enabled: boolean;
  gaps: Gap[];
}

const seconds = (t: string) => Date.parse(t) / 1000;

// fillingOf says what is filled, of one machine or of all; '' if nothing is.
export function fillingOf(gaps: Gap[], machine?: string): string {
  const mine = gaps.filter((g) => machine === undefined || (g.machine ?? g.instance) === machine);
  if (!mine.length) return '';
  const failed = mine.find((g) => g.error && !g.filling);
  if (failed && !mine.some((g) => g.filling)) return `Could not fill a gap, retrying: ${failed.error}`;
  const longest = Math.max(...mine.map((g) => seconds(g.to) - seconds(g.from)));
  const targets = new Set(mine.map((g) => `${g.job} ${g.instance}`)).size;
  const left = mine.flatMap((g) => g.seconds_left ?? []);
  return (
    `Filling ${ago(longest)}` +
    (machine === undefined ? ` of ${targets} target${targets === 1 ? '' : 's'}` : '') +
    (left.length ? `, ${ago(Math.max(1, ...left))} left` : '')
  );
}
