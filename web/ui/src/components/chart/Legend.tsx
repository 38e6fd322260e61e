// Legend names the lines of a plot with their values at the cursor, or at the end,
// and hides them.
import { useState } from 'preact/hooks';
import { dash, type Line } from '../../lib/chart';
import { format, type Unit } from '../../lib/format';
import { pale } from './Plot';

// useHidden keeps which lines are hidden, by name.
export function useHidden(): {
  off: ReadonlySet<string>;
  toggle: (name: string, only: boolean, all: Line[]) => void;
  clear: () => void;
} {
  const [off, set] = useState<ReadonlySet<string>>(new Set());
  return {
    off,
    clear: () => set(new Set()),
    toggle: (name, only, all) =>
      set((o) => {
        if (only) {
          const others = all.map((l) => l.name).filter((n) => n !== name);
          return others.every((n) => o.has(n)) && !o.has(name) ? new Set() : new Set(others);
        }
        const n = new Set(o);
        if (!n.delete(name)) n.add(name);
        return n;
      }),
  };
}

export function Legend({
  lines,
  at,
  unit,
  stack,
  focus,
  off,
  onToggle,
  titleOf = (l) => l.name,
  mono,
}: {
  lines: Line[];
  at: number | null; // index of the values to show
  unit?: Unit | undefined;
  stack?: boolean | undefined;
  focus: string | null;
  off: ReadonlySet<string>;
  onToggle: (name: string, only: boolean) => void;
  titleOf?: (l: Line) => string;
  mono?: boolean;
}) {
  return (
    <>
      {lines.map((l, k) => {
        const v = at === null ? undefined : l.values[at];
        return (
          <button
            type="button"
            key={`${l.query} ${l.name}`}
            class={focus === l.name ? 'focus' : ''}
            aria-pressed={!off.has(l.name)}
            title={`${titleOf(l)}\nClick to show or hide, with Shift only this one`}
            onClick={(e) => onToggle(l.name, e.shiftKey)}
          >
            <span
              class={`swatch${dash(k) && !(stack && !l.line) ? ' dashed' : ''}`}
              style={{ color: pale(l, k, stack) ? `color-mix(in srgb, ${l.colour} 55%, var(--panel))` : l.colour }}
            />
            <span class={`name${mono ? ' mono' : ''}`}>{l.name}</span>
            <span class="value">{at === null ? '' : format(v == null ? undefined : l.negate ? -v : v, unit)}</span>
          </button>
        );
      })}
    </>
  );
}
