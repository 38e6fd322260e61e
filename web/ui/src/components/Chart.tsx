// Chart draws range queries with uPlot. All charts of a page share the range of
// the URL and one crosshair; dragging zooms all of them. A chart asks for all its
// queries in one request, a refresh only for the steps that are new, and a chart
// that is not in sight for nothing.
import { useComputed } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { ApiError } from '../api/client';
import type { Labels } from '../api/types/query';
import {
  alone,
  axisRange,
  colour,
  combined,
  dash,
  exprFor,
  mix,
  split,
  stackFrame,
  timeLabels,
  timeSplits,
  timeSteps,
  valueLabel,
  valueSteps,
  type Bounds,
  type Dot,
  type Line,
  type Mark,
} from '../lib/chart';
import { format, type Unit } from '../lib/format';
import { aligned, clock, date, durationText, stepFor } from '../lib/time';
import { dragging, frozen, range, setAbsolute, tick, useOld } from '../state/clock';
import { param, setParams } from '../state/location';
import { dark, isUTC, zone } from '../state/prefs';
import { frame } from '../state/rangeData';
import { Ago, Empty, Overlay } from './bits';
import { ChartMenu, slug } from './ChartMenu';

export { exprFor } from '../lib/chart';
export type { Mark } from '../lib/chart';

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

export interface ChartProps {
  title: string;
  unit?: Unit;
  queries: ChartQuery[];
  stack?: boolean;
  min?: number;
  max?: number; // of the axis, at least
  height?: number;
  minStep?: number;
  scrape?: number; // seconds between two samples, 15 by default
  most?: number; // series drawn, 40 by default
  marks?: Mark[];
  dots?: Dot[];
  live?: boolean; // samples are expected up to now: say so when they end
  tools?: (lines: Line[]) => ComponentChildren;
  empty?: { title: string; why?: string };
  hideEmpty?: boolean; // show nothing where there is no data, as for absent hardware
  onLoaded?: (lines: Line[]) => void;
}

interface Loaded {
  times: number[];
  lines: Line[];
  hiddenSeries: number;
  time: number;
  from: number;
  to: number;
  step: number;
  begun: number;
}

// Chart, and the same chart large while the URL says so.
export function Chart(p: ChartProps) {
  const id = slug(p.title);
  return (
    <>
      <One {...p} />
      {param('chart') === id && (
        <Overlay kind="dialog" wide title={p.title} onClose={() => setParams({ chart: null }, false)}>
          <One {...p} full height={Math.max(220, window.innerHeight - 260)} most={Math.max(p.most ?? 0, 200)} />
        </Overlay>
      )}
    </>
  );
}

