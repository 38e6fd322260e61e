// The text of an alerting rule, as a rule file has it.
import type { Line } from './chart';
import type { Unit } from './format';

export interface RuleDraft {
  title: string;
  expr: string;
  op: string;
  limit: string;
  hold: string;
  severity: string;
  every: boolean;
  unit?: Unit | undefined;
}

// median of what the lines show, a place to begin looking for a limit.
export function median(lines: Pick<Line, 'values'>[]): number {
  const all = lines
    .flatMap((l) => l.values)
    .filter((v): v is number => v !== null)
    .map(Math.abs)
    .sort((a, b) => a - b);
  return all.length ? Number((all[all.length >> 1]! * 1.5).toPrecision(2)) : 1;
}

export function alertRule(d: RuleDraft): string {
  const expr = d.every ? d.expr.replaceAll(/machine="(?:[^"\\]|\\.)*"/g, 'machine!=""') : d.expr;
  const name =
    d.title
      .replace(/[^A-Za-z0-9]+(.)?/g, (_, c: string | undefined) => (c ?? '').toUpperCase())
      .replace(/^./, (c) => c.toUpperCase()) || 'Mine';
  const shown: Partial<Record<Unit, string>> = {
    ratio: '{{ $value | humanizePercentage }}',
    bytes: '{{ $value | humanize1024 }}B',
    bytesps: '{{ $value | humanize1024 }}B/s',
    seconds: '{{ $value | humanizeDuration }}',
  };
  const value = (d.unit && shown[d.unit]) ?? '{{ $value | humanize }}';
  return [
    'groups:',
    '- name: mine',
    '  rules:',
    `  - alert: ${name}`,
    '    expr: |',
    `      (${expr}) ${d.op} ${d.limit.trim() || '0'}`,
    `    for: ${d.hold.trim() || '0s'}`,
    `    labels: {severity: ${d.severity}}`,
    '    annotations:',
    `      summary: '{{ $labels.machine }}: ${d.title.replaceAll("'", "''")} is ${value}'`,
    '',
  ].join('\n');
}
