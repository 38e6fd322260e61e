// The share of time in which machines were up, by month.
import type { UptimeMachine, UptimeMonth, UptimeShare } from '../api/types/uptime';
import { ago } from './format';

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

// monthName is "Nov 2026" of 2026-11.
export const monthName = (name: string): string => `${MONTHS[Number(name.slice(5)) - 1] ?? name} ${name.slice(0, 4)}`;

// shareText never rounds up: 100 % means never down.
export function shareText(ratio: number | undefined): string {
  if (ratio === undefined) return '–';
  if (ratio >= 1) return '100 %';
  const percent = Math.floor(ratio * 1e5) / 1e3;
  return `${percent >= 99 ? percent.toFixed(3) : (Math.floor(percent * 10) / 10).toFixed(1)} %`;
}

export const levelOf = (ratio: number | undefined): 'crit' | 'warn' | '' =>
  ratio === undefined ? '' : ratio < 0.95 ? 'crit' : ratio < 0.99 ? 'warn' : '';

// intermittent machines may be off: that is no downtime.
export const intermittent = (s: UptimeShare): boolean => s.ratio === undefined && !!(s.on || s.off);

// unknown is the time without records, in seconds.
export function unknown(s: UptimeShare, m: UptimeMonth): number {
  const known = (s.up ?? 0) + (s.down ?? 0) + (s.maintenance ?? 0) + (s.on ?? 0) + (s.off ?? 0);
  return Math.max(0, m.to - m.from - known);
}

// details lists the rest of a month. Up to a minute without records is left out.
export function details(s: UptimeShare, m: UptimeMonth): string[] {
  const missing = unknown(s, m);
  return [
    s.down ? `${ago(s.down)} down` : '',
    s.maintenance ? `${ago(s.maintenance)} of silenced maintenance` : '',
    s.on || s.off ? `${ago(s.on ?? 0)} on, ${ago(s.off ?? 0)} off` : '',
    missing > 60 ? `${ago(missing)} not recorded` : '',
  ].filter(Boolean);
}

// together is a month of several machines.
export function together(machines: UptimeMachine[], month: string): UptimeShare {
  const sum = { up: 0, down: 0, maintenance: 0 };
  for (const { months } of machines) {
    const s = months[month];
    sum.up += s?.up ?? 0;
    sum.down += s?.down ?? 0;
    sum.maintenance += s?.maintenance ?? 0;
  }
  return { ...sum, ...(sum.up + sum.down > 0 && { ratio: sum.up / (sum.up + sum.down) }) };
}
