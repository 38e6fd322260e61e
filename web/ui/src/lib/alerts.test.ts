import { expect, test } from 'vitest';
import type { Alert, RuleAlert } from '../api/types/alerts';
import { exprOf, grouped, hasTag, historyOf, mergeAlerts, passes, sections } from './alerts';

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
});

test('episodes of the history end at a gap, the last may go on', () => {
  const s = {
    metric: { __name__: 'ALERTS', alertname: 'A', alertstate: 'firing', machine: 'x' },
    values: [
      [0, '1'],
      [10, '1'],
      [40, '1'],
      [50, '1'],
    ] as [number, string][],
  };
  expect(historyOf([s], 50, 10)[0]).toMatchObject({
    episodes: [
      { from: 0, to: 20 },
      { from: 40, to: 50 },
    ],
    total: 30,
    last: 40,
    ongoing: true,
  });
  expect(historyOf([s], 90, 10)[0]).toMatchObject({ ongoing: false, total: 40 });
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
