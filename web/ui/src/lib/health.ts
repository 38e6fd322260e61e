// Health of the server itself: what is measured, against which limits, and what is wrong.
import type { VectorSample } from '../api/types/query';
import type { StorageHealth } from '../api/types/status';
import type { Gap } from './backfill';
import { format } from './format';
import { failing, troubleOf, type RemoteWrite } from './remoteWrite';
import { parseDuration } from './time';

export type HealthLevel = 'ok' | 'warn' | 'crit' | 'off';

export interface Check {
  name: string;
  value: string;
  limit: string; // what is healthy, '' where there is no limit
  level: HealthLevel; // off: not known, or not in use
  wrong?: string; // in words, where it is not healthy
  where?: 'rules' | 'alerts' | 'targets' | 'discovery';
}

// All values come from this server's own /metrics, scraped by itself. Just after the start
// there are samples of 1 minute, but not of 5.
const own = (metric: string, more = '') => `${metric}{job="clanmon"${more}}`;
const rate = (metric: string) => `sum(rate(${own(metric)}[1m]) or rate(${own(metric)}[5m]))`;
const increase = (metric: string, over = '1h') => `sum(increase(${own(metric)}[${over}]))`;
const FIGURES: [string, string][] = [
  ['samples', rate('prometheus_tsdb_head_samples_appended_total')],
  ['series', `max(${own('prometheus_tsdb_head_series')})`],
  ['memory', `max(${own('process_resident_memory_bytes')})`],
  ['memlimit', `max(${own('go_gc_gomemlimit_bytes')})`],
  ['cpu', rate('process_cpu_seconds_total')],
  ['wal', `max(${own('prometheus_tsdb_wal_storage_size_bytes')})`],
  ['corruptions', `sum(${own('prometheus_tsdb_wal_corruptions_total')})`],
  ['compactions', increase('prometheus_tsdb_compactions_failed_total', '3h')],
  ['rules', increase('prometheus_rule_evaluation_failures_total')],
  ['missed', increase('prometheus_rule_group_iterations_missed_total')],
  [
    'lag',
    `max(${own('prometheus_rule_group_last_duration_seconds')} / on (rule_group) ${own('prometheus_rule_group_interval_seconds')})`,
  ],
  ['query', `max(${own('prometheus_engine_query_duration_seconds', ',slice="inner_eval",quantile="0.99"')})`],
  ['failed', increase('alertmanager_notifications_failed_total')],
  [
    'dropped',
    `sum(increase(${own('clanmon_delivery_alerts_dropped_total')}[1h])) + (sum(increase(${own('prometheus_notifications_dropped_total')}[1h])) or vector(0))`,
  ],
  ['queue', `max(${own('prometheus_notifications_queue_length')} / ${own('prometheus_notifications_queue_capacity')})`],
  ['discovery', increase('prometheus_sd_refresh_failures_total')],
  ['pushing', `max(${own('clanmon_push_machines')})`],
  ['refused', increase('clanmon_push_requests_refused_total')],
];

export const HEALTH = [
  ...FIGURES.map(([n, e]) => `label_replace(${e}, "figure", "${n}", "", "")`),
  `label_replace(max by (interval) (${own('prometheus_target_interval_length_seconds', ',quantile="0.99"')}), "figure", "scrapes", "", "")`,
].join(' or ');

export interface HealthInput {
  figures: VectorSample[] | undefined; // undefined: not loaded
  storage: StorageHealth | undefined;
  receivers: RemoteWrite[] | undefined;
  gaps: Gap[] | undefined;
  reloaded: boolean; // the last reload of the configuration succeeded
  now: number;
}

const LATE = 1.25; // times the interval
const FULL = 0.9; // of the memory limit, of the notification queue
const SLOW = 10; // seconds of a query
const LITTLE = 1 << 30; // bytes of disk

