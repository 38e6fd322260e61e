// What happened in a fleet: words, order, filters.
import type { EventKind, FleetEvent } from '../api/types/events';
import type { Labels } from '../api/types/query';
import type { Mark } from './chart';

export const EVENT: Record<EventKind, { word: string; icon: string }> = {
  reboot: { word: 'Reboot', icon: 'refresh' },
  system: { word: 'System', icon: 'up' },
  exporter: { word: 'Exporter', icon: 'up' },
  alert: { word: 'Alert', icon: 'alerts' },
  unit: { word: 'Unit', icon: 'services' },
  check: { word: 'Check', icon: 'pulse' },
  filesystem: { word: 'Filesystem', icon: 'disk' },
  machine: { word: 'Machine', icon: 'fleet' },
  server: { word: 'Server', icon: 'info' },
  silence: { word: 'Silence', icon: 'silence' },
  note: { word: 'Note', icon: 'edit' },
};

export const EVENT_KINDS = Object.keys(EVENT) as EventKind[];

// MOST is the longest time that the server looks through.
export const MOST = 100 * 86400;

export const keyOf = (e: FleetEvent): string => `${e.time} ${e.kind} ${e.machine ?? ''} ${e.text}`;

// ALERTS are the kinds that alerts make.
export const ALERTS: EventKind[] = ['alert', 'unit', 'check'];
export const isAlert = (e: FleetEvent): boolean => ALERTS.includes(e.kind);

// level is how an event looks: what is over is quieter than what goes on.
export function level(e: FleetEvent): 'crit' | 'warn' | 'info' | 'off' {
  if (!isAlert(e)) return ['reboot', 'system', 'note'].includes(e.kind) ? 'info' : 'off';
  if (/ (resolved|recovered)(: |$)/.test(e.text)) return 'off';
  return e.severity === 'critical' ? 'crit' : e.severity === 'info' ? 'info' : 'warn';
}

// lasts says of an event without an end whether it goes on.
export const lasts = (e: FleetEvent): boolean => e.end === null && (level(e) === 'crit' || level(e) === 'warn');

// MARKED are the kinds that charts of several machines show.
export const MARKED: EventKind[] = ['reboot', 'system', 'alert', 'unit', 'check', 'note'];

// Happened is what the charts of a page may show.
export interface Happened {
  events: FleetEvent[];
  from: number;
  to: number;
  machine?: string | undefined; // of which all events are
  machines?: ReadonlySet<string> | undefined; // that the page is about; all without them
}

const MOST_MARKS = 60; // in one chart

// machinesOf are those of which a chart has lines; undefined if a line is of none.
export function machinesOf(lines: { labels: Labels }[]): ReadonlySet<string> | undefined {
  const names = lines.map(({ labels: l }) => l.machine || l.instance?.replace(/:\d+$/, ''));
  return names.every(Boolean) ? new Set(names as string[]) : undefined;
}

// marksFor are the marks of a chart with lines of these machines. One that shows several says
// whose a mark is. Where there are too many, what is bad and what is new is shown.
export function marksFor(h: Happened, machines: ReadonlySet<string> | undefined): Mark[] {
  const named = !h.machine && machines?.size !== 1;
  const all = h.events.filter((e) => h.machine || (concerns(e, machines) && concerns(e, h.machines)));
  const marks = marksOf(all, h.from, h.to, named);
  if (marks.length <= MOST_MARKS) return marks;
  const rank = (m: Mark) => ['off', 'info', 'warn', 'crit'].indexOf(m.level ?? 'info');
  return marks
    .sort((a, b) => rank(b) - rank(a) || b.time - a.time)
    .slice(0, MOST_MARKS)
    .sort((a, b) => a.time - b.time);
}

// concerns says whether an event is of one of the machines: a note without machines is of all, and
// a group may be of more than it names.
export function concerns(e: FleetEvent, machines: ReadonlySet<string> | undefined): boolean {
  if (!machines) return true;
  if (e.machine) return machines.has(e.machine);
  const names = e.machines ?? [];
  return !names.length || e.count > names.length || names.some((m) => machines.has(m));
}

// marksOf are events as charts show them. What began before the range has no begin in it,
// and what is not over lasts until its end.
export function marksOf(all: FleetEvent[], from: number, to: number, named = false): Mark[] {
  return all
    .map((e): Mark => {
      const span = isAlert(e);
      const look = level(e);
      return {
        time: e.time < from ? from - 1 : e.time,
        text: e.text,
        ...(named && e.machine && { who: e.machine }),
        level: e.kind === 'system' ? 'off' : look,
        ...(span && { end: e.end ?? to }),
      };
    })
    .sort((a, b) => a.time - b.time);
}

// inWords says what marks mean, in a line.
export function inWords(marks: Mark[]): string {
  const alerts = marks.filter((m) => m.end !== undefined).length;
  const others = new Map<string, number>();
  for (const m of marks) if (m.end === undefined) others.set(m.text, (others.get(m.text) ?? 0) + 1);
  const texts = [...others].map(([text, n]) => (n === 1 ? text : `${text} ${n} times`));
  const more = texts.length - 4;
  return [
    ...(alerts ? [`${alerts} alert${alerts === 1 ? '' : 's'}`] : []),
    ...texts.slice(0, 4),
    ...(more > 0 ? [`${more} more`] : []),
  ].join(', ');
}

export interface EventFilter {
  text: string;
  kinds: readonly string[]; // none: all
  machines: ReadonlySet<string> | null; // null: all
}

export function eventFits(e: FleetEvent, f: EventFilter): boolean {
  if (f.kinds.length && !f.kinds.includes(e.kind)) return false;
  if (f.machines && ![e.machine, ...(e.machines ?? [])].some((m) => m && f.machines!.has(m))) return false;
  const all =
    `${e.text} ${e.machine ?? ''} ${(e.machines ?? []).join(' ')} ${e.detail ?? ''} ${e.by ?? ''}`.toLowerCase();
  return f.text
    .toLowerCase()
    .split(/\s+/)
    .every((w) => all.includes(w));
}

// around is a time in which charts show an event.
export function around(e: FleetEvent, now: number): { from: number; to: number } {
  return { from: Math.floor(e.time - 1800), to: Math.ceil(Math.min(now, Math.max(e.time, e.end ?? 0) + 1800)) };
}

// whom names the machines of an event.
export function whom(e: FleetEvent): string {
  if (!e.machines) return e.machine ?? '';
  const shown = e.machines.slice(0, 3);
  return e.count > shown.length ? `${shown.join(', ')} and ${e.count - shown.length} more` : shown.join(', ');
}
