// The traffic of a month: words and levels.
import type { TrafficRow } from '../api/types/traffic';
import { format } from './format';

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

// dayText is a day, without the year: 12 Nov.
export function dayText(t: number, utc: boolean): string {
  const d = new Date(t * 1000);
  return utc ? `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}` : `${d.getDate()} ${MONTHS[d.getMonth()]}`;
}

export const sum = (m: { received: number; sent: number }): number => m.received + m.sent;

// share is the part of the quota that is used; undefined without one.
export const share = (r: TrafficRow): number | undefined => r.quota && r.quota.used / r.quota.bytes;

// urgency: the quota is used up, or will be within the month.
export function urgency(r: TrafficRow): 'crit' | 'warn' | '' {
  const q = r.quota;
  if (!q) return '';
  if (q.used > q.bytes) return 'crit';
  return (q.expected ?? 0) > q.bytes ? 'warn' : '';
}

// quotaText says what becomes of the quota.
export function quotaText(r: TrafficRow, utc: boolean): string {
  const q = r.quota;
  if (!q) return 'no quota';
  if (q.used > q.bytes) return 'quota exceeded';
  if (q.due !== undefined && urgency(r)) return `quota used up about ${dayText(q.due, utc)}`;
  return q.expected === undefined ? 'too little data' : 'within quota';
}

export const bytes = (v: number | undefined): string => format(v, 'bytes');
