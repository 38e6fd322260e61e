// Table: sorted by its headers, with only the rows in sight in the page, so
// that a thousand machines cost as little as thirty. On a phone rows are cards.
import { Component, type ComponentChildren } from 'preact';
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { fitting, itemsOf, sortRows, windowOf } from '../lib/table';
import { go, param, setParams } from '../state/location';
import { useKeys } from '../state/keys';
import { phone } from '../state/media';

export interface Column<R> {
  id: string;
  title: string; // what screen readers and the column chooser say
  head?: ComponentChildren; // in place of title
  num?: boolean;
  sort?: (r: R) => number | string | undefined;
  cell: (r: R) => ComponentChildren;
  class?: string;
  width?: string;
  min?: number; // pixels that a column without a width needs, in a fixed table
  rank?: number; // in a fixed table that lacks room, columns of the highest rank go first
}

export interface TableProps<R> {
  label: string;
  rows: R[];
  columns: Column<R>[];
  rowKey: (r: R) => string;
  defaultSort?: string; // id, or -id for descending
  ordered?: boolean; // rows are in order, groups too
  sortParam?: string; // parameter of the URL, "sort" by default
  href?: (r: R) => string;
  onOpen?: (r: R) => void;
  card?: (r: R) => ComponentChildren;
  beside?: (r: R) => ComponentChildren; // of a card: what is outside its link
  onMark?: (r: R) => void; // x, on the chosen row
  cardHeight?: number; // pixels, where cards have fewer lines than the token says
  rowClass?: (r: R) => string;
  group?: (r: R) => string;
  groupHead?: (group: string, count: number) => ComponentChildren;
  fixed?: boolean; // columns are as wide as they say, whatever is in them
  onVisible?: (rows: R[]) => void;
  pagewide?: boolean; // headers stick below the top bar
  empty?: ComponentChildren;
  listKeys?: boolean; // j, k and Enter; for the main table of a page
}

const VIRTUAL_FROM = 80;
const HEAD = 32; // height of a group's head, as in components.css