function One(p: ChartProps & { full?: boolean }) {
  const box = useRef<HTMLElement>(null);
  const [seen, setSeen] = useState(false);
  const [state, setState] = useState<{ data?: Loaded; error?: ApiError }>({});
  const [off, setOff] = useState<ReadonlySet<string>>(new Set());
  const [cursor, setCursor] = useState<number | null>(null);
  const [focus, setFocus] = useState<string | null>(null);
  const r = range.value;
  const { from, to } = r;
  const step = stepFor(to - from, p.minStep);
  const t = tick.value;
  const exprs = p.queries.map((q) => exprFor(q.expr, step, p.scrape));
  const expr = combined(exprs);
  // The question; time passing makes it no other one.
  const question = JSON.stringify([expr, step, r.relative ?? [from, to]]);
  const props = useRef(p);
  props.current = p;

  useEffect(() => {
    const o = new IntersectionObserver((es) => setSeen(es.some((e) => e.isIntersecting)), { rootMargin: '200px' });
    o.observe(box.current!);
    return () => o.disconnect();
  }, []);

  const data = state.data;
  const empty = !!data && !data.lines.length;
  const gone = empty && p.hideEmpty && !state.error;

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
    frame(expr, { ...aligned({ from, to }, step), step }, mine.abort.signal).then(
      (got) => {
        mine.done = true;
        if (mine.abort.signal.aborted) return;
        const begun = performance.now();
        const { queries, most = 40, onLoaded } = props.current;
        const lines: Line[] = [];
        for (const s of got.series) {
          const { query, labels } = split(s.metric);
          const q = queries[query];
          const name = q?.name(labels) ?? null;
          if (!q || name === null) continue;
          lines.push({
            name,
            labels,
            query,
            values: q.negate ? s.values.map((v) => (v === null ? null : -v)) : s.values,
            negate: !!q.negate,
            colour: q.colour?.(labels, lines.length) ?? '',
            ...(q.line && { line: true }),
          });
        }
        lines.sort((a, b) => a.query - b.query || names.compare(a.name, b.name));
        const loaded = {
          times: got.times,
          lines: lines.slice(0, most).map((l, i) => ({ ...l, colour: l.colour || colour(i) })),
          hiddenSeries: Math.max(0, lines.length - most),
          time: Date.now() / 1000,
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

  const toggle = (name: string, only: boolean) => {
    const all = data?.lines.map((l) => l.name) ?? [];
    setOff((o) => {
      if (only) {
        const others = all.filter((n) => n !== name);
        return others.every((n) => o.has(n)) && !o.has(name) ? new Set() : new Set(others);
      }
      const n = new Set(o);
      if (!n.delete(name)) n.add(name);
      return n;
    });
  };
  const last = lastIndex(data);
  const i = cursor ?? last;
  const old = useOld(data?.time);
  const ended =
    data &&
    p.live &&
    !frozen.value &&
    last !== null &&
    data.times.at(-1)! - data.times[last]! > Math.max(2.5 * data.step, 4 * (p.scrape ?? 15))
      ? data.times[last]!
      : undefined;
  const height = p.height ?? 170;
  const many = !!data && data.lines.length > 8;

  return (
    <section
      class={`panel chart${p.full ? ' full' : ''}`}
      ref={box as never}
      aria-label={p.title}
      hidden={gone}
      data-chart={p.full ? undefined : slug(p.title)}
    >
      <header>
        {!p.full && <h3>{p.title}</h3>}
        {data && cursor !== null && data.times[cursor] !== undefined && (
          <span class="at">
            {date(data.times[cursor]!, isUTC())} {clock(data.times[cursor]!, isUTC(), data.step < 60)}
          </span>
        )}
        {ended !== undefined && (
          <span class="status badge warn">
            last sample <Ago time={ended} suffix=" ago" />
          </span>
        )}
        {old && ended === undefined && (
          <span class="status badge warn">
            last drawn <Ago time={data!.time} suffix=" ago" />
          </span>
        )}
        {data && p.tools?.(data.lines)}
        <ChartMenu
          title={p.title}
          unit={p.unit}
          exprs={exprs}
          rules={p.queries.map((q) => exprFor(q.expr, 300, p.scrape))}
          full={!!p.full}
          lines={data?.lines}
        />
      </header>
      {state.error && (
        <p class="note crit" style={{ margin: '8px 12px' }} role="alert">
          {state.error.message}
        </p>
      )}
      {!data && !state.error && (
        <div style={{ height: `${height + 34}px`, padding: '12px' }}>
          <div class="skeleton" style={{ height: '100%' }} />
        </div>
      )}
      {empty && !state.error && (
        <Empty
          icon="chart"
          title={p.empty?.title ?? 'No data in this range'}
          why={
            p.empty?.why ??
            (step >= 600 && !frozen.value
              ? `In a range this long, points are ${durationText(step)} apart. Choose a shorter one for what is younger than that.`
              : undefined)
          }
        />
      )}
      {data && !empty && (
        <>
          <Plot
            {...p}
            height={height}
            data={data}
            off={off}
            onCursor={setCursor}
            onFocus={setFocus}
            stale={old || ended !== undefined}
          />
          <div class={`legend${many ? ' many' : ''}${ended !== undefined ? ' stale' : ''}`}>
            {data.lines.map((l, k) => (
              <button
                type="button"
                key={`${l.query} ${l.name} ${k}`}
                class={focus === l.name ? 'focus' : ''}
                aria-pressed={!off.has(l.name)}
                title={`${l.name}\nClick to show or hide, with Shift only this one`}
                onClick={(e) => toggle(l.name, e.shiftKey)}
              >
                <span
                  class={`swatch${dash(k) && !(p.stack && !l.line) ? ' dashed' : ''}`}
                  style={{
                    color:
                      p.stack && !l.line && k >= 8 ? `color-mix(in srgb, ${l.colour} 55%, var(--panel))` : l.colour,
                  }}
                />
                <span class="name">{l.name}</span>
                <span class="value">
                  {i === null
                    ? ''
                    : format(l.values[i] == null ? undefined : l.negate ? -l.values[i]! : l.values[i], p.unit)}
                </span>
              </button>
            ))}
            {data.hiddenSeries > 0 && <span class="dim">and {data.hiddenSeries} more, not drawn</span>}
          </div>
        </>
      )}
    </section>
  );
}

const names = new Intl.Collator('en', { numeric: true });

function lastIndex(d: Loaded | undefined): number | null {
  if (!d) return null;
  for (let i = d.times.length - 1; i >= 0; i--) if (d.lines.some((l) => l.values[i] !== null)) return i;
  return null;
}

const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const resolve = (c: string) => (c.startsWith('var(') ? css(c.slice(4, -1)) : c);

interface Tip {
  left: number;
  right: boolean;
  text: { text: string; colour: string }[];
}

// Plot only draws.
export function Plot(
  p: ChartProps & {
    height: number;
    data: Loaded;
    off: ReadonlySet<string>;
    onCursor: (i: number | null) => void;
    onFocus: (name: string | null) => void;
    stale: boolean;
  },
) {
  const el = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [tip, setTip] = useState<Tip | null>(null);
  const { height } = p;
  const shown = useMemo(() => {
    const lines = p.data.lines
      .map((l, k) => ({ ...l, dash: dash(k), pale: !!p.stack && !l.line && k >= 8 }))
      .filter((l) => !p.off.has(l.name));
    // What is not stacked is drawn over what is.
    return p.stack ? [...lines.filter((l) => !l.line), ...lines.filter((l) => l.line)] : lines;
  }, [p.data, p.off, p.stack]);
  const drawn = useMemo(() => (p.stack ? stackFrame(shown) : shown.map((l) => l.values)), [shown]);
  // What makes another plot rather than other data in the same one.
  const shape = JSON.stringify([shown.map((l) => [l.name, l.colour, l.dash, l.line]), p.unit, p.stack, height]);
  const theme = useComputed(() => `${dark.value} ${zone.value}`).value;
  const live = useRef({ p, shown });
  live.current = { p, shown };
  const view = useRef<Bounds | null>(null); // while two fingers pinch
  const kept = useRef<{ of: string; bounds: Bounds } | null>(null);

  useLayoutEffect(() => {
    const node = el.current!;
    const grid = css('--grid');
    const ink = css('--ink-3');
    const panel = css('--panel');
    const font = `11px ${css('--font')}`;
    const utc = isUTC();
    const stroke = { stroke: ink, font, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 } };
    const stacked = shown.filter((l) => !l.line).length;
    const hover = { on: false };
    const u = new uPlot(
      {
        width: node.clientWidth || 300,
        height,
        padding: [8, 18, 0, 0],
        legend: { show: false },
        tzDate: (ts) => (utc ? uPlot.tzDate(new Date(ts * 1000), 'Etc/UTC') : new Date(ts * 1000)),
        cursor: {
          sync: { key: 'page', setSeries: false },
          drag: { x: true, y: false, setScale: false },
          points: { size: 5 },
          focus: { prox: shown.length > 1 && !p.stack ? 24 : -1 }, // areas that fade say less than they did
        },
        focus: { alpha: 0.35 },
        scales: {
          x: { time: true, range: () => view.current ?? [live.current.p.data.from, live.current.p.data.to] },
          y: {
            range: (_u, lo, hi) => {
              const of = JSON.stringify([shape, live.current.p.data.step, range.peek().relative ?? range.peek()]);
              for (const d of live.current.p.dots ?? []) {
                lo = Math.min(lo ?? d.value, d.value);
                hi = Math.max(hi ?? d.value, d.value);
              }
              const bounds = axisRange(lo, hi, {
                min: p.min,
                max: p.max,
                unit: p.unit,
                old: kept.current?.of === of ? kept.current.bounds : undefined,
              });
              kept.current = { of, bounds };
              return bounds;
            },
          },
        },
        axes: [
          {
            ...stroke,
            size: 28,
            space: 70,
            incrs: timeSteps,
            splits: (_u, _a, min, max, step) => timeSplits(min, max, step, utc),
            values: (_u, splits, _a, _s, step) => timeLabels(splits, step, utc),
          },
          {
            ...stroke,
            size: 62,
            space: height > 300 ? 48 : 27,
            incrs: valueSteps(p.unit),
            values: (_u, splits, _a, _s, step) =>
              splits.map((v) => valueLabel(shown.some((l) => l.negate) ? Math.abs(v) : v, step, p.unit)),
          },
        ],
        series: [
          {},
          ...shown.map((l) => {
            const c = l.pale ? mix(resolve(l.colour), panel, 0.45) : resolve(l.colour);
            return {
              label: l.name,
              stroke: c,
              spanGaps: false,
              points: { show: true, size: 4, fill: c, filter: (u: uPlot, si: number) => alone(u.data[si]!) },
              ...(p.stack && !l.line
                ? { fill: `${c}b0`, width: 0.8 }
                : {
                    width: l.line ? 1.6 : 1.4,
                    ...(l.line ? { dash: [5, 3] } : l.dash && { dash: l.dash }),
                    ...(shown.length === 1 && { fill: `${c}1f` }),
                  }),
            };
          }),
        ],
        // Each stacked area is filled down to the one below on its side of zero.
        ...(p.stack && {
          bands: shown.slice(0, stacked).flatMap((l, i) => {
            const below = shown
              .slice(0, i)
              .map((x) => x.negate)
              .lastIndexOf(l.negate);
            return below < 0
              ? []
              : [{ series: [i + 1, below + 1] as [number, number], dir: (l.negate ? 1 : -1) as 1 | -1 }];
          }),
        }),
        hooks: {
          setCursor: [
            (u) => {
              live.current.p.onCursor(u.cursor.idx ?? null);
              if (hover.on) setTip(tipAt(u, live.current.p, live.current.shown, focused));
              else setTip(null);
            },
          ],
          setSeries: [
            (_u, i, o) => {
              if (!(o as { focus?: boolean }).focus) return;
              focused = i;
              live.current.p.onFocus(i ? (live.current.shown[i - 1]?.name ?? null) : null);
            },
          ],
          setSelect: [
            (u) => {
              dragging.value = false;
              if (u.select.width < 6) return;
              const a = u.posToVal(u.select.left, 'x');
              const b = u.posToVal(u.select.left + u.select.width, 'x');
              u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
              setAbsolute(a, Math.max(b, a + 15));
            },
          ],
          draw: [
            (u) => {
              drawMarks(u, live.current.p.marks);
              drawDots(u, live.current.p.dots);
              const { data } = live.current.p;
              if (measured.has(data)) return;
              measured.add(data);
              performance.clearMeasures('chart drawn');
              performance.measure('chart drawn', { start: data.begun, end: performance.now() });
            },
          ],
        },
      },
      [p.data.times, ...drawn] as uPlot.AlignedData,
      node,
    );
    let focused: number | null = null;
    plot.current = u;
    const down = (e: MouseEvent) => {
      if (e.button === 0) dragging.value = true;
    };
    const up = () => (dragging.value = false);
    const enter = () => (hover.on = true);
    const leave = () => {
      hover.on = false;
      setTip(null);
    };
    u.over.addEventListener('mousedown', down);
    u.over.addEventListener('mouseenter', enter);
    u.over.addEventListener('mouseleave', leave);
    window.addEventListener('mouseup', up);
    const untouch = touches(u, view, hover);
    const resize = new ResizeObserver(() => {
      if (node.clientWidth && node.clientWidth !== u.width) u.setSize({ width: node.clientWidth, height });
    });
    resize.observe(node);
    return () => {
      resize.disconnect();
      untouch();
      dragging.value = false; // the page may be left in the midst of it
      window.removeEventListener('mouseup', up);
      u.destroy();
      plot.current = null;
    };
  }, [shape, theme]);

  const first = useRef(true);
  useLayoutEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    plot.current?.setData([p.data.times, ...drawn] as uPlot.AlignedData);
  }, [drawn]);
  useEffect(() => plot.current?.redraw(false), [p.marks]);
  useEffect(() => plot.current?.setData(plot.current.data), [p.dots]); // the axis has to hold them

  const text = `${p.title}: ${shown.length} series from ${dateText(p.data.from)} to ${dateText(p.data.to)}`;
  return (
    <div class={`plot${p.stale ? ' stale' : ''}`} role="img" aria-label={text}>
      <div ref={el} />
      {tip && (
        <div
          class="tip"
          style={tip.right ? { right: `calc(100% - ${tip.left - 10}px)` } : { left: `${tip.left + 10}px` }}
          aria-hidden="true"
        >
          {tip.text.map((t) => (
            <div key={t.text}>
              <span class="swatch" style={{ color: t.colour }} />
              {t.text}
            </div>
          ))}
        </div>
      )}
    </div>
  );
}

