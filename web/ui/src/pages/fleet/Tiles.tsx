// Tiles: every machine at a glance, the worst first. What is wrong has a name, what is not is
// a square, and where there is no room for all a group folds the squares.
import { useMemo, useRef, useState } from 'preact/hooks';
import { Icon } from '../../components/icons';
import { lookOf } from '../../components/MachineState';
import { isTroubled, tilesOf, whyOf, type FleetRow, type TileGroup } from '../../lib/fleet';
import { ago } from '../../lib/format';
import { href, machinePath, setParams } from '../../state/location';
import { known, second } from '../../state/clock';
import { phone } from '../../state/media';
import { GroupHead } from './GroupHead';
import './tiles.css';

const NAMED = 60; // as many have a name each
const FOLD = 14; // squares of a group that a phone shows unasked

export function Tiles({ rows, byTag, tag }: { rows: FleetRow[]; byTag: boolean; tag: string }) {
  const groups = useMemo(() => tilesOf(rows, byTag, tag), [rows, byTag, tag]);
  const box = useRef<HTMLDivElement>(null);
  const [tip, setTip] = useState<{ r: FleetRow; left: number; top: number }>();
  const byName = useMemo(() => new Map(rows.map((r) => [r.name, r])), [rows]);
  const show = (e: Event) => {
    const tile = (e.target as Element).closest<HTMLElement>('.machinetile');
    const r = tile && byName.get(tile.dataset.name ?? '');
    if (!tile || !r) return setTip(undefined);
    const at = tile.getBoundingClientRect();
    setTip({ r, left: Math.min(at.left, window.innerWidth - 330), top: at.bottom + 6 });
  };
  return (
    <div
      ref={box}
      class={`tiles${rows.length <= NAMED ? ' named' : ''}`}
      onMouseOver={show}
      onMouseLeave={() => setTip(undefined)}
      onFocusIn={show}
      onFocusOut={() => setTip(undefined)}
      onKeyDown={(e) => {
        const to = neighbour(box.current, e);
        if (!to) return;
        e.preventDefault();
        to.focus();
      }}
    >
      {groups.map((g) => (
        <Group key={g.tag} g={g} head={byTag} />
      ))}
      {tip && (
        // Of what is focused, the link says the same.
        <div class="tiletip" aria-hidden="true" style={{ left: `${tip.left}px`, top: `${tip.top}px` }}>
          <b>{tip.r.name}</b> <span class="dim">{stateOf(tip.r)}</span>
          {whyOf(tip.r) && <p>{whyOf(tip.r)}</p>}
          {!!tip.r.tags?.length && <p class="dim">{tip.r.tags.join(', ')}</p>}
        </div>
      )}
    </div>
  );
}

function Group({ g, head }: { g: TileGroup; head: boolean }) {
  const [open, setOpen] = useState(false);
  const calm = g.rows.length - g.troubled;
  const fold = phone.value && !open && calm > FOLD;
  const shown = fold ? g.rows.slice(0, g.troubled) : g.rows;
  const label = head ? g.tag : 'Machines';
  return (
    <section class="tilegroup" aria-label={`${label}, ${g.rows.length}`}>
      {head && (
        <h2>
          <GroupHead tag={g.tag} n={g.rows.length} rows={g.rows} />
        </h2>
      )}
      <div class="tilebox">
        {shown.map((r, i) => (
          <Tile key={r.name} r={r} first={i === 0} />
        ))}
        {fold && (
          <button type="button" class="btn" onClick={() => setOpen(true)}>
            Show {calm} without a problem
          </button>
        )}
      </div>
    </section>
  );
}

const stateOf = (r: FleetRow) => {
  const { word } = lookOf(r);
  const state = known.value ? word : `Was ${word === 'OK' ? word : word.toLowerCase()}`;
  const since = isTroubled(r) && r.since ? ` for ${ago(second.peek() - Date.parse(r.since) / 1000)}` : '';
  return `${state}${since}${r.silenced?.length ? ', silenced' : ''}`;
};

// One stop for Tab in each group; arrow keys go on from there.
function Tile({ r, first }: { r: FleetRow; first: boolean }) {
  const look = lookOf(r);
  const why = whyOf(r);
  return (
    <a
      class={`machinetile ${look.level}${isTroubled(r) ? ' troubled' : ''}`}
      href={href(machinePath(r.name))}
      data-name={r.name}
      tabIndex={first ? undefined : -1}
      aria-label={`${r.name}: ${stateOf(r)}${why ? `, ${why}` : ''}`}
    >
      {look.level !== 'ok' && <Icon name={look.icon} />}
      <span class="ellipsis">{r.name}</span>
      {!!r.silenced?.length && look.icon !== 'silence' && <Icon name="silence" />}
    </a>
  );
}

// neighbour is where an arrow key leads: along the tiles, or to the nearest one of the next line.
function neighbour(box: HTMLElement | null, e: KeyboardEvent): HTMLElement | undefined {
  const from = document.activeElement;
  if (!box || !from?.classList.contains('machinetile') || e.ctrlKey || e.metaKey || e.altKey) return undefined;
  const all = [...box.querySelectorAll<HTMLElement>('.machinetile')];
  const i = all.indexOf(from as HTMLElement);
  const at = from.getBoundingClientRect();
  const line = (tiles: HTMLElement[], below: number) => {
    let best: HTMLElement | undefined;
    let top: number | undefined;
    let near = Infinity;
    for (const t of tiles) {
      const is = t.getBoundingClientRect();
      if ((is.top - at.top) * below < 1) continue;
      top ??= is.top;
      if (Math.abs(is.top - top) > 1) break;
      const far = Math.abs(is.left - at.left);
      if (far < near) [best, near] = [t, far];
    }
    return best;
  };
  switch (e.key) {
    case 'ArrowRight':
      return all[i + 1];
    case 'ArrowLeft':
      return all[i - 1];
    case 'ArrowDown':
      return line(all.slice(i + 1), 1);
    case 'ArrowUp':
      return line(all.slice(0, i).reverse(), -1);
    case 'Home':
      return all[0];
    case 'End':
      return all.at(-1);
    default:
      return undefined;
  }
}

// ViewButtons choose between rows and tiles.
export const ViewButtons = ({ tiles }: { tiles: boolean }) => (
  <span class="group" role="group" aria-label="View">
    {(['rows', 'tiles'] as const).map((v) => (
      <button
        type="button"
        class="btn"
        key={v}
        aria-pressed={tiles === (v === 'tiles')}
        onClick={() => setParams({ view: v === 'tiles' ? v : null, group: null })}
      >
        {v === 'rows' ? 'Rows' : 'Tiles'}
      </button>
    ))}
  </span>
);