export function Table<R>(p: TableProps<R>) {
  const { rows, rowKey, sortParam = 'sort', defaultSort = '' } = p;
  const sort = param(sortParam, defaultSort);
  const column = p.columns.find((c) => c.id === sort.replace(/^-/, ''));
  const down = sort.startsWith('-');
  const sorted = useMemo(
    () => (p.ordered ? rows : sortRows(rows, column?.sort, down, p.group)),
    [rows, p.ordered, column?.id, down, p.group],
  );
  const items = useMemo(() => itemsOf(sorted, p.group), [sorted, p.group]);
  const cards = phone.value && !!p.card;

  const box = useRef<HTMLDivElement>(null);
  const [room, setRoom] = useState(0);
  useLayoutEffect(() => {
    if (!p.fixed || cards || !box.current) return;
    const see = new ResizeObserver(() => setRoom(box.current?.clientWidth ?? 0));
    see.observe(box.current);
    setRoom(box.current.clientWidth);
    return () => see.disconnect();
  }, [p.fixed, cards, !sorted.length]);
  const columns = useMemo(() => (p.fixed ? fitting(p.columns, room) : p.columns), [p.columns, p.fixed, room]);

  const body = useRef<HTMLElement>(null);
  const [scroll, setScroll] = useState({ top: 0, height: 1200 });
  const usual = useRowHeight(cards);
  const rowHeight = (cards && p.cardHeight) || usual;
  // Where each line begins; the last number is the height of all.
  const tops = useMemo(() => {
    const out = [0];
    for (const i of items) out.push(out[out.length - 1]! + (i.group === undefined ? rowHeight : HEAD));
    return out;
  }, [items, rowHeight]);
  const virtual = items.length > VIRTUAL_FROM;
  useLayoutEffect(() => {
    if (!virtual) return;
    let frame = 0;
    const measure = () => {
      frame = 0;
      const top = -(body.current?.getBoundingClientRect().top ?? 0);
      setScroll((s) =>
        Math.abs(s.top - top) < rowHeight * 4 && s.height === window.innerHeight
          ? s
          : { top, height: window.innerHeight },
      );
    };
    const later = () => {
      if (!frame) frame = requestAnimationFrame(measure);
    };
    measure();
    // Captured, so that it hears of a box around the table that scrolls too.
    window.addEventListener('scroll', later, { passive: true, capture: true });
    window.addEventListener('resize', later);
    return () => {
      cancelAnimationFrame(frame);
      window.removeEventListener('scroll', later, true);
      window.removeEventListener('resize', later);
    };
  }, [virtual, rowHeight]);
  const { first, last } = virtual ? windowOf(scroll.top, scroll.height, tops) : { first: 0, last: items.length };
  const shown = items.slice(first, last);
  const shownKeys = shown.map((i) => (i.group === undefined ? rowKey(i.row) : '')).join('\n');
  useEffect(() => p.onVisible?.(shown.flatMap((i) => (i.group === undefined ? [i.row] : []))), [shownKeys]);
  const before = tops[first] ?? 0;
  const after = (tops[items.length] ?? 0) - (tops[last] ?? 0);

  // The chosen row stays chosen when a refresh puts it elsewhere.
  const [active, setActive] = useState<string | null>(null);
  const open = useRef<(r: R) => void>(() => undefined);
  open.current = (r) => (p.onOpen ? p.onOpen(r) : p.href && go(p.href(r)));
  const onOpen = useCallback((r: R) => open.current(r), []);
  const move = (by: number) => {
    const at = sorted.findIndex((r) => rowKey(r) === active);
    const next = Math.min(sorted.length - 1, Math.max(0, at + by));
    if (!sorted[next]) return;
    setActive(rowKey(sorted[next]));
    const top =
      (body.current?.getBoundingClientRect().top ?? 0) +
      tops[items.findIndex((i) => i.group === undefined && i.index === next)]!;
    if (top < 140) window.scrollBy(0, top - 140);
    else if (top > window.innerHeight - 2 * rowHeight) window.scrollBy(0, top - window.innerHeight + 3 * rowHeight);
  };
  useKeys(
    p.listKeys === false || !(p.href || p.onOpen)
      ? []
      : [
          { keys: 'j', what: 'Next row', run: () => move(1) },
          { keys: 'k', what: 'Previous row', run: () => move(-1) },
          {
            keys: 'Enter',
            what: 'Open row',
            run: () => {
              const r = sorted.find((x) => rowKey(x) === active);
              if (r) onOpen(r);
            },
          },
          ...(p.onMark
            ? [
                {
                  keys: 'x',
                  what: 'Select row',
                  run: () => {
                    const r = sorted.find((x) => rowKey(x) === active);
                    if (r) p.onMark!(r);
                  },
                },
              ]
            : []),
        ],
  );

  if (!sorted.length && p.empty) return <>{p.empty}</>;
  const headOf = (group: string, count: number) => p.groupHead?.(group, count) ?? group;
  if (cards) {
    return (
      <div
        class="cards"
        role="list"
        aria-label={p.label}
        ref={body as never}
        tabIndex={p.pagewide ? undefined : 0}
        style={p.cardHeight ? { '--card': `${p.cardHeight}px` } : undefined}
      >
        {before > 0 && <div style={{ height: `${before}px` }} />}
        {shown.map((i) => {
          if (i.group !== undefined)
            return (
              <div role="listitem" class="grouphead" key={`group ${i.group}`}>
                {headOf(i.group, i.count)}
              </div>
            );
          const r = i.row;
          const key = rowKey(r);
          return (
            <div role="listitem" key={key} class={p.beside ? 'withbeside' : ''}>
              {p.beside?.(r)}
              {p.href ? (
                <a class={`card ${key === active ? 'active' : ''} ${p.rowClass?.(r) ?? ''}`} href={p.href(r)}>
                  {p.card!(r)}
                </a>
              ) : (
                <div class={`card ${p.rowClass?.(r) ?? ''}`} onClick={() => onOpen(r)}>
                  {p.card!(r)}
                </div>
              )}
            </div>
          );
        })}
        {after > 0 && <div style={{ height: `${after}px` }} />}
      </div>
    );
  }
  const setSort = (c: Column<R>) => {
    const value = c.id === column?.id ? (down ? c.id : `-${c.id}`) : c.num ? `-${c.id}` : c.id;
    setParams({ [sortParam]: value === defaultSort ? null : value });
  };
  const clickable = p.href || p.onOpen ? 'clickable' : '';
  return (
    <div
      ref={box}
      class={p.pagewide ? '' : 'tablebox'}
      {...(!p.pagewide && { tabIndex: 0, role: 'region', 'aria-label': p.label })}
    >
      <table
        class={`table ${p.pagewide ? 'pagewide' : ''} ${p.fixed ? 'fixed' : ''}`}
        aria-label={p.label}
        aria-rowcount={items.length + 1}
      >
        <thead>
          <tr aria-rowindex={1}>
            {columns.map((c) => (
              <th
                key={c.id}
                scope="col"
                class={`${c.num ? 'num' : ''} ${c.class ?? ''}`}
                style={c.width ? { width: c.width } : undefined}
                aria-sort={c.id === column?.id ? (down ? 'descending' : 'ascending') : undefined}
              >
                {c.sort ? (
                  <button type="button" onClick={() => setSort(c)} title={`Sort by ${c.title}`}>
                    {c.head ?? c.title}
                    <span aria-hidden="true">{c.id === column?.id ? (down ? '↓' : '↑') : ''}</span>
                  </button>
                ) : (
                  (c.head ?? c.title)
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody ref={body as never}>
          {before > 0 && (
            <tr class="spacer" aria-hidden="true">
              <td colSpan={columns.length} style={{ height: `${before}px` }} />
            </tr>
          )}
          {shown.map((i, n) => {
            if (i.group !== undefined)
              return (
                <tr class="grouphead" key={`group ${i.group}`} aria-rowindex={first + n + 2}>
                  <td colSpan={columns.length}>{headOf(i.group, i.count)}</td>
                </tr>
              );
            const key = rowKey(i.row);
            return (
              <Line
                key={key}
                row={i.row}
                columns={columns as Column<unknown>[]}
                place={first + n + 2}
                class={`${key === active ? 'active' : ''} ${clickable} ${p.rowClass?.(i.row) ?? ''}`}
                onOpen={onOpen as (r: unknown) => void}
              />
            );
          })}
          {after > 0 && (
            <tr class="spacer" aria-hidden="true">
              <td colSpan={columns.length} style={{ height: `${after}px` }} />
            </tr>
          )}
        </tbody>
      </table>
    </div>
  );
}

interface LineProps {
  row: unknown;
  columns: Column<unknown>[];
  place: number;
  class: string;
  onOpen: (r: unknown) => void;
}

// Line is a row that is drawn anew only when something of it is another, so that
// scrolling costs only the rows that come into sight.
class Line extends Component<LineProps> {
  override shouldComponentUpdate(next: LineProps, state: object): boolean {
    const { props } = this;
    // Another state is a signal that a cell has read.
    return (
      state !== this.state ||
      next.row !== props.row ||
      next.columns !== props.columns ||
      next.place !== props.place ||
      next.class !== props.class
    );
  }

  override render({ row, columns, place, class: name, onOpen }: LineProps) {
    return (
      <tr
        aria-rowindex={place}
        class={name}
        onClick={(e) => {
          if (!(e.target as Element).closest('a,button,input,label') && !window.getSelection()?.toString()) onOpen(row);
        }}
      >
        {columns.map((c) => (
          <td key={c.id} class={`${c.num ? 'num' : ''} ${c.class ?? ''}`}>
            {c.cell(row)}
          </td>
        ))}
      </tr>
    );
  }
}

// The height of a row is fixed in tokens.css.
function useRowHeight(cards: boolean): number {
  return useMemo(
    () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue(cards ? '--card' : '--row')) || 36,
    [cards, phone.value],
  );
}
