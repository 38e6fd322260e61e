// Alertmanager's matchers: read, written and applied as its server does.
import type { Matcher } from '../api/types/alerts';
import type { Labels } from '../api/types/query';

export type Op = '=' | '!=' | '=~' | '!~';
export const OPS: Op[] = ['=', '!=', '=~', '!~'];

export const opOf = (m: Matcher): Op => (m.isRegex ? (m.isEqual ? '=~' : '!~') : m.isEqual ? '=' : '!=');
export const withOp = (m: Matcher, op: Op): Matcher => ({
  ...m,
  isRegex: op === '=~' || op === '!~',
  isEqual: op === '=' || op === '=~',
});
export const matcher = (name: string, value: string, op: Op = '='): Matcher =>
  withOp({ name, value, isRegex: false, isEqual: true }, op);

const plainName = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

// quoted writes a text as Alertmanager reads it: JSON's escapes but for those
// that it does not know.
const quoted = (s: string) => `"${s.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;

export const printMatcher = (m: Matcher): string =>
  `${plainName.test(m.name) ? m.name : quoted(m.name)}${opOf(m)}${quoted(m.value)}`;

// shortMatcher is for where a list of a thousand machines has no room.
export const shortMatcher = (m: Matcher): string => {
  const text = printMatcher(m);
  return text.length > 200 ? `${text.slice(0, 180)}…"` : text;
};

// parseMatchers reads name="value", name=~value and lists of these, with or
// without braces, or says what is wrong.
export function parseMatchers(text: string): Matcher[] | { error: string } {
  let rest = text.trim();
  if (rest.startsWith('{')) {
    if (!rest.endsWith('}')) return { error: 'The closing } is missing' };
    rest = rest.slice(1, -1).trim();
  }
  const out: Matcher[] = [];
  const token = (stop: RegExp): string | { error: string } => {
    if (!rest.startsWith('"')) {
      const t = stop.exec(rest)?.[0] ?? '';
      rest = rest.slice(t.length);
      return t.trim();
    }
    const m = /^"((?:[^"\\]|\\.)*)"/s.exec(rest);
    if (!m) return { error: `The closing quote of ${rest} is missing` };
    rest = rest.slice(m[0].length);
    return m[1]!.replace(/\\(.)/gs, (_, c: string) =>
      c === 'n' ? '\n' : c === 'r' ? '\r' : c === 't' ? '\t' : c === '"' || c === '\\' ? c : `\\${c}`,
    );
  };
  while (rest) {
    const name = token(/^[^=!~,"{}]*/);
    if (typeof name !== 'string') return name;
    if (!name) return { error: `A label name is missing before ${rest || 'the end'}` };
    rest = rest.trimStart();
    const op = /^(=~|!~|!=|=)/.exec(rest)?.[0] as Op | undefined;
    if (!op) return { error: `${name} must be followed by =, !=, =~ or !~` };
    rest = rest.slice(op.length).trimStart();
    const value = token(/^[^,"]*/);
    if (typeof value !== 'string') return value;
    out.push(matcher(name, value, op));
    rest = rest.trimStart();
    if (!rest) break;
    if (!rest.startsWith(',')) return { error: `A comma is missing before ${rest}` };
    rest = rest.slice(1).trimStart();
  }
  return out;
}

// regexOf is the expression of a regex matcher, which has to fit the whole
// value; undefined if this browser cannot read it. A list of a thousand machines is
// compiled once and not for each of them.
const compiled = new Map<string, RegExp | undefined>();
export function regexOf(value: string): RegExp | undefined {
  if (!compiled.has(value)) {
    if (compiled.size >= 100) compiled.clear();
    compiled.set(value, compile(value));
  }
  return compiled.get(value);
}

function compile(value: string): RegExp | undefined {
  const flags = /^\(\?([is]+)\)/.exec(value);
  try {
    return new RegExp(`^(?:${flags ? value.slice(flags[0].length) : value})$`, flags?.[1] ?? '');
  } catch {
    return undefined;
  }
}

// fits says whether a matcher matches; a label that is missing is empty.
export function fits(m: Matcher, labels: Labels): boolean {
  const v = labels[m.name] ?? '';
  const hit = m.isRegex ? (regexOf(m.value)?.test(v) ?? false) : v === m.value;
  return hit === m.isEqual;
}

export const matchesAll = (list: Matcher[], labels: Labels): boolean => list.every((m) => fits(m, labels));

// problemOf says what Alertmanager would say of a list: there must be a matcher
// that an alert without labels does not pass.
export function problemOf(list: Matcher[]): string {
  if (!list.length) return 'At least one matcher is needed';
  for (const m of list) {
    if (!m.name) return 'A matcher lacks a label name';
    if (m.isRegex && !regexOf(m.value)) return `${m.value} is not a valid regular expression`;
  }
  if (list.every((m) => fits(m, {})))
    return 'These matchers match everything: at least one must not match an empty value';
  return '';
}
