import { expect, test } from 'vitest';
import { alertRule } from './alertRule';
import { split } from './chart';
import { filesystems, joined, marksOf, marksQuery, retentionOf, timeOf, unitOf, sinceOf } from './machine';

const times = [1000, 1060, 1120, 1180, 1240];
const line = (metric: Record<string, string>, values: (number | null)[]) => ({ metric, values });

// marksQuery says when a machine booted by the server's clock.
const reboots = (...booted: (number | null)[]) => marksOf({ times, series: [line({ _q: '0' }, booted)] }, split);

test('a reboot is where the uptime falls, and nowhere else', () => {
  expect(reboots(400, 400, 1105, 1105.4, 1105)).toEqual([{ time: 1105, text: 'rebooted', level: 'info' }]);
  expect(reboots(400, null, null, 1170, 1170)).toHaveLength(1); // after a gap
  // A clock that is set, by 600 s there and back, moves nothing by the server's clock.
  expect(reboots(400, 400, 400.5, 399.6, 400)).toEqual([]);
  // A machine that slept for 30 s counts less than it should, but goes on counting.
  expect(reboots(400, 400, 430, 430, 430)).toEqual([]);
  // It booted within the range, before its first sample.
  expect(reboots(null, null, 1100, 1100, 1100)).toHaveLength(1);
  expect(reboots(null, null, 400, 400, 400)).toEqual([]);
});

test('the uptime is asked of one clock, and compared with the server’s', () => {
  expect(marksQuery('x="1"')[0]).toContain(
    'timestamp(node_time_seconds{x="1"}) - (node_time_seconds{x="1"} - node_boot',
  );
});

test('retention and the time before a machine had its label', () => {
  expect(retentionOf('15d or 10GiB')).toEqual({ text: '15d', seconds: 15 * 86400 });
  expect(retentionOf('10GiB')).toBeUndefined();
  const q = joined(
    'sum by (machine, mode) (x{machine="a",m="1"})',
    'machine="a"',
    'instance=~"a(:[0-9]+)?",machine=""',
  );
  expect(q.split(' or ')[1]).toContain('sum by (machine, mode) (x{instance=~"a(:[0-9]+)?",machine="",m="1"})');
  expect(q.match(/max without \(machine, instance, job, availability\)/g)).toHaveLength(2);
});

test('an alert is a span for each time that it fired; one from before has no begin in the range', () => {
  const marks = marksOf(
    {
      times,
      series: [
        line({ _q: '2', alertname: 'UnitFailed', name: 'a.service', severity: 'warning' }, [null, 1, null, 1, 1]),
        line({ _q: '2', alertname: 'Hot', severity: 'critical' }, [1, 1, null, null, null]),
      ],
    },
    split,
  );
  expect(marks).toEqual([
    { time: 999, end: 1120, text: 'Hot', level: 'crit' },
    { time: 1060, end: 1120, text: 'UnitFailed a.service', level: 'warn' },
    { time: 1180, end: 1240, text: 'UnitFailed a.service', level: 'warn' },
  ]);
});

const fs = (name: string, mountpoint: string, v: number, device = '/dev/sda1', figure?: string) => ({
  metric: {
    ...(name && { __name__: `node_filesystem_${name}` }),
    device,
    mountpoint,
    fstype: 'ext4',
    ...(figure && { figure }),
  },
  value: [0, String(v)] as [number, string],
});

test('file systems: the fullest first, one device once', () => {
  const list = filesystems([
    fs('size_bytes', '/', 100),
    fs('avail_bytes', '/', 80),
    fs('size_bytes', '/nix/store', 100),
    fs('avail_bytes', '/nix/store', 80),
    fs('readonly', '/nix/store', 1),
    fs('size_bytes', '/run/netns', 100), // a bind mount, read a moment later
    fs('avail_bytes', '/run/netns', 79),
    fs('size_bytes', '/data', 100, '/dev/sdb'),
    fs('avail_bytes', '/data', 5, '/dev/sdb'),
    fs('', '/data', 86400, '/dev/sdb', 'left'),
  ]);
  expect(list.map((f) => f.mountpoint)).toEqual(['/data', '/']);
  expect(list[0]!.left).toBe(86400);
  expect(list[1]!.readonly).toBeUndefined();
});

test('the text of an alerting rule, for one machine and for all', () => {
  const draft = {
    title: "CPU's share",
    expr: 'sum by (machine) (x{machine="a\\"b",y="1"})',
    op: '>',
    limit: '0.5',
    hold: '10m',
    severity: 'warning',
    every: true,
    unit: 'ratio' as const,
  };
  expect(alertRule(draft)).toContain('(sum by (machine) (x{machine!="",y="1"})) > 0.5\n');
  expect(alertRule(draft)).toContain("'{{ $labels.machine }}: CPU''s share is {{ $value | humanizePercentage }}'");
  expect(alertRule({ ...draft, every: false })).toContain('machine="a\\"b"');
});

test('the name of a metric says its unit', () => {
  expect(
    [
      'go_memstats_alloc_bytes_total',
      'go_gc_duration_seconds_sum',
      'node_hwmon_temp_celsius',
      'up',
      'node_cpu_seconds_total',
      'node_disk_io_now',
    ].map(unitOf),
  ).toEqual(['bytes', 'seconds', 'celsius', 'none', 'seconds', 'none']);
  expect(timeOf('node_boot_time_seconds', 1.79e9)).toBe(1.79e9);
  expect(timeOf('systemd_timer_last_trigger_seconds', 0)).toBeUndefined(); // never
  expect(timeOf('node_cpu_seconds_total', 1.79e9)).toBeUndefined();
});

test('since when an alert fires, after the server was restarted', () => {
  const at = (s: number) => new Date(s * 1000).toISOString();
  const a = { labels: { alertname: 'FilesystemFull' }, startsAt: at(1100) };
  expect(sinceOf(a, { since: at(500) }, 1000)).toEqual({ time: 1100, restarted: true });
  expect(sinceOf(a, { since: at(1100) }, 1000)).toEqual({ time: 1100 });
  expect(sinceOf({ ...a, startsAt: at(600) }, { since: at(500) }, 1000)).toEqual({ time: 600 });
  expect(sinceOf(a, undefined, 0)).toEqual({ time: 1100 });
  // The server remembers it.
  const alerts = [
    { name: 'FilesystemFull', labels: { alertname: 'FilesystemFull', device: '/dev/sdb' }, since: at(400) },
    { name: 'FilesystemFull', labels: { alertname: 'FilesystemFull', device: '/dev/sda' }, since: at(500) },
  ];
  expect(sinceOf({ ...a, labels: { ...a.labels, device: '/dev/sda' } }, { since: at(500), alerts }, 1000)).toEqual({
    time: 500,
  });
});
