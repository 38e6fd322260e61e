import { expect, test } from 'vitest';
import type { FleetRow } from './fleet';
import { totals, trendQuery, trendsOf } from './totals';

const row = (r: Partial<FleetRow>) => ({ state: 'ok', ...r }) as FleetRow;

test('totals of what is known', () => {
  const t = totals([
    row({ cpu: 0.2, receive: 10, transmit: 1 }),
    row({ cpu: 0.4, receive: 5, state: 'critical' }),
    row({ state: 'down' }),
    row({ state: 'critical' }),
  ]);
  expect(t.cpu).toBeCloseTo(0.3);
  expect([t.receive, t.transmit, t.memory]).toEqual([15, 1, undefined]);
  expect(totals([])).toEqual({});
});

test('one query, of all machines or of some', () => {
  expect(trendQuery(undefined)).toContain('machine!=""');
  expect(trendQuery(['a.b', 'c'])).toContain('machine=~"a\\\\.b|c"');
});

test('what is missing stays a gap', () => {
  const series = (figure: string, values: [number, string][], state?: string) => ({
    metric: { figure, ...(state && { state }) },
    values,
  });
  const t = trendsOf(
    [
      series('machine:cpu_used:ratio', [[1800, '0.5']]),
      series('machine:network_receive_bytes:rate5m', [[0, '3']]),
      series('machine:network_transmit_bytes:rate5m', [[0, '4']]),
      series(
        'clanmon_machine_state',
        [
          [0, '2'],
          [1800, '1'],
        ],
        'down',
      ),
      series(
        'clanmon_machine_state',
        [
          [0, '7'],
          [3600, '8'],
        ],
        'ok',
      ),
    ],
    0,
    3600,
    1800,
  );
  expect(t.cpu).toEqual([null, 0.5, null]);
  expect(t.network).toEqual([7, null, null]);
  expect(t.troubled).toEqual([2, 1, 0]);
});
