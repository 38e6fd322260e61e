// Table: sorted by its headers, with only the rows in sight in the page, so
// that a thousand machines cost as little as thirty. On a phone rows are cards.
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { sortRows, windowOf } from '../lib/table';
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
}

export interface TableProps<R> {
  label: string;
  rows: R[];
  columns: Column<R>[];
  rowKey: (r: R) => string;
  defaultSort?: string; // id, or -id for descending
  sortParam?: string; // parameter of the URL, "sort" by default
  href?: (r: R) => string;
  onOpen?: (r: R) => void;
  card?: (r: R) => ComponentChildren;
  rowClass?: (r: R) => string;
  group?: (r: R) => string; // rows are already in the order of groups
  onVisible?: (rows: R[]) => void;
  pagewide?: boolean; // headers stick below the top bar
  empty?: ComponentChildren;
  listKeys?: boolean; // j, k and Enter; for the main table of a page
}

const VIRTUAL_FROM = 80;

export function Table<R>(p: TableProps<R>) {
  const { rows, columns, rowKey, sortParam = 'sort', defaultSort = '' } = p;
  const sort = param(sortParam, defaultSort);
  const column = columns.find((c) => c.id === sort.replace(/^-/, ''));
  const down = sort.startsWith('-');
  const sorted = useMemo(() => sortRows(rows, column?.sort, down, p.group), [rows, column?.id, down, p.group]);
  const cards = phone.value && !!p.card;

  const body = useRef<HTMLElement>(null);
  const [scroll, setScroll] = useState({ top: 0, height: 1200 });
  const virtual = sorted.length > VIRTUAL_FROM;
  const rowHeight = useRowHeight(cards);
  useLayoutEffect(() => {
    if (!virtual) return;
    let frame = 0;
    const measure = () => {
      frame = 0;
      const top = -(body.current?.getBoundingClientRect().top ?? 0);
      setScroll((s) => (Math.abs(s.top - top) < rowHeight * 4 && s.height === window.innerHeight ? s : { top, height: window.innerHeight }));
    };
    const later = () => { if (!frame) frame = requestAnimationFrame(measure); };
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
  const { first, last } = virtual ? windowOf(scroll.top, scroll.height, rowHeight, sorted.length) : { first: 0, last: sorted.length };
  const shown = sorted.slice(first, last);
  const shownKeys = shown.map(rowKey).join('\n');
  useEffect(() => p.onVisible?.(shown), [shownKeys]);

  const [active, setActive] = useState(-1);
  const open = (r: R) => (p.onOpen ? p.onOpen(r) : p.href && go(p.href(r)));
  const move = (by: number) => {
    const next = Math.min(sorted.length - 1, Math.max(0, active + by));
    setActive(next);
    const top = (body.current?.getBoundingClientRect().top ?? 0) + next * rowHeight;
    if (top < 140) window.scrollBy(0, top - 140);
    else if (top > window.innerHeight - 2 * rowHeight) window.scrollBy(0, top - window.innerHeight + 3 * rowHeight);
  };
  useKeys(p.listKeys === false || !(p.href || p.onOpen) ? [] : [
    { keys: 'j', what: 'Next row', run: () => move(1) },
    { keys: 'k', what: 'Previous row', run: () => move(-1) },
    { keys: 'Enter', what: 'Open row', run: () => { const r = sorted[active]; if (r) open(r); } },
  ]);

  if (!sorted.length && p.empty) return <>{p.empty}</>;
  if (cards) {
    return (
      <div class="cards" role="list" aria-label={p.label} ref={body as never}>
        {first > 0 && <div style={{ height: `${first * rowHeight}px` }} />}
        {shown.map((r, i) => (
          <div role="listitem" key={rowKey(r)}>
            {p.href
              ? <a class={`card ${first + i === active ? 'active' : ''} ${p.rowClass?.(r) ?? ''}`} href={p.href(r)}>{p.card!(r)}</a>
              : <div class={`card ${p.rowClass?.(r) ?? ''}`} onClick={() => open(r)}>{p.card!(r)}</div>}
          </div>
        ))}
        {last < sorted.length && <div style={{ height: `${(sorted.length - last) * rowHeight}px` }} />}
      </div>
    );
  }
  const setSort = (c: Column<R>) => {
    const value = c.id === column?.id ? (down ? c.id : `-${c.id}`) : c.num ? `-${c.id}` : c.id;
    setParams({ [sortParam]: value === defaultSort ? null : value });
  };
  let group: string | undefined = first > 0 && p.group ? p.group(sorted[first - 1]!) : undefined;
  return (
    <div class={p.pagewide ? '' : 'tablebox'} {...(!p.pagewide && { tabIndex: 0, role: 'region', 'aria-label': p.label })}>
      <table class={`table ${p.pagewide ? 'pagewide' : ''}`} aria-label={p.label} aria-rowcount={sorted.length + 1}>
        <thead>
          <tr aria-rowindex={1}>
            {columns.map((c) => (
              <th key={c.id} scope="col" class={`${c.num ? 'num' : ''} ${c.class ?? ''}`} style={c.width ? { width: c.width } : undefined} aria-sort={c.id === column?.id ? (down ? 'descending' : 'ascending') : undefined}>
                {c.sort ? <button type="button" onClick={() => setSort(c)} title={`Sort by ${c.title}`}>{c.head ?? c.title}<span aria-hidden="true">{c.id === column?.id ? (down ? '↓' : '↑') : ''}</span></button> : c.head ?? c.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody ref={body as never}>
          {first > 0 && <tr class="spacer" aria-hidden="true"><td colSpan={columns.length} style={{ height: `${first * rowHeight}px` }} /></tr>}
          {shown.map((r, i) => {
            const g = p.group?.(r);
            const head = g !== undefined && g !== group;
            group = g;
            const key = rowKey(r);
            return [
              head && <tr class="grouphead" key={`group ${g}`}><td colSpan={columns.length}>{g}</td></tr>,
              <tr key={key} aria-rowindex={first + i + 2} class={`${first + i === active ? 'active' : ''} ${p.href || p.onOpen ? 'clickable' : ''} ${p.rowClass?.(r) ?? ''}`}
                onClick={(e) => { if (!(e.target as Element).closest('a,button,input,label') && !window.getSelection()?.toString()) open(r); }}>
                {columns.map((c) => <td key={c.id} class={`${c.num ? 'num' : ''} ${c.class ?? ''}`}>{c.cell(r)}</td>)}
              </tr>,
            ];
          })}
          {last < sorted.length && <tr class="spacer" aria-hidden="true"><td colSpan={columns.length} style={{ height: `${(sorted.length - last) * rowHeight}px` }} /></tr>}
        </tbody>
      </table>
    </div>
  );
}

// The height of a row is fixed in tokens.css.
function useRowHeight(cards: boolean): number {
  return useMemo(() => parseFloat(getComputedStyle(document.documentElement).getPropertyValue(cards ? '--card' : '--row')) || 36, [cards, phone.value]);
}
