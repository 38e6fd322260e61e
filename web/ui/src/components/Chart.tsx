// Chart draws range queries with uPlot. All charts of a page share the range of
// the URL and one crosshair; dragging zooms all of them. A chart that is not in
// sight asks for nothing, and a refresh only for the steps that are new.
import { useComputed } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { ApiError } from '../api/client';
import { queryRange } from '../api/prom';
import type { Labels } from '../api/types/query';
import { colour, stackFrame, type Line } from '../lib/chart';
import { ago, format, type Unit } from '../lib/format';
import { RangeCache } from '../lib/rangeCache';
import { aligned, clock, date, stepFor } from '../lib/time';
import { dragging, frozen, range, second, setAbsolute, tick } from '../state/clock';
import { dark, isUTC, zone } from '../state/prefs';
import { Empty } from './bits';

// A query of a chart. expr may contain $step and $rate (a window of at least
// four scrape intervals and a step); name makes a series' name from its labels,
// null leaves the series out.
export interface ChartQuery {
  expr: string;
  name: (l: Labels) => string | null;
  colour?: (l: Labels, index: number) => string | undefined;
  negate?: boolean; // drawn below zero, for the other direction
}

export interface Mark { time: number; text: string; level?: 'crit' | 'warn' | 'info' }

export interface ChartProps {
  title: string;
  unit?: Unit;
  queries: ChartQuery[];
  stack?: boolean;
  min?: number;
  max?: number; // of the axis, at least
  height?: number;
  minStep?: number;
  most?: number; // series drawn, 40 by default
  marks?: Mark[];
  tools?: (lines: Line[]) => ComponentChildren;
  empty?: { title: string; why?: string };
  hideEmpty?: boolean; // show nothing where there is no data, as for absent hardware
  onLoaded?: (lines: Line[]) => void;
}

const cache = new RangeCache();

export function exprFor(expr: string, step: number, scrape = 15): string {
  return expr.replaceAll('$rate', `${Math.max(4 * scrape, step)}s`).replaceAll('$step', `${step}s`);
}

interface Loaded { times: number[]; lines: Line[]; hiddenSeries: number; time: number }

