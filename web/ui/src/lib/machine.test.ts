import { expect, test } from 'vitest';
import { alertRule } from './alertRule';
import { filesystems, joined, retentionOf, timeOf, unitOf, sinceOf } from './machine';

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
