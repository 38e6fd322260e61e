import { expect, test } from 'vitest';
import type { Rule, ShippedRule } from '../api/rules';
import { filledIn, nixSetting, readable, ruleFits, ruleRows } from './rules';

const rule = (name: string, more: Partial<Rule> = {}): Rule => ({
  type: 'alerting',
  name,
  query: 'up == 0',
  health: 'ok',
  lastEvaluation: '',
  evaluationTime: 0.1,
  state: 'inactive',
  ...more,
});
const group = (file: string, name: string, rules: Rule[]) => ({
  file,
  name,
  interval: 60,
  evaluationTime: 0,
  lastEvaluation: '',
  rules,
});
const shipped = (name: string, state: ShippedRule['state'], value = 0.1): ShippedRule => ({
  name,
  type: 'alerting',
  group: 'clanmon-x',
  state,
  expr: 'a < param:threshold and b =~ param:units',
  disable: `--rules.disable=${name}`,
  settings: [
    { name: 'threshold', value, default: 0.1, flag: '' },
    { name: 'units', value: 'a"b', default: 'a"b', flag: '' },
    { name: 'severity', value: 'warning', default: 'warning', flag: '' },
  ],
});

const rows = ruleRows(
  [
    group('clanmon:x.yml', 'clanmon-x', [rule('Full', { state: 'firing', labels: { severity: '{{ if … }}' } })]),
    group('own.yml', 'mine', [rule('Mine', { health: 'err' }), rule('Mine')]),
  ],
  [shipped('Full', 'active', 0.05), shipped('Gone', 'disabled'), shipped('Mine', 'replaced')],
);

test('evaluated rules and those of the binary that are not', () => {
  expect(rows.map((r) => [r.name, r.state, !!r.shipped, r.changed, r.severity])).toEqual([
    ['Full', 'firing', true, true, 'warning'],
    ['Mine', 'failing', false, false, ''],
    ['Mine', 'ok', false, false, ''],
    ['Gone', 'disabled', true, false, 'warning'],
    ['Mine', 'replaced', true, false, 'warning'],
  ]);
  expect(new Set(rows.map((r) => r.key)).size).toBe(rows.length);
});

test('a rule that drives the alerting itself is not among what fires', () => {
  const [dog] = ruleRows(
    [group('clanmon:x.yml', 'clanmon-x', [rule('Watchdog', { state: 'firing', labels: { severity: 'none' } })])],
    [],
  );
  expect(dog).toMatchObject({ state: 'internal' });
  const [bad] = ruleRows([group('x', 'x', [rule('Watchdog', { health: 'err', labels: { severity: 'none' } })])], []);
  expect(bad).toMatchObject({ state: 'failing' });
});

test('an expression that is not evaluated can be run', () => {
  expect(filledIn(shipped('Full', 'off', 0.05))).toBe('a < 0.05 and b =~ "a\\"b"');
});

test('filters', () => {
  const fit = (f: object) =>
    rows.filter((r) => ruleFits(r, { text: '', state: '', type: '', from: '', ...f })).map((r) => r.name);
  expect(fit({ text: 'full 0' })).toEqual(['Full']);
  expect(fit({ state: 'inactive' })).toEqual(['Gone', 'Mine']);
  expect(fit({ state: 'changed' })).toEqual(['Full']);
  expect(fit({ from: 'user' })).toEqual(['Mine', 'Mine']);
  expect(fit({ type: 'recording' })).toEqual([]);
});

test('settings as Nix has them', () => {
  expect(nixSetting('FilesystemFull', 'threshold', 0.05)).toBe('builtinRules.set.FilesystemFull.threshold = 0.05;');
  expect(nixSetting('a:b', 'units', '${x}')).toBe('builtinRules.set."a:b".units = "\\${x}";');
});

test('templates as sentences', () => {
  expect(
    readable('{{ $labels.machine }}: only {{ $value | humanizePercentage }} of {{ $labels.device }} are free'),
  ).toBe('‹machine›: only ‹value› of ‹device› are free');
  expect(
    readable(
      '{{ with printf "a{b=%q}" $labels.b | query }}Mounted at {{ range . }}{{ .Labels.m }}{{ end }}; gone.{{ end }}',
    ),
  ).toBe('…Mounted at …; gone.…');
});
