// The fleet as one table: what discovery knows, what the recording rules say,
// and which alerts fire, put together by machine.
import type { Alert } from '../api/types/alerts';
import type { Machine } from '../api/types/machines';
import type { VectorSample } from '../api/types/query';
import { shortError } from './errors';

import type { State } from '../api/types/machines';

// Worst first; the order of the table.
export const STATES: State[] = ['down', 'critical', 'warning', 'waiting', 'ok', 'offline'];

export interface FleetRow {
  name: string;
  state: State;
  why: string; // one line: what is wrong, or how it is
  tags: string[];
  intermittent: boolean;
  up: number; // targets that answer
  targets: number;
  critical: number; // alerts that fire and are neither silenced nor inhibited
  warning: number;
  info: number;
  cpu?: number;
  memory?: number;
  filesystem?: number;
  ioStalled?: number;
  memoryStalled?: number;
  receive?: number; // bytes per second
  transmit?: number;
  temperature?: number;
  unitsFailed?: number;
  booted?: number; // Unix seconds
  os?: string;
  kernel?: string;
  exporter?: string;
  reboot?: boolean;
  lastScrape?: number;
  machine: Machine;
  group?: string; // the tag below which the row stands
}

export const RECORDS = {
  'machine:cpu_used:ratio': 'cpu',
  'machine:memory_used:ratio': 'memory',
  'machine:filesystem_used_worst:ratio': 'filesystem',
  'machine:memory_stalled:ratio': 'memoryStalled',
  'machine:io_stalled:ratio': 'ioStalled',
  'machine:network_receive_bytes:rate5m': 'receive',
  'machine:network_transmit_bytes:rate5m': 'transmit',
  'machine:temperature_max:celsius': 'temperature',
  'machine:units_failed:count': 'unitsFailed',
} as const;

// One request for all figures: names without a value cost nothing.
export const recordsQuery = `{__name__=~"${Object.keys(RECORDS).join('|')}"}`;

// What changes rarely; asked for every few minutes.
export const factsQuery =
  '{__name__=~"node_boot_time_seconds|node_os_info|node_uname_info|node_exporter_build_info|clanmon_build_info|clanmon_reboot_required|clanmon_nixos_kernel_current",machine!="",job!="clanmon"}';

// Until the recording rules have run, and where they are not loaded, the same
// figures come from the series themselves. Only for fleets that are small.
const FS = 'fstype!~"tmpfs|ramfs|devtmpfs|squashfs|overlay|iso9660|efivarfs|fuse.*|nfs.*|cifs|smb3|9p|virtiofs"';
export const fallbackQuery = [
  [
    'cpu',
    '1 - avg by (machine) (sum by (machine, cpu) (rate(node_cpu_seconds_total{machine!="",mode=~"idle|iowait|steal"}[5m])))',
  ],
  [
    'memory',
    '1 - max by (machine) (node_memory_MemAvailable_bytes{machine!=""} / node_memory_MemTotal_bytes{machine!=""})',
  ],
  [
    'filesystem',
    `1 - min by (machine) (node_filesystem_avail_bytes{machine!="",${FS}} / (node_filesystem_size_bytes{machine!=""} > 0))`,
  ],
  [
    'unitsFailed',
    'count by (machine) (systemd_unit_state{machine!="",state="failed"} == 1) or 0 * max by (machine) (up{job="systemd",machine!=""} == 1)',
  ],
]
  .map(([name, expr]) => `label_replace(${expr}, "figure", "${name}", "", "")`)
  .join(' or ');

const rank = (a: Alert) => ['critical', 'warning', 'info'].indexOf(a.labels.severity ?? '');

