import { expect, test } from 'vitest';
import { ago, format, percent, seconds } from './format';

test('bytes are powers of two, bits powers of ten', () => {
  expect(format(0, 'bytes')).toBe('0 B');
  expect(format(1536, 'bytes')).toBe('1.5 KiB');
  expect(format(2 ** 30 * 23.45, 'bytes')).toBe('23.4 GiB');
  expect(format(1048575.9, 'bytes')).toBe('1 MiB');
  expect(format(125e6 * 8, 'bitsps')).toBe('1 Gbit/s');
});

test('what is missing is a dash, never a zero', () => {
  for (const v of [undefined, null, NaN]) {
    expect(format(v, 'bytes')).toBe('–');
    expect(percent(v)).toBe('–');
    expect(ago(v)).toBe('–');
  }
  expect(format(Infinity)).toBe('+Inf');
});

test('percent', () => {
  expect(percent(0)).toBe('0 %');
  expect(percent(0.034)).toBe('3.4 %');
  expect(percent(0.999)).toBe('100 %');
  expect(percent(0.00042)).toBe('0.04 %');
  expect(percent(0.000005)).toBe('0 %');
});

test('times', () => {
  expect(seconds(0.0012)).toBe('1.2 ms');
  expect(seconds(90)).toBe('90 s');
  expect(seconds(86400 * 3)).toBe('3 d');
  expect(ago(7800)).toBe('2 h 10 min');
  expect(ago(86400 * 3 + 7200)).toBe('3 d 2 h');
  expect(ago(86400 * 212)).toBe('212 d');
  expect(ago(-3)).toBe('0 s');
});