export function Chart(p: ChartProps) {
  const box = useRef<HTMLElement>(null);
  const [seen, setSeen] = useState(false);
  const [state, setState] = useState<{ data?: Loaded; error?: ApiError; loading: boolean }>({ loading: true });
  const [off, setOff] = useState<ReadonlySet<string>>(new Set());
  const [cursor, setCursor] = useState<number | null>(null);
  const { from, to } = range.value;
  const step = stepFor(to - from, p.minStep);
  const t = tick.value;
  const key = JSON.stringify([p.queries.map((q) => q.expr), step, from, to]);

  useEffect(() => {
    const o = new IntersectionObserver((es) => setSeen(es.some((e) => e.isIntersecting)), { rootMargin: '250px' });
    o.observe(box.current!);
    return () => o.disconnect();
  }, []);

  useEffect(() => {
    if (!seen) return;
    const abort = new AbortController();
    const grid = { ...aligned({ from, to }, step), step };
    Promise.all(p.queries.map(async (q) => {
      const expr = exprFor(q.expr, step);
      const asked = cache.missing(expr, grid);
      return cache.put(expr, grid, asked, await queryRange(expr, asked.start, asked.end, step, abort.signal));
    })).then((frames) => {
      if (abort.signal.aborted) return;
      const lines: Line[] = [];
      frames.forEach((f, i) => {
        const q = p.queries[i]!;
        for (const s of f.series) {
          const name = q.name(s.metric);
          if (name === null) continue;
          lines.push({ name, labels: s.metric, query: i, values: q.negate ? s.values.map((v) => (v === null ? null : -v)) : s.values, negate: !!q.negate, colour: q.colour?.(s.metric, lines.length) ?? '' });
        }
      });
      lines.sort((a, b) => a.query - b.query || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
      const most = p.most ?? 40;
      const data = { times: frames[0]?.times ?? [], lines: lines.slice(0, most).map((l, i) => ({ ...l, colour: l.colour || colour(i) })), hiddenSeries: Math.max(0, lines.length - most), time: Date.now() / 1000 };
      setState({ data, loading: false });
      p.onLoaded?.(data.lines);
    }, (error) => {
      if (!abort.signal.aborted) setState((s) => ({ ...s, error, loading: false }));
    });
    return () => abort.abort();
  }, [key, seen, t]);

  const data = state.data;
  const empty = !!data && !data.lines.length;
  const gone = empty && p.hideEmpty && !state.error;
  const toggle = (name: string, only: boolean) => {
    const names = data?.lines.map((l) => l.name) ?? [];
    setOff((o) => {
      if (only) {
        const others = names.filter((n) => n !== name);
        return others.every((n) => o.has(n)) && !o.has(name) ? new Set() : new Set(others);
      }
      const n = new Set(o);
      if (!n.delete(name)) n.add(name);
      return n;
    });
  };
  const i = cursor ?? lastIndex(data);
  const old = data && !frozen.value && second.value - data.time > 120;

  return (
    <section class="panel chart" ref={box as never} aria-label={p.title} hidden={gone}>
      <header>
        <h3>{p.title}</h3>
        {data && cursor !== null && data.times[cursor] !== undefined && <span class="at">{date(data.times[cursor]!, isUTC())} {clock(data.times[cursor]!, isUTC(), step < 60)}</span>}
        {old && <span class="status badge warn">last drawn {ago(second.value - data.time)} ago</span>}
        {data && p.tools?.(data.lines)}
      </header>
      {state.error && <p class="note crit" style={{ margin: '8px 12px' }} role="alert">{state.error.message}</p>}
      {!data && !state.error && <div style={{ height: `${p.height ?? 180}px`, padding: '12px' }}><div class="skeleton" style={{ height: '100%' }} /></div>}
      {empty && !state.error && <Empty icon="chart" title={p.empty?.title ?? 'No data in this range'} why={p.empty?.why} />}
      {data && !empty && (
        <>
          <Plot {...p} data={data} off={off} step={step} onCursor={setCursor} stale={!!old} />
          <div class="legend">
            {data.lines.map((l) => (
              <button type="button" key={`${l.query} ${l.name}`} aria-pressed={!off.has(l.name)} title={`${l.name}\nClick to show or hide, with Shift only this one`} onClick={(e) => toggle(l.name, e.shiftKey)}>
                <span class="swatch" style={{ background: l.colour }} />
                <span class="name">{l.name}</span>
                <span class="value">{i === null ? '' : format(l.values[i] == null ? undefined : l.negate ? -l.values[i]! : l.values[i], p.unit)}</span>
              </button>
            ))}
            {data.hiddenSeries > 0 && <span class="dim">and {data.hiddenSeries} more</span>}
          </div>
        </>
      )}
    </section>
  );
}

function lastIndex(d: Loaded | undefined): number | null {
  if (!d) return null;
  for (let i = d.times.length - 1; i >= 0; i--) if (d.lines.some((l) => l.values[i] !== null)) return i;
  return null;
}

const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const resolve = (c: string) => (c.startsWith('var(') ? css(c.slice(4, -1)) : c);

function Plot(p: ChartProps & { data: Loaded; off: ReadonlySet<string>; step: number; onCursor: (i: number | null) => void; stale: boolean }) {
  const el = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const height = p.height ?? 180;
  const shown = p.data.lines.filter((l) => !p.off.has(l.name));
  const drawn = useMemo(() => (p.stack ? stackFrame(shown) : shown.map((l) => l.values)), [p.data, p.off, p.stack]);
  // What makes another plot rather than other data in the same one.
  const shape = JSON.stringify([shown.map((l) => [l.name, l.colour]), p.unit, p.stack, height]);
  const theme = useComputed(() => `${dark.value} ${zone.value}`).value;
  const marks = useRef(p.marks);
  marks.current = p.marks;
  const cb = useRef(p.onCursor);
  cb.current = p.onCursor;

  useLayoutEffect(() => {
    const node = el.current!;
    const grid = css('--grid');
    const ink = css('--ink-3');
    const font = `11px ${css('--font')}`;
    const utc = isUTC();
    const stroke = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 } };
    const u = new uPlot({
      width: node.clientWidth || 300,
      height,
      padding: [10, 8, 0, 0],
      legend: { show: false },
      tzDate: (ts) => (utc ? uPlot.tzDate(new Date(ts * 1000), 'Etc/UTC') : new Date(ts * 1000)),
      cursor: {
        sync: { key: 'page', setSeries: false },
        drag: { x: true, y: false, setScale: false },
        points: { size: 5 },
        focus: { prox: 24 },
      },
      focus: { alpha: 0.35 },
      scales: {
        x: { time: true },
        y: { range: (_u, lo, hi) => axisRange(lo, hi, p.min, p.max) },
      },
      axes: [
        { ...stroke, space: 70, values: (_u, splits, _a, _s, incr) => timeLabels(splits, incr, utc) },
        { ...stroke, size: (_u, values) => 12 + Math.max(28, ...(values ?? []).map((v) => v.length * 6.4)), space: 32, values: (_u, splits) => splits.map((v) => format(shown.some((l) => l.negate) ? Math.abs(v) : v, p.unit)), ...(p.unit === 'bytes' || p.unit === 'bytesps' ? { incrs: byteSteps } : {}) },
      ],
      series: [{}, ...shown.map((l) => ({
        label: l.name,
        stroke: resolve(l.colour),
        spanGaps: false,
        points: { show: false },
        ...(p.stack ? { fill: resolve(l.colour) + 'b8', width: 0.8 } : { width: 1.4, ...(shown.length === 1 && { fill: resolve(l.colour) + '1f' }) }),
      }))],
      ...(p.stack && { bands: shown.slice(1).map((_, i) => ({ series: [i + 2, i + 1] as [number, number] })) }),
      hooks: {
        setCursor: [(u) => cb.current(u.cursor.idx ?? null)],
        setSelect: [(u) => {
          dragging.value = false;
          if (u.select.width < 6) return;
          const a = u.posToVal(u.select.left, 'x');
          const b = u.posToVal(u.select.left + u.select.width, 'x');
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          setAbsolute(a, b);
        }],
        draw: [(u) => drawMarks(u, marks.current)],
      },
    }, [p.data.times, ...drawn] as uPlot.AlignedData, node);
    plot.current = u;
    const down = () => (dragging.value = true);
    const up = () => (dragging.value = false);
    u.over.addEventListener('mousedown', down);
    window.addEventListener('mouseup', up);
    // A finger has no hover: a tap sets the cursor.
    const touch = (e: TouchEvent) => {
      const r = u.over.getBoundingClientRect();
      const f = e.touches[0];
      if (f) u.setCursor({ left: f.clientX - r.left, top: f.clientY - r.top });
    };
    u.over.addEventListener('touchstart', touch, { passive: true });
    u.over.addEventListener('touchmove', touch, { passive: true });
    const resize = new ResizeObserver(() => { if (node.clientWidth && node.clientWidth !== u.width) u.setSize({ width: node.clientWidth, height }); });
    resize.observe(node);
    return () => {
      resize.disconnect();
      window.removeEventListener('mouseup', up);
      u.destroy();
      plot.current = null;
    };
  }, [shape, theme]);

  const first = useRef(true);
  useLayoutEffect(() => {
    if (first.current) { first.current = false; return; }
    plot.current?.setData([p.data.times, ...drawn] as uPlot.AlignedData);
  }, [drawn]);
  useEffect(() => plot.current?.redraw(), [p.marks]);

  const text = `${p.title}: ${shown.length} series from ${dateText(p.data.times[0])} to ${dateText(p.data.times.at(-1))}`;
  return <div class={`plot${p.stale ? ' stale' : ''}`} role="img" aria-label={text}><div ref={el} /></div>;
}

