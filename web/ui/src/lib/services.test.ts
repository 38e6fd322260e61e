import { expect, test } from 'vitest';
import {
  addFigures,
  commandsFor,
  readCounts,
  readHosts,
  readProblems,
  readStates,
  shell,
  since,
  spansOf,
} from './services';

const s = (metric: Record<string, string>, v: number | string = 1) => ({
  metric,
  value: [0, String(v)] as [number, string],
});

test('a unit that is wrong in several ways is there once, with the worst', () => {
  const { units, rules } = readProblems([
    s({ __name__: 'machine:units_failed:count', machine: 'a' }, 1),
    s({ machine: 'a', name: 'x.service', why: 'restarts' }, 7.2),
    s({ machine: 'a', name: 'x.service', why: 'failed' }),
    s({ machine: 'a', name: 'y.timer', why: 'overdue' }, 5000),
    s({ instance: 'b:9100', name: 'x.service', why: 'looping' }),
  ]);
  expect(rules).toBe(true);
  expect(units.map((u) => [u.host, u.name, u.why, u.state, u.figure])).toEqual([
    ['a', 'x.service', 'failed', 'failed', undefined],
    ['a', 'y.timer', 'overdue', '', 5000],
    ['b:9100', 'x.service', 'looping', '', undefined],
  ]);
  expect(readProblems([]).rules).toBe(false);
});

test('since is of the state in which the unit is; zero is never', () => {
  const units = readStates([
    s({ machine: 'a', name: 'x.service', state: 'failed' }),
    s({ machine: 'a', name: 'y.timer', state: 'active' }),
  ]);
  const known = addFigures(units, [
    s({ __name__: 'systemd_unit_active_enter_time_seconds', machine: 'a', name: 'x.service' }, 100),
    s({ __name__: 'systemd_unit_inactive_enter_time_seconds', machine: 'a', name: 'x.service' }, 200),
    s({ __name__: 'node_systemd_unit_start_time_seconds', machine: 'a', name: 'y.timer' }, 50),
    s({ __name__: 'systemd_timer_last_trigger_seconds', machine: 'a', name: 'y.timer' }, 0),
    s({ machine: 'a', name: 'x.service', figure: 'cpu' }, 0),
    s({ __name__: 'systemd_unit_tasks_max', machine: 'a', name: 'x.service' }, 1.8e19),
    s({ machine: 'b', name: 'x.service', figure: 'cpu' }, 9),
  ]);
  const [x, y] = [...known.values()];
  expect(since(x!)).toBe(200);
  expect(since(y!)).toBe(50);
  expect(y!.lastRun).toBeUndefined();
  expect(x).toMatchObject({ cpu: 0 });
  expect(x!.tasksMax).toBeUndefined();
});

test('counts by unit and by machine', () => {
  const problems = readProblems([
    s({ machine: 'a', name: 'x.service', why: 'failed' }),
    s({ machine: 'a', name: 'z.service', why: 'tasks' }),
  ]).units;
  expect(
    readCounts(
      [
        s({ name: 'x.service', figure: 'active', active: '1' }, 12),
        s({ name: 'x.service', figure: 'active', active: '0' }, 2),
        s({ name: 'x.service', figure: 'starting' }, 1),
      ],
      problems,
    ),
  ).toEqual([{ name: 'x.service', type: 'service', total: 14, active: 12, failed: 1, starting: 1 }]);
  const hosts = readHosts(
    [
      s({ machine: 'a', instance: 'a:9558', figure: 'systemd', active: '1' }, 30),
      s({ machine: 'a', instance: 'a:9558', figure: 'systemd', active: '0' }, 10),
      s({ machine: 'a', instance: 'a:9100', figure: 'node', active: '1' }, 29),
      s({ instance: 'c:9100', figure: 'node', active: '1' }, 5),
    ],
    problems,
  );
  expect(hosts).toMatchObject([
    { host: 'a', services: 40, running: 30, failed: 1, other: 1, problems: 2 },
    { host: 'c:9100', services: 5, running: 5, problems: 0 },
  ]);
});

test('spans follow the states; no sample is unknown, no state is inactive', () => {
  const series = [
    {
      metric: { state: 'active' },
      values: [
        [10, '1'],
        [20, '0'],
        [30, '0'],
        [50, '1'],
      ] as [number, string][],
    },
    {
      metric: { state: 'failed' },
      values: [
        [10, '0'],
        [20, '1'],
        [30, '0'],
        [50, '0'],
      ] as [number, string][],
    },
  ];
  expect(spansOf(series, 0, 60, 10)).toEqual([
    { from: 0, to: 10, state: '' },
    { from: 10, to: 20, state: 'active' },
    { from: 20, to: 30, state: 'failed' },
    { from: 30, to: 40, state: 'inactive' },
    { from: 40, to: 50, state: '' },
    { from: 50, to: 60, state: 'active' },
  ]);
});

test('commands can be pasted into a shell', () => {
  expect(shell('dev-disk-by\\x2duuid.device')).toBe("'dev-disk-by\\x2duuid.device'");
  expect(shell("a'b;c")).toBe("'a'\\''b;c'");
  const texts = commandsFor({ name: 'backup.timer', type: 'timer', state: 'active' }).map((c) => c.text);
  expect(texts).toContain('journalctl -b -u backup.service -e');
  expect(texts).toContain('systemctl list-timers backup.timer');
  expect(commandsFor({ name: 'x.service', type: 'service', state: 'failed' }).map((c) => c.text)).toContain(
    'sudo systemctl reset-failed x.service',
  );
});
