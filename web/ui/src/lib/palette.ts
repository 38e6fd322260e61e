// What the palette finds for a text, best first.
import { score } from './search';

export interface Item {
  text: string;
  kind: string;
}

// There are thousands of units, rules and metrics: letters that happen to come in
// order find too many of them, and a metric comes after what has the same name.
const MANY: Record<string, number> = { unit: 10, alert: 20, rule: 30, metric: 300 };
const LOOSE = 200; // what score gives at most for letters in order

export function found<T extends Item>(all: T[], q: string, most = 40): T[] {
  return all
    .map((e) => {
      const s = score(q, e.text);
      const many = MANY[e.kind];
      return { e, s: many === undefined ? s : s <= LOOSE ? 0 : Math.max(1, s - many) };
    })
    .filter((x) => x.s > 0)
    .sort((a, b) => b.s - a.s)
    .slice(0, most)
    .map((x) => x.e);
}
