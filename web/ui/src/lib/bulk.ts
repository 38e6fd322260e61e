// The matchers of a silence that covers exactly the machines that a filter shows.
import type { Matcher } from '../api/types/alerts';
import { matcher } from './alertMatchers';
import { anyOf } from './quote';

// MOST_BYTES is the maximum size of a matcher's value on the server.
export const MOST_BYTES = 4096;

// READABLE is the size in bytes up to which an expression lists all names.
const READABLE = 600;

export interface Bulk {
  matchers: Matcher[];
  without: number; // machines whose alerts have no label machine, which no such matcher covers
  error: string; // why there is no such silence; '' if there is one
}

// bulk matches the tag if the tag is the only filter: the silence then also covers machines
// that get the tag later.
export function bulk(rows: { name: string; labelled?: boolean }[], onlyTag: string): Bulk {
  const names = rows.filter((r) => r.labelled !== false).map((r) => r.name);
  const without = rows.length - names.length;
  const none = (error: string): Bulk => ({ matchers: [], without, error });
  if (!names.length)
    return none('The alerts of these machines have no label “machine”. Silence them by the label “instance”.');
  if (onlyTag) return { matchers: [matcher('tags', `.*,${anyOf([onlyTag])},.*`, '=~')], without, error: '' };
  if (names.length === 1) return { matchers: [matcher('machine', names[0]!)], without, error: '' };
  const list = anyOf(names);
  const value = list.length <= READABLE ? list : factored(names);
  const length = new TextEncoder().encode(value).length;
  return length <= MOST_BYTES
    ? { matchers: [matcher('machine', value, '=~')], without, error: '' }
    : none(
        `The names of ${names.length} machines take ${length} bytes. A silence has room for ${MOST_BYTES}. Filter by one tag only, or for fewer machines.`,
      );
}

// Opened is what the form for all shown machines is about.
export interface Opened {
  count: number; // machines that were shown
  filtered: boolean;
  bulk: Bulk;
}

// openedOn copies what it needs of the rows, which change while the form is open.
export function openedOn(
  rows: { name: string; labelled?: boolean }[],
  filter: { q: string; tag: string; show: string },
): Opened {
  return {
    count: rows.length,
    filtered: !!(filter.q || filter.tag || filter.show),
    bulk: bulk(rows, filter.q || filter.show ? '' : filter.tag),
  };
}

interface Node {
  end: boolean;
  next: Map<string, Node>;
}

// factored is a regular expression that matches exactly these names. Common prefixes appear
// once: web-(ams|fra)-0[1-9].
export function factored(names: string[]): string {
  const root: Node = { end: false, next: new Map() };
  for (const name of names) {
    let n = root;
    for (const c of name) {
      let to = n.next.get(c);
      if (!to) n.next.set(c, (to = { end: false, next: new Map() }));
      n = to;
    }
    n.end = true;
  }
  return write(root);
}

function write(n: Node): string {
  if (!n.next.size) return '';
  // Characters with the same continuation form one class.
  const by = new Map<string, string[]>();
  for (const [c, to] of n.next) {
    const rest = `${to.end && to.next.size ? '?' : ''}${write(to)}`;
    by.set(rest, [...(by.get(rest) ?? []), c]);
  }
  const branches = [...by].map(([rest, chars]) => {
    const tail = rest.startsWith('?') ? optional(rest.slice(1)) : rest;
    return chars.length === 1 ? anyOf(chars) + tail : `${classOf(chars)}${tail}`;
  });
  return branches.length === 1 ? branches[0]! : `(${branches.join('|')})`;
}

const optional = (rest: string) => `(${rest})?`;

// classOf writes runs of digits and letters as ranges.
function classOf(chars: string[]): string {
  const sorted = [...chars].sort();
  const runs: string[][] = [];
  for (const c of sorted) {
    const run = runs.at(-1);
    if (run && /[0-9a-z]/.test(c) && c.codePointAt(0) === run.at(-1)!.codePointAt(0)! + 1) run.push(c);
    else runs.push([c]);
  }
  const safe = (c: string) => (/[\\\]^[-]/.test(c) ? `\\${c}` : c);
  return `[${runs.map((r) => (r.length > 2 ? `${r[0]}-${r.at(-1)}` : r.map(safe).join(''))).join('')}]`;
}
