// Asking for the lines of a chart: all its queries in one request, a refresh only for
// the steps that are new, and nothing while the chart is out of sight.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ApiError } from '../../api/client';
import type { Labels } from '../../api/types/query';
import {
  colour,
  combined,
  continued,
  exprFor,
  firstTime,
  lookbackFor,
  pastLines,
  PASTS,
  ramps,
  settled,
  split,
  type Line,
  type Loaded,
} from '../../lib/chart';
import type { Frame } from '../../lib/rangeCache';
import { bandExpr, bandsOf, hides, MOST_BANDS, type Band } from '../../lib/band';
import { aligned, stepFor } from '../../lib/time';
import { begins } from '../../state/begun';
import { range, serverNow, tick } from '../../state/clock';
import { param } from '../../state/location';
import { frame } from '../../state/rangeData';

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
  stack?: boolean;
  most?: number; // series drawn, 40 by default
  span?: { from: number; to: number }; // in place of the range of the page
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
    const own = q.colour?.(labels, lines.length);
    lines.push({
      name,
      labels,
      query,
      values: q.negate ? values.map((v) => (v === null ? null : -v)) : values,
      negate: !!q.negate,
      colour: own ?? '',
      ...(own && { own: true }),
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
  const r = p.span ? { ...p.span, relative: null } : range.value;
  const { from, to } = r;
  const step = stepFor(to - from, p.minStep);
  const t = tick.value;
  const exprs = p.queries.map((q) => exprFor(q.expr, step, p.scrape));
  const expr = combined(exprs);
  const lookback = lookbackFor(expr, step, p.scrape);
  const past = PASTS[param('past')];
  // The question; time passing makes it no other one.
  const question = JSON.stringify([expr, step, lookback, past, r.relative ?? [from, to]]);
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
    const grid = { ...aligned({ from, to }, step), step };
    const { signal } = mine.abort;
    Promise.all([frame(expr, grid, signal, lookback), past && frame(expr, grid, signal, lookback, past.seconds)]).then(
      ([got, before]) => {
        mine.done = true;
        if (mine.abort.signal.aborted) return;
        const begun = performance.now();
        const { most = 40, onLoaded } = props.current;
        const { lines, filling } = linesOf(got, props.current, step);
        const drawn = lines.slice(0, most).map((l, i) => ({ ...l, colour: l.colour || colour(i) }));
        const earlier = before ? linesOf(before, props.current, step).lines : [];
        const loaded = {
          times: got.times,
          lines: past ? [...drawn, ...pastLines(earlier.slice(0, most), drawn, props.current.stack, past.name)] : drawn,
          hiddenSeries: Math.max(0, lines.length - most),
          filling,
          time: serverNow(),
          from,
          to,
          step,
          begun,
        };
        setState({ data: loaded });
        begins(firstTime(got.times, drawn));
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

// useBands asks how far lines went within each step, once they are there: of one or two
// lines by itself, of up to eight where it is wanted. If a query fails, there is
// no band.
export function useBands(p: Asking, data: Loaded | undefined, seen: boolean, wanted: boolean | undefined) {
  const [state, setState] = useState<{ of: Loaded; bands: (Band | undefined)[] }>();
  const can = !!data && canBand(p, data);
  const few = !!data && data.lines.filter((l) => !l.past).length <= 2;
  const want = can && seen && (wanted ?? few);
  useEffect(() => {
    if (!want || !data) return;
    const { from, to, step } = data;
    const abort = new AbortController();
    const expr = bandExpr(
      p.queries.map((q) => q.expr),
      step,
      p.scrape,
    );
    frame(expr, { ...aligned({ from, to }, step), step }, abort.signal, lookbackFor(expr, step, p.scrape)).then(
      (got) => {
        if (abort.signal.aborted) return;
        const both = { ...p, queries: [...p.queries, ...p.queries] };
        setState({ of: data, bands: bandsOf(data.lines, linesOf(got, both, step).lines, p.queries.length) });
      },
      () => undefined,
    );
    return () => abort.abort();
  }, [data, want]);
  // Until the newer ones are there the older ones do, if they are of the same lines.
  const bands =
    want && state && state.of.step === data!.step && state.of.times[0] === data!.times[0] ? state.bands : undefined;
  return { bands, can, on: wanted ?? few };
}

const canBand = (p: Asking, d: Loaded) =>
  !p.stack && hides(d.step, p.scrape) && d.lines.filter((l) => !l.past).length <= MOST_BANDS;