const dateText = (t: number) => `${date(t, isUTC())} ${clock(t, isUTC(), false)}`;

// How long a chart took from its data being there to being drawn is measured
// once, for anyone who looks at the browser's timeline.
const measured = new WeakSet<Loaded>();

// A finger has no hover: a tap, or moving sideways, sets the cursor; two fingers
// zoom, keeping the times that they touched below them.
function touches(u: uPlot, view: { current: Bounds | null }, hover: { on: boolean }): () => void {
  const x = (t: Touch) => t.clientX - u.over.getBoundingClientRect().left;
  let pinch: { a: number; b: number } | null = null;
  const touch = (e: TouchEvent) => {
    const [f, g] = [e.touches[0], e.touches[1]];
    if (f && g) {
      const [xa, xb] = [Math.min(x(f), x(g)), Math.max(x(f), x(g))];
      if (!pinch) {
        pinch = { a: u.posToVal(xa, 'x'), b: u.posToVal(xb, 'x') };
        dragging.value = true;
      } else if (xb - xa > 8) {
        const perPixel = (pinch.b - pinch.a) / (xb - xa);
        const width = u.over.clientWidth;
        view.current = [pinch.a - xa * perPixel, pinch.b + (width - xb) * perPixel];
        u.redraw();
      }
      if (e.cancelable) e.preventDefault();
    } else if (f && !pinch) {
      hover.on = true;
      u.setCursor({ left: x(f), top: f.clientY - u.over.getBoundingClientRect().top });
    }
  };
  const end = (e: TouchEvent) => {
    if (!pinch || e.touches.length > 1) return;
    const v = view.current;
    pinch = null;
    view.current = null;
    dragging.value = false;
    if (v && v[1] - v[0] > 15) setAbsolute(v[0], Math.min(v[1], Math.max(range.peek().to, Date.now() / 1000)));
  };
  u.over.addEventListener('touchstart', touch, { passive: false });
  u.over.addEventListener('touchmove', touch, { passive: false });
  u.over.addEventListener('touchend', end);
  u.over.addEventListener('touchcancel', end);
  return () => {
    if (pinch) dragging.value = false;
  };
}

