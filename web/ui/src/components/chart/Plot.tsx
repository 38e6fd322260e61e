// Plot draws lines with uPlot, and only draws: scales and axes are in scales.ts, how
// things look in draw.ts, what a pointer does in interaction.ts, what is beside it in
// Tooltip. All plots of a page share the range of the URL and one crosshair; dragging
// zooms all of them.
import { useComputed } from '@preact/signals';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Bounds } from '../../lib/axes';
import { stackFrame, type Loaded, type Mark } from '../../lib/chart';
import { clock, date, zoneOf } from '../../lib/time';
import { begun } from '../../state/begun';
import { dark, isUTC, zone } from '../../state/prefs';
import { bandsOf, drawBands, drawDots, drawMarks, drawThresholds, seriesOf, shownOf } from './draw';
import { listen, zoom, type Pointer } from './interaction';
import { axesOf, scalesOf, type Scaled } from './scales';
import { tipAt, Tooltip, type Tip } from './Tooltip';

export interface PlotProps extends Scaled {
  title: string;
  height: number;
  area?: boolean;
  marks?: Mark[];
  off: ReadonlySet<string>; // names of lines that are hidden
  stale: boolean;
  onCursor: (i: number | null) => void;
  onFocus: (name: string | null) => void;
}

export function Plot(p: PlotProps) {
  const el = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [tip, setTip] = useState<Tip | null>(null);
  const { height } = p;
  const shown = useMemo(() => shownOf(p.data.lines, p.off, p.stack), [p.data, p.off, p.stack]);
  const drawn = useMemo(() => (p.stack ? stackFrame(shown) : shown.map((l) => l.values)), [shown]);
  // What makes another plot rather than other data in the same one.
  const shape = JSON.stringify([
    shown.map((l) => [l.name, l.colour, l.dash, l.line]),
    p.unit,
    p.stack,
    p.area,
    p.thresholds,
    height,
  ]);
  const theme = useComputed(() => `${dark.value} ${zone.value}`).value;
  const from = begun.value;
  const live = useRef({ p, shown });
  live.current = { p, shown };
  const view = useRef<Bounds | null>(null); // while two fingers pinch
  const kept = useRef<{ of: string; bounds: Bounds } | null>(null);

  useLayoutEffect(() => {
    const node = el.current!;
    const utc = isUTC();
    const pointer: Pointer = { hover: false };
    let focused: number | null = null;
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
        scales: scalesOf(() => live.current.p, shape, view, kept),
        axes: axesOf(
          p.unit,
          height,
          utc,
          shown.some((l) => l.negate),
          p.log,
        ),
        series: seriesOf(shown, p.stack, p.area),
        ...(p.stack && { bands: bandsOf(shown) }),
        hooks: {
          drawAxes: [
            (u) => {
              const { p, shown } = live.current;
              drawBands(
                u,
                p.data.times,
                shown,
                (l) => p.bands?.[p.data.lines.findIndex((x) => x.name === l.name && x.query === l.query)],
              );
            },
          ],
          setCursor: [
            (u) => {
              live.current.p.onCursor(u.cursor.idx ?? null);
              const { p, shown } = live.current;
              const meant = focused ? (shown[focused - 1]?.name ?? null) : null;
              const time = p.data.times[u.cursor.idx ?? -1];
              setTip(pointer.hover && time !== undefined ? tipAt(u, p, shown, meant, atText(time, p.data)) : null);
            },
          ],
          setSeries: [
            (_u, i, o) => {
              if (!(o as { focus?: boolean }).focus) return;
              focused = i;
              live.current.p.onFocus(i ? (live.current.shown[i - 1]?.name ?? null) : null);
            },
          ],
          setSelect: [zoom],
          draw: [
            (u) => {
              drawThresholds(u, live.current.p.thresholds);
              drawMarks(u, live.current.p.marks);
              drawDots(u, live.current.p.dots);
              measure(live.current.p.data);
            },
          ],
        },
      },
      [p.data.times, ...drawn] as uPlot.AlignedData,
      node,
    );
    plot.current = u;
    const unlisten = listen(u, pointer, view, () => setTip(null));
    const resize = new ResizeObserver(() => {
      if (node.clientWidth && node.clientWidth !== u.width) u.setSize({ width: node.clientWidth, height });
    });
    resize.observe(node);
    return () => {
      resize.disconnect();
      unlisten();
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
  useEffect(() => plot.current?.setData(plot.current.data), [p.dots, p.bands, from]); // the axes have to hold them

  const text = `${p.title}: ${shown.length} series from ${dateText(p.data.from)} to ${dateText(p.data.to)}`;
  return (
    <div class={`plot${p.stale ? ' stale' : ''}`} role="img" aria-label={text}>
      <div ref={el} />
      {tip && <Tooltip tip={tip} />}
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

function measure(data: Loaded): void {
  if (measured.has(data)) return;
  measured.add(data);
  performance.clearMeasures('chart drawn');
  performance.measure('chart drawn', { start: data.begun, end: performance.now() });
}
