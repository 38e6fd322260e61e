// The command palette and the list of shortcuts.
import { signal } from '@preact/signals';
import { useMemo, useState } from 'preact/hooks';
import { machines } from '../api/clanmon';
import { vector } from '../api/prom';
import { score } from '../lib/search';
import { routes } from '../routes';
import { refresh } from '../state/clock';
import { agent } from '../state/config';
import { useData } from '../state/data';
import { shortcuts } from '../state/keys';
import { go, href, machinePath } from '../state/location';
import { zone } from '../state/prefs';
import { Overlay } from './bits';
import { Icon } from './icons';
import { nextTheme } from './Layout';

export const paletteOpen = signal(false);
export const helpOpen = signal(false);

interface Entry {
  icon: string;
  text: string;
  kind: string;
  run: () => void;
}

const pages: Entry[] = routes
  .filter((r) => !r.path.includes(':') && (!agent || r.agent))
  .map((r) => ({ icon: r.icon ?? 'list', text: r.title, kind: 'page', run: () => go(href(r.path)) }));
const actions: Entry[] = [
  { icon: 'refresh', text: 'Refresh', kind: 'action', run: refresh },
  { icon: 'sun', text: 'Change theme', kind: 'action', run: nextTheme },
  {
    icon: 'clock',
    text: 'Switch between local time and UTC',
    kind: 'action',
    run: () => (zone.value = zone.value === 'utc' ? 'local' : 'utc'),
  },
  { icon: 'info', text: 'Keyboard shortcuts', kind: 'action', run: () => (helpOpen.value = true) },
  ...(agent
    ? []
    : [{ icon: 'silence', text: 'New silence', kind: 'action', run: () => go(href('/silences', { new: true })) }]),
];

export function Palette({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState('');
  const [at, setAt] = useState(0);
  const found = useData(agent ? null : 'palette machines', (s) => machines(s), 60);
  const units = useData(
    agent ? null : 'palette units',
    (s) => vector('count by (name) (systemd_unit_info or systemd_unit_state{state="active"})', undefined, s),
    300,
  );
  const all = useMemo<Entry[]>(
    () => [
      ...pages,
      ...(found.data ?? []).map((m) => ({
        icon: 'fleet',
        text: m.machine,
        kind: 'machine',
        run: () => go(href(machinePath(m.machine))),
      })),
      ...actions,
      ...(units.data ?? []).map((u) => ({
        icon: 'services',
        text: u.metric.name ?? '',
        kind: 'unit',
        run: () => go(href('/services', { view: 'units', q: u.metric.name })),
      })),
    ],
    [found.data, units.data],
  );
  const hits = useMemo(() => {
    const q = text.trim();
    if (!q) return all.slice(0, 40);
    const found = all
      .map((e) => ({ e, s: score(q, e.text) }))
      .filter((x) => x.s > 0)
      .sort((a, b) => b.s - a.s)
      .slice(0, 40)
      .map((x) => x.e);
    return [...found, { icon: 'chart', text: q, kind: 'query', run: () => go(href('/explore', { 'g0.expr': q })) }];
  }, [all, text]);
  const choose = (e: Entry | undefined) => {
    if (e) {
      onClose();
      e.run();
    }
  };
  const key = (e: KeyboardEvent) => {
    if (e.key === 'ArrowDown') {
      setAt(Math.min(hits.length - 1, at + 1));
      e.preventDefault();
    }
    if (e.key === 'ArrowUp') {
      setAt(Math.max(0, at - 1));
      e.preventDefault();
    }
    if (e.key === 'Enter') {
      e.preventDefault();
      choose(hits[at]);
    }
  };
  return (
    <Overlay kind="dialog" title="Go to" onClose={onClose}>
      <input
        class="field"
        data-autofocus
        type="search"
        role="combobox"
        aria-expanded="true"
        aria-controls="palette"
        aria-activedescendant={hits.length ? `palette-${at}` : undefined}
        aria-label="Page, machine, unit or query"
        placeholder="Page, machine, unit; or a query"
        value={text}
        onInput={(e) => {
          setText(e.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={key}
      />
      <div
        id="palette"
        role="listbox"
        aria-label="Matches"
        class="menu"
        style={{ position: 'static', border: 0, boxShadow: 'none', padding: 0, maxHeight: '50vh' }}
      >
        {hits.map((e, i) => (
          <button
            type="button"
            key={`${e.kind} ${e.text}`}
            id={`palette-${i}`}
            role="option"
            aria-selected={i === at}
            tabIndex={-1}
            onClick={() => choose(e)}
            ref={(n) => {
              if (i === at) n?.scrollIntoView({ block: 'nearest' });
            }}
          >
            <Icon name={e.icon} />
            <span class="grow ellipsis">{e.text}</span>
            <span class="dim">{e.kind}</span>
          </button>
        ))}
      </div>
    </Overlay>
  );
}

export function Help({ onClose }: { onClose: () => void }) {
  const seen = new Set<string>();
  return (
    <Overlay kind="dialog" title="Keyboard" onClose={onClose}>
      <dl class="facts">
        {shortcuts()
          .filter((s) => !seen.has(s.keys) && seen.add(s.keys))
          .map((s) => [
            <dt key={s.keys}>
              {s.keys.split(' ').map((k) => (
                <span class="kbd" key={k} style={{ marginRight: '3px' }}>
                  {k.replace('ctrl+', 'Ctrl ')}
                </span>
              ))}
            </dt>,
            <dd key={`${s.keys} what`}>{s.what}</dd>,
          ])}
      </dl>
    </Overlay>
  );
}
