// Heatmap draws a histogram over time: darker cells have more observations.
import { useComputed } from '@preact/signals';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { format } from '../../lib/format';
import type { Heat } from '../../lib/heatmap';
import { apart, timeLabels, timeSplits, timeSteps } from '../../lib/axes';
import { clock, date } from '../../lib/time';
import { dragging, setAbsolute } from '../../state/clock';
import { dark, isUTC, zone } from '../../state/prefs';

const HEIGHT = 320;
const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const edge = (v: number) => (Number.isFinite(v) ? format(v) : v > 0 ? '+Inf' : '-Inf');

export function Heatmap({ heat, step, stale }: { heat: Heat; step: number; stale: boolean }) {
  const el = useRef<HTMLDivElement>(null);
  const [at, setAt] = useState<{ row: number; column: number } | null>(null);
  const theme = useComputed(() => `${dark.value} ${zone.value}`).value;

  useLayoutEffect(() => {
    const node = el.current!;
    const utc = isUTC();
    const stroke = {
      stroke: css('--ink-3'),
      font: `11px ${css('--font')}`,
      grid: { show: false },
      ticks: { stroke: css('--grid'), width: 1, size: 4 },
    };
    const rows = heat.rows.length;
    const edges = apart([...heat.rows.map((r) => r.low), heat.rows[rows - 1]!.high]);
    const fill = css('--series-1');
    const u = new uPlot(
      {
        width: node.clientWidth || 300,
        height: HEIGHT,
        padding: [10, 8, 0, 0],
        legend: { show: false },
        tzDate: (ts) => (utc ? uPlot.tzDate(new Date(ts * 1000), 'Etc/UTC') : new Date(ts * 1000)),
        cursor: {
          sync: { key: 'page', setSeries: false },
          drag: { x: true, y: false, setScale: false },
          points: { show: false },
        },
        scales: { x: { time: true, range: (_u, a, b) => [a - step / 2, b + step / 2] }, y: { range: () => [0, rows] } },
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
            size: 74,
            space: 26,
            incrs: [1, 2, 5, 10, 20, 50],
            values: (_u, splits) => splits.map((s) => (Number.isInteger(s) ? (edges[s] ?? '') : '')),
          },
        ],
        series: [{}, { paths: () => null, points: { show: false } }],
        hooks: {
          draw: [
            (u) => {
              const { ctx } = u;
              ctx.save();
              ctx.fillStyle = fill;
              const sides = heat.times.map((t) => Math.round(u.valToPos(t - step / 2, 'x', true)));
              sides.push(Math.round(u.valToPos(heat.times.at(-1)! + step / 2, 'x', true)));
              heat.cells.forEach((cells, r) => {
                const top = Math.round(u.valToPos(r + 1, 'y', true));
                const h = Math.max(1, Math.round(u.valToPos(r, 'y', true)) - top);
                cells.forEach((c, i) => {
                  if (!c) return;
                  ctx.globalAlpha = 0.1 + 0.9 * Math.sqrt(c / heat.max);
                  ctx.fillRect(sides[i]!, top, Math.max(1, sides[i + 1]! - sides[i]!), h);
                });
              });
              ctx.restore();
            },
          ],
          setCursor: [
            (u) => {
              const { left, top } = u.cursor;
              if (left === undefined || left < 0 || top === undefined || top < 0) {
                setAt(null);
                return;
              }
              const column = Math.round((u.posToVal(left, 'x') - heat.times[0]!) / step);
              const row = Math.floor(u.posToVal(top, 'y'));
              setAt(heat.rows[row] && heat.times[column] !== undefined ? { row, column } : null);
            },
          ],
          setSelect: [
            (u) => {
              dragging.value = false;
              if (u.select.width < 6) return;
              const a = u.posToVal(u.select.left, 'x');
              const b = u.posToVal(u.select.left + u.select.width, 'x');
              u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
              setAbsolute(a, b);
            },
          ],
        },
      },
      [heat.times, heat.times.map(() => null)] as uPlot.AlignedData,
      node,
    );
    const down = () => (dragging.value = true);
    const up = () => (dragging.value = false);
    u.over.addEventListener('mousedown', down);
    window.addEventListener('mouseup', up);
    const resize = new ResizeObserver(() => {
      if (node.clientWidth && node.clientWidth !== u.width) u.setSize({ width: node.clientWidth, height: HEIGHT });
    });
    resize.observe(node);
    return () => {
      resize.disconnect();
      window.removeEventListener('mouseup', up);
      u.destroy();
    };
  }, [heat, step, theme]);

  const row = at && heat.rows[at.row];
  const count = at && heat.cells[at.row]?.[at.column];
  return (
    <div class="chart">
      <div class="graphtime">
        <span class="at" role="status">
          {at && row
            ? `${date(heat.times[at.column]!, isUTC())} ${clock(heat.times[at.column]!, isUTC(), step < 60)} · ${edge(row.low)} to ${edge(row.high)}: ${count === null || count === undefined ? 'no data' : format(count)}`
            : `${heat.rows.length} buckets, at most ${format(heat.max)} in one`}
        </span>
      </div>
      <div
        class={`plot${stale ? ' stale' : ''}`}
        role="img"
        aria-label={`Heatmap of ${heat.rows.length} buckets from ${edge(heat.rows[0]!.low)} to ${edge(heat.rows.at(-1)!.high)}`}
      >
        <div ref={el} />
      </div>
    </div>
  );
}
