import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { hereWith, setParams } from '../state/location';

// useCurrentInView scrolls a row of tabs, on a phone, so that the current one is
// to be seen.
export function useCurrentInView(current: string) {
  const bar = useRef<HTMLElement>(null);
  useEffect(() => {
    const tab = bar.current?.querySelector<HTMLElement>('[aria-current="page"]');
    if (tab)
      bar.current!.scrollLeft =
        tab.offsetLeft - bar.current!.offsetLeft - (bar.current!.clientWidth - tab.offsetWidth) / 2;
  }, [current]);
  return bar;
}

// Tabs are links, so that each can be opened elsewhere; the parameter "tab" of
// the URL says which is shown. The first one needs none.
export function Tabs({
  label,
  tabs,
  current,
  name = 'tab',
  links,
}: {
  label: string;
  tabs: { id: string; title: string; extra?: ComponentChildren }[];
  current: string;
  name?: string;
  links?: (id: string) => string;
}) {
  const key = (e: KeyboardEvent) => {
    const by = e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0;
    if (!by) return;
    e.preventDefault();
    e.stopPropagation();
    const i = tabs.findIndex((t) => t.id === current);
    const next = tabs[(i + by + tabs.length) % tabs.length]!;
    const bar = e.currentTarget as HTMLElement;
    if (!links) setParams({ [name]: next.id === tabs[0]!.id ? null : next.id });
    requestAnimationFrame(() =>
      (bar.children[(i + by + tabs.length) % tabs.length] as HTMLElement | undefined)?.focus(),
    );
  };
  const bar = useCurrentInView(current);
  return (
    <nav class="tabs" ref={bar} aria-label={label} onKeyDown={key}>
      {tabs.map((t) => (
        <a
          key={t.id}
          href={links ? links(t.id) : hereWith({ [name]: t.id === tabs[0]!.id ? null : t.id })}
          aria-current={t.id === current ? 'page' : undefined}
        >
          {t.title}
          {t.extra}
        </a>
      ))}
    </nav>
  );
}
