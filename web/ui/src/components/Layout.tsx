// The frame of every page: navigation, toolbar, banners, toasts.
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import faviconCrit from '../assets/favicon-crit.svg';
import faviconWarn from '../assets/favicon-warn.svg';
import { connection, history, skew } from '../api/client';
import { ago } from '../lib/format';
import { BOTTOM, listed, type Route } from '../routes';
import { second, refresh, tick, zoomOut, shift } from '../state/clock';
import { agent, title } from '../state/config';
import { firing } from '../state/firing';
import { go, href } from '../state/location';
import { bind } from '../state/keys';
import { nextTheme } from '../state/prefs';
import { toasts } from '../state/toast';
import { Menu } from './bits';
import { Icon, Logo } from './icons';
import { Palette, paletteOpen, helpOpen, Help } from './Palette';
import { Starting } from './Starting';
import { StorageBanners } from './StorageHealth';
import { Toolbar } from './Toolbar';

const shown = listed(agent).filter((r) => r.nav);

bind([
  ...shown.map((r) => ({ keys: `g ${r.nav}`, what: `Go to ${r.title}`, run: () => go(href(r.path)) })),
  { keys: 'ctrl+k', what: 'Search pages, machines, units, metrics', run: () => (paletteOpen.value = true) },
  {
    keys: '/',
    what: 'Filter this page',
    run: () =>
      (
        document.querySelector<HTMLElement>('main [type="search"]') ?? document.querySelector<HTMLElement>('main input')
      )?.focus(),
  },
  { keys: '?', what: 'Keyboard help', run: () => (helpOpen.value = true) },
  { keys: 'r', what: 'Refresh', run: refresh },
  { keys: 'd', what: 'Theme: system, light, dark', run: nextTheme },
  {
    keys: 't',
    what: 'Select a time range',
    run: () => {
      const b = document.querySelector<HTMLElement>('.rangepick button');
      b?.focus();
      b?.click();
    },
  },
  { keys: '[', what: 'Back half a range', run: () => shift(-0.5) },
  { keys: ']', what: 'Forward half a range', run: () => shift(0.5) },
  { keys: 'z', what: 'Zoom out', run: zoomOut },
]);

export function Layout({
  route,
  params,
  children,
}: {
  route: Route | undefined;
  params: Record<string, string>;
  children: ComponentChildren;
}) {
  const n = firing.value;
  const name = params.machine ?? route?.title ?? 'Not found';
  useEffect(() => {
    document.title = `${n.total ? `(${n.total}) ` : ''}${name} · ${title}`;
  }, [n.total, name]);
  useEffect(() => {
    history.value = undefined; // of another page
  }, [route, name]);
  useEffect(() => {
    const begun = Date.now();
    const late = setTimeout(() => {
      if (history.value && history.value.at < begun) history.value = undefined; // nobody says so any more
    }, 20000);
    return () => clearTimeout(late);
  }, [tick.value]);
  useEffect(() => setFavicon(n.critical > 0 ? 'crit' : n.total > 0 ? 'warn' : 'ok'), [n.critical > 0, n.total > 0]);
  const current = (r: Route) =>
    r === route ||
    (r.path === '/' && route?.path === '/m/:machine') ||
    (r.path === '/alerts' && route?.path === '/silences')
      ? 'page'
      : undefined;
  const count = (r: Route) =>
    r.path === '/alerts' &&
    n.total > 0 && (
      <span class={`count ${n.critical ? 'crit' : 'warn'}`}>
        {n.total}
        <span class="sr"> firing</span>
      </span>
    );
  return (
    <>
      <a class="skip" href="#main" data-native>
        Skip to content
      </a>
      <header class="topbar">
        <a class="brand" href={href('/')} aria-label={title}>
          <Logo />
          <span>{title}</span>
        </a>
        <span class="here ellipsis" aria-hidden="true">
          {name}
        </span>
        <Nav current={current} count={count} />
        <Toolbar />
      </header>
      <Banners explore={route?.path === '/explore'} />
      <main id="main" tabIndex={-1}>
        {connection.value.state === 'starting' ? <Starting /> : children}
      </main>
      <nav class="bottombar" aria-label="Pages, on phones">
        {shown
          .filter((r) => BOTTOM.includes(r.path))
          .map((r) => (
            <a key={r.path} href={href(r.path)} aria-current={current(r)}>
              <Icon name={r.icon ?? 'list'} />
              <span>{r.title}</span>
              {count(r)}
            </a>
          ))}
        <button type="button" onClick={() => (paletteOpen.value = true)}>
          <Icon name="search" />
          <span>Search</span>
        </button>
      </nav>
      {paletteOpen.value && <Palette onClose={() => (paletteOpen.value = false)} />}
      {helpOpen.value && <Help onClose={() => (helpOpen.value = false)} />}
      <div class="toasts" role="status" aria-live="polite">
        {toasts.value.map((t) => (
          <div key={t.id} class={`toast${t.bad ? ' crit' : ''}`}>
            {t.text}
            {t.act && (
              <button type="button" class="btn" onClick={t.act.run}>
                {t.act.text}
              </button>
            )}
          </div>
        ))}
      </div>
    </>
  );
}

