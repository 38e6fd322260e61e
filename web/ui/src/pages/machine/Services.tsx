import { useMemo } from 'preact/hooks';
import { vector } from '../../api/prom';
import { Ago, Empty, ErrorNote, Loading } from '../../components/bits';
import { Status } from '../../components/Status';
import { Table, type Column } from '../../components/Table';
import { format } from '../../lib/format';
import { at } from '../../state/clock';
import { useData } from '../../state/data';
import { href, param, setParams } from '../../state/location';
import { has, NoKind, useAbout } from './context';

interface Unit { name: string; state: string; since?: number; restarts?: number; cpu?: number; memory?: number; tasks?: number }

const order = ['failed', 'activating', 'deactivating', 'reloading', 'active', 'inactive'];

export function Services() {
  const a = useAbout();
  const { m } = a;
  const got = useData(`units ${m}`, (s) => vector([
    `{__name__=~"systemd_unit_state|node_systemd_unit_state",${m}} == 1`,
    `label_replace(increase(systemd_service_restart_total{${m}}[24h]) > 0, "figure", "restarts", "", "")`,
    `label_replace(sum by (name) (rate(systemd_unit_cpu_seconds_total{${m}}[5m])), "figure", "cpu", "", "")`,
    `label_replace(systemd_unit_memory_bytes{${m},kind="current"}, "figure", "memory", "", "")`,
    `label_replace(systemd_unit_tasks_current{${m}}, "figure", "tasks", "", "")`,
    `label_replace(systemd_unit_active_enter_time_seconds{${m}}, "figure", "active", "", "")`,
    `label_replace(systemd_unit_inactive_enter_time_seconds{${m}}, "figure", "inactive", "", "")`,
  ].join(' or '), at.value, s));
  const units = useMemo(() => {
    const by = new Map<string, Unit & { active?: number; inactive?: number }>();
    for (const s of got.data ?? []) {
      const name = s.metric.name ?? '';
      let u = by.get(name);
      if (!u) by.set(name, (u = { name, state: '' }));
      const v = Number(s.value?.[1]);
      if (s.metric.state) u.state = s.metric.state;
      else if (s.metric.figure) (u as unknown as Record<string, number>)[s.metric.figure] = v;
    }
    for (const u of by.values()) { const since = u.state === 'active' ? u.active : u.inactive; if (since) u.since = since; }
    return [...by.values()].filter((u) => u.state);
  }, [got.data]);
  const text = param('q').toLowerCase();
  const kind = param('kind', 'service');
  const rows = units.filter((u) => (kind === 'all' || u.name.endsWith(`.${kind}`) || u.state === 'failed') && u.name.toLowerCase().includes(text));
  if (!has(a, 'systemd_unit_state', 'node_systemd_unit_state')) return <NoKind kind="systemd" metrics="systemd units" />;
  if (!got.data && !got.error) return <Loading lines={5} />;
  const failed = units.filter((u) => u.state === 'failed').length;
  const columns: Column<Unit>[] = [
    { id: 'state', title: 'State', width: '130px', sort: (u) => order.indexOf(u.state), cell: (u) => <Status level={u.state === 'failed' ? 'crit' : u.state === 'active' ? 'ok' : u.state.endsWith('ing') ? 'info' : 'off'}>{u.state}</Status> },
    { id: 'name', title: 'Unit', sort: (u) => u.name, cell: (u) => <span class="mono wrap">{u.name}</span> },
    { id: 'since', title: 'Since', num: true, sort: (u) => u.since, cell: (u) => <Ago time={u.since} /> },
    { id: 'restarts', title: 'Restarts, 24 h', num: true, sort: (u) => u.restarts, cell: (u) => (u.restarts ? Math.round(u.restarts) : <span class="dim">{a.away ? '–' : 0}</span>) },
    { id: 'cpu', title: 'CPU', num: true, sort: (u) => u.cpu, cell: (u) => format(u.cpu, 'ratio') },
    { id: 'memory', title: 'Memory', num: true, sort: (u) => u.memory, cell: (u) => format(u.memory, 'bytes') },
    { id: 'tasks', title: 'Tasks', num: true, sort: (u) => u.tasks, cell: (u) => format(u.tasks, 'count') },
  ];
  return (
    <>
      <div class="row">
        <input class="field" type="search" aria-label="Filter units" placeholder="Filter units" value={param('q')} onInput={(e) => setParams({ q: e.currentTarget.value })} />
        <span class="group" role="group" aria-label="Type of unit">{['service', 'timer', 'socket', 'mount', 'all'].map((k) => <button type="button" class="btn" key={k} aria-pressed={kind === k} onClick={() => setParams({ kind: k === 'service' ? null : k })}>{k}</button>)}</span>
        {failed > 0 && <Status level="crit">{failed} failed</Status>}
        <span class="grow" />
        <a class="btn" href={href('/services')}>Services of all machines</a>
      </div>
      <ErrorNote error={got.error} what="Units could not be loaded" />
      <section class={`panel${a.away ? ' stale' : ''}`}>
        <Table label="Units" pagewide rows={rows} columns={columns} rowKey={(u) => u.name} defaultSort="state" listKeys={false}
          card={(u) => <span class="stack" style={{ gap: '4px' }}><b class="mono wrap">{u.name}</b><span class="row"><Status level={u.state === 'failed' ? 'crit' : u.state === 'active' ? 'ok' : 'off'} badge>{u.state}</Status><span class="dim"><Ago time={u.since} /></span></span><span class="dim">{format(u.cpu, 'ratio')} CPU, {format(u.memory, 'bytes')}</span></span>}
          empty={<Empty icon="filter" title={units.length ? 'No unit fits the filter' : 'No units now'} why={units.length ? undefined : 'The exporter answers, but has no unit: it may not reach systemd, or systemd does not run there.'} />} />
      </section>
    </>
  );
}
