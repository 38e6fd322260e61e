// What a mouse and fingers do to a plot. It says in hover whether a pointer is over it,
// and in view what two fingers look at while they pinch.
import type uPlot from 'uplot';
import type { Bounds } from '../../lib/axes';
import { dragging, range, serverNow, setAbsolute } from '../../state/clock';

export interface Pointer {
  hover: boolean;
}

// zoom makes what was dragged over the range of the page.
export function zoom(u: uPlot): void {
  dragging.value = false;
  if (u.select.width < 6) return;
  const a = u.posToVal(u.select.left, 'x');
  const b = u.posToVal(u.select.left + u.select.width, 'x');
  u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  setAbsolute(a, Math.max(b, a + 15));
}

// listen follows the pointers until what it returns is called.
export function listen(u: uPlot, pointer: Pointer, view: { current: Bounds | null }, left: () => void): () => void {
  const down = (e: MouseEvent) => {
    if (e.button === 0) dragging.value = true;
  };
  const up = () => (dragging.value = false);
  u.over.addEventListener('mousedown', down);
  u.over.addEventListener('mouseenter', () => (pointer.hover = true));
  u.over.addEventListener('mouseleave', () => {
    pointer.hover = false;
    left();
  });
  window.addEventListener('mouseup', up);
  // A finger leaves a plot by touching something else.
  const elsewhere = (e: TouchEvent) => {
    if (u.over.contains(e.target as Node)) return;
    pointer.hover = false;
    left();
  };
  window.addEventListener('touchstart', elsewhere, { passive: true });
  touches(u, pointer, view);
  return () => {
    dragging.value = false; // the page may be left in the midst of it
    window.removeEventListener('mouseup', up);
    window.removeEventListener('touchstart', elsewhere);
  };
}

// A finger has no hover: a tap, or moving sideways, sets the cursor; two fingers
// zoom, keeping the times that they touched below them.
function touches(u: uPlot, pointer: Pointer, view: { current: Bounds | null }): void {
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
      pointer.hover = true;
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
}
