import { expect, test } from 'vitest';
import type { Alert, RuleAlert } from '../api/types/alerts';
import {
  builtinRunbook,
  exprOf,
  firedRows,
  firesAt,
  gapsOf,
  grouped,
  hasTag,
  ofTag,
  historyOf,
  mergeAlerts,
  passes,
  quietText,
  sections,
  stripOf,
  type State,
} from './alerts';

const am = (labels: Record<string, string>, more: Partial<Alert['status']> = {}): Alert => ({
  labels,
  annotations: { summary: `about ${labels.machine}` },
  startsAt: '2026-11-25T03:00:00Z',
  endsAt: '',
  updatedAt: '',
  fingerprint: JSON.stringify(labels),
  receivers: [{ name: 'people' }],
  status: { state: 'active', silencedBy: [], inhibitedBy: [], ...more },
});
const rule = (labels: Record<string, string>, value: string, state: RuleAlert['state'] = 'firing'): RuleAlert => ({
  labels,
  annotations: {},
  state,
  value,
  activeAt: '2026-11-25T02:00:00Z',
});

test('an alert has its value also when delivery added labels, and is there once', () => {
  const rows = mergeAlerts(
    [
      am({ alertname: 'A', machine: 'x', tags: ',web,' }),
      am({ alertname: 'A', machine: 'y', tags: ',db,', site: 'here' }),
      am({ alertname: 'Outside' }),
    ],
    [
      rule({ alertname: 'A', machine: 'x' }, '1e+00'),
      rule({ alertname: 'A', machine: 'y' }, '2.5'),
      rule({ alertname: 'A', machine: 'z' }, '3', 'pending'),
    ],
  );
  expect(rows.map((r) => [r.name, r.where, r.state, r.value])).toEqual(
    expect.arrayContaining([
      ['A', 'x', 'firing', 1],
      ['A', 'y', 'firing', 2.5],
      ['A', 'z', 'pending', 3],
      ['Outside', '', 'firing', undefined],
    ]),
  );
  expect(rows).toHaveLength(4);
});

test('quiet hours are among what silences', () => {
  const [r] = mergeAlerts([am({ alertname: 'A' })], [], new Map([[am({ alertname: 'A' }).fingerprint, ['night']]]));
  expect(r).toMatchObject({ state: 'silenced', mutedBy: ['night'] });
});

test('without delivery the rules say what fires', () => {
  const rows = mergeAlerts(undefined, [
    rule({ alertname: 'A', instance: 'x:1' }, '1'),
    rule({ alertname: 'B' }, '1', 'inactive'),
  ]);
  expect(rows.map((r) => [r.name, r.where, r.state])).toEqual([['A', 'x:1', 'firing']]);
});

test('groups come with the worst first, then the largest', () => {
  const rows = mergeAlerts(
    [
      am({ alertname: 'W', machine: 'a', severity: 'warning' }),
      am({ alertname: 'I', machine: 'b', severity: 'info' }),
      am({ alertname: 'V', machine: 'a', severity: 'warning' }),
      am({ alertname: 'V', machine: 'b', severity: 'warning' }),
      am({ alertname: 'C', machine: 'b', severity: 'critical' }),
    ],
    [],
  );
  expect(grouped(rows, 'alert').map((g) => [g.name, g.rows.length])).toEqual([
    ['C', 1],
    ['V', 2],
    ['W', 1],
    ['I', 1],
  ]);
  expect(grouped(rows, 'machine').map((g) => [g.name, g.severity, g.rows.map((r) => r.name)])).toEqual([
    ['b', 'critical', ['C', 'V', 'I']],
    ['a', 'warning', ['V', 'W']],
  ]);
});

