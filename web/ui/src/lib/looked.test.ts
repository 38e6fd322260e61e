import { expect, test } from 'vitest';
import { doubts, type Looking } from './looked';

const now = Date.parse('2026-11-28T12:00:00Z') / 1000;
const at = (s: number) => new Date((now - s) * 1000).toISOString();
const rule = (health: 'ok' | 'err' | 'unknown' = 'ok') => ({ name: 'A', query: 'x', health, duration: 60 });
const good: Looking = {
  groups: [{ name: 'g', file: 'rules.yml', interval: 60, lastEvaluation: at(30), rules: [rule()] }],
  responding: 3,
  fleet: [{ name: 'alpha', judged: true }, { name: 'old' }],
  now,
};
const texts = (l: Partial<Looking>) => doubts({ ...good, ...l }).map((d) => d.text);

test('where rules look at new samples of every machine there is no doubt', () => {
  expect(texts({})).toEqual([]);
});

test('nobody looked where no rule is loaded', () => {
  expect(texts({ groups: [] })).toEqual(['No alerting rules are loaded.']);
});

test('rules that fail, wait or stand still are named', () => {
  const g = good.groups[0]!;
  expect(texts({ groups: [{ ...g, rules: [rule(), rule('err')] }] })).toEqual(['1 of 2 alerting rules fails.']);
  expect(texts({ groups: [{ ...g, rules: [rule('unknown')], lastEvaluation: '0001-01-01T00:00:00Z' }] })).toEqual([
    'The rules have not been evaluated yet.',
  ]);
  expect(texts({ groups: [g, { ...g, lastEvaluation: at(600) }] })).toEqual([
    '1 rule group was last evaluated 10 min ago.',
  ]);
  // A group of five minutes may be that old.
  expect(texts({ groups: [{ ...g, interval: 300, lastEvaluation: at(600) }] })).toEqual([]);
});

test('rules that get nothing new say nothing', () => {
  expect(texts({ responding: undefined })).toEqual(['No samples arrived in the last 5 minutes.']);
  expect(texts({ responding: 0 })).toEqual(['No target responds.']);
});

test('machines that no rule covers are named', () => {
  const fleet = ['a', 'b', 'c', 'd', 'e'].map((name) => ({ name, judged: name === 'a' }));
  expect(texts({ fleet })).toEqual(['No rule covers 4 of 5 machines: b, c, d and 1 more.']);
});
