// systemd's units as the pages show them, from clanmon's exporter,
// systemd_exporter or node_exporter's own collector of systemd.
import type { Labels, MatrixSeries, VectorSample } from '../api/types/query';
import { anyOf, quote } from './quote';

// Where a unit runs.
export interface Where {
  host: string; // what people call it: the machine, or the instance where that is not known
  selector: string; // what goes inside {}
  machine?: string; // has a page of its own
  instance?: string; // its series have no label machine
}

// Find tells which machine a series belongs to.
export type Find = (l: Labels) => string | undefined;
const byLabel: Find = (l) => l.machine;

export function whereOf(l: Labels, find: Find = byLabel): Where {
  if (l.machine) return { host: l.machine, machine: l.machine, selector: `machine=${quote(l.machine)}` };
  const instance = l.instance ?? '';
  const machine = find(l);
  return {
    host: machine ?? instance,
    selector: `instance=${quote(instance)}`,
    instance,
    ...(machine !== undefined && { machine }),
  };
}

const idOf = (l: Labels) => l.machine || l.instance || '';

export const STATES = ['failed', 'activating', 'deactivating', 'reloading', 'active', 'inactive'];

// The types that a sysadmin starts and stops; devices, targets, slices and
// scopes come and go by themselves.
export const MAIN_TYPES = ['service', 'timer', 'socket', 'path', 'mount', 'automount', 'swap'];

export const typeOf = (name: string): string => name.slice(name.lastIndexOf('.') + 1);

// What may be wrong with a unit, worst first.
export const WHYS = ['failed', 'looping', 'stuck', 'overdue', 'tasks', 'restarts'] as const;
export type Why = (typeof WHYS)[number];

export interface Unit {
  key: string;
  where: Where;
  host: string;
  name: string;
  type: string;
  state: string; // '' while unknown
  why?: Why;
  figure?: number; // restarts of looping units, seconds of overdue timers
  activeSince?: number; // Unix seconds
  inactiveSince?: number;
  restarts?: number; // within 24 h
  tasks?: number;
  tasksMax?: number;
  cpu?: number; // of one CPU
  memory?: number; // bytes
  lastRun?: number; // of a timer, Unix seconds
  nextRun?: number;
  overdue?: number; // seconds
  result?: string; // how the last run of a timer's unit ended, as systemd says it
}

const names = new Intl.Collator('en', { numeric: true });

const unitKey = (host: string, name: string) => `${host}\n${name}`;
export const keyOf = (l: Labels) => unitKey(idOf(l), l.name ?? '');

// since is when a unit came into the state in which it is.
export function since(u: Unit): number | undefined {
  if (u.state === 'active' || u.state === 'reloading') return u.activeSince;
  if (u.state === 'inactive' || u.state === 'failed') return u.inactiveSince;
  return undefined;
}

const named = (expr: string, label: string, value: string) => `label_replace(${expr}, "${label}", "${value}", "", "")`;

// stateQuery is the state of every unit of one machine, figuresQuery what is
// known of the units that sel selects.
export const stateQuery = (sel: string) => `{__name__=~"(node_)?systemd_unit_state",${sel}} == 1`;

export function figuresQuery(sel: string): string {
  return [
    `{__name__=~"(node_)?systemd_(unit_(active_enter_time_seconds|inactive_enter_time_seconds|start_time_seconds|tasks_current|tasks_max)|timer_last_trigger_seconds)",${sel}}`,
    `{__name__=~"clanmon_systemd_timer_(overdue_seconds|next_elapse_timestamp_seconds|last_result)",${sel}}`,
    `systemd_unit_memory_bytes{kind="current",${sel}}`,
    named(
      `sum by (machine, instance, name) (rate(systemd_unit_cpu_seconds_total{${sel}}[1m]) or rate(systemd_unit_cpu_seconds_total{${sel}}[5m]))`,
      'figure',
      'cpu',
    ),
    named(
      `max by (machine, instance, name) (increase({__name__=~"(node_)?systemd_service_restart_total",${sel}}[24h]))`,
      'figure',
      'restarts',
    ),
  ].join(' or ');
}

// forUnits selects some units, of which there must not be too many. Where some have
// the label machine and others do not, it is for the names alone to select.
export function forUnits(units: Unit[]): string {
  const distinct = (all: string[]) => quote(anyOf([...new Set(all)].sort()));
  const names = `name=~${distinct(units.map((u) => u.name))}`;
  const without = units.filter((u) => u.where.instance !== undefined);
  if (!without.length) return `machine=~${distinct(units.map((u) => u.where.machine ?? ''))},${names}`;
  if (without.length < units.length) return names;
  return `instance=~${distinct(without.map((u) => u.where.instance!))},${names}`;
}

