// Silences: for how long, which alerts, in which order.
import type { Matcher, Silence } from '../api/types/alerts';
import type { Labels } from '../api/types/query';
import { matcher, matchesAll, printMatcher, problemOf } from './alertMatchers';
import { durationText, fields, parseDateTime, parseDuration } from './time';

export interface Preset {
  id: string;
  title: string;
  end: (now: number, utc: boolean) => number;
}

// tomorrowAtNine is 09:00 of the day after now, in local time or UTC.
export function tomorrowAtNine(now: number, utc: boolean): number {
  const f = fields(now, utc);
  return (utc ? Date.UTC(f.y, f.mo - 1, f.d + 1, 9) : new Date(f.y, f.mo - 1, f.d + 1, 9).getTime()) / 1000;
}

export const PRESETS: Preset[] = [
  { id: '1h', title: '1 hour', end: (now) => now + 3600 },
  { id: '8h', title: '8 hours', end: (now) => now + 8 * 3600 },
  { id: 'tomorrow', title: 'until tomorrow 09:00', end: tomorrowAtNine },
];

// readEnd reads the end of a silence: a time, or a duration after start.
export function readEnd(text: string, start: number, utc: boolean): number | undefined {
  const d = parseDuration(text);
  return d !== undefined ? start + d : parseDateTime(text, utc);
}

// lengthText is for how long a silence was made, in whole minutes, at least one.
export const lengthText = (s: Silence): string =>
  durationText(Math.max(1, Math.round((Date.parse(s.endsAt) - Date.parse(s.startsAt)) / 60000)) * 60);

// Labels that say where and what; others are offered for narrowing.
export function prefilled(labels: Labels): Matcher[] {
  const names = ['alertname', labels.machine ? 'machine' : 'instance'].filter((n) => labels[n]);
  return names.map((n) => matcher(n, labels[n]!));
}

export function narrowing(labels: Labels, list: Matcher[]): Matcher[] {
  return Object.entries(labels)
    .filter(([n, v]) => v && n !== 'tags' && !list.some((m) => m.name === n))
    .map(([n, v]) => matcher(n, v));
}

// emptyOf names the label of a row that was begun and not filled in. Sent, it would
// match only alerts without that label: machine="" mutes no machine.
export const emptyOf = (m: Matcher): boolean => !m.isRegex && m.isEqual && !m.value;

// filled leaves out rows that nobody touched.
export const filled = (list: Matcher[]): Matcher[] => list.filter((m) => m.name && !emptyOf(m));

// refusal says what is wrong with rows, before the server sees them. given are those
// that a silence had already, which somebody may have meant as they are.
export function refusal(list: Matcher[], given: Matcher[] = []): string {
  if (!list.some((m) => m.name || m.value)) return 'Add a matcher such as machine="alpha"';
  if (!filled(list).length && list.every((m) => emptyOf(m)))
    return `${list[0]!.name || 'The label'} has no value: add one`;
  for (const m of list) {
    if (!m.name && !m.value) continue;
    if (!m.name) return `The label name of ${JSON.stringify(m.value)} is missing`;
    if (emptyOf(m) && (m.name === 'machine' || !given.some((g) => emptyOf(g) && g.name === m.name)))
      return `${m.name} has no value: add one or remove the row`;
  }
  return problemOf(list.filter((m) => m.name));
}

// Reach is what a silence covers, whether or not something fires there now.
export interface Reach {
  machines: string[] | undefined; // undefined: it is not limited to some
  narrowed: Matcher[]; // what an alert of these has to fit as well
  unknown: string[]; // what nothing can match, in words
}

// reach looks for the machines and rules that a silence is about.
export function reach(
  list: Matcher[],
  fleet: { name: string; tags?: string[] | null; labelled?: boolean }[] | undefined,
  rules: string[] | undefined,
): Reach {
  const of = (m: Matcher) => m.name === 'machine' || m.name === 'tags';
  const about = list.filter(of);
  const unknown: string[] = [];
  let machines: string[] | undefined;
  if (about.length && fleet) {
    const labels = (r: { name: string; tags?: string[] | null }) => ({
      machine: r.name,
      tags: r.tags?.length ? `,${r.tags.join(',')},` : '',
    });
    machines = fleet.filter((r) => r.labelled !== false && matchesAll(about, labels(r))).map((r) => r.name);
    if (!machines.length) unknown.push(`No machine matches ${about.map(printMatcher).join(', ')}.`);
  }
  const names = list.filter((m) => m.name === 'alertname');
  if (names.length && rules?.length && !rules.some((alertname) => matchesAll(names, { alertname })))
    unknown.push(`No rule matches ${names.map(printMatcher).join(', ')}.`);
  return { machines, narrowed: list.filter((m) => !of(m)), unknown };
}

export const muted = <A extends { labels: Labels }>(alerts: A[], list: Matcher[]): A[] =>
  list.length ? alerts.filter((a) => matchesAll(list, a.labels)) : [];

const state = { active: 0, pending: 1, expired: 2 };

// bySoonest: active ones that end first come first; of expired ones the latest.
export function bySoonest(a: Silence, b: Silence): number {
  if (a.status.state !== b.status.state) return state[a.status.state] - state[b.status.state];
  const end = Date.parse(a.endsAt) - Date.parse(b.endsAt);
  return a.status.state === 'expired'
    ? -end
    : a.status.state === 'pending'
      ? Date.parse(a.startsAt) - Date.parse(b.startsAt)
      : end;
}

// fieldOf says which field of the form an answer of the server is about.
export function fieldOf(message: string): 'matchers' | 'end' | 'start' | 'author' | 'comment' | 'form' {
  const m = message.toLowerCase();
  if (/matcher|label name|regexp|regular/.test(m)) return 'matchers';
  if (/end time|end must|ends ?at|in the past/.test(m)) return 'end';
  if (/start/.test(m)) return 'start';
  if (/created ?by|creator|author/.test(m)) return 'author';
  if (/comment/.test(m)) return 'comment';
  return 'form';
}