interface NavProps {
  current: (r: Route) => 'page' | undefined;
  count: (r: Route) => ComponentChildren;
}

// Nav has the pages that fit in one line, and a menu of all others.
function Nav({ current, count }: NavProps) {
  const box = useRef<HTMLElement>(null);
  const [{ fits, free }, set] = useState({ fits: shown.length, free: 0 });
  useLayoutEffect(() => {
    const links = [...box.current!.children] as HTMLElement[];
    const look = () => {
      const wrapped = links.findIndex((a) => a.offsetTop > links[0]!.offsetTop);
      const fits = wrapped < 0 ? links.length : wrapped;
      const last = links[fits - 1];
      const free = last ? box.current!.clientWidth + box.current!.offsetLeft - last.offsetLeft - last.offsetWidth : 0;
      set((old) => (old.fits === fits && old.free === free ? old : { fits, free }));
    };
    // Links grow too: Alerts has a count.
    const o = new ResizeObserver(look);
    for (const e of [box.current!, ...links]) o.observe(e);
    return () => o.disconnect();
  }, []);
  const inBar = shown.slice(0, fits);
  const others = listed(agent).filter((r) => !inBar.includes(r));
  return (
    <>
      <nav class="nav" ref={box} aria-label="Pages">
        {shown.map((r, i) => (
          <a key={r.path} href={href(r.path)} aria-current={current(r)} class={i < fits ? '' : 'wrapped'}>
            {r.title}
            {count(r)}
          </a>
        ))}
      </nav>
      {/* Next to the last page that fits. */}
      <span class="more" style={{ left: `${-free}px` }}>
        <Menu
          class={`plain${others.some(current) && !inBar.some(current) ? ' on' : ''}`}
          label="More"
          title="More pages"
        >
          {(close) =>
            others.map((r) => (
              <a key={r.path} href={href(r.path)} aria-current={current(r)} onClick={close}>
                <Icon name={r.icon ?? 'list'} />
                {r.title}
                {count(r)}
              </a>
            ))
          }
        </Menu>
      </span>
    </>
  );
}

// Explore says itself what an answer lacks.
function Banners({ explore }: { explore: boolean }) {
  const c = connection.value;
  const lacks = explore ? undefined : history.value;
  return (
    <>
      {c.state === 'unreachable' && (
        <p class="banner" role="alert">
          <Icon name="wait" /> The server has not responded for {ago(second.value - c.since)}. Showing the last data
          received; retrying.
        </p>
      )}
      {c.state === 'locked' && (
        <p class="banner warn" role="alert">
          <Icon name="warn" /> You are no longer logged in.{' '}
          <button type="button" class="btn" onClick={() => window.location.reload()}>
            Log in again
          </button>
        </p>
      )}
      <StorageBanners />
      {lacks && (
        <p class="banner warn" role="status">
          <Icon name="warn" /> {lacks.text}
        </p>
      )}
      {Math.abs(skew.value) > 30 && (
        <p class="banner warn" role="status">
          <Icon name="clock" /> This device's clock is {ago(about(Math.abs(skew.value)))}{' '}
          {skew.value > 0 ? 'behind' : 'ahead of'} the server's. Times shown are the server's.
        </p>
      )}
    </>
  );
}

// about is a time to the nearest minute: the server's Date has whole seconds only.
const about = (s: number) => (s < 60 ? Math.round(s) : Math.round(s / 60) * 60);

const plain = document.querySelector<HTMLLinkElement>('link[rel="icon"]')?.href ?? '';

function setFavicon(level: 'ok' | 'warn' | 'crit'): void {
  const link = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
  if (link) link.href = level === 'crit' ? faviconCrit : level === 'warn' ? faviconWarn : plain;
}
