// What is full next: words, filters and links.
import type { CapacityKind, CapacityRow } from '../api/types/capacity';
import { format } from './format';

export const KINDS: Record<CapacityKind, string> = {
  filesystem: 'File system',
  pool: 'Pool',
  inodes: 'Inodes',
  memory: 'Memory',
  storage: 'Data directory',
  certificate: 'Certificate',
  key: 'Key',
};

// Kinds that one filter shows.
export const GROUPS: { id: string; word: string; kinds: CapacityKind[] }[] = [
  { id: 'disks', word: 'Disks', kinds: ['filesystem', 'pool', 'storage'] },
  { id: 'inodes', word: 'Inodes', kinds: ['inodes'] },
  { id: 'memory', word: 'Memory', kinds: ['memory'] },
  { id: 'expiring', word: 'Certificates and keys', kinds: ['certificate', 'key'] },
];

const DAY = 86400;
export const WEEK = 7 * DAY;

export const expires = (r: CapacityRow): boolean => r.kind === 'certificate' || r.kind === 'key';

// urgency colours a date. A certificate is usually renewed 30 days ahead.
export function urgency(r: CapacityRow, now: number): 'crit' | 'warn' | '' {
  if (r.due === undefined) return '';
  const left = r.due - now;
  return left < DAY ? 'crit' : left < WEEK ? 'warn' : '';
}

// leftText is a remaining time in one unit: 40 min, 9 h, 12 d, 5 months.
export function leftText(left: number): string {
  if (left < 2 * 3600) return `${Math.max(0, Math.floor(left / 60))} min`;
  if (left < 2 * DAY) return `${Math.floor(left / 3600)} h`;
  if (left < 90 * DAY) return `${Math.floor(left / DAY)} d`;
  return `${Math.floor(left / (30.44 * DAY))} months`;
}

// dueText says when something is full or expires.
export function dueText(r: CapacityRow, now: number): string {
  if (r.due === undefined) return r.known ? (expires(r) ? 'never' : 'not within a year') : 'too little data';
  if (r.due <= now) return expires(r) ? 'expired' : 'full';
  return `in ${leftText(r.due - now)}`;
}

const FULL = 0.9;

// rank sorts by what comes first. What is nearly full without a prediction comes after what is
// due within a week; of the rest, the fullest is first.
export function rank(r: CapacityRow, now: number): number {
  if (r.due !== undefined) return r.due;
  const used = r.size ? (r.used ?? 0) / r.size : 0;
  return (used >= FULL && r.kind !== 'memory' ? now + WEEK : 1e12) - used;
}

// noneDueText says that nothing is full soon, of what that is known. '' where something is.
export function noneDueText(rows: CapacityRow[]): string {
  if (!rows.length || rows.some((r) => r.due !== undefined)) return '';
  const young = rows.filter((r) => !r.known).length;
  if (young === rows.length) return 'Too little data for predictions yet.';
  return `Nothing is predicted to fill up or expire within a year.${young ? ` Too little data for ${young} of ${rows.length} entries.` : ''}`;
}

// rangeText is the range of a date; '' where it adds nothing.
export function rangeText(r: CapacityRow, now: number): string {
  if (r.due === undefined || r.earliest === undefined || r.due <= now) return '';
  const from = leftText(Math.max(0, r.earliest - now));
  if (r.latest === undefined) return `${from} or more`;
  const to = leftText(r.latest - now);
  if (from === to) return '';
  const [a, b] = [from.split(' '), to.split(' ')];
  return a[1] === b[1] ? `${a[0]}–${to}` : `${from} – ${to}`;
}

// amount is a number of bytes, or of inodes.
export const amount = (r: CapacityRow, v: number | undefined): string =>
  format(v, r.kind === 'inodes' ? 'count' : 'bytes');

// growthText has a sign. Less than a thousandth of a percent of the size is 0.
export function growthText(r: CapacityRow, v: number | undefined): string {
  if (v === undefined) return '–';
  if (Math.abs(v) < (r.size ?? 0) * 1e-5) return '0';
  return `${v > 0 ? '+' : '−'}${amount(r, Math.abs(v))}`;
}

export const rowKey = (r: CapacityRow): string => [r.kind, r.machine, r.device, r.name].join('/');

export const titleOf = (r: CapacityRow): string => r.name ?? KINDS[r.kind];

export interface CapacityFilter {
  text: string;
  group: string;
  soon: boolean; // within 7 days
  machines: ReadonlySet<string> | null; // null: all
}

export function fits(r: CapacityRow, f: CapacityFilter, now: number): boolean {
  if (f.group && !GROUPS.find((g) => g.id === f.group)?.kinds.includes(r.kind)) return false;
  if (f.soon && !(r.due !== undefined && r.due - now < WEEK)) return false;
  if (f.machines && !f.machines.has(r.machine ?? '')) return false;
  const all = `${r.machine ?? ''} ${r.name ?? ''} ${r.device ?? ''} ${r.fstype ?? ''} ${KINDS[r.kind]}`.toLowerCase();
  return f.text
    .toLowerCase()
    .split(/\s+/)
    .every((w) => all.includes(w));
}

// chartOf is where the chart of a row is: a path, and parameters.
export function chartOf(r: CapacityRow): { path: string; params: Record<string, string> } {
  if (r.kind === 'storage') return { path: '/status', params: {} };
  if (r.kind === 'certificate') return { path: '/checks', params: { q: r.name ?? '' } };
  const path = `/m/${encodeURIComponent(r.machine ?? '')}`;
  if (r.kind === 'key') return { path, params: {} };
  const range = r.trend === '6h' || r.trend === '1d' ? '24h' : r.trend === '7d' ? '7d' : '30d';
  return { path, params: r.kind === 'memory' ? { range } : { tab: 'disks', range } };
}