test('filters', () => {
  const [r] = mergeAlerts([am({ alertname: 'UnitFailed', machine: 'web1', name: 'nginx.service' })], []);
  expect(passes(r!, 'nginx WEB1')).toBe(true);
  expect(passes(r!, 'machine=web1 about')).toBe(true);
  expect(passes(r!, 'db')).toBe(false);
  expect(hasTag({ tags: ',web,prod,' }, 'prod')).toBe(true);
  expect(hasTag({ tags: ',web2,' }, 'web')).toBe(false);
  // Stored alerts have no tags.
  const machines = new Set(['web1']);
  expect(ofTag({ labels: { machine: 'web1' }, machine: 'web1' }, 'web', machines)).toBe(true);
  expect(ofTag({ labels: { machine: 'db' }, machine: 'db' }, 'web', machines)).toBe(false);
  expect(ofTag({ labels: {}, machine: '' }, 'web', machines)).toBe(false);
  expect(ofTag({ labels: { tags: ',web,' }, machine: 'gone' }, 'web', machines)).toBe(true);
  expect(ofTag({ labels: {}, machine: '' }, '', machines)).toBe(true);
});

const fired = (labels: Record<string, string>, times: number[]) => ({
  metric: { __name__: 'ALERTS', alertstate: 'firing', ...labels },
  values: times.map((t) => [t, '1'] as [number, string]),
});

test('each point of the history tells of the step before it', () => {
  const s = fired({ alertname: 'A', machine: 'x' }, [10, 20, 50]);
  expect(historyOf([s], { start: 0, end: 50, step: 10, to: 53 })).toMatchObject([
    {
      episodes: [
        { from: 0, to: 20 },
        { from: 40, to: 50 },
      ],
      total: 30,
      last: 40,
      ongoing: false,
    },
  ]);
});

test('what fires now goes on until now, since the second at which it began', () => {
  const s = fired({ alertname: 'A', machine: 'x' }, [600, 900]);
  const grid = { start: 0, end: 900, step: 300, to: 1000 };
  const now = (since: number, state: State = 'firing') => [
    { labels: { alertname: 'A', machine: 'x', tags: ',web,' }, since, state },
  ];
  expect(historyOf([s], grid, now(450))[0]).toMatchObject({
    episodes: [{ from: 450, to: 1000 }],
    ongoing: true,
    total: 550,
  });
  expect(historyOf([s], grid, now(450, 'silenced'))[0]!.ongoing).toBe(true);
  expect(historyOf([s], grid, now(450, 'pending'))[0]!.ongoing).toBe(false);
  // One that ended, and began again within the last step.
  expect(historyOf([s], grid, now(960))[0]!.episodes).toEqual([
    { from: 300, to: 900 },
    { from: 960, to: 1000 },
  ]);
});

test('an alert younger than a step is in the history', () => {
  const row = historyOf([], { start: 0, end: 900, step: 300, to: 1000 }, [
    { labels: { alertname: 'B', machine: 'y' }, since: 930, state: 'firing' },
  ])[0];
  expect(row).toMatchObject({ name: 'B', episodes: [{ from: 930, to: 1000 }], total: 70, ongoing: true });
});

test('internal alerts are shown nowhere', () => {
  const labels = { alertname: 'Watchdog', severity: 'none' };
  expect(mergeAlerts([am(labels)], [rule(labels, '1'), rule(labels, '1', 'pending')])).toEqual([]);
  expect(mergeAlerts(undefined, [rule(labels, '1')])).toEqual([]);
});

test('when a pending alert fires is known from its rule', () => {
  const r = { name: 'A', labels: { alertname: 'A', severity: 'warning', machine: 'x' }, since: 1000 };
  const of = (duration: number, labels = {}) => ({ name: 'A', query: '', health: 'ok' as const, duration, labels });
  expect(firesAt(r, [of(300)])).toBe(1300);
  expect(firesAt(r, [of(300, { severity: 'critical' }), of(600, { severity: 'warning' })])).toBe(1600);
  expect(firesAt(r, [of(300, { severity: '{{ $labels.page }}' })])).toBe(1300);
  expect(firesAt(r, [of(300), of(600)])).toBeUndefined();
  expect(firesAt(r, [])).toBeUndefined();
});