const markColour = (m: Mark) => css(m.level === 'off' ? '--ink-3' : `--${m.level ?? 'info'}`);

const rank = (m: Mark) => ['off', 'info', 'warn', 'crit'].indexOf(m.level ?? 'info');

function tipAt(
  u: uPlot,
  { marks, dots }: Pick<ChartProps, 'marks' | 'dots'>,
  shown: Line[],
  focused: number | null,
): Tip | null {
  const left = u.cursor.left ?? -1;
  if (left < 0) return null;
  const out: Tip['text'] = [];
  const dot = dotAt(u, dots, left, u.cursor.top ?? -1);
  if (dot) out.push(...dot.text.map((text, i) => ({ text, colour: i ? 'transparent' : 'var(--ink)' })));
  for (const m of marks ?? []) {
    const a = u.valToPos(m.time, 'x');
    const inBand = m.end !== undefined && (u.cursor.top ?? 99) < 12 && left >= a && left <= u.valToPos(m.end, 'x');
    if (Math.abs(a - left) <= 5 || inBand)
      out.push({ text: `${clock(m.time, isUTC(), false)} ${m.text}`, colour: markColour(m) });
  }
  const l = focused ? shown[focused - 1] : undefined;
  if (l && shown.length > 5) out.push({ text: l.name, colour: l.colour });
  if (!out.length) return null;
  const offset = u.bbox.left / devicePixelRatio + 6;
  return { left: left + offset, right: left > u.over.clientWidth / 2, text: out.slice(0, 8) };
}

