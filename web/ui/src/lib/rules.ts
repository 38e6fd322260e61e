// Rules as one table: those that are evaluated, and built-in ones that are not.
import type { Rule, RuleGroup, RuleSetting, ShippedRule } from '../api/rules';

export type RuleState =
  | 'failing'
  | 'firing'
  | 'pending'
  | 'waiting'
  | 'ok'
  | 'internal' // drives the alerting itself: that it fires is no news
  | 'replaced'
  | 'disabled'
  | 'off';
export const RULE_STATES: RuleState[] = [
  'failing',
  'firing',
  'pending',
  'waiting',
  'ok',
  'internal',
  'replaced',
  'disabled',
  'off',
];

export interface RuleRow {
  key: string; // stable while the files stay as they are
  name: string;
  type: 'alerting' | 'recording';
  group: string;
  file: string; // '' for a rule of the binary that is not evaluated
  state: RuleState;
  severity: string;
  expr: string;
  rule?: Rule;
  inGroup?: RuleGroup;
  shipped?: ShippedRule; // of the binary
  changed: boolean; // a setting differs from what is shipped
}

const ofBinary = (g: RuleGroup) => g.file.startsWith('clanmon:');

export function ruleRows(groups: RuleGroup[], shipped: ShippedRule[]): RuleRow[] {
  const byName = new Map(shipped.map((s) => [`${s.group} ${s.name}`, s]));
  const rows: RuleRow[] = [];
  const evaluated = new Set<string>();
  for (const g of groups) {
    const seen = new Map<string, number>();
    for (const r of g.rules) {
      const n = (seen.get(r.name) ?? 0) + 1; // several rules may share a name
      seen.set(r.name, n);
      const s = ofBinary(g) ? byName.get(`${g.name} ${r.name}`) : undefined;
      const severity = severityOf(s, r);
      if (s) evaluated.add(`${g.name} ${r.name}`);
      rows.push({
        key: [g.file, g.name, r.name, ...(n > 1 ? [n] : [])].join(' '),
        name: r.name,
        type: r.type,
        group: g.name,
        file: g.file,
        state:
          r.health === 'err'
            ? 'failing'
            : r.health === 'unknown'
              ? 'waiting'
              : severity === 'none'
                ? 'internal'
                : r.state === 'firing' || r.state === 'pending'
                  ? r.state
                  : 'ok',
        severity,
        expr: r.query,
        rule: r,
        inGroup: g,
        changed: !!s && changed(s).length > 0,
        ...(s && { shipped: s }),
      });
    }
  }
  for (const s of shipped) {
    if (evaluated.has(`${s.group} ${s.name}`)) continue;
    // Active, but of no group yet: the server is starting.
    const state = s.state === 'active' ? 'waiting' : s.state;
    rows.push({
      key: `clanmon ${s.group} ${s.name}`,
      name: s.name,
      type: s.type,
      group: s.group,
      file: '',
      state,
      severity: severityOf(s),
      expr: filledIn(s),
      shipped: s,
      changed: changed(s).length > 0,
    });
  }
  return rows;
}

function severityOf(s: ShippedRule | undefined, r?: Rule): string {
  const set = s?.settings.find((x) => x.name === 'severity')?.value;
  return set !== undefined ? String(set) : (r?.labels?.severity ?? '');
}

export const changed = (s: ShippedRule): RuleSetting[] => s.settings.filter((x) => x.value !== x.default);

// filledIn puts the values of parameters into a shipped expression.
export function filledIn(s: ShippedRule): string {
  return s.expr.replace(/\bparam:([a-z_]+)/g, (all, name) => {
    const v = s.settings.find((x) => x.name === name)?.value;
    return v === undefined ? all : typeof v === 'number' ? String(v) : JSON.stringify(v);
  });
}

// readable makes a sentence of a template: ‹machine› for its label, ‹value› for
// the value, … for what only an alert can tell.
export function readable(template: string): string {
  return template
    .replace(/\{\{-?\s*\$labels\.(\w+)\s*-?\}\}/g, '‹$1›')
    .replace(/\{\{-?\s*\$value\b[^}]*\}\}/g, '‹value›')
    .replace(/(\s*\{\{[\s\S]*?\}\}\s*)+/g, (m) => `${/^\s/.test(m) ? ' ' : ''}…${/\s$/.test(m) ? ' ' : ''}`)
    .trim();
}

// nixSetting writes a setting for the option builtinRules of the clan service.
export function nixSetting(rule: string, name: string, value: string | number): string {
  const attr = /^[a-zA-Z_][a-zA-Z0-9_'-]*$/.test(rule) ? rule : JSON.stringify(rule);
  return `builtinRules.set.${attr}.${name} = ${typeof value === 'number' ? value : JSON.stringify(value).replaceAll('${', '\\${')};`;
}

export const nixDisable = (rule: string) => `builtinRules.disable = [ ${JSON.stringify(rule)} ];`;

export interface RuleFilter {
  text: string;
  state: string;
  type: string;
  from: string;
}

export function ruleFits(r: RuleRow, f: RuleFilter): boolean {
  if (
    f.state &&
    f.state !== r.state &&
    !(f.state === 'inactive' && ['disabled', 'replaced', 'off'].includes(r.state)) &&
    !(f.state === 'changed' && r.changed)
  )
    return false;
  if (f.type && f.type !== r.type) return false;
  if (f.from && (f.from === 'shipped') !== !!r.shipped) return false;
  const hay = [
    r.name,
    r.group,
    r.file,
    r.expr,
    r.severity,
    r.shipped?.summary ?? '',
    r.rule?.annotations?.summary ?? '',
  ]
    .join(' ')
    .toLowerCase();
  return f.text
    .toLowerCase()
    .split(/\s+/)
    .every((w) => hay.includes(w));
}

// stateOf reads Prometheus' parameter health too.
export function stateParam(state: string, health: string): string {
  return (
    state ||
    ({ err: 'failing', error: 'failing', unknown: 'waiting', ok: 'ok' } as Record<string, string>)[health] ||
    ''
  );
}
