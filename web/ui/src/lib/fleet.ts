// The fleet as one table. The server judges each machine and sends rows that
// changed; here they are put together, filtered and ordered.
import type { FleetAnswer, FleetRow, Notice, State } from '../api/types/machines';
import { WEEK } from './capacity';
import { anyOf, quote } from './quote';
import { selectorOf } from './selector';

export type { FleetRow, State } from '../api/types/machines';

// Worst first; the order of the table.
export const STATES: State[] = ['down', 'critical', 'warning', 'waiting', 'unjudged', 'ok', 'offline'];

// Store is what is known of the fleet. Each answer, polled or pushed, is applied
// to it; rows that did not change stay the same objects.
export interface Store {
  rows: FleetRow[];
  cursor: string;
  notices: Notice[];
  time: number; // the server's, of the last answer
  started: number;
}

const names = new Intl.Collator('en', { numeric: true });

export function apply(store: Store | undefined, a: FleetAnswer): Store {
  const { cursor, time, started } = a;
  const notices = a.notices ?? [];
  const news = a.rows ?? [];
  if (store && !a.full && !news.length && !a.gone?.length)
    return { rows: store.rows, cursor, time, started, notices: same(store.notices, notices) };
  const by = new Map(a.full ? [] : store?.rows.map((r) => [r.name, r]));
  for (const name of a.gone ?? []) by.delete(name);
  for (const r of news) by.set(r.name, r);
  const rows = [...by.values()].sort((x, y) => names.compare(x.name, y.name));
  return { rows, cursor, time, started, notices: store ? same(store.notices, notices) : notices };
}

const same = <T>(old: T, now: T): T => (JSON.stringify(old) === JSON.stringify(now) ? old : now);

// whole: a silence of every alert of the machine is in force.
export const whole = (r: { silenced?: FleetRow['silenced'] }) => !!r.silenced?.some((s) => s.whole);

// healthy: judged, and nothing was found, and nothing is muted.
export const healthy = (r: FleetRow) => r.state === 'ok' && !r.checking && !whole(r);

// shows: which filter of the problem strip a row passes. A machine counts once,
// by the state that the table says, so that the counts add up to the table.
export function shows(r: FleetRow, show: string, now = 0): boolean {
  switch (show) {
    case 'down':
    case 'critical':
    case 'warning':
    case 'offline':
    case 'waiting':
    case 'unjudged':
      return r.state === show;
    case 'silenced':
      return !!r.silenced?.length;
    case 'units':
      return (r.unitsFailed ?? 0) > 0 && (r.up ?? 0) > 0;
    case 'reboot':
      return !!r.reboot && (r.up ?? 0) > 0;
    case 'full':
      return r.full !== undefined && r.full - now < WEEK;
    default:
      return true;
  }
}

// inOrder ranks rows: by state, and within a state what began last first, since
// that is what somebody looks for who was just called.
export const inOrder = (r: FleetRow): number =>
  STATES.indexOf(r.state) * 1e11 - (r.since && r.state !== 'ok' ? Date.parse(r.since) / 1000 : 0);

// isTroubled: somebody should look.
export const isTroubled = (r: { state: State }) =>
  r.state === 'down' || r.state === 'critical' || r.state === 'warning';

export const NO_TAG = 'no tag';

export interface TileGroup {
  tag: string;
  rows: FleetRow[]; // the worst first
  troubled: number; // of them
}

// tilesOf groups machines by tag: a machine stands below each of its tags, with a filter only
// below that one. Groups come in the order of their names, machines without a tag last.
export function tilesOf(rows: FleetRow[], byTag: boolean, tag: string): TileGroup[] {
  const groups = new Map<string, FleetRow[]>();
  const add = (t: string, r: FleetRow) => groups.get(t)?.push(r) ?? groups.set(t, [r]);
  for (const r of [...rows].sort((a, b) => inOrder(a) - inOrder(b) || names.compare(a.name, b.name)))
    for (const t of !byTag ? [''] : tagsOf(r, tag)) add(t, r);
  return [...groups]
    .map(([t, list]) => ({ tag: t, rows: list, troubled: list.filter(isTroubled).length }))
    .sort((a, b) => Number(a.tag === NO_TAG) - Number(b.tag === NO_TAG) || names.compare(a.tag, b.tag));
}

// tagsOf are the tags below which a machine stands.
export const tagsOf = (r: FleetRow, filter: string): string[] =>
  (r.tags?.length ? r.tags : [NO_TAG]).filter((t) => !filter || t === filter);

// whyOf says what is wrong in one line, and that it is not sure yet.
export function whyOf(r: { state: State; why?: string; checking?: boolean }): string {
  const why = r.why ?? '';
  if (!r.checking || r.state === 'ok') return why;
  return why ? `${why} (checking since restart)` : 'checking since restart';
}

// shortSystem leaves out of a system's name what takes the room of its version.
export const shortSystem = (name: string) =>
  name
    .replace(/ GNU\/Linux\b/, '')
    .replace(/ \([^)]*\)$/, '')
    .replace(/ LTS$/, '');

export function hasTag(r: { tags?: string[] | null }, tag: string): boolean {
  return !tag || !!r.tags?.includes(tag);
}

// matches is the text filter: every word in the name, a tag, the system or what
// is wrong.
export function matches(r: FleetRow, text: string): boolean {
  const hay = [r.name, ...(r.tags ?? []), r.os ?? '', r.kernel ?? '', r.why ?? '', ...(r.addresses ?? [])]
    .join(' ')
    .toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((w) => hay.includes(w));
}

// The figures of a row, which may be of another time than its state.
export const FIGURES = [
  'cpu',
  'memory',
  'filesystem',
  'ioStalled',
  'memoryStalled',
  'receive',
  'transmit',
  'temperature',
  'unitsFailed',
  'full',
] as const;

// sparkQuery asks for the CPU lines of some machines: by the recording rule, and
// from the series themselves for those that no rule sees.
export function sparkQuery(rows: FleetRow[]): string {
  const judged = rows.filter((r) => r.judged !== false);
  const others = rows.filter((r) => r.judged === false);
  return [
    ...(judged.length ? [`machine:cpu_used:ratio{machine=~${quote(anyOf(judged.map((r) => r.name)))}}`] : []),
    ...others.map((r) => {
      const sel = selectorOf(r, r.name);
      const rate = (more: string) => `sum(rate(node_cpu_seconds_total{${sel}${more}}[4m]))`;
      return `label_replace(${rate(',mode!~"idle|iowait|steal"')} / ${rate('')}, "machine", ${quote(r.name)}, "", "")`;
    }),
  ].join(' or ');
}
