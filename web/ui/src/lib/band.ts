// What a long step hides: how far a line went within each of its points.
import { combined, exprFor, type Line } from './chart';

export interface Band {
  min: (number | null)[];
  max: (number | null)[];
}

export const MOST_BANDS = 8; // lines: each costs two more queries

// Within a step at most so many times are looked at, so that a chart of a year costs no
// more than one of a day.
const WITHIN = 20;

// hides says that a step is longer than what was sampled.
export const hides = (step: number, scrape = 15): boolean => step >= 2 * scrape;

// bandExpr asks for the maxima of all queries, and after them for the minima, over each
// step. Samples of a plain selector are all looked at.
export function bandExpr(exprs: string[], step: number, scrape = 15): string {
  const inner = Math.max(scrape, Math.ceil(step / WITHIN));
  const of = (expr: string) =>
    /^\s*[a-zA-Z_:][\w:]*(\{[^}]*\})?\s*$/.test(expr)
      ? `${expr}[${step}s]`
      : `(${exprFor(expr, inner, scrape)})[${step}s:${inner}s]`;
  return combined(['max', 'min'].flatMap((f) => exprs.map((e) => `${f}_over_time(${of(e)})`)));
}

// bandsOf are the bands of the lines by their place, from lines of the answer: those of
// the first half of queries are maxima.
export function bandsOf(lines: Line[], answer: Line[], queries: number): (Band | undefined)[] {
  const by = new Map(answer.map((l) => [`${l.query} ${l.name}`, l.values]));
  return lines.map((l) => {
    if (l.past || l.query < 0) return undefined;
    const max = by.get(`${l.query} ${l.name}`);
    const min = by.get(`${l.query + queries} ${l.name}`);
    return max && min ? { min, max } : undefined;
  });
}
