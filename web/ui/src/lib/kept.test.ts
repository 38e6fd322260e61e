import { expect, test } from 'vitest';
import { notKept } from './kept';

const t = (s: string) => Date.parse(`${s}Z`) / 1000;
const now = t('2026-11-28T12:00:00');

test('a range before the retention is named as that', () => {
  const kept = { oldest: t('2026-11-13T10:00:00'), retention: '15d' };
  expect(notKept(t('2026-11-01T00:00:00'), kept, now, true)).toBe('No data before 13 Nov (retention 15d).');
  expect(notKept(t('2026-11-20T00:00:00'), kept, now, true)).toBeUndefined();
  expect(notKept(t('2024-01-01T00:00:00'), { oldest: t('2025-12-01T00:00:00'), retention: '1y' }, now, true)).toBe(
    'No data before 1 Dec 2025 (retention 1y).',
  );
});

test('a young store did not forget anything', () => {
  const kept = { oldest: t('2026-11-25T10:00:00'), retention: '15d' };
  expect(notKept(t('2026-11-01T00:00:00'), kept, now, true)).toBe('The oldest sample is from 25 Nov.');
  // By its size it may have.
  expect(notKept(t('2026-11-01T00:00:00'), { ...kept, retention: '15d or 10GiB' }, now, true)).toContain(
    'No data before 25 Nov (retention',
  );
});

test('an empty store says nothing of it', () => {
  expect(notKept(t('2026-11-01T00:00:00'), { oldest: undefined, retention: '15d' }, now, true)).toBeUndefined();
});