const FIGURES: Record<string, keyof Unit> = {
  systemd_unit_active_enter_time_seconds: 'activeSince',
  systemd_unit_inactive_enter_time_seconds: 'inactiveSince',
  systemd_unit_start_time_seconds: 'activeSince',
  systemd_unit_tasks_current: 'tasks',
  systemd_unit_tasks_max: 'tasksMax',
  systemd_unit_memory_bytes: 'memory',
  systemd_timer_last_trigger_seconds: 'lastRun',
  clanmon_systemd_timer_next_elapse_timestamp_seconds: 'nextRun',
  clanmon_systemd_timer_overdue_seconds: 'overdue',
  cpu: 'cpu',
  restarts: 'restarts',
};

function unit(all: Map<string, Unit>, l: Labels, find: Find): Unit {
  const key = keyOf(l);
  let u = all.get(key);
  if (!u) {
    const name = l.name ?? '';
    const where = whereOf(l, find);
    all.set(key, (u = { key, where, host: where.host, name, type: typeOf(name), state: '' }));
  }
  return u;
}

// readStates makes a unit of each sample of stateQuery.
export function readStates(samples: VectorSample[], find: Find = byLabel): Map<string, Unit> {
  const all = new Map<string, Unit>();
  for (const s of samples) if (s.metric.name) unit(all, s.metric, find).state = s.metric.state ?? '';
  return all;
}

// addFigures completes units that are known. A start time of zero is none, and
// so is a limit of tasks that is as good as infinite.
export function addFigures(units: Map<string, Unit>, samples: VectorSample[]): Map<string, Unit> {
  const out = new Map([...units].map(([k, u]) => [k, { ...u }]));
  for (const s of samples) {
    const u = out.get(keyOf(s.metric));
    if (u && s.metric.__name__ === 'clanmon_systemd_timer_last_result') {
      if (s.value?.[1] === '1' && s.metric.result) u.result = s.metric.result;
      continue;
    }
    const field = FIGURES[s.metric.figure ?? (s.metric.__name__ ?? '').replace(/^node_/, '')];
    const v = Number(s.value?.[1]);
    if (!u || !field || Number.isNaN(v)) continue;
    if (v === 0 && /Since|Run/.test(field)) continue;
    if (field === 'tasksMax' && v > 1e15) continue;
    (u as unknown as Record<string, number>)[field] = v;
  }
  return out;
}

// problemsQuery reads what is wrong in the whole fleet: records and alerts of the
// built-in rules, and what is starting, so that it costs little also with 1,000
// machines. Its machine:units_failed:count says which machines
// the rules know. Of others, liveQuery reads the states themselves.
const stuck = (sel: string) => {
  const starting = `systemd_unit_state{state="activating",type="service"${sel}}`;
  return named(
    `((${starting} == 1) and (${starting} offset 5m == 1) and (${starting} offset 10m == 1) unless on (machine, instance, name) systemd_unit_info{service_type="oneshot"})`,
    'why',
    'stuck',
  );
};
export const problemsQuery = [
  'machine:units_failed:count',
  named('unit:failed', 'why', 'failed'),
  named('ALERTS{alertname="UnitCrashLooping"}', 'why', 'looping'),
  named('ALERTS{alertname="UnitTasksNearLimit"}', 'why', 'tasks'),
  named('unit:restarts:increase1h', 'why', 'restarts'),
  stuck(',machine!=""'),
  named('timer:overdue:seconds', 'why', 'overdue'),
].join(' or ');

// of is all machines, or those without the label machine, which no built-in rule
// looks at.
export function liveQuery(of: 'all' | 'unlabelled'): string {
  const sel = of === 'unlabelled' ? ',machine=""' : '';
  const only = sel.slice(1);
  return [
    named(`({__name__=~"(node_)?systemd_unit_state",state="failed"${sel}} == 1)`, 'why', 'failed'),
    named(
      `(${['systemd', 'node_systemd'].map((m) => `((${m}_service_restart_total{${only}} > 3) - ${m}_service_restart_total{${only}} offset 15m > 3)`).join(' or ')})`,
      'why',
      'looping',
    ),
    stuck(sel),
    named(`(clanmon_systemd_timer_overdue_seconds{${only}} > 0)`, 'why', 'overdue'),
  ].join(' or ');
}

