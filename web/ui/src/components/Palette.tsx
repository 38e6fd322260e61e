// The command palette and the list of shortcuts.
import { signal } from '@preact/signals';
import { useMemo, useState } from 'preact/hooks';
import { discovery } from '../api/clanmon';
import { request } from '../api/client';
import { metricNames } from '../api/metadata';
import { vector } from '../api/prom';
import type { RuleGroup } from '../api/rules';
import { lookUp } from '../lib/discovery';
import { found, type Item } from '../lib/palette';
import { typeOf } from '../lib/services';
import { routes } from '../routes';
import { refresh } from '../state/clock';
import { agent } from '../state/config';
import { useData } from '../state/data';
import { allAlerts } from '../state/firing';
import { useFleet } from '../state/fleet';
import { shortcuts } from '../state/keys';
import { go, href, machinePath } from '../state/location';
import { zone, nextTheme } from '../state/prefs';
import { Overlay } from './bits';
import { Icon } from './icons';

export const paletteOpen = signal(false);
export const helpOpen = signal(false);

interface Entry extends Item {
  icon: string;
  note?: string; // in place of the kind
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
  const { rows } = useFleet(!agent);
  const units = useData(
    agent ? null : 'palette units',
    (s) => vector('count by (name) ({__name__=~"(node_)?systemd_unit_state",state="active"})', undefined, s),
    300,
  );
  const rules = useData(
    agent ? null : 'palette rules',
    (s) =>
      request<{ groups: RuleGroup[] }>('/api/v1/rules', { params: { exclude_alerts: 'true' }, signal: s }).then((d) =>
        d.groups.flatMap((g) => g.rules),
      ),
    300,
  );
  const metrics = useData(agent ? null : 'palette metrics', () => metricNames(), 300);
  const disco = useData(agent ? null : 'discovery', discovery, 60);
  const all = useMemo<Entry[]>(() => {
    const firing = new Map<string, number>();
    for (const a of allAlerts.value ?? []) {
      const name = a.labels.alertname ?? '';
      firing.set(name, (firing.get(name) ?? 0) + 1);
    }
    const ruleNames = new Set((rules.data ?? []).map((r) => r.name));
    return [
      ...pages,
      ...(rows ?? []).map((m) => ({
        icon: 'fleet',
        text: m.name,
        kind: 'machine',
        run: () => go(href(machinePath(m.name))),
      })),
      ...actions,
      ...(units.data ?? []).map((u) => {
        const name = u.metric.name ?? '';
        return {
          icon: 'services',
          text: name,
          kind: 'unit',
          run: () => go(href('/services', { view: 'units', type: typeOf(name), q: name })),
        };
      }),
      ...[...firing].map(([name, n]) => ({
        icon: 'alerts',
        text: name,
        kind: 'alert',
        note: `alert, ${n} firing`,
        run: () => go(href('/alerts', { q: name })),
      })),
      ...[...ruleNames].map((name) => ({
        icon: 'list',
        text: name,
        kind: 'rule',
        run: () => go(href('/rules', { q: name })),
      })),
      ...(metrics.data ?? [])
        .filter((name) => !ruleNames.has(name))
        .map((name) => ({
          icon: 'chart',
          text: name,
          kind: 'metric',
          run: () => go(href('/explore', { 'g0.expr': name })),
        })),
    ];
  }, [rows, units.data, rules.data, metrics.data, allAlerts.value]);
  const hits = useMemo<Entry[]>(() => {
    const q = text.trim();
    if (!q) return all.slice(0, 40);
    const missing = lookUp(disco.data, q)
      .filter((f) => !rows?.some((r) => r.name === f.name))
      .slice(0, 5)
      .map((f) => ({
        icon: 'wait',
        text: f.name,
        kind: 'not listed',
        note: f.why,
        run: () => go(href('/targets', { tab: 'discovery' })),
      }));
    // A word is a query only where a metric has this name, and then it is above.
    const query =
      !agent && /[(){}[\]<>=!+*/]/.test(q)
        ? [{ icon: 'chart', text: q, kind: 'query', run: () => go(href('/explore', { 'g0.expr': q })) }]
        : [];
    return [...found(all, q), ...missing, ...query];
  }, [all, text, disco.data, rows]);
  const loading = !agent && (!rows || units.loading || metrics.loading);
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
    <Overlay kind="dialog" title="Search" onClose={onClose}>
      <input
        class="field"
        data-autofocus
        type="search"
        role="combobox"
        aria-expanded="true"
        aria-controls="palette"
        aria-activedescendant={hits.length ? `palette-${at}` : undefined}
        aria-label="Page, machine, unit, alert, rule or metric"
        placeholder="Page, machine, unit, alert, metric, PromQL"
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
        {!hits.length && (
          <p class="dim" role="status">
            {loading ? 'Loading…' : 'Nothing has this name, and discovery does not know it.'}
          </p>
        )}
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
            <span class="dim ellipsis">{e.note ?? e.kind}</span>
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
