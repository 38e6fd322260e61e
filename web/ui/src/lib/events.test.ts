import { expect, test } from 'vitest';
import type { FleetEvent } from '../api/types/events';
import { around, eventFits, inWords, lasts, level, machinesOf, marksFor, marksOf, whom } from './events';

const event = (more: Partial<FleetEvent> = {}): FleetEvent => ({
  time: 1000,
  end: null,
  kind: 'alert',
  machine: 'web1',
  count: 1,
  text: 'DiskFull /srv',
  severity: 'critical',
  ...more,
});

test('what goes on is loud, what is over or harmless is not', () => {
  expect(level(event())).toBe('crit');
  expect(lasts(event())).toBe(true);
  expect(lasts(event({ end: 2000 }))).toBe(false);
  expect(level(event({ kind: 'unit', severity: 'warning', text: 'x.service failed' }))).toBe('warn');
  expect(level(event({ text: 'DiskFull /srv resolved' }))).toBe('off');
  expect(level(event({ kind: 'unit', text: 'x.service recovered: 7 machines' }))).toBe('off');
  expect(level(event({ kind: 'unit', text: 'unresolved.service failed', severity: 'critical' }))).toBe('crit');
  expect(level(event({ kind: 'reboot', text: 'rebooted', severity: '' }))).toBe('info');
  expect(lasts(event({ kind: 'reboot', text: 'rebooted' }))).toBe(false);
});

test('filters know the machines of a group', () => {
  const group = event({
    machine: undefined as unknown as string,
    count: 200,
    machines: ['a', 'b'],
    text: 'rebooted: 200 machines',
    kind: 'reboot',
  });
  const all = { text: '', kinds: [], machines: null };
  expect(eventFits(group, { ...all, machines: new Set(['b']) })).toBe(true);
  expect(eventFits(group, { ...all, machines: new Set(['c']) })).toBe(false);
  expect(eventFits(group, { ...all, kinds: ['alert'] })).toBe(false);
  expect(eventFits(group, { ...all, text: 'REBOOTED 200' })).toBe(true);
  expect(eventFits(event({ detail: 'new disk' }), { ...all, text: 'web1 disk' })).toBe(true);
});

test('machines of a group are named, but not all', () => {
  expect(whom(event())).toBe('web1');
  expect(whom(event({ count: 5, machines: ['a', 'b', 'c', 'd', 'e'] }))).toBe('a, b, c and 2 more');
  expect(whom(event({ machine: undefined as unknown as string }))).toBe('');
});

test('a link to charts shows the time before and after, not the future', () => {
  expect(around(event({ time: 10_000 }), 10_100)).toEqual({ from: 8200, to: 10_100 });
  expect(around(event({ time: 10_000, end: 20_000 }), 99_999)).toEqual({ from: 8200, to: 21_800 });
});

test('an alert is a span; one from before has no begin in the range, one that is not over no end', () => {
  const marks = marksOf(
    [
      event({ time: 1200, end: 1300, kind: 'unit', text: 'a.service failed', severity: 'warning' }),
      event({ time: 1100, kind: 'reboot', text: 'rebooted', severity: '' }),
      event({ time: 1150, kind: 'system', text: 'NixOS generation 1 → 2', severity: '' }),
      event({ time: 900, text: 'Hot' }),
    ],
    1000,
    2000,
  );
  expect(marks).toEqual([
    { time: 999, end: 2000, text: 'Hot', level: 'crit' },
    { time: 1100, text: 'rebooted', level: 'info' },
    { time: 1150, text: 'NixOS generation 1 → 2', level: 'off' },
    { time: 1200, end: 1300, text: 'a.service failed', level: 'warn' },
  ]);
  expect(inWords(marks)).toBe('2 alerts, rebooted, NixOS generation 1 → 2');
  expect(inWords([...marks, marks[1]!].slice(1))).toBe('1 alert, rebooted 2 times, NixOS generation 1 → 2');
  const many = ['a', 'b', 'c', 'd', 'e', 'f'].map((text) => ({ time: 1, text }));
  expect(inWords(many)).toBe('a, b, c, d, 2 more');
});

test('a chart shows what concerns its machines, and says whose it is if there are several', () => {
  const events = [
    event({ time: 1100, machine: 'a', kind: 'reboot', text: 'rebooted', severity: '' }),
    event({ time: 1200, machine: 'b', kind: 'reboot', text: 'rebooted', severity: '' }),
    event({ time: 1300, machine: undefined as unknown as string, kind: 'note', text: 'all new', severity: '' }),
    event({ time: 1400, machine: undefined as unknown as string, machines: ['c'], count: 1, kind: 'note', text: 'c' }),
    event({
      time: 1500,
      machine: undefined as unknown as string,
      machines: ['c'],
      count: 200,
      kind: 'reboot',
      text: 'rebooted: 200 machines',
    }),
  ];
  const h = { events, from: 1000, to: 2000 };
  const texts = (machines: string[] | undefined, page = h) =>
    marksFor(page, machines && new Set(machines)).map((m) => (m.who ? `${m.who} ${m.text}` : m.text));
  expect(texts(['a'])).toEqual(['rebooted', 'all new', 'rebooted: 200 machines']);
  expect(texts(['a', 'b'])).toEqual(['a rebooted', 'b rebooted', 'all new', 'rebooted: 200 machines']);
  expect(texts(undefined)).toHaveLength(5);
  expect(texts(undefined, { ...h, machines: new Set(['b']) } as typeof h)).toEqual([
    'b rebooted',
    'all new',
    'rebooted: 200 machines',
  ]);
  expect(machinesOf([{ labels: { machine: 'a' } }, { labels: { instance: 'b:9100' } }])).toEqual(new Set(['a', 'b']));
  expect(machinesOf([{ labels: { machine: 'a' } }, { labels: { job: 'x' } }])).toBeUndefined();
});

test('of too many marks the bad ones and the newest are drawn', () => {
  const many = Array.from({ length: 500 }, (_, i) =>
    event({ time: 1000 + i, kind: 'reboot', text: `rebooted ${i}`, severity: '' }),
  );
  const marks = marksFor(
    { events: [...many, event({ time: 1001, text: 'DiskFull' })], from: 1000, to: 2000 },
    undefined,
  );
  expect(marks).toHaveLength(60);
  expect(marks.map((m) => m.text)).toContain('DiskFull');
  expect(marks.at(-1)?.text).toBe('rebooted 499');
});