function drawMarks(u: uPlot, marks: Mark[] | undefined): void {
  if (!marks?.length) return;
  const { ctx } = u;
  const { top, height } = u.bbox;
  const px = devicePixelRatio;
  const [min, max] = [u.scales.x!.min!, u.scales.x!.max!];
  ctx.save();
  // The worst is drawn last, over the others.
  for (const m of [...marks].sort((a, b) => rank(a) - rank(b))) {
    const end = m.end ?? m.time;
    if (end < min || m.time > max) continue;
    const at = (t: number) => Math.round(u.valToPos(Math.min(max, Math.max(min, t)), 'x', true)) + 0.5;
    const c = markColour(m);
    ctx.fillStyle = c;
    ctx.strokeStyle = c;
    if (m.end !== undefined) {
      ctx.globalAlpha = 0.9;
      ctx.fillRect(at(m.time), top, Math.max(2 * px, at(m.end) - at(m.time)), 3 * px);
    }
    if (m.time < min) continue;
    const x = at(m.time);
    ctx.globalAlpha = 0.75;
    ctx.lineWidth = px;
    ctx.setLineDash([3 * px, 3 * px]);
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
    ctx.beginPath();
    ctx.moveTo(x - 4 * px, top);
    ctx.lineTo(x + 4 * px, top);
    ctx.lineTo(x, top + 6 * px);
    ctx.fill();
  }
  ctx.restore();
}

