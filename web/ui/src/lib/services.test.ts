import { expect, test } from 'vitest';
import { machineFinder } from './selector';
import {
  addFigures,
  commandsFor,
  countsQuery,
  coverage,
  coverageText,
  forUnits,
  liveQuery,
  readCounts,
  readHosts,
  readProblems,
  readStates,
  selectorsOf,
  shell,
  since,
  spansOf,
  typeIn,
  typeOf,
  whereOf,
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

const find = machineFinder([{ name: 'web1', selector: 'instance=~"web1:9100|web1:9558"', labelled: false }]);

test('a unit of a machine without the label is shown under the name of the machine', () => {
  expect(whereOf({ machine: 'a', instance: 'a:9100' }, find)).toEqual({
    host: 'a',
    machine: 'a',
    selector: 'machine="a"',
  });
  expect(whereOf({ instance: 'web1:9558' }, find)).toEqual({
    host: 'web1',
    machine: 'web1',
    instance: 'web1:9558',
    selector: 'instance="web1:9558"',
  });
  expect(whereOf({ instance: 'x:1' }, find)).toEqual({ host: 'x:1', instance: 'x:1', selector: 'instance="x:1"' });
  const { units } = readProblems([s({ instance: 'web1:9558', name: 'x.service', why: 'failed' })], find);
  expect(units[0]).toMatchObject({ host: 'web1', name: 'x.service' });
  const hosts = readHosts(
    [
      s({ instance: 'web1:9558', figure: 'systemd', active: '1' }, 30),
      s({ instance: 'web1:9100', figure: 'node', active: '1' }, 29),
    ],
    units,
    find,
  );
  expect(hosts).toMatchObject([{ host: 'web1', services: 30, failed: 1 }]);
});

test('figures are asked for units with and without the label', () => {
  const u = (l: Record<string, string>, name: string) => ({
    key: '',
    where: whereOf(l, find),
    host: '',
    name,
    type: typeOf(name),
    state: '',
  });
  const a = u({ machine: 'a' }, 'x.service');
  const b = u({ instance: 'web1:9558' }, 'y.service');
  expect(forUnits([a])).toBe('machine=~"a",name=~"x\\\\.service"');
  expect(forUnits([b])).toBe('instance=~"web1:9558",name=~"y\\\\.service"');
  expect(forUnits([a, b])).toBe('name=~"x\\\\.service|y\\\\.service"');
  expect(
    liveQuery('unlabelled')
      .match(/\{[^{}]*(state|total|seconds)[^{}]*\}/g)
      ?.every((x) => x.includes('machine=""')),
  ).toBe(true);
  expect(selectorsOf([{ name: 'a' }, { name: 'web1', selector: 'instance="web1:9100"', labelled: false }])).toEqual([
    'machine=~"a"',
    'machine="",instance="web1:9100"',
  ]);
  expect(countsQuery('timer', ['machine=~"a"'])).toContain('type="timer",machine=~"a"');
});

test('timers have their last result, and when they run next', () => {
  const l = { machine: 'a', name: 'backup.timer' };
  const known = addFigures(readStates([s({ ...l, state: 'active' })]), [
    s({ ...l, __name__: 'systemd_timer_last_trigger_seconds' }, 1000),
    s({ ...l, __name__: 'clanmon_systemd_timer_next_elapse_timestamp_seconds' }, 2000),
    s({ ...l, __name__: 'clanmon_systemd_timer_overdue_seconds' }, 0),
    s({ ...l, __name__: 'clanmon_systemd_timer_last_result', unit: 'backup.service', result: 'exit-code' }),
  ]);
  expect([...known.values()][0]).toMatchObject({ lastRun: 1000, nextRun: 2000, overdue: 0, result: 'exit-code' });
});

test('units are known only of machines where somebody looked', () => {
  const row = (name: string, state: string, unitsFailed?: number) => ({
    name,
    state,
    ...(unitsFailed !== undefined && { unitsFailed }),
  });
  expect(
    coverageText(coverage([row('a', 'ok', 0), row('b', 'warning', 2), row('c', 'ok')], new Map([['c', true]]))),
  ).toBe('');
  const c = coverage(
    [row('alpha', 'down', 0), row('beta', 'down'), row('vm', 'ok'), row('nas', 'unjudged'), row('laptop', 'offline')],
    new Map([['vm', false]]),
  );
  expect(c).toMatchObject({ known: 0, total: 5, off: ['laptop'] });
  expect(coverageText(c)).toBe(
    'Units known for 0 of 4 machines (alpha, beta: down; vm: systemd not readable; nas: no unit data).',
  );
  expect(coverageText(coverage([row('laptop', 'offline')], new Map()))).toBe('');
});

test('the type of unit that a text names', () => {
  expect(typeIn('backup.timer')).toBe('timer');
  expect(typeIn(' user@1000.service ')).toBe('service');
  expect(typeIn('backup')).toBeUndefined();
  expect(typeIn('a.conf')).toBeUndefined();
});
