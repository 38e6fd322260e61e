// The command palette and the list of shortcuts.
import { signal } from '@preact/signals';
import { useMemo, useState } from 'preact/hooks';
import { discovery } from '../api/clanmon';
import { request } from '../api/client';
import { metricNames } from '../api/metadata';
import { vector } from '../api/prom';
import type { RuleGroup } from '../api/rules';
import { lookUp } from '../lib/discovery';
import { commandsOf, wordsOf, type Command } from '../lib/commands';
import { chosen, found, keyOf, type Item } from '../lib/palette';
import { typeOf } from '../lib/services';
import { routes } from '../routes';
import { useBoards } from '../state/boards';
import { refresh, setRelative } from '../state/clock';
import { agent } from '../state/config';
import { useData } from '../state/data';
import { allAlerts } from '../state/firing';
import { useElsewhere } from '../state/elsewhere';
import { useFleet } from '../state/fleet';
import { shortcuts } from '../state/keys';
import { go, href, machinePath } from '../state/location';
import { compareHref } from '../state/picked';
import { nextTheme, recall, remember, zone } from '../state/prefs';
import { silenceMachine } from '../state/silencing';
import { copy, toast } from '../state/toast';
import { who } from '../state/who';
import { Overlay } from './bits';
import { Icon } from './icons';

export const paletteOpen = signal(false);
export const helpOpen = signal(false);

interface Entry extends Item {
  icon: string;
  note?: string; // in place of the kind
  refused?: string | undefined; // why one may not
  run: () => void;
}

const RECENT = 'palette.recent';

// entryOf is a command as the palette lists and runs it.
function entryOf(c: Command): Entry {
  const base = { text: wordsOf(c), kind: 'command' };
  switch (c.do) {
    case 'range':
      return { ...base, icon: 'clock', run: () => setRelative(c.range) };
    case 'compare':
      return {
        ...base,
        icon: 'chart',
        run: () =>
          go(
            compareHref(c.machines, {
              ...(c.tag && { tag: c.tag }),
              ...(c.range && { range: c.range, from: null, to: null }),
            }),
          ),
      };
    case 'silence':
      return {
        ...base,
        icon: 'silence',
        refused: c.refused ?? who.value?.changesRefused,
        run: () => void silenceMachine(c.machine, c.seconds, c.reason),
      };
    case 'open':
      return {
        ...base,
        icon: c.chart ? 'chart' : 'fleet',
        run: () =>
          go(
            href(machinePath(c.machine), {
              tab: c.tab,
              chart: c.chart,
              ...(c.range && { range: c.range, from: null, to: null }),
            }),
          ),
      };
    case 'copy':
      return { ...base, icon: 'copy', run: () => void copy(c.text, `${c.text} copied`) };
  }
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
  const { rows: others } = useElsewhere();
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
  const metrics = useData(agent ? null : 'metric names', () => metricNames(), 300);
  const boards = useBoards(!agent);
  const [recent] = useState(() => recall<string[]>(RECENT, []));
  const disco = useData(agent ? null : 'discovery', discovery, 60);
  const all = useMemo<Entry[]>(() => {
    const firing = new Map<string, string[]>();
    for (const a of allAlerts.value ?? []) {
      const name = a.labels.alertname ?? '';
      firing.set(name, [...(firing.get(name) ?? []), a.annotations.summary ?? '']);
    }
    const ruleNames = new Map((rules.data ?? []).map((r) => [r.name, r.annotations?.summary]));
    return [
      ...pages,
      ...[...(rows ?? []), ...others].map((m) => ({
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
      ...[...firing].map(([name, summaries]) => ({
        icon: 'alerts',
        text: name,
        kind: 'alert',
        also: summaries.join('\n'),
        note: summaries.length === 1 ? summaries[0]! : `alert, ${summaries.length} firing`,
        run: () => go(href('/alerts', { q: name })),
      })),
      ...(boards.data ?? []).map((b) => ({
        icon: 'chart',
        text: b.title,
        kind: 'board',
        run: () => go(href(`/boards/${encodeURIComponent(b.name)}`)),
      })),
      ...[...ruleNames].map(([name, summary]) => ({
        icon: 'list',
        text: name,
        kind: 'rule',
        ...(summary && { also: summary.replace(/\{\{.*?\}\}/g, '') }),
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
  }, [rows, others, units.data, rules.data, metrics.data, boards.data, allAlerts.value]);
  const hits = useMemo<Entry[]>(() => {
    const q = text.trim();
    if (!q) {
      const before = recent.flatMap((k) => all.find((e) => keyOf(e) === k) ?? []);
      return [...before, ...all.filter((e) => !before.includes(e))].slice(0, 40);
    }
    const commands = agent ? [] : commandsOf(q, rows ?? []).map(entryOf);
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
    // A machine whose name it is comes before what there is of it.
    const hits = found(all, q, recent);
    const first = hits[0]?.kind === 'machine' && hits[0].text === q ? hits.splice(0, 1) : [];
    return [...first, ...commands, ...hits, ...missing, ...query];
  }, [all, text, disco.data, rows, recent, who.value]);
  const loading = !agent && (!rows || units.loading || metrics.loading);
  const choose = (e: Entry | undefined) => {
    if (!e) return;
    if (e.refused) return toast(e.refused, true);
    if (e.kind !== 'command') remember(RECENT, chosen(recent, keyOf(e)));
    onClose();
    e.run();
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
        placeholder={agent ? 'Page' : 'Machine, unit, alert, metric, or “silence beta 2h”'}
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
            {loading ? 'Loading…' : 'No matches.'}
          </p>
        )}
        {hits.map((e, i) => (
          <button
            type="button"
            key={`${e.kind} ${e.text}`}
            id={`palette-${i}`}
            role="option"
            aria-selected={i === at}
            aria-disabled={!!e.refused}
            tabIndex={-1}
            onClick={() => choose(e)}
            ref={(n) => {
              if (i === at) n?.scrollIntoView({ block: 'nearest' });
            }}
          >
            <Icon name={e.icon} />
            <span class="grow ellipsis">{e.text}</span>
            <span class="dim ellipsis">{e.refused ?? e.note ?? e.kind}</span>
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