// dotAt is the one nearest to the cursor, if a finger could mean it.
function dotAt(u: uPlot, dots: Dot[] | undefined, left: number, top: number): Dot | undefined {
  let best: Dot | undefined;
  let least = 14;
  for (const d of dots ?? []) {
    const far = Math.hypot(u.valToPos(d.time, 'x') - left, u.valToPos(d.value, 'y') - top);
    if (far < least) {
      best = d;
      least = far;
    }
  }
  return best;
}

function drawDots(u: uPlot, dots: Dot[] | undefined): void {
  if (!dots?.length) return;
  const { ctx } = u;
  const r = 4.5 * devicePixelRatio;
  ctx.save();
  ctx.fillStyle = css('--ink');
  ctx.strokeStyle = css('--panel');
  ctx.lineWidth = devicePixelRatio;
  for (const d of dots) {
    if (d.time < u.scales.x!.min! || d.time > u.scales.x!.max!) continue;
    const [x, y] = [u.valToPos(d.time, 'x', true), u.valToPos(d.value, 'y', true)];
    ctx.beginPath();
    ctx.moveTo(x, y - r);
    ctx.lineTo(x + r, y);
    ctx.lineTo(x, y + r);
    ctx.lineTo(x - r, y);
    ctx.closePath();
    ctx.fill();
    ctx.stroke();
  }
  ctx.restore();
}
