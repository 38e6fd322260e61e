// Asking for the lines of a chart: all its queries in one request, a refresh only for
// the steps that are new, and nothing while the chart is out of sight.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ApiError } from '../../api/client';
import type { Labels } from '../../api/types/query';
import { colour, combined, continued, exprFor, lookbackFor, ramps, settled, split, type Line } from '../../lib/chart';
import type { Frame } from '../../lib/rangeCache';
import { aligned, stepFor } from '../../lib/time';
import { range, serverNow, tick } from '../../state/clock';
import { frame } from '../../state/rangeData';
import type { Loaded } from './Plot';

// A query of a chart. expr may contain $step and $rate (a window of at least
// four scrape intervals and a step); name makes a series' name from its labels,
// null leaves the series out.
export interface ChartQuery {
  expr: string;
  name: (l: Labels) => string | null;
  colour?: (l: Labels, index: number) => string | undefined;
  negate?: boolean; // drawn below zero, for the other direction
  line?: boolean; // not stacked with the others
}

export interface Asking {
  queries: ChartQuery[];
  minStep?: number;
  scrape?: number; // seconds between two samples, 15 by default
  most?: number; // series drawn, 40 by default
  onLoaded?: (lines: Line[]) => void;
}

const names = new Intl.Collator('en', { numeric: true });

// linesOf gives the series of a frame the names and colours that their queries want.
function linesOf(got: Frame, { queries, scrape }: Asking, step: number): { lines: Line[]; filling: boolean } {
  const lines: Line[] = [];
  let filling = false;
  for (const s of got.series) {
    const { query, labels } = split(s.metric);
    const q = queries[query];
    const name = q?.name(labels) ?? null;
    if (!q || name === null) continue;
    const values = ramps(q.expr) ? settled(s.values, step, scrape) : s.values;
    if (values.every((v) => v === null)) {
      filling = true;
      continue;
    }
    lines.push({
      name,
      labels,
      query,
      values: q.negate ? values.map((v) => (v === null ? null : -v)) : values,
      negate: !!q.negate,
      colour: q.colour?.(labels, lines.length) ?? '',
      ...(q.line && { line: true }),
    });
  }
  const joined = continued(lines, Math.ceil(lookbackFor('', step, scrape) / step) + 1).sort(
    (a, b) => a.query - b.query || names.compare(a.name, b.name),
  );
  return { lines: joined, filling };
}

// useLines keeps the last answer while a newer one is on its way or fails. seen says
// whether the chart is in sight; one that hides itself while it is empty has to look
// once all the same.
export function useLines(
  p: Asking,
  seen: boolean,
  hideEmpty: boolean | undefined,
): { data?: Loaded; error?: ApiError; exprs: string[]; gone: boolean } {
  const [state, setState] = useState<{ data?: Loaded; error?: ApiError }>({});
  const r = range.value;
  const { from, to } = r;
  const step = stepFor(to - from, p.minStep);
  const t = tick.value;
  const exprs = p.queries.map((q) => exprFor(q.expr, step, p.scrape));
  const expr = combined(exprs);
  const lookback = lookbackFor(expr, step, p.scrape);
  // The question; time passing makes it no other one.
  const question = JSON.stringify([expr, step, lookback, r.relative ?? [from, to]]);
  const props = useRef(p);
  props.current = p;
  const gone = !!state.data && !state.data.lines.length && !!hideEmpty && !state.error;

  // Where one is asking, or has asked: not again in the same tick, and not a
  // second time while an answer is on its way.
  const flight = useRef<{ question: string; tick: number; done: boolean; abort: AbortController } | null>(null);
  useEffect(
    () => () => {
      flight.current?.abort.abort();
      flight.current = null;
    },
    [question],
  );
  useEffect(() => {
    const f = flight.current;
    if (!seen && !(gone && !f)) return;
    if (f && (!f.done || f.tick === t)) return;
    const mine = { question, tick: t, done: false, abort: new AbortController() };
    flight.current = mine;
    frame(expr, { ...aligned({ from, to }, step), step }, mine.abort.signal, lookback).then(
      (got) => {
        mine.done = true;
        if (mine.abort.signal.aborted) return;
        const begun = performance.now();
        const { most = 40, onLoaded } = props.current;
        const { lines, filling } = linesOf(got, props.current, step);
        const loaded = {
          times: got.times,
          lines: lines.slice(0, most).map((l, i) => ({ ...l, colour: l.colour || colour(i) })),
          hiddenSeries: Math.max(0, lines.length - most),
          filling,
          time: serverNow(),
          from,
          to,
          step,
          begun,
        };
        setState({ data: loaded });
        onLoaded?.(loaded.lines);
      },
      (error) => {
        mine.done = true;
        if (!mine.abort.signal.aborted) setState((s) => ({ ...s, error }));
      },
    );
  }, [question, seen, t]);
  return { ...state, exprs, gone };
}
