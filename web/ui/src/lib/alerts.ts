// Alerts as one list: what the rules say (pending, firing, value) and what
// delivery makes of it (silenced, inhibited, told to whom).
import type { Alert, AlertRule, RuleAlert } from '../api/types/alerts';
import type { Labels, MatrixSeries, VectorSample } from '../api/types/query';
import { ago } from './format';

export type State = 'firing' | 'pending' | 'silenced';

export interface AlertRow {
  key: string; // the fingerprint, or a hash of the labels where delivery does not know it
  state: State;
  name: string;
  severity: string;
  where: string; // machine or instance, '' if neither
  machine: string;
  labels: Labels;
  annotations: Labels;
  since: number; // Unix seconds; of pending ones, when the condition became true
  value?: number;
  receivers: string[];
  generatorURL?: string;
  silencedBy: string[];
  inhibitedBy: string[];
  mutedBy: string[]; // names of time intervals
}

export const SEVERITIES = ['critical', 'warning', 'info'];

// internal alerts drive the alerting itself, as Watchdog does: people see none.
export const internal = (l: Labels): boolean => l.severity === 'none';

export const severityRank = (s: string): number => {
  const i = SEVERITIES.indexOf(s);
  return i < 0 ? 1.5 : i;
};

// hash is a short name for a text (FNV-1a), for the URL.
export function hash(text: string): string {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return (h >>> 0).toString(36);
}

const idOf = (l: Labels) =>
  JSON.stringify(
    Object.entries(l)
      .filter(([k]) => k !== 'tags')
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );

function row(labels: Labels, annotations: Labels): Omit<AlertRow, 'key' | 'state' | 'since'> {
  return {
    name: labels.alertname ?? '',
    severity: labels.severity || '',
    machine: labels.machine ?? '',
    where: labels.machine || labels.instance || '',
    labels,
    annotations,
    receivers: [],
    silencedBy: [],
    inhibitedBy: [],
    mutedBy: [],
  };
}

// mergeAlerts joins both lists. delivered is undefined where alerts are delivered
// by outside Alertmanagers only; then the rules' own list has to do. An alert of
// the rules is also that of delivery when its labels are among the other's, which
// has the tags and external labels too.
// quiet has the time intervals that mute alerts, by fingerprint: the list of
// alerts does not tell of them.
export function mergeAlerts(
  delivered: Alert[] | undefined,
  rules: RuleAlert[],
  quiet: ReadonlyMap<string, string[]> = new Map(),
): AlertRow[] {
  const firing = rules.filter((a) => a.state === 'firing' && !internal(a.labels));
  const exact = new Map(firing.map((a) => [idOf(a.labels), a]));
  const byName = new Map<string, RuleAlert[]>();
  for (const a of firing) {
    const n = a.labels.alertname ?? '';
    byName.set(n, [...(byName.get(n) ?? []), a]);
  }
  const within = (a: RuleAlert, l: Labels) => Object.entries(a.labels).every(([k, v]) => l[k] === v);
  const rows: AlertRow[] = (delivered ?? [])
    .filter((a) => !internal(a.labels))
    .map((a) => {
      const r = exact.get(idOf(a.labels)) ?? byName.get(a.labels.alertname ?? '')?.find((x) => within(x, a.labels));
      const s = a.status;
      const mutedBy = s.mutedBy?.length ? s.mutedBy : (quiet.get(a.fingerprint) ?? []);
      return {
        ...row(a.labels, a.annotations),
        key: a.fingerprint,
        since: Date.parse(a.startsAt) / 1000,
        state: s.state === 'suppressed' || mutedBy.length ? ('silenced' as const) : ('firing' as const),
        ...(r && { value: Number(r.value) }),
        ...(a.generatorURL && { generatorURL: a.generatorURL }),
        receivers: a.receivers.map((x) => x.name),
        silencedBy: s.silencedBy,
        inhibitedBy: s.inhibitedBy,
        mutedBy,
      };
    });
  for (const a of rules) {
    if (a.state !== 'pending' && delivered) continue;
    if (a.state === 'inactive' || internal(a.labels)) continue;
    rows.push({
      ...row(a.labels, a.annotations),
      key: hash(idOf(a.labels)),
      state: a.state,
      since: Date.parse(a.activeAt) / 1000,
      value: Number(a.value),
    });
  }
  return rows.sort(worstFirst);
}