// checksOf are all checks, in the order of the page.
export function checksOf(i: HealthInput): Check[] {
  const v = (name: string) => {
    const s = i.figures?.find((x) => x.metric.figure === name);
    const n = s ? Number(s.value?.[1]) : NaN;
    return Number.isNaN(n) ? undefined : n;
  };
  const scraped = !!i.figures?.length;
  // measured is a figure with a limit; absent says why a server has none.
  const measured = (
    name: string,
    n: number | undefined,
    value: (n: number) => string,
    limit: string,
    bad: (n: number) => boolean,
    wrong: (n: number) => string,
    more: { level?: 'warn' | 'crit'; absent?: string; where?: Check['where'] } = {},
  ): Check => {
    if (n === undefined) return { name, value: scraped ? (more.absent ?? 'unknown') : 'unknown', limit, level: 'off' };
    return {
      name,
      value: value(n),
      limit,
      level: bad(n) ? (more.level ?? 'warn') : 'ok',
      ...(bad(n) && { wrong: wrong(n) }),
      ...(more.where && { where: more.where }),
    };
  };
  const none = (
    name: string,
    figure: string,
    thing: [string, string],
    over: string,
    more?: Parameters<typeof measured>[6],
  ) =>
    measured(
      name,
      v(figure),
      (n) => (n > 0 ? `${Math.ceil(n)}` : 'none'),
      `none in ${over}`,
      (n) => n > 0,
      (n) => `${Math.ceil(n)} ${Math.ceil(n) === 1 ? thing[0] : thing[1]} in ${over}`,
      more,
    );
  const memlimit = v('memlimit');
  const limited = memlimit !== undefined && memlimit < 2 ** 62;
  const scrapes = (i.figures ?? [])
    .filter((x) => x.metric.figure === 'scrapes')
    .map((x) => Number(x.value?.[1]) / (parseDuration(x.metric.interval ?? '') ?? NaN))
    .filter((x) => !Number.isNaN(x));
  return [
    {
      name: 'Configuration',
      value: i.reloaded ? 'loaded' : 'previous one in use',
      limit: 'last reload succeeded',
      level: i.reloaded ? 'ok' : 'crit',
      ...(!i.reloaded && { wrong: 'The last reload of the configuration failed' }),
    },
    storing(i.storage),
    disk(i.storage),
    measured(
      'Ingesting',
      v('samples'),
      (n) => `${format(n, 'none')} samples/s`,
      'more than 0',
      (n) => !(n > 0),
      () => 'No samples are ingested',
      { level: 'crit' },
    ),
    measured(
      'Series in memory',
      v('series'),
      (n) => format(n, 'count'),
      '',
      () => false,
      () => '',
    ),
    measured(
      'Memory',
      v('memory'),
      (n) => format(n, 'bytes') + (limited ? ` of ${format(memlimit, 'bytes')}` : ''),
      limited ? `below ${FULL * 100} % of the limit` : '',
      (n) => limited && n > FULL * memlimit,
      (n) => `Memory is at ${Math.round((n / memlimit!) * 100)} % of its limit`,
    ),
    measured(
      'CPU',
      v('cpu'),
      (n) => `${format(n, 'ratio')} of a core`,
      '',
      () => false,
      () => '',
    ),
    measured(
      'WAL',
      v('corruptions'),
      (n) =>
        [format(v('wal'), 'bytes'), n > 0 ? `${n} ${n === 1 ? 'corruption' : 'corruptions'}` : '']
          .filter(Boolean)
          .join(', '),
      'no corruption since the start',
      (n) => n > 0,
      (n) => `${n} ${n === 1 ? 'corruption' : 'corruptions'} of the WAL repaired since the start`,
    ),
    none('Failed compactions', 'compactions', ['compaction failed', 'compactions failed'], '3 h'),
    measured(
      'Slowest rule group',
      v('lag'),
      (n) => `${format(n, 'ratio')} of its interval`,
      'below 100 %',
      (n) => n >= 1,
      () => 'A rule group takes longer than its interval',
      { absent: 'no rules loaded', where: 'rules' },
    ),
    none('Missed evaluations', 'missed', ['evaluation of rules missed', 'evaluations of rules missed'], '1 h', {
      absent: 'no rules loaded',
      where: 'rules',
    }),
    none('Failed rules', 'rules', ['rule evaluation failed', 'rule evaluations failed'], '1 h', {
      absent: 'no rules loaded',
      where: 'rules',
    }),
    measured(
      'Scrape interval',
      scrapes.length ? Math.max(...scrapes) : undefined,
      (n) => `up to ${format(n, 'ratio')}`,
      `below ${LATE * 100} % of the configured one, for 99 of 100 scrapes`,
      (n) => n > LATE,
      () => 'Scrapes are late',
      { absent: 'too few scrapes yet', where: 'targets' },
    ),
    none('Failed discovery', 'discovery', ['discovery refresh failed', 'discovery refreshes failed'], '1 h', {
      absent: 'no discovery method in use',
      where: 'discovery',
    }),
    measured(
      'Query duration',
      v('query'),
      (n) => `up to ${format(n, 'seconds')}`,
      `below ${SLOW} s for 99 of 100 queries`,
      (n) => n > SLOW,
      (n) => `Queries take up to ${format(n, 'seconds')}`,
      { absent: 'no recent queries' },
    ),
    none('Failed notifications', 'failed', ['notification failed', 'notifications failed'], '1 h', {
      absent: 'sent by other Alertmanagers',
      where: 'alerts',
    }),
    none('Dropped alerts', 'dropped', ['alert dropped', 'alerts dropped'], '1 h', {
      level: 'crit',
      absent: 'none',
      where: 'alerts',
    }),
    measured(
      'Notification queue',
      v('queue'),
      (n) => `${format(n, 'ratio')} full`,
      `below ${FULL * 100} %`,
      (n) => n > FULL,
      () => 'The queue to other Alertmanagers is full',
      { absent: 'no other Alertmanagers' },
    ),
    ...remote(i),
    filling(i.gaps),
    ...(v('pushing') === undefined
      ? []
      : [
          measured(
            'Push',
            v('refused') ?? 0,
            (n) => `machines: ${v('pushing')}${n > 0 ? `, refused requests: ${Math.ceil(n)}` : ''}`,
            'no refused requests in 1 h',
            (n) => n > 0,
            (n) => `${Math.ceil(n)} ${Math.ceil(n) === 1 ? 'push was' : 'pushes were'} refused in 1 h`,
          ),
        ]),
  ];
}

