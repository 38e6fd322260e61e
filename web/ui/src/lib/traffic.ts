// The traffic of a month: words and levels.
import type { TrafficRow } from '../api/types/traffic';
import { format } from './format';

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

// dayText is a date without the year: 12 Nov.
export function dayText(date: string): string {
  const [, month, day] = date.split('-').map(Number);
  return `${day} ${MONTHS[month! - 1]}`;
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
export function quotaText(r: TrafficRow): string {
  const q = r.quota;
  if (!q) return 'no quota';
  if (q.used > q.bytes) return 'quota exceeded';
  if (q.due !== undefined && urgency(r)) return `quota used up about ${dayText(q.due)}`;
  return q.expected === undefined ? 'too little data' : 'within quota';
}

export const bytes = (v: number | undefined): string => format(v, 'bytes');