export function worstFirst(a: AlertRow, b: AlertRow): number {
  return severityRank(a.severity) - severityRank(b.severity) || b.since - a.since || (a.key < b.key ? -1 : 1);
}

export interface Group {
  name: string;
  rows: AlertRow[];
  severity: string;
}

// grouped puts rows under the name of the alert or of the machine; groups come
// in the order of the worst in them, then by size and name.
export function grouped(rows: AlertRow[], by: 'alert' | 'machine'): Group[] {
  const groups = new Map<string, AlertRow[]>();
  for (const r of rows) {
    const name = by === 'machine' ? r.where : r.name;
    const g = groups.get(name);
    if (g) g.push(r);
    else groups.set(name, [r]);
  }
  return [...groups]
    .map(([name, list]) => {
      const sorted = list.slice().sort(worstFirst);
      return { name, rows: sorted, severity: sorted[0]!.severity };
    })
    .sort(
      (a, b) =>
        severityRank(a.severity) - severityRank(b.severity) ||
        b.rows.length - a.rows.length ||
        (a.name < b.name ? -1 : 1),
    );
}

// passes is the text filter: every word somewhere in what is shown.
export function passes(r: Pick<AlertRow, 'name' | 'labels' | 'annotations'>, text: string): boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return true;
  const hay = [r.name, ...Object.entries(r.labels).map(([k, v]) => `${k}=${v}`), ...Object.values(r.annotations)]
    .join(' ')
    .toLowerCase();
  return words.every((w) => hay.includes(w));
}

// hasTag: alerts carry the tags of their machine as ",a,b,".
export const hasTag = (l: Labels, tag: string): boolean => !tag || (l.tags ?? '').includes(`,${tag},`);

// ofTag selects by a tag. Only alerts that were sent carry tags: pending and stored ones have
// those of their machine. machines has the tag now.
export const ofTag = (r: Pick<AlertRow, 'labels' | 'machine'>, tag: string, machines: ReadonlySet<string>): boolean =>
  hasTag(r.labels, tag) || machines.has(r.machine);

export interface Episode {
  from: number;
  to: number;
}
export interface HistoryRow {
  key: string;
  name: string;
  severity: string;
  where: string;
  machine: string;
  labels: Labels;
  episodes: Episode[];
  total: number;
  last: number;
  ongoing: boolean;
}

// firesAt is when a pending alert will fire, by the rule that it is of; undefined
// where several rules of the name wait for different times.
export function firesAt(r: Pick<AlertRow, 'name' | 'labels' | 'since'>, rules: AlertRule[]): number | undefined {
  const named = rules.filter((x) => x.name === r.name);
  const fitting = named.filter((x) =>
    Object.entries(x.labels ?? {}).every(([k, v]) => v.includes('{{') || r.labels[k] === v),
  );
  const durations = new Set((fitting.length ? fitting : named).map((x) => x.duration));
  return durations.size === 1 ? r.since + [...durations][0]! : undefined;
}

// historyQuery asks whether each alert fired at any time within the step before.
export const historyQuery = (step: number) => `max_over_time(ALERTS{alertstate="firing",severity!="none"}[${step}s])`;

// HistoryGrid is what was asked: points from start to end, of a range that goes on
// until to.
export interface HistoryGrid {
  start: number;
  end: number;
  step: number;
  to: number;
}