function storing(s: StorageHealth | undefined): Check {
  const c = { name: 'Storage', limit: 'samples are stored, nothing is damaged' };
  if (!s) return { ...c, value: 'unknown', level: 'off' };
  const damaged = s.damaged?.length ?? 0;
  if (!s.storing)
    return {
      ...c,
      value: 'not stored',
      level: 'crit',
      wrong: `Samples are not stored${s.reason ? `: ${s.reason}` : ''}`,
    };
  if (s.unsafe)
    return { ...c, value: 'not persisted yet', level: 'crit', wrong: 'A restart would lose samples in memory' };
  if (damaged) return { ...c, value: `${damaged} damaged`, level: 'warn', wrong: 'Damaged data was found' };
  return { ...c, value: 'stored', level: 'ok' };
}

function disk(s: StorageHealth | undefined): Check {
  const c = { name: 'Disk', limit: `at least ${format(LITTLE, 'bytes')} free, enough for the retention` };
  if (!s?.room) return { ...c, value: 'unknown', level: 'off' };
  const { freeBytes: free, expectedBytes: expected, retentionSizeBytes: fits } = s.room;
  const value = `${format(free, 'bytes')} free${expected ? `, ${format(expected, 'bytes')} needed for the retention` : ''}`;
  if (free < LITTLE) return { ...c, value, level: 'crit', wrong: `Only ${format(free, 'bytes')} of disk space left` };
  if (expected && fits) return { ...c, value, level: 'warn', wrong: 'The disk is too small for the retention' };
  return { ...c, value, level: 'ok' };
}

function remote({ receivers, now }: HealthInput): Check[] {
  return (receivers ?? []).map((r): Check => {
    const wrong = troubleOf(r, now);
    return {
      name: `Remote write to ${r.name || r.url}`,
      value: failing(r, now) ? 'failing' : r.state,
      limit: 'not failing, not behind',
      level: wrong ? 'crit' : 'ok',
      ...(wrong && { wrong }),
    };
  });
}

function filling(gaps: Gap[] | undefined): Check {
  const c = { name: 'Backfill', limit: 'no failed gaps' };
  if (!gaps) return { ...c, value: 'unknown', level: 'off' };
  const failed = gaps.filter((g) => g.error && !g.filling).length;
  if (failed)
    return {
      ...c,
      value: `${failed} of ${gaps.length} gaps failed`,
      level: 'warn',
      wrong: `${failed} ${failed === 1 ? 'gap' : 'gaps'} could not be filled`,
    };
  return {
    ...c,
    value: gaps.length ? `${gaps.length} ${gaps.length === 1 ? 'gap' : 'gaps'} to fill` : 'no gaps',
    level: 'ok',
  };
}

export interface Verdict {
  level: HealthLevel;
  text: string;
}

// verdictOf is all checks as one glance.
export function verdictOf(checks: Check[], loaded: boolean): Verdict {
  const wrong = checks.filter((c) => c.wrong);
  if (wrong.length)
    return {
      level: wrong.some((c) => c.level === 'crit') ? 'crit' : 'warn',
      text: wrong.length === 1 ? '1 problem' : `${wrong.length} problems`,
    };
  return loaded ? { level: 'ok', text: 'Healthy' } : { level: 'off', text: 'Unknown' };
}
