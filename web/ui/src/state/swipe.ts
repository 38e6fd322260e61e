// Swiping sideways over a page, which leads to its neighbours. What scrolls or reads a
// finger by itself, such as a chart, keeps it.
import { useEffect, useRef } from 'preact/hooks';

const FAR = 70; // pixels
const OWN = '.u-over, .tablebox, .tabs, .problems, [role="dialog"], input, textarea, .scrollbox, [role="region"]';

export function useSwipe(on: (direction: 1 | -1) => void): void {
  const latest = useRef(on);
  latest.current = on;
  useEffect(() => {
    let start: { x: number; y: number } | undefined;
    const down = (e: TouchEvent) => {
      const t = e.touches[0]!;
      const own = e.touches.length > 1 || (e.target as Element).closest?.(OWN);
      start = own ? undefined : { x: t.clientX, y: t.clientY };
    };
    const up = (e: TouchEvent) => {
      const t = e.changedTouches[0]!;
      const from = start;
      start = undefined;
      if (!from) return;
      const [dx, dy] = [t.clientX - from.x, t.clientY - from.y];
      if (Math.abs(dx) >= FAR && Math.abs(dy) < Math.abs(dx) / 2) latest.current(dx < 0 ? 1 : -1);
    };
    document.addEventListener('touchstart', down, { passive: true });
    document.addEventListener('touchend', up, { passive: true });
    return () => {
      document.removeEventListener('touchstart', down);
      document.removeEventListener('touchend', up);
    };
  }, []);
}
