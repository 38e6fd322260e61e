// A chart as a file: its values, or its picture.
import type { Line } from '../../lib/chart';
import { csvOf } from '../../lib/csv';
import { date } from '../../lib/time';
import { serverNow } from '../../state/clock';
import { css, resolve } from './draw';

function download(name: string, content: Blob): void {
  const a = document.createElement('a');
  a.href = URL.createObjectURL(content);
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 10_000);
}

const fileName = (id: string, end: string) => `${id}-${date(serverNow(), true)}.${end}`;

export function saveCSV(id: string, times: number[], lines: Line[]): void {
  download(fileName(id, 'csv'), new Blob([csvOf(times, lines)], { type: 'text/csv' }));
}

// savePNG puts the title above the plot, and the names of the lines below it.
export function savePNG(id: string, title: string, plot: HTMLCanvasElement, lines: Line[]): void {
  const px = devicePixelRatio;
  const [pad, row] = [14 * px, 20 * px];
  const out = document.createElement('canvas');
  const ctx = out.getContext('2d')!;
  const font = (weight: number) => `${weight} ${12 * px}px ${css('--font')}`;
  out.width = plot.width + 2 * pad;
  ctx.font = font(400);
  const gap = 26 * px;
  const rows: { l: Line; x: number }[][] = [[]];
  let x = pad;
  for (const l of lines) {
    const width = ctx.measureText(l.name).width + gap + 12 * px;
    if (x + width > out.width && x > pad) {
      rows.push([]);
      x = pad;
    }
    rows.at(-1)!.push({ l, x });
    x += width;
  }
  out.height = plot.height + 2 * pad + row * (rows.length + 1);
  ctx.fillStyle = css('--panel');
  ctx.fillRect(0, 0, out.width, out.height);
  ctx.textBaseline = 'middle';
  ctx.fillStyle = css('--ink');
  ctx.font = font(600);
  ctx.fillText(title, pad, pad + row / 2);
  ctx.drawImage(plot, pad, pad + row);
  ctx.font = font(400);
  rows.forEach((r, i) => {
    const y = pad + row * (i + 1.5) + plot.height;
    for (const e of r) {
      ctx.fillStyle = resolve(e.l.colour);
      ctx.fillRect(e.x, y - 1.5 * px, 12 * px, 3 * px);
      ctx.fillStyle = css('--ink-2');
      ctx.fillText(e.l.name, e.x + 18 * px, y);
    }
  });
  out.toBlob((b) => b && download(fileName(id, 'png'), b), 'image/png');
}
