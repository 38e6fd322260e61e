// The scales and axes of a plot. What they depend on changes while the plot stays, so
// it is asked for each time.
import type uPlot from 'uplot';
import { axisRange, timeLabels, timeSplits, timeSteps, valueLabel, valueSteps, type Bounds } from '../../lib/axes';
import type { Band } from '../../lib/band';
import type { Dot, Loaded } from '../../lib/chart';
import { format, type Unit } from '../../lib/format';
import type { RuleLimit } from '../../lib/limits';
import type { Threshold } from '../../lib/panel';
import { begun } from '../../state/begun';
import { range } from '../../state/clock';
import { css } from './draw';

export interface Scaled {
  data: Loaded;
  unit?: Unit;
  stack?: boolean;
  min?: number;
  max?: number; // of the axis, at least
  dots?: Dot[];
  thresholds?: (Threshold | RuleLimit)[];
  bands?: (Band | undefined)[] | undefined; // by the place of the line
  log?: boolean;
}

// A threshold widens the axis where the lines come within a third of it.
const near = (hi: number | null) => (t: { value: number }) => t.value > 0 && (hi ?? 0) * 3 >= t.value;

// The part of the range in which the page has data, where it has little.
const shownRange = (d: Loaded): Bounds => [Math.max(d.from, begun.peek() ?? d.from), d.to];

// logRange are whole powers of ten. What is not above zero has no place on the axis.
function logRange(lo: number | null, hi: number | null): Bounds {
  const most = Math.ceil(Math.log10(Math.max(hi ?? 1, 1e-12)) + 1e-9);
  const least = lo !== null && lo > 0 ? Math.floor(Math.log10(lo)) : most - 3;
  return [10 ** Math.min(least, most - 1), 10 ** most];
}

// scalesOf: view is what two fingers that pinch look at. The axis of values keeps its
// bounds over plots of one question: kept holds them.
export function scalesOf(
  latest: () => Scaled,
  shape: string,
  view: { current: Bounds | null },
  kept: { current: { of: string; bounds: Bounds } | null },
): uPlot.Scales {
  return {
    x: { time: true, range: () => view.current ?? shownRange(latest().data) },
    y: {
      ...(latest().log && { distr: 3 as const }),
      range: (_u, lo, hi) => {
        const { data, dots = [], thresholds = [], bands = [], min, max, unit, stack, log } = latest();
        if (log) return logRange(lo, hi);
        const of = JSON.stringify([shape, data.step, range.peek().relative ?? range.peek()]);
        for (const d of dots) {
          lo = Math.min(lo ?? d.value, d.value);
          hi = Math.max(hi ?? d.value, d.value);
        }
        for (const b of bands)
          for (const v of b ? [...b.min, ...b.max] : []) {
            if (v === null) continue;
            lo = Math.min(lo ?? v, v);
            hi = Math.max(hi ?? v, v);
          }
        hi = Math.max(hi ?? 0, ...thresholds.filter(near(hi)).map((t) => t.value));
        const old = kept.current?.of === of ? kept.current.bounds : undefined;
        const bounds = axisRange(lo, hi, { min, max, unit, stack, old });
        kept.current = { of, bounds };
        return bounds;
      },
    },
  };
}

export function axesOf(
  unit: Unit | undefined,
  height: number,
  utc: boolean,
  mirrored: boolean,
  log: boolean | undefined,
): uPlot.Axis[] {
  const grid = css('--grid');
  const shared = {
    stroke: css('--ink-3'),
    font: `11px ${css('--font')}`,
    grid: { stroke: grid, width: 1 },
    ticks: { stroke: grid, width: 1, size: 4 },
  };
  return [
    {
      ...shared,
      size: 28,
      space: 70,
      incrs: timeSteps,
      splits: (_u, _a, min, max, step) => timeSplits(min, max, step, utc),
      values: (_u, splits, _a, _s, step) => timeLabels(splits, step, utc),
    },
    {
      ...shared,
      size: (_u, labels) => Math.max(62, 14 + 6.6 * Math.max(0, ...(labels ?? []).map((l) => l.length))),
      space: height > 300 ? 48 : 27,
      ...(log
        ? {
            // uPlot says which lines of a logarithmic axis have room for a number.
            values: (_u: uPlot, splits: (number | null)[]) =>
              splits.map((v) =>
                v !== null && Number.isInteger(Math.round(Math.log10(v) * 1e6) / 1e6) ? format(v, unit) : '',
              ),
          }
        : {
            incrs: valueSteps(unit),
            values: (_u: uPlot, splits: number[], _a: number, _s: number, step: number) =>
              splits.map((v) => valueLabel(mirrored ? Math.abs(v) : v, step, unit)),
          }),
    },
  ];
}
