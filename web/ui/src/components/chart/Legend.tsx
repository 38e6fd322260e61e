// Legend names the lines of a plot with their values at the cursor, or at the end, the
// highest first, and hides them. With stats it is a table of what they were over the range.
import { useMemo, useState } from 'preact/hooks';
import { dash, pale, statsOf, type Line, type Stats } from '../../lib/chart';
import { format, type Unit } from '../../lib/format';
import type { RuleLimit } from '../../lib/limits';
import type { Threshold } from '../../lib/panel';
import { href } from '../../state/location';

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

interface LegendProps {
  lines: Line[];
  at: number | null; // index of the values to show
  unit?: Unit | undefined;
  stack?: boolean | undefined;
  stats?: boolean;
  thresholds?: (Threshold | RuleLimit)[] | undefined;
  focus: string | null;
  off: ReadonlySet<string>;
  onToggle: (name: string, only: boolean) => void;
  titleOf?: (l: Line) => string;
  mono?: boolean;
}

interface Entry {
  l: Line;
  k: number; // its place among the lines, of which dashes and colours are
  stats: Stats | undefined;
}

const FIGURES = ['min', 'mean', 'max', 'last'] as const;

export function Legend(p: LegendProps) {
  const entries = useMemo<Entry[]>(() => p.lines.map((l, k) => ({ l, k, stats: statsOf(l) })), [p.lines]);
  return (
    <>
      {p.stats ? <StatsTable {...p} entries={entries} /> : <Names {...p} entries={entries} />}
      {p.thresholds?.map((t) =>
        'rule' in t ? (
          <a key={`${t.rule} ${t.value}`} class="limit" href={href('/rules', { q: t.rule })} title={t.title}>
            <span class={`swatch dashed ${t.kind}`} />
            {t.rule} {t.label} {format(t.value, p.unit)}
          </a>
        ) : (
          <span key={t.label} class={`status ${t.kind}`}>
            <span class="swatch dashed" />
            {t.label} {format(t.value, p.unit)}
          </span>
        ),
      )}
    </>
  );
}

// The queries of a chart are in an order that means something; what one query gives is not.
const highest = (a: Entry, b: Entry) =>
  Number(!!a.l.past) - Number(!!b.l.past) ||
  a.l.query - b.l.query ||
  (b.stats?.last ?? -Infinity) - (a.stats?.last ?? -Infinity);

function Names(p: LegendProps & { entries: Entry[] }) {
  const sorted = useMemo(() => [...p.entries].sort(highest), [p.entries]);
  return (
    <>
      {sorted.map((e) => {
        const v = p.at === null ? undefined : e.l.values[p.at];
        return (
          <Name key={`${e.l.query} ${e.l.name}`} {...p} e={e}>
            <span class="value">
              {p.at === null ? '' : format(v == null ? undefined : e.l.negate ? -v : v, p.unit)}
            </span>
          </Name>
        );
      })}
    </>
  );
}

function Name({ e: { l, k, stats }, children, ...p }: LegendProps & { e: Entry; children?: preact.ComponentChildren }) {
  const { titleOf = (x) => x.name } = p;
  const figures = stats && FIGURES.map((f) => `${f} ${format(stats[f], p.unit)}`).join(', ');
  return (
    <button
      type="button"
      class={p.focus === l.name ? 'focus' : ''}
      aria-pressed={!p.off.has(l.name)}
      title={[titleOf(l), figures, 'Click to show or hide, with Shift only this one'].filter(Boolean).join('\n')}
      onClick={(e) => p.onToggle(l.name, e.shiftKey)}
    >
      <span
        class={`swatch${l.past || (dash(k) && !l.own && !(p.stack && !l.line)) ? ' dashed' : ''}`}
        style={{
          color: l.past || pale(l, k, p.stack) ? `color-mix(in srgb, ${l.colour} 55%, var(--panel))` : l.colour,
        }}
      />
      <span class={`name${p.mono ? ' mono' : ''}`}>{l.name}</span>
      {children}
    </button>
  );
}

function StatsTable(p: LegendProps & { entries: Entry[] }) {
  const [by, setBy] = useState<keyof Stats>('last');
  const [down, setDown] = useState(true);
  const sorted = useMemo(
    () =>
      [...p.entries].sort((a, b) => {
        const [x, y] = [a.stats?.[by] ?? -Infinity, b.stats?.[by] ?? -Infinity];
        return (down ? y - x : x - y) || 0;
      }),
    [p.entries, by, down],
  );
  return (
    <table class="stats">
      <thead>
        <tr>
          <th scope="col">Series</th>
          {FIGURES.map((f) => (
            <th key={f} scope="col" class="num" aria-sort={by === f ? (down ? 'descending' : 'ascending') : undefined}>
              <button
                type="button"
                title={`Sort by ${f}`}
                onClick={() => {
                  setDown(by === f ? !down : true);
                  setBy(f);
                }}
              >
                {f}
                <span aria-hidden="true">{by === f ? (down ? '↓' : '↑') : ''}</span>
              </button>
            </th>
          ))}
          <th scope="col" class="num">
            at cursor
          </th>
        </tr>
      </thead>
      <tbody>
        {sorted.map((e) => {
          const v = p.at === null ? undefined : e.l.values[p.at];
          return (
            <tr key={`${e.l.query} ${e.l.name}`} class={p.focus === e.l.name ? 'focus' : ''}>
              <th scope="row">
                <Name {...p} e={e} />
              </th>
              {FIGURES.map((f) => (
                <td key={f} class="num">
                  {format(e.stats?.[f], p.unit)}
                </td>
              ))}
              <td class="num">{format(v == null ? undefined : e.l.negate ? -v : v, p.unit)}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