const dateText = (t: number | undefined) => (t === undefined ? '' : `${date(t, isUTC())} ${clock(t, isUTC(), false)}`);
const byteSteps = Array.from({ length: 60 }, (_, i) => 2 ** i);

function axisRange(lo: number | null, hi: number | null, min?: number, max?: number): [number, number] {
  let a = Math.min(lo ?? 0, min ?? Infinity);
  let b = Math.max(hi ?? 1, max ?? -Infinity);
  if (min === undefined && a > 0 && a < b * 0.6) a = 0;
  if (a === b) { b = a === 0 ? 1 : a + Math.abs(a) * 0.1; a = a === 0 ? 0 : a - Math.abs(a) * 0.1; }
  const pad = (b - a) * 0.06;
  return [a === 0 || a === min ? a : a - pad, b === max ? b : b + pad];
}

function timeLabels(splits: number[], incr: number, utc: boolean): string[] {
  let day = '';
  return splits.map((s) => {
    const d = date(s, utc);
    const t = clock(s, utc, incr < 60);
    const text = incr >= 86400 ? d.slice(5) : d !== day && (day !== '' || t === '00:00') ? `${d.slice(5)}${t === '00:00' ? '' : ` ${t}`}` : t;
    day = d;
    return text;
  });
}

function drawMarks(u: uPlot, marks: Mark[] | undefined): void {
  if (!marks?.length) return;
  const { ctx } = u;
  ctx.save();
  for (const m of marks) {
    if (m.time < u.scales.x!.min! || m.time > u.scales.x!.max!) continue;
    const x = Math.round(u.valToPos(m.time, 'x', true)) + 0.5;
    ctx.strokeStyle = css(`--${m.level ?? 'info'}`);
    ctx.lineWidth = 1;
    ctx.setLineDash([3, 3]);
    ctx.beginPath();
    ctx.moveTo(x, u.bbox.top);
    ctx.lineTo(x, u.bbox.top + u.bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