// mergeFleet puts a row together for each machine; past says that the figures are
// of another time than what discovery knows.
export function mergeFleet(
  machines: Machine[],
  records: VectorSample[],
  facts: VectorSample[],
  fallback: VectorSample[],
  alerts: Alert[],
  past = false,
): FleetRow[] {
  const rows = new Map<string, FleetRow>();
  for (const m of machines) {
    const targets = m.targets ?? [];
    const last = Math.max(...targets.map((t) => (t.lastScrape ? Date.parse(t.lastScrape) / 1000 : 0)), 0);
    rows.set(m.machine, {
      name: m.machine,
      state: 'ok',
      why: '',
      tags: m.tags ?? [],
      intermittent: m.availability === 'intermittent',
      up: targets.filter((t) => t.health === 'up').length,
      targets: targets.length,
      critical: 0,
      warning: 0,
      info: 0,
      machine: m,
      ...(last && { lastScrape: last }),
      ...(m.os && { os: m.os }),
    });
  }
  const set = (s: VectorSample, field: string | undefined) => {
    const row = rows.get(s.metric.machine ?? '');
    const v = Number(s.value?.[1]);
    // A rate goes on for minutes after a machine went away: that is no figure of now.
    if (row && field && !Number.isNaN(v) && (past || row.up > 0)) (row as unknown as Record<string, number>)[field] = v;
  };
  for (const s of fallback) set(s, s.metric.figure);
  for (const s of records) set(s, (RECORDS as Record<string, string>)[s.metric.__name__ ?? '']);
  for (const s of facts) {
    const row = rows.get(s.metric.machine ?? '');
    if (!row) continue;
    const v = Number(s.value?.[1]);
    switch (s.metric.__name__) {
      case 'node_boot_time_seconds':
        row.booted = v;
        break;
      case 'node_os_info':
        row.os = s.metric.pretty_name || s.metric.name || row.os || '';
        break;
      case 'node_uname_info':
        row.kernel = s.metric.release ?? '';
        break;
      case 'clanmon_build_info':
        row.exporter = `clanmon ${s.metric.version ?? ''}`.trim();
        break;
      case 'node_exporter_build_info':
        row.exporter ??= `node ${s.metric.version ?? ''}`.trim();
        break;
      case 'clanmon_reboot_required':
        row.reboot = row.reboot || v === 1;
        break;
      case 'clanmon_nixos_kernel_current':
        row.reboot = row.reboot || v === 0;
        break;
    }
  }
  const alertOf = new Map<string, Alert>();
  for (const a of alerts) {
    const row = rows.get(a.labels.machine ?? '');
    if (!row || a.status.state === 'suppressed') continue;
    if (a.labels.severity === 'critical') row.critical++;
    else if (a.labels.severity === 'warning') row.warning++;
    else if (a.labels.severity === 'info') row.info++;
    else continue;
    // The worst alert says what is wrong; of equal ones the first that fired.
    const said = alertOf.get(row.name);
    if (!said || rank(a) < rank(said) || (rank(a) === rank(said) && a.startsAt < said.startsAt))
      alertOf.set(row.name, a);
  }
  for (const [name, a] of alertOf) {
    // The name stands beside it already.
    const text = a.annotations.summary || a.labels.alertname || '';
    const begin = [`${name}: `, `${name} `].find((b) => text.startsWith(b)) ?? '';
    rows.get(name)!.why = text.slice(begin.length);
  }
  for (const row of rows.values()) judge(row);
  return [...rows.values()];
}

// judge decides the state from what is known of the targets and the alerts.
export function judge(r: FleetRow): void {
  const targets = r.machine.targets ?? [];
  const asked = targets.filter((t) => t.health !== 'unknown').length;
  const downJobs = targets.filter((t) => t.health === 'down').map((t) => t.job);
  const alert = r.why;
  if (asked === 0) {
    r.state = 'waiting';
    r.why = targets.length ? 'not scraped yet' : 'nothing to scrape';
  } else if (r.up === 0) {
    r.state = r.intermittent ? 'offline' : 'down';
    r.why = r.intermittent
      ? 'intermittent: it may be off'
      : shortError(targets.find((t) => t.lastError)?.lastError) || 'does not answer';
  } else if (r.critical) {
    r.state = 'critical';
    r.why = alert;
  } else if (r.warning || downJobs.length || (r.unitsFailed ?? 0) > 0) {
    r.state = 'warning';
    r.why = r.warning
      ? alert
      : downJobs.length
        ? `${downJobs.join(', ')} does not answer`
        : `${r.unitsFailed} failed unit${r.unitsFailed === 1 ? '' : 's'}`;
  } else {
    r.state = 'ok';
    // Without its exporter there are no figures, which would look like a fault.
    r.why = r.info
      ? alert
      : targets.some((t) => t.job === 'node')
        ? ''
        : `no node exporter, only ${[...new Set(targets.map((t) => t.job))].join(', ')}`;
  }
}

// shows: which filter of the problem strip a row passes. A machine counts once,
// by the state that the table says, so that the counts add up to the table.
export function shows(r: FleetRow, show: string): boolean {
  switch (show) {
    case 'down':
    case 'critical':
    case 'warning':
    case 'offline':
    case 'waiting':
      return r.state === show;
    case 'units':
      return (r.unitsFailed ?? 0) > 0 && r.up > 0;
    case 'reboot':
      return !!r.reboot && r.up > 0;
    default:
      return true;
  }
}

// shortSystem leaves out of a system's name what takes the room of its version.
export const shortSystem = (name: string) =>
  name
    .replace(/ GNU\/Linux\b/, '')
    .replace(/ \([^)]*\)$/, '')
    .replace(/ LTS$/, '');

export function hasTag(r: { tags: string[] }, tag: string): boolean {
  return !tag || r.tags.includes(tag);
}

// matches is the text filter: every word in the name, a tag, the system or what
// is wrong.
export function matches(r: FleetRow, text: string): boolean {
  const hay = [r.name, ...r.tags, r.os ?? '', r.kernel ?? '', r.why, ...(r.machine.addresses ?? [])]
    .join(' ')
    .toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((w) => hay.includes(w));
}
