// The grid of a board: 24 columns on a desktop, one on a phone. While it is arranged,
// tiles are dragged and resized by pointer or by keys.
import { useMemo, useRef, useState } from 'preact/hooks';
import { Icon } from '../../components/icons';
import {
  COLUMNS,
  fill,
  GAP,
  moved,
  nudged,
  ones,
  repeated,
  ROW,
  shown,
  type Place,
  type Tile,
  type Values,
} from '../../lib/boards';
import { dragging } from '../../state/clock';
import { phone } from '../../state/media';
import { TileContent } from './Tiles';

export interface Arranging {
  change: (tiles: Tile[]) => void;
  edit: (i: number) => void;
  duplicate: (i: number) => void;
  remove: (i: number) => void;
}

export function Grid({
  tiles,
  values,
  arranging,
}: {
  tiles: Tile[];
  values: Values;
  arranging: Arranging | undefined;
}) {
  const [open, setOpen] = useState<Record<string, boolean>>({});
  const [preview, setPreview] = useState<Tile[] | undefined>();
  const box = useRef<HTMLDivElement>(null);
  const { all, notes } = useMemo(
    () => (arranging ? { all: ones(preview ?? tiles, values), notes: [] } : repeated(tiles, values)),
    [arranging, preview, tiles, values],
  );
  const list = shown(all, (key) => (arranging ? true : open[key]));
  // An element that is moved in the document loses the pointer and the focus.
  if (arranging) list.sort((a, b) => a.i - b.i);

  // start follows a pointer until it is released; Escape leaves all as it was.
  const start = (e: PointerEvent, i: number, resize: boolean) => {
    if (e.button !== 0) return;
    e.preventDefault();
    const handle = e.currentTarget as HTMLElement;
    handle.setPointerCapture(e.pointerId);
    handle.focus();
    const column = (box.current!.clientWidth + GAP) / COLUMNS;
    const from = tiles[i]!;
    const [x0, y0] = [e.pageX, e.pageY];
    let now: Tile[] | undefined;
    dragging.value = true;
    const move = (m: PointerEvent) => {
      const dx = Math.round((m.pageX - x0) / column);
      const dy = Math.round((m.pageY - y0) / (ROW + GAP));
      const to: Partial<Place> = resize ? { w: from.w + dx, h: from.h + dy } : { x: from.x + dx, y: from.y + dy };
      if (resize) to.w = Math.min(to.w!, COLUMNS - from.x);
      now = moved(tiles, i, to);
      setPreview(now);
    };
    const end = (keep: boolean) => {
      handle.removeEventListener('pointermove', move);
      handle.removeEventListener('pointerup', up);
      handle.removeEventListener('pointercancel', cancel);
      handle.removeEventListener('keydown', key);
      dragging.value = false;
      setPreview(undefined);
      if (keep && now) arranging!.change(now);
    };
    const up = () => end(true);
    const cancel = () => end(false);
    const key = (k: KeyboardEvent) => {
      if (k.key !== 'Escape') return;
      k.stopPropagation();
      end(false);
    };
    handle.addEventListener('pointermove', move);
    handle.addEventListener('pointerup', up);
    handle.addEventListener('pointercancel', cancel);
    handle.addEventListener('keydown', key);
  };
  const arrows: Record<string, [number, number]> = {
    ArrowLeft: [-1, 0],
    ArrowRight: [1, 0],
    ArrowUp: [0, -1],
    ArrowDown: [0, 1],
  };
  const key = (e: KeyboardEvent, i: number) => {
    const by = arrows[e.key];
    if (!by) return;
    e.preventDefault();
    e.stopPropagation();
    const [dx, dy] = by;
    const t = tiles[i]!;
    arranging!.change(
      e.shiftKey ? moved(tiles, i, { w: Math.min(t.w + dx, COLUMNS - t.x), h: t.h + dy }) : nudged(tiles, i, dx, dy),
    );
  };

  return (
    <>
      {notes.map((n) => (
        <p class="note" key={n}>
          {n}
        </p>
      ))}
      <div class={`boardgrid${arranging ? ' arranging' : ''}`} ref={box}>
        {list.map(({ tile, i, key: id, values }) => {
          const title = tile.title || tile.type;
          return (
            <div
              key={id}
              class={`tile is-${tile.type}`}
              data-tile={id}
              style={{
                gridColumn: `${tile.x + 1} / span ${tile.w}`,
                gridRow: `${tile.y + 1} / span ${tile.h}`,
                '--rows': tile.h,
              }}
            >
              {arranging && (
                <div class="tilebar">
                  {!phone.value && (
                    <button
                      type="button"
                      class="btn icon plain movehandle"
                      aria-label={`Move ${title}: arrow keys, with Shift its size`}
                      title="Drag to move. Arrow keys move, with Shift they resize."
                      onPointerDown={(e) => start(e, i, false)}
                      onKeyDown={(e) => key(e, i)}
                    >
                      <Icon name="move" />
                    </button>
                  )}
                  <span class="grow ellipsis">
                    {title}
                    {tile.repeat && <span class="dim"> for each ${tile.repeat}</span>}
                  </span>
                  <button
                    type="button"
                    class="btn icon plain"
                    aria-label={`Edit ${title}`}
                    title="Edit"
                    onClick={() => arranging.edit(i)}
                  >
                    <Icon name="edit" />
                  </button>
                  <button
                    type="button"
                    class="btn icon plain"
                    aria-label={`Duplicate ${title}`}
                    title="Duplicate"
                    onClick={() => arranging.duplicate(i)}
                  >
                    <Icon name="copy" />
                  </button>
                  <button
                    type="button"
                    class="btn icon plain"
                    aria-label={`Remove ${title}`}
                    title="Remove"
                    onClick={() => arranging.remove(i)}
                  >
                    <Icon name="close" />
                  </button>
                </div>
              )}
              {tile.type === 'row' ? (
                <h2 class="boardrow">
                  <button
                    type="button"
                    aria-expanded={(arranging ? true : open[id]) ?? !tile.collapsed}
                    onClick={() => setOpen({ ...open, [id]: !(open[id] ?? !tile.collapsed) })}
                  >
                    <Icon name={(arranging ? true : (open[id] ?? !tile.collapsed)) ? 'down_' : 'right'} />
                    {fill(tile.title ?? '', values) || 'Row'}
                  </button>
                </h2>
              ) : (
                <TileContent tile={tile} id={id} values={values} />
              )}
              {arranging && !phone.value && tile.type !== 'row' && (
                <button
                  type="button"
                  class="resizehandle"
                  tabIndex={-1}
                  aria-hidden="true"
                  title="Drag to resize"
                  onPointerDown={(e) => start(e, i, true)}
                />
              )}
            </div>
          );
        })}
      </div>
    </>
  );
}
