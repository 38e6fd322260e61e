// A line chart in SVG: axes with units, a legend, and values under the pointer
// or the finger.
import { h } from './dom.js';
import { clock, dateTime, day, number, seriesName, ticks } from './format.js';

const H = 170;
const pad = { left: 62, right: 8, top: 8, bottom: 20 };
const maxLines = 40;
const spacing = [60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800, 2592000];

/**
 * An element that draws the answer of a range query as wide as its place is,
 * and again when that changes. binary chooses axis steps of powers of 1024.
 */
export function chart(answer, options = {}) {
  const box = h('div', { class: 'chart' });
  let width = 0;
  new ResizeObserver(() => {
    const now = Math.max(240, Math.round(box.clientWidth));
    if (now === width) return;
    width = now;
    requestAnimationFrame(() => box.replaceChildren(...draw(answer, options, width))); // not within the observer's own round
  }).observe(box);
  return box;
}

/** Gaps longer than two steps stay gaps. */
function draw({ result, start, end, step }, { format = number, name = (m) => seriesName(m), min = 0, binary = false }, W) {
  const lines = result.slice(0, maxLines);
  const values = lines.flatMap((l) => l.points.map((p) => p[1])).filter(Number.isFinite);
  if (!values.length) return [h('p', { class: 'dim' }, 'No data in this range.')];
  const lo = Math.min(min ?? Infinity, ...values);
  let hi = Math.max(...values);
  if (hi <= lo) hi = lo + (Math.abs(lo) || 1);
  const x = (t) => pad.left + ((t - start) / (end - start || 1)) * (W - pad.left - pad.right);
  const y = (v) => H - pad.bottom - ((v - lo) / (hi - lo)) * (H - pad.top - pad.bottom);
  const path = (points) => {
    let d = '';
    let last = -Infinity;
    for (const [t, v] of points) {
      if (!Number.isFinite(v)) { last = -Infinity; continue; }
      d += `${t - last > 2 * step ? 'M' : 'L'}${x(t).toFixed(1)} ${y(v).toFixed(1)}`;
      last = t;
    }
    return d;
  };
  const cursor = h('line', { class: 'cursor', y1: pad.top, y2: H - pad.bottom, x1: -9, x2: -9 });
  const every = spacing.find((s) => (end - start) / s <= W / 90) || spacing.at(-1);
  const times = [];
  for (let t = Math.ceil(start / every) * every; t <= end; t += every) times.push(t);
  const svg = h('svg', { viewBox: `0 0 ${W} ${H}`, width: W, height: H, role: 'img', 'aria-label': `Chart of ${lines.length} series` },
    ticks(lo, hi, 4, binary).map((v) => h('g', {}, h('line', { class: 'gridline', x1: pad.left, x2: W - pad.right, y1: y(v), y2: y(v) }),
      h('text', { x: pad.left - 6, y: y(v) + 4, 'text-anchor': 'end' }, format(v)))),
    times.map((t) => h('text', { x: Math.min(x(t), W - 18), y: H - 5, 'text-anchor': 'middle' }, end - start > 2 * 86400 ? day(t) : clock(t))),
    lines.map((l, i) => h('path', { class: `c${i % 8}`, d: path(l.points) })), cursor);

  const when = h('span', { class: 'dim' }, ' ');
  const shown = lines.map((l, i) => {
    const value = h('b', {}, '');
    return { value, el: h('span', {}, h('i', { class: `c${i % 8}` }, '━'), name(l.metric), value), points: l.points };
  });
  const at = (t) => {
    when.textContent = t === undefined ? 'now' : dateTime(t);
    for (const s of shown) {
      const p = t === undefined ? s.points.at(-1) : s.points.reduce((a, b) => (Math.abs(b[0] - t) < Math.abs(a[0] - t) ? b : a), [-Infinity, NaN]);
      s.value.textContent = p && Math.abs(p[0] - (t ?? p[0])) <= 2 * step ? format(p[1]) : '–';
    }
  };
  at();
  const move = (e) => {
    const box = svg.getBoundingClientRect();
    const px = ((e.clientX - box.left) / box.width) * W;
    const t = start + ((px - pad.left) / (W - pad.left - pad.right)) * (end - start);
    if (t < start || t > end) return;
    const snapped = Math.round(t / step) * step;
    cursor.setAttribute('x1', x(snapped));
    cursor.setAttribute('x2', x(snapped));
    at(snapped);
  };
  svg.addEventListener('pointermove', move);
  svg.addEventListener('pointerdown', move);
  svg.addEventListener('pointerleave', () => { cursor.setAttribute('x1', -9); cursor.setAttribute('x2', -9); at(); });
  return [svg, h('div', { class: 'legend' }, when, shown.map((s) => s.el)),
    ...(result.length > maxLines ? [h('p', { class: 'dim' }, `${maxLines} of ${result.length} series drawn.`)] : [])];
}