// historyOf reads when each alert fired from the answer to historyQuery, each point of
// which tells of the step before it. now has the alerts that fire at the range's end,
// if that is now: of these it is known to the second since when, also of those that
// are younger than a step.
export function historyOf(
  series: MatrixSeries[],
  { start, end, step, to }: HistoryGrid,
  now: Pick<AlertRow, 'labels' | 'since' | 'state'>[] = [],
): HistoryRow[] {
  const firing = now.filter((r) => r.state !== 'pending');
  const seen = new Set<(typeof firing)[number]>();
  const rows = series.map((s) => {
    const { __name__: _n, alertstate: _s, ...labels } = s.metric;
    const episodes: Episode[] = [];
    for (const [t, v] of s.values ?? []) {
      if (v !== '1') continue;
      const last = episodes[episodes.length - 1];
      if (last && t - step - last.to < step / 2) last.to = t;
      else episodes.push({ from: Math.max(start, t - step), to: t });
    }
    // Delivery adds labels to those of the rule.
    const fires = firing.find((r) => Object.entries(labels).every(([k, v]) => r.labels[k] === v));
    if (fires) {
      seen.add(fires);
      const last = episodes[episodes.length - 1];
      if (last && last.to > end - step / 2 && last.to > fires.since) {
        last.to = to;
        if (fires.since - last.from < step) last.from = Math.max(last.from, fires.since);
      } else episodes.push({ from: Math.max(start, fires.since), to });
    }
    return historyRow(labels, episodes, !!fires);
  });
  for (const r of firing)
    if (!seen.has(r) && r.since <= to) rows.push(historyRow(r.labels, [{ from: Math.max(start, r.since), to }], true));
  return rows
    .filter((r) => r.episodes.length > 0)
    .sort((a, b) => b.last - a.last || severityRank(a.severity) - severityRank(b.severity) || (a.key < b.key ? -1 : 1));
}

function historyRow(labels: Labels, episodes: Episode[], ongoing: boolean): HistoryRow {
  return {
    key: idOf(labels),
    name: labels.alertname ?? '',
    severity: labels.severity ?? '',
    machine: labels.machine ?? '',
    where: labels.machine || labels.instance || '',
    labels,
    episodes,
    ongoing,
    total: episodes.reduce((n, e) => n + e.to - e.from, 0),
    last: episodes[episodes.length - 1]?.from ?? 0,
  };
}

// stripQuery counts, by alert, how many fired at any time within the step before. It has few
// series however many machines there are.
export const stripQuery = (step: number) =>
  `count by (alertname, severity) (max_over_time(ALERTS{alertstate="firing",severity!="none"}[${step}s]))`;

export interface Strip {
  name: string;
  severity: string;
  spans: (Episode & { most: number })[]; // most: how many fired at once
  total: number; // seconds
}

// stripOf reads the answer to stripQuery: the worst first, then what fired longest.
export function stripOf(series: MatrixSeries[], { start, step }: Pick<HistoryGrid, 'start' | 'step'>): Strip[] {
  return series
    .map((s) => {
      const spans: Strip['spans'] = [];
      for (const [t, v] of s.values ?? []) {
        const last = spans[spans.length - 1];
        if (last && t - step - last.to < step / 2) {
          last.to = t;
          last.most = Math.max(last.most, Number(v));
        } else spans.push({ from: Math.max(start, t - step), to: t, most: Number(v) });
      }
      return {
        name: s.metric.alertname ?? '',
        severity: s.metric.severity ?? '',
        spans,
        total: spans.reduce((n, e) => n + e.to - e.from, 0),
      };
    })
    .filter((s) => s.spans.length)
    .sort(
      (a, b) => severityRank(a.severity) - severityRank(b.severity) || b.total - a.total || (a.name < b.name ? -1 : 1),
    );
}

// Gap is a time in which the server was not running, or scraped nothing.
export interface Gap {
  from: number;
  to: number;
}

// gapsOf are the steps between start and end of which there is no point.
export function gapsOf(times: number[], { start, end, step }: Pick<HistoryGrid, 'start' | 'end' | 'step'>): Gap[] {
  const there = new Set(times);
  const gaps: Gap[] = [];
  for (let t = start + step; t <= end; t += step) {
    if (there.has(t)) continue;
    const last = gaps.at(-1);
    if (last?.to === t - step) last.to = t;
    else gaps.push({ from: t - step, to: t });
  }
  return gaps;
}

