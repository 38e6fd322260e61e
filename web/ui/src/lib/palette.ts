// What the palette finds for a text, best first.
import { score } from './search';

export interface Item {
  text: string;
  kind: string;
  also?: string; // more text by which it is found
}

// There are thousands of units, rules and metrics: letters that happen to come in
// order find too many of them, and a metric comes after what has the same name.
const MANY: Record<string, number> = { unit: 10, alert: 20, rule: 30, metric: 300 };
const LOOSE = 200; // what score gives at most for letters in order

const RECENT = 60;
const ALSO = 250; // what is found by other text than its name comes after

// keyOf tells items apart.
export const keyOf = (e: Item) => `${e.kind} ${e.text}`;

// found puts what was chosen recently before what fits as well.
export function found<T extends Item>(all: T[], q: string, recent: string[] = [], most = 40): T[] {
  return all
    .map((e) => {
      const by = score(q, e.text);
      const also = e.also?.toLowerCase().includes(q.toLowerCase()) ? ALSO : 0;
      const s = Math.max(by, also);
      const many = MANY[e.kind];
      const kept = many === undefined ? s : s <= LOOSE ? 0 : Math.max(1, s - many);
      return { e, s: kept && recent.includes(keyOf(e)) ? kept + RECENT : kept };
    })
    .filter((x) => x.s > 0)
    .sort((a, b) => b.s - a.s)
    .slice(0, most)
    .map((x) => x.e);
}

// chosen puts what was chosen before what was chosen earlier.
export const chosen = (recent: string[], key: string, most = 8): string[] =>
  [key, ...recent.filter((k) => k !== key)].slice(0, most);