// readProblems gives each unit that is wrong once, with the worst that is known,
// and says whether the shipped rules were there to ask.
export function readProblems(samples: VectorSample[], find: Find = byLabel): { units: Unit[]; rules: boolean } {
  const all = new Map<string, Unit>();
  let rules = false;
  for (const s of samples) {
    const why = s.metric.why as Why | undefined;
    if (!why) {
      rules = true;
      continue;
    }
    if (!s.metric.name) continue;
    const u = unit(all, s.metric, find);
    if (u.why && WHYS.indexOf(u.why) <= WHYS.indexOf(why)) continue;
    u.why = why;
    u.state = why === 'failed' ? 'failed' : why === 'stuck' ? 'activating' : u.state;
    const v = Number(s.value?.[1]);
    if (why === 'restarts' || why === 'overdue') u.figure = v;
    else delete u.figure;
  }
  return {
    units: [...all.values()].sort((a, b) => names.compare(a.host, b.host) || names.compare(a.name, b.name)),
    rules,
  };
}

// A unit's name over the whole fleet.
export interface UnitCount {
  name: string;
  type: string;
  total: number;
  active: number;
  failed: number;
  starting: number;
}

// countsQuery counts machines by unit name and state. All machines have the
// series of the state "active", with 0 or 1; of the other states clanmon's
// exporter sends only the present one.
// selectors are of the machines that are meant, null for all.
export function countsQuery(type: string, selectors: string[] | null): string {
  const ours = type ? `,type=${quote(type)}` : '';
  const nodes = type ? `,name=~${quote(`.+[.]${type}`)}` : '';
  return (selectors ?? [''])
    .flatMap((of, i) => {
      const m = of && `,${of}`;
      return [
        [`count_values by (name) ("active", systemd_unit_state{state="active"${ours}${m}})`, 'active'],
        [`count_values by (name) ("active", node_systemd_unit_state{state="active"${nodes}${m}})`, 'node'],
        [`count by (name) ({__name__=~"(node_)?systemd_unit_state",state="activating"${nodes}${m}} == 1)`, 'starting'],
      ].map(([expr, figure]) => named(named(expr!, 'figure', figure!), 'part', String(i)));
    })
    .join(' or ');
}

// selectorsOf are as few selectors as select these machines.
export function selectorsOf(rows: { name: string; selector?: string; labelled?: boolean }[]): string[] {
  const labelled = rows.filter((r) => r.labelled !== false).map((r) => r.name);
  return [
    `machine=~${quote(anyOf(labelled))}`,
    ...rows.flatMap((r) => (r.labelled === false && r.selector ? [`machine="",${r.selector}`] : [])),
  ];
}

export function readCounts(samples: VectorSample[], problems: Unit[]): UnitCount[] {
  const all = new Map<string, UnitCount>();
  for (const s of samples) {
    const name = s.metric.name;
    const v = Number(s.value?.[1]);
    if (!name) continue;
    let u = all.get(name);
    if (!u) all.set(name, (u = { name, type: typeOf(name), total: 0, active: 0, failed: 0, starting: 0 }));
    if (s.metric.figure === 'starting') {
      u.starting += v;
      continue;
    }
    u.total += v;
    if (s.metric.active === '1') u.active += v;
  }
  for (const p of problems) {
    const u = all.get(p.name);
    if (u && p.state === 'failed') u.failed++;
  }
  return [...all.values()].sort((a, b) => names.compare(a.name, b.name));
}

// One machine, or instance, in the view by machine.
export interface HostCount {
  where: Where;
  host: string;
  services: number;
  running: number;
  failed: number;
  looping: number;
  stuck: number;
  overdue: number;
  other: number;
  problems: number;
}

export const hostsQuery = [
  named(
    'count_values by (machine, instance) ("active", systemd_unit_state{state="active",type="service"})',
    'figure',
    'systemd',
  ),
  named(
    'count_values by (machine, instance) ("active", node_systemd_unit_state{state="active",name=~".+[.]service"})',
    'figure',
    'node',
  ),
].join(' or ');

export function readHosts(samples: VectorSample[], problems: Unit[], find: Find = byLabel): HostCount[] {
  const all = new Map<string, HostCount>();
  const host = (where: Where) => {
    let h = all.get(where.host);
    if (!h)
      all.set(
        where.host,
        (h = {
          where,
          host: where.host,
          services: 0,
          running: 0,
          failed: 0,
          looping: 0,
          stuck: 0,
          overdue: 0,
          other: 0,
          problems: 0,
        }),
      );
    return h;
  };
  // Where both exporters tell of a machine, it is counted once.
  const of = (s: VectorSample) => whereOf(s.metric, find);
  const ours = new Set(samples.filter((s) => s.metric.figure === 'systemd').map((s) => of(s).host));
  for (const s of samples) {
    const where = of(s);
    if (s.metric.figure === 'node' && ours.has(where.host)) continue;
    const h = host(where);
    const v = Number(s.value?.[1]);
    h.services += v;
    if (s.metric.active === '1') h.running += v;
  }
  for (const p of problems) {
    const h = host(p.where);
    h.problems++;
    if (p.why === 'failed' || p.why === 'looping' || p.why === 'stuck' || p.why === 'overdue') h[p.why]++;
    else h.other++;
  }
  return [...all.values()].sort((a, b) => names.compare(a.host, b.host));
}

