import { expect, test } from 'vitest';
import { arrival, errorPosition, guessedUnit, newQuery, readQueries, writeQueries } from './explore';

const p = (s: string) => new URLSearchParams(s);

test('links of Prometheus 2 and of alerts', () => {
  const [a, b, c] = readQueries(
    p(
      'g0.expr=up%20%3D%3D%200&g0.tab=1&g0.range_input=6h&g1.expr=rate(x[5m])&g1.tab=0&g1.stacked=1&g1.step_input=30&g3.expr=lost',
    ),
  );
  expect(a).toEqual({ ...newQuery('up == 0') });
  expect(b).toEqual({ ...newQuery('rate(x[5m])'), tab: 'graph', mode: 'stacked', step: 30 });
  expect(c).toBeUndefined();
});

test('links of Prometheus 3', () => {
  expect(
    readQueries(
      p(
        'g0.expr=up&g0.show_tree=0&g0.tab=graph&g0.res_type=auto&g0.res_density=high&g0.display_mode=heatmap&g0.y_axis_min=0&g0.show_exemplars=0&g1.expr=x&g1.show_exemplars=1',
      ),
    ),
  ).toEqual([
    { ...newQuery('up'), tab: 'graph', mode: 'heatmap', density: 'high', min: 0 },
    { ...newQuery('x'), exemplars: true },
  ]);
  expect(readQueries(p('g0.expr=up&g0.tab=explain&g0.res_type=custom&g0.res_step=0.5'))).toEqual([
    { ...newQuery('up'), tab: 'explain', step: 0.5 },
  ]);
  expect(readQueries(p(''))).toEqual([newQuery()]);
});

test('what is written is read again, and leaves nothing behind', () => {
  const all = [
    { ...newQuery(), tab: 'graph' as const },
    {
      ...newQuery('a{b="c"}'),
      mode: 'stacked' as const,
      step: 15,
      min: -1,
      exemplars: true,
      hidden: true,
      without: ['job', 'instance'],
    },
  ];
  const before = p('g0.expr=old&g0.stacked=1&g2.expr=gone&range=1h');
  const out = writeQueries(before, all);
  expect(out['g2.expr']).toBeNull();
  expect(out['g0.stacked']).toBeNull();
  expect(out.range).toBeUndefined();
  const written = p('');
  for (const [k, v] of Object.entries(out)) if (v !== null && v !== '') written.set(k, v === true ? '1' : String(v));
  expect(readQueries(written)).toEqual(all);
});

test('the range of a link becomes the range of the page', () => {
  expect(arrival(p('g0.expr=up&g0.range_input=1h30m'))).toEqual({ range: '1h30m', from: null, to: null });
  expect(arrival(p('g0.expr=up&g0.range_input=2h&g0.end_input=2026-11-25%2002:00:00'))).toEqual({
    range: null,
    from: 1795564800,
    to: 1795572000,
  });
  expect(arrival(p('g0.expr=up&g0.range_input=2h&g0.end_input=2026-11-25T02:00:00.000Z'))).toEqual({
    range: null,
    from: 1795564800,
    to: 1795572000,
  });
  expect(arrival(p('g0.expr=up&g0.range_input=2h&range=6h'))).toBeUndefined();
  expect(arrival(p('g0.expr=up'))).toBeUndefined();
});

test('the place of an error', () => {
  expect(errorPosition('sum(foo', 'invalid parameter "query": 1:8: parse error: unclosed left parenthesis')).toEqual({
    from: 7,
    line: 0,
    text: 'unclosed left parenthesis',
  });
  expect(errorPosition('a\n  + "ä" x', '2:9: parse error: unexpected identifier "x"')?.from).toBe(9);
  expect(errorPosition('up', 'query timed out in expression evaluation')).toBeUndefined();
});

test('the unit of one metric is guessed, of more it is not', () => {
  for (const [expr, unit] of [
    ['node_memory_MemFree_bytes{machine="a"}', 'bytes'],
    ['sum by (machine) (rate(node_network_receive_bytes_total{device!="lo"}[5m]))', 'bytesps'],
    ['max(node_hwmon_temp_celsius)', 'celsius'],
    ['rate(http_requests_total[5m])', 'perSecond'],
    ['rate(node_cpu_seconds_total[5m])', 'none'],
    ['node_memory_MemFree_bytes / node_memory_MemTotal_bytes', 'none'],
    ['count(node_memory_MemFree_bytes)', 'none'],
    ['up{x="a_bytes - b_bytes"}', 'none'],
    ['machine:cpu_used:ratio', 'none'],
    ['', 'none'],
  ] as const)
    expect(guessedUnit(expr), expr).toBe(unit);
});

test('unit and scale of the axis are in the URL', () => {
  const q = { ...newQuery('up'), log: true, unit: 'bytes' as const };
  const p = new URLSearchParams();
  for (const [k, v] of Object.entries(writeQueries(p, [q]))) if (v !== null) p.set(k, v === true ? '1' : String(v));
  expect(readQueries(p)[0]).toMatchObject({ log: true, unit: 'bytes' });
  expect(readQueries(new URLSearchParams('g0.expr=up&g0.unit=stones'))[0]!.unit).toBeUndefined();
});
