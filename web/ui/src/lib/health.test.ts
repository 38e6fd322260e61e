import { expect, test } from 'vitest';
import { checksOf, type HealthInput, verdictOf } from './health';

const figure = (figure: string, value: number, more = {}) => ({
  metric: { figure, ...more },
  value: [0, String(value)] as [number, string],
});
const healthy: HealthInput = {
  figures: [
    figure('samples', 120),
    figure('series', 9000),
    figure('memory', 2e8),
    figure('memlimit', 1e9),
    figure('corruptions', 0),
    figure('rules', 0),
    figure('lag', 0.01),
    figure('query', 0.2),
    figure('scrapes', 15.01, { interval: '15s' }),
    figure('scrapes', 60.2, { interval: '1m0s' }),
  ],
  storage: { storing: true, room: { freeBytes: 5e10, blocksBytes: 1e9, expectedBytes: 2e9 } },
  receivers: [],
  gaps: [],
  reloaded: true,
  now: 1000,
};
const wrong = (more: Partial<HealthInput>) =>
  checksOf({ ...healthy, ...more })
    .filter((c) => c.wrong)
    .map((c) => `${c.level} ${c.wrong}`);
const but = (...all: ReturnType<typeof figure>[]) => ({
  figures: [...all, ...healthy.figures!.filter((f) => !all.some((a) => a.metric.figure === f.metric.figure))],
});

test('a healthy server says so, and only when everything is known', () => {
  expect(wrong({})).toEqual([]);
  expect(verdictOf(checksOf(healthy), true)).toEqual({ level: 'ok', text: 'Healthy' });
  expect(verdictOf(checksOf({ ...healthy, figures: [] }), false)).toEqual({ level: 'off', text: 'Unknown' });
});

test('what is beyond its limit is named', () => {
  expect(wrong(but(figure('samples', 0)))).toEqual(['crit No samples are ingested']);
  expect(wrong(but(figure('memory', 9.5e8)))).toEqual(['warn Memory is at 95 % of its limit']);
  expect(wrong(but(figure('memlimit', 2 ** 63), figure('memory', 9.5e18)))).toEqual([]);
  expect(wrong(but(figure('lag', 1.2)))).toEqual(['warn A rule group takes longer than its interval']);
  expect(wrong(but(figure('rules', 0.2)))).toEqual(['warn 1 rule evaluation failed in 1 h']);
  expect(wrong(but(figure('scrapes', 90, { interval: '1m0s' })))).toEqual(['warn Scrapes are late']);
  expect(wrong(but(figure('query', 12)))).toEqual(['warn Queries take up to 12 s']);
  expect(wrong({ reloaded: false })).toEqual(['crit The last reload of the configuration failed']);
  expect(wrong({ storage: { storing: false, reason: 'no space left' } })).toEqual([
    'crit Samples are not stored: no space left',
  ]);
  expect(wrong({ storage: { storing: true, room: { freeBytes: 1e8, blocksBytes: 1 } } })).toHaveLength(1);
  expect(
    wrong({ gaps: [{ job: 'node', instance: 'a', from: '', to: '', until: '', filling: false, error: 'x' }] }),
  ).toEqual(['warn 1 gap could not be filled']);
  expect(verdictOf(checksOf({ ...healthy, reloaded: false, ...but(figure('lag', 2)) }), true)).toEqual({
    level: 'crit',
    text: '2 problems',
  });
});
