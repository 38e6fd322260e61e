// How lines, stacked areas, marks and exemplars look.
import type uPlot from 'uplot';
import type { RuleLimit } from '../../lib/limits';
import type { Threshold } from '../../lib/panel';
import type { Band } from '../../lib/band';
import { alone, dash, mix, pale, type Dot, type Line, type Mark } from '../../lib/chart';

export interface Shown extends Line {
  dash: number[] | undefined;
  pale: boolean;
}

// shownOf are the lines that are not hidden. What is not stacked is drawn over what is.
export function shownOf(all: Line[], off: ReadonlySet<string>, stack: boolean | undefined): Shown[] {
  const lines = all
    .map((l, k) => ({ ...l, dash: l.past ? [4, 4] : l.own ? undefined : dash(k), pale: l.past || pale(l, k, stack) }))
    .filter((l) => !off.has(l.name));
  return stack ? [...lines.filter((l) => !l.line), ...lines.filter((l) => l.line)] : lines;
}

export const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const resolve = (c: string) => (c.startsWith('var(') ? css(c.slice(4, -1)) : c);

// seriesOf are uPlot's series: that of the times, and one of each line.
export function seriesOf(shown: Shown[], stack: boolean | undefined, area: boolean | undefined): uPlot.Series[] {
  const panel = css('--panel');
  return [
    {},
    ...shown.map((l) => {
      const c = l.pale ? mix(resolve(l.colour), panel, 0.45) : resolve(l.colour);
      return {
        label: l.name,
        stroke: c,
        spanGaps: false,
        points: { show: true, size: 4, fill: c, filter: (u: uPlot, si: number) => alone(u.data[si]!) },
        ...(stack && !l.line
          ? { fill: `${c}b0`, width: 0.8 }
          : {
              width: l.line ? 1.6 : 1.4,
              ...(l.line && !l.past ? { dash: [5, 3] } : l.dash && { dash: l.dash }),
              ...((shown.length === 1 || area) && { fill: `${c}1f` }),
            }),
      };
    }),
  ];
}

// bandsOf fill each stacked area down to the one below on its side of zero.
export function bandsOf(shown: Shown[]): uPlot.Band[] {
  return shown
    .filter((l) => !l.line)
    .flatMap((l, i) => {
      const below = shown
        .slice(0, i)
        .map((x) => x.negate)
        .lastIndexOf(l.negate);
      return below < 0 ? [] : [{ series: [i + 1, below + 1] as uPlot.Band['series'], dir: l.negate ? 1 : -1 }];
    });
}

export const markColour = (m: Mark) => css(m.level === 'off' ? '--ink-3' : `--${m.level ?? 'info'}`);

const rank = (m: Mark) => ['off', 'info', 'warn', 'crit'].indexOf(m.level ?? 'info');

export function drawMarks(u: uPlot, marks: Mark[] | undefined): void {
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

// drawBands fills what lines ranged over within each step. band is that of a line by its name.
export function drawBands(u: uPlot, times: number[], shown: Shown[], band: (l: Shown) => Band | undefined): void {
  const { ctx } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  ctx.clip();
  ctx.globalAlpha = 0.22;
  for (const l of shown) {
    const b = band(l);
    if (!b) continue;
    ctx.fillStyle = resolve(l.colour);
    const there = (i: number) => b.min[i] != null && b.max[i] != null;
    const at = (i: number, of: Band['min']): [number, number] => [
      u.valToPos(times[i]!, 'x', true),
      u.valToPos(of[i]!, 'y', true),
    ];
    for (let from = 0; from < times.length; from++) {
      if (!there(from)) continue;
      let to = from;
      while (there(to + 1)) to++;
      ctx.beginPath();
      for (let i = from; i <= to; i++) ctx.lineTo(...at(i, b.max));
      for (let i = to; i >= from; i--) ctx.lineTo(...at(i, b.min));
      ctx.fill();
      from = to;
    }
  }
  ctx.restore();
}

// drawThresholds names the rule that a line is of. The other lines are named by the legend.
export function drawThresholds(u: uPlot, thresholds: (Threshold | RuleLimit)[] | undefined): void {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  const px = devicePixelRatio;
  const names: { y: number; text: string }[] = [];
  ctx.save();
  ctx.lineWidth = px;
  ctx.setLineDash([2 * px, 4 * px]);
  for (const t of thresholds ?? []) {
    const y = Math.round(u.valToPos(t.value, 'y', true)) + 0.5;
    if (y < top || y > top + height) continue;
    ctx.strokeStyle = css(`--${t.kind}`);
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.globalAlpha = 'rule' in t ? 0.75 : 1;
    ctx.stroke();
    if ('rule' in t) names.push({ y, text: t.rule });
  }
  ctx.globalAlpha = 1;
  ctx.font = `${10 * px}px ${css('--font')}`;
  ctx.fillStyle = css('--ink-3');
  ctx.strokeStyle = css('--panel');
  ctx.lineWidth = 3 * px;
  ctx.setLineDash([]);
  for (const n of placed(names, top, 12 * px)) {
    ctx.textAlign = n.side;
    const x = n.side === 'right' ? left + width - 4 * px : left + 4 * px;
    ctx.strokeText(n.text, x, n.y - 3 * px);
    ctx.fillText(n.text, x, n.y - 3 * px);
  }
  ctx.restore();
}

// placed puts each name above its line, or below it at the top of the plot; on the left where
// the right has another name. What has no place is left out.
export function placed(
  names: { y: number; text: string }[],
  top: number,
  height: number,
): { y: number; text: string; side: 'left' | 'right' }[] {
  const out: { y: number; text: string; side: 'left' | 'right' }[] = [];
  for (const n of names) {
    const y = n.y - height < top ? n.y + height : n.y;
    const side = (['right', 'left'] as const).find((s) => !out.some((o) => o.side === s && Math.abs(o.y - y) < height));
    if (side) out.push({ y, text: n.text, side });
  }
  return out;
}

export function drawDots(u: uPlot, dots: Dot[] | undefined): void {
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
