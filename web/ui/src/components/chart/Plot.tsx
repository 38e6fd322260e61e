// Plot draws lines with uPlot, and only draws. All plots of a page share the range
// of the URL and one crosshair; dragging zooms all of them.
import { useComputed } from '@preact/signals';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import {
  alone,
  axisRange,
  dash,
  mix,
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
} from '../../lib/chart';
import type { Unit } from '../../lib/format';
import { clock, date, zoneOf } from '../../lib/time';
import { dragging, range, serverNow, setAbsolute } from '../../state/clock';
import { dark, isUTC, zone } from '../../state/prefs';

// Loaded is what there is to draw, all lines at the same times.
export interface Loaded {
  times: number[];
  lines: Line[];
  hiddenSeries: number;
  filling?: boolean; // what is left out fills the window of its rate only in part
  time: number; // when it arrived, Unix seconds; 0 where nobody asks
  from: number; // the range that is shown
  to: number;
  step: number;
  begun: number; // performance.now() when drawing could begin
}

export interface PlotProps {
  title: string;
  data: Loaded;
  height: number;
  unit?: Unit;
  stack?: boolean;
  min?: number;
  max?: number; // of the axis, at least
  marks?: Mark[];
  dots?: Dot[];
  off: ReadonlySet<string>; // names of lines that are hidden
  stale: boolean;
  onCursor: (i: number | null) => void;
  onFocus: (name: string | null) => void;
}

// A stacked area has no dashes; what repeats a colour is paler.
export const pale = (l: Line, k: number, stack: boolean | undefined): boolean => !!stack && !l.line && k >= 8;

const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const resolve = (c: string) => (c.startsWith('var(') ? css(c.slice(4, -1)) : c);

interface Tip {
  left: number;
  right: boolean;
  text: { text: string; colour: string }[];
}

export function Plot(p: PlotProps) {
  const el = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [tip, setTip] = useState<Tip | null>(null);
  const { height } = p;
  const shown = useMemo(() => {
    const lines = p.data.lines
      .map((l, k) => ({ ...l, dash: dash(k), pale: pale(l, k, p.stack) }))
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
                stack: p.stack,
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
            size: (_u, labels) => Math.max(62, 14 + 6.6 * Math.max(0, ...(labels ?? []).map((l) => l.length))),
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

// atText is a time of the range as a chart names it, with the zone where an hour
// of the range comes twice.
export const atText = (t: number, d: Loaded): string =>
  `${date(t, isUTC())} ${clock(t, isUTC(), d.step < 60)}${zoneOf(t, d, isUTC())}`;

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
    if (v && v[1] - v[0] > 15) setAbsolute(v[0], Math.min(v[1], Math.max(range.peek().to, serverNow())));
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
  { marks, dots }: Pick<PlotProps, 'marks' | 'dots'>,
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