// Coverage is of how many machines the units are known, and why not of the others.
export interface Coverage {
  known: number;
  total: number;
  off: string[]; // intermittent, and switched off: nobody expects to know
  missing: { names: string[]; why: string }[];
}

// coverage reads it from the fleet: of a row without a count of failed units nobody
// knows, unless collected says that the machine's collector of units works, and only
// nobody has counted yet.
export function coverage(
  fleet: { name: string; state: string; unitsFailed?: number }[],
  collected: ReadonlyMap<string, boolean>,
): Coverage {
  const out: Coverage = { known: 0, total: fleet.length, off: [], missing: [] };
  const because = (why: string, name: string) => {
    const m = out.missing.find((x) => x.why === why);
    if (m) m.names.push(name);
    else out.missing.push({ why, names: [name] });
  };
  for (const r of fleet) {
    if (r.state === 'offline') out.off.push(r.name);
    else if (r.state === 'down') because('down', r.name);
    else if (r.state === 'waiting') because('not scraped yet', r.name);
    else if (r.unitsFailed !== undefined || collected.get(r.name)) out.known++;
    else because(collected.has(r.name) ? 'systemd not readable' : 'no unit data', r.name);
  }
  return out;
}

// fewNames writes names as a list of at most three.
export const fewNames = (all: string[]): string =>
  all.slice(0, 3).join(', ') + (all.length > 3 ? ` and ${all.length - 3} more` : '');

// coverageText is empty where all are known.
export function coverageText(c: Coverage): string {
  if (!c.missing.length) return '';
  const why = c.missing.map((m) => `${fewNames(m.names)}: ${m.why}`).join('; ');
  return `Units known for ${c.known} of ${c.total - c.off.length} machines (${why}).`;
}

// typeIn is the type of unit that a text names: backup.timer, or *.mount.
export const typeIn = (text: string): string | undefined =>
  /\.(service|timer|socket|path|mount|automount|swap|target|slice|scope|device)$/.exec(text.trim())?.[1];

export interface Span {
  from: number;
  to: number;
  state: string;
} // state '' where nothing is known

// spansOf turns the answer of a range query of systemd_unit_state into spans of
// time in one state. A step at which no state has the value 1, though some series
// is there, is "inactive".
export function spansOf(series: MatrixSeries[], start: number, end: number, step: number): Span[] {
  const at = new Map<number, string>();
  for (const s of series) {
    for (const [t, v] of s.values ?? []) {
      if (v === '1') at.set(t, s.metric.state ?? '');
      else if (!at.has(t)) at.set(t, 'inactive');
    }
  }
  const spans: Span[] = [];
  for (let t = start; t <= end; t += step) {
    const state = at.get(t) ?? '';
    const last = spans[spans.length - 1];
    if (last && last.state === state) last.to = t + step;
    else spans.push({ from: t, to: t + step, state });
  }
  const last = spans[spans.length - 1];
  if (last) last.to = Math.min(last.to, end);
  return spans.filter((s) => s.to > s.from);
}

// shell quotes a word for a POSIX shell; unit names may have backslashes.
export const shell = (word: string) =>
  /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

// commandsFor are what a sysadmin would type on the machine.
export function commandsFor(u: { name: string; type: string; state: string }): { what: string; text: string }[] {
  const n = shell(u.name);
  const service =
    u.type === 'timer' || u.type === 'socket' || u.type === 'path' ? shell(u.name.replace(/\.[^.]+$/, '.service')) : n;
  return [
    { what: 'State and last lines', text: `systemctl status ${n}` },
    { what: 'Journal of this boot', text: `journalctl -b -u ${service} -e` },
    ...(u.type === 'timer' ? [{ what: 'When it runs next', text: `systemctl list-timers ${n}` }] : []),
    { what: 'Unit file', text: `systemctl cat ${n}` },
    ...(u.state === 'failed' ? [{ what: 'Reset failed state', text: `sudo systemctl reset-failed ${n}` }] : []),
    {
      what: u.state === 'active' ? 'Restart' : 'Start',
      text: `sudo systemctl ${u.state === 'active' ? 'restart' : 'start'} ${n}`,
    },
  ];
}
