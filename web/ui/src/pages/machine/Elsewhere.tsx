// The page of a machine that another server watches. Charts are drawn from the engine to which
// both write; what only that server knows is not here.
import type { ComponentType } from 'preact';
import { useMemo } from 'preact/hooks';
import { metricNames, vector } from '../../api/prom';
import type { FleetRow } from '../../api/types/machines';
import { Ago, Empty, ErrorNote, Loading } from '../../components/bits';
import { MachineState } from '../../components/MachineState';
import { watchedBy } from '../../lib/elsewhere';
import { lastQuery } from '../../lib/machine';
import { dateTime } from '../../lib/time';
import { MACHINE } from '../../lib/words';
import { at, range } from '../../state/clock';
import { useData } from '../../state/data';
import { href, machinePath, param } from '../../state/location';
import { isUTC } from '../../state/prefs';
import { AboutContext, type About } from './context';
import { Disks } from './Disks';
import { Hardware } from './Hardware';
import { Metrics } from './Metrics';
import { Network } from './Network';
import { Overview } from './Overview';

const TABS: { id: string; title: string; C: ComponentType }[] = [
  { id: '', title: 'Overview', C: Overview },
  { id: 'disks', title: 'Disks', C: Disks },
  { id: 'network', title: 'Network', C: Network },
  { id: 'hardware', title: 'Hardware', C: Hardware },
  { id: 'metrics', title: 'Metrics', C: Metrics },
];

export function Elsewhere({ row, warnings, time }: { row: FleetRow; warnings: string[]; time: number }) {
  const m = row.selector ?? '';
  const away = row.state === 'down' || row.state === 'offline';
  const last = useData(away ? `last ${row.name}` : null, (s) => vector(lastQuery(m), undefined, s), 120);
  const up = last.data?.[0] && Math.ceil(Number(last.data[0].value?.[1]));
  const seen = up || (row.lastSeen ? Math.ceil(Date.parse(row.lastSeen) / 1000) : undefined);
  const r = range.value;
  const names = useData(
    `metrics ${m} ${r.relative ?? `${r.from} ${r.to}`}`,
    (s) => metricNames(`{${m}}`, range.peek().from, range.peek().to, s),
    120,
  );
  const metrics = useMemo(() => (names.data ? new Set(names.data) : undefined), [names.data]);
  const about: About = {
    name: row.name,
    m,
    earlier: '',
    when: at.value ?? (away ? seen : undefined),
    machine: undefined,
    metrics,
    scrape: 15,
    jobs: [],
    away,
    site: row.site ?? '',
  };
  const tab = param('tab');
  const current = TABS.find((t) => t.id === tab) ?? TABS[0]!;
  const { C } = current;
  return (
    <AboutContext.Provider value={about}>
      <div class="machinehead">
        <div class="pagehead">
          <h1 class="wrap">{row.machine}</h1>
          <a class="chip site" href={href('/', { tag: row.tags?.[0] ?? null, where: 'elsewhere' })}>
            {row.site}
          </a>
          <MachineState row={row} badge />
          {away && seen !== undefined && (
            <span class="status badge warn">
              Last sample <Ago time={seen} suffix=" ago" />
            </span>
          )}
        </div>
        {row.why && (
          <p class="row dim">
            {row.since && row.targets !== 0 && (
              <span class="nowrap">
                {MACHINE[row.state].toLowerCase()} for <Ago time={Date.parse(row.since) / 1000} />
              </span>
            )}
            <span class="wrap">{row.why}</span>
          </p>
        )}
        <p class="note">
          This machine is {watchedBy(row.site ?? '')}. Its targets, silences, journal, uptime, notes and changes are on
          that server.
        </p>
        {warnings.map((w) => (
          <p class="note warn" key={w}>
            {w}
            {time > 0 && w.startsWith('History not reached') && `. Showing the state of ${dateTime(time, isUTC())}`}
          </p>
        ))}
      </div>
      <nav class="tabs" aria-label={`Parts of ${row.name}`}>
        {TABS.map((t) => (
          <a
            key={t.id}
            href={href(machinePath(row.name), { tab: t.id })}
            aria-current={t === current ? 'page' : undefined}
          >
            {t.title}
          </a>
        ))}
      </nav>
      {metrics?.size ? (
        <C key={current.id} />
      ) : metrics ? (
        <div class="panel">
          <Empty
            icon="chart"
            title="No data in this range"
            {...(!warnings.length && { why: 'The engine has no samples of this machine in this range.' })}
          />
        </div>
      ) : names.error ? (
        <ErrorNote error={names.error} what="The metrics could not be loaded" />
      ) : (
        <Loading lines={5} />
      )}
    </AboutContext.Provider>
  );
}