// A day without alerts is good news only if rules were evaluated.
export function quietText(rules: number, gaps: Gap[], start: number, end: number, at: (t: number) => string): string {
  if (!rules) return 'No alerting rules are loaded.';
  const [first] = gaps;
  if (!first) return 'Nothing fired.';
  if (first.from === start && first.to === end) return 'Nothing is recorded yet.';
  return `Nothing fired. ${stoppedText(gaps, start, at)}`;
}

// stoppedText counts gaps, but for the time before the server was there for the first time.
export function stoppedText(gaps: Gap[], start: number, at: (t: number) => string): string {
  const [before, later] = gaps[0]?.from === start ? [gaps[0], gaps.slice(1)] : [undefined, gaps];
  const sum = later.reduce((n, g) => n + g.to - g.from, 0);
  return [before && `before ${at(before.to)}`, sum && `for ${ago(sum)}`]
    .filter(Boolean)
    .map((x, i) => (i ? x : `The server was not running ${x}`))
    .join(', and ')
    .concat('.');
}

// firedRows are the alerts that fired at a moment of the past, from ALERTS and from the times
// at which their conditions began. hold is for how long a condition has to last.
export function firedRows(fired: VectorSample[], began: VectorSample[], hold: number, moment: number): AlertRow[] {
  const since = new Map(began.map((s) => [idOf(without(s.metric)), Number(s.value?.[1])]));
  return fired
    .map((s) => {
      const labels = without(s.metric);
      const start = since.get(idOf(labels));
      return {
        ...row(labels, {}),
        key: hash(idOf(labels)),
        state: 'firing' as const,
        since: start === undefined ? moment : Math.min(moment, start + hold),
      };
    })
    .sort(worstFirst);
}

function without(l: Labels): Labels {
  const { __name__: _n, alertstate: _s, ...rest } = l;
  return rest;
}

// exprOf is the expression of the rule, out of the link that it sent along.
export function exprOf(generatorURL: string | undefined): string {
  try {
    return generatorURL ? (new URL(generatorURL).searchParams.get('g0.expr') ?? '') : '';
  } catch {
    return '';
  }
}

// The annotations that Prometheus' users give links to instructions by.
export const runbookOf = (a: Labels): string => a.runbook_url || a.runbook || '';

// builtinRunbook is the page of an alert that is built in, '' of others. Its link has
// the external URL of the server, under which this browser may not reach it.
export function builtinRunbook(r: Pick<AlertRow, 'name' | 'annotations' | 'generatorURL'>): string {
  const page = `/runbooks/${r.name}`;
  const url = runbookOf(r.annotations);
  return url.endsWith(page) && r.generatorURL?.startsWith(`${url.slice(0, -page.length)}/`) ? page : '';
}

// integrationName leaves the number off that Alertmanager gives to the only one
// of its kind: "log[0]" is log.
export const integrationName = (s: string): string => s.replace(/\[0\]$/, '');

// reachesNobody: the server's own log takes every alert when no way to tell people
// is configured.
export const reachesNobody = (integration: string): boolean => integrationName(integration) === 'log';

// sections takes the named top-level parts out of a YAML text, whole.
export function sections(yaml: string, names: string[]): string {
  const out: string[] = [];
  let on = false;
  for (const line of yaml.split('\n')) {
    if (/^[A-Za-z_]/.test(line)) on = names.includes(line.split(':')[0]!);
    if (on) out.push(line);
  }
  return out.join('\n').trim();
}

// Labels that tell alerts of one rule apart, beyond machine and instance.
const SAID = new Set(['alertname', 'severity', 'machine', 'instance', 'job', 'availability', 'tags', 'type', 'state']);
export const telling = (l: Labels): [string, string][] => Object.entries(l).filter(([k, v]) => v && !SAID.has(k));