test('the expression comes out of the link of the rule', () => {
  expect(exprOf('http://vm:9090/graph?g0.expr=up%7Ba%3D%22b%22%7D+%3D%3D+0&g0.tab=1')).toBe('up{a="b"} == 0');
  expect(exprOf('javascript:alert(1)')).toBe('');
  expect(exprOf('no link')).toBe('');
});

test('parts of a configuration', () => {
  expect(
    sections(
      'global:\n  a: 1\nroute:\n  receiver: x\n  routes:\n  - b\nreceivers:\n- name: x\ntime_intervals:\n- name: night\n',
      ['route', 'time_intervals'],
    ),
  ).toBe('route:\n  receiver: x\n  routes:\n  - b\ntime_intervals:\n- name: night');
});

test('a runbook of a built-in alert is a page of this server', () => {
  const r = { name: 'MachineDown', annotations: { runbook_url: 'http://hub:9090/mon/runbooks/MachineDown' } };
  expect(builtinRunbook({ ...r, generatorURL: 'http://hub:9090/mon/graph?g0.expr=up' })).toBe('/runbooks/MachineDown');
  expect(builtinRunbook({ ...r, generatorURL: 'http://other:9090/graph' }), 'of another server').toBe('');
  expect(builtinRunbook({ ...r, name: 'Mine', generatorURL: 'http://hub:9090/mon/graph' })).toBe('');
  expect(builtinRunbook(r)).toBe('');
});

test('a day of alerts is a strip for each alert, the worst first', () => {
  const fired = (alertname: string, severity: string, ...values: [number, string][]) => ({
    metric: { alertname, severity },
    values,
  });
  const strips = stripOf(
    [
      fired('Full', 'warning', [600, '1'], [1200, '3'], [3000, '1']),
      fired('Down', 'critical', [600, '1']),
      fired('Hot', 'warning', [600, '1']),
    ],
    { start: 0, step: 600 },
  );
  expect(strips.map((s) => s.name)).toEqual(['Down', 'Full', 'Hot']);
  expect(strips[1]).toMatchObject({
    total: 1800,
    spans: [
      { from: 0, to: 1200, most: 3 },
      { from: 2400, to: 3000, most: 1 },
    ],
  });
});

test('an alert of the past has the time at which it began to fire', () => {
  const labels = { alertname: 'Full', machine: 'web', severity: 'warning' };
  const at = (name: string, v: number, more = {}) => ({
    metric: { __name__: name, ...labels, ...more },
    value: [5000, String(v)] as [number, string],
  });
  const fired = [at('ALERTS', 1, { alertstate: 'firing' }), at('ALERTS', 1, { alertstate: 'firing', machine: 'db' })];
  const rows = firedRows(fired, [at('ALERTS_FOR_STATE', 4000)], 300, 5000);
  expect(rows.map((r) => [r.machine, r.since])).toEqual([
    ['db', 5000],
    ['web', 4300],
  ]);
  expect(rows[1]!.labels).toEqual(labels);
});

test('a day without alerts says why', () => {
  const grid = { start: 0, end: 6000, step: 600 };
  const all = [600, 1200, 1800, 2400, 3000, 3600, 4200, 4800, 5400, 6000];
  const say = (rules: number, times: number[]) => quietText(rules, gapsOf(times, grid), 0, 6000, (t) => `t${t}`);
  expect(say(5, all)).toBe('Nothing fired.');
  expect(say(0, all)).toBe('No alerting rules are loaded.');
  expect(say(5, [])).toBe('Nothing is recorded yet.');
  expect(say(5, all.slice(8))).toBe('Nothing fired. The server was not running before t4800.');
  expect(
    say(
      5,
      all.filter((t) => t < 1500 || t > 3000),
    ),
  ).toBe('Nothing fired. The server was not running for 30 min.');
  expect(
    say(
      5,
      all.slice(3).filter((t) => t !== 4800),
    ),
  ).toBe('Nothing fired. The server was not running before t1800, and for 10 min.');
  expect(gapsOf([600, 1200, 6000], grid)).toEqual([{ from: 1200, to: 5400 }]);
});
