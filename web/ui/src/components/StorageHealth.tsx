// Whether samples are stored: what every page has to say where they are not, and the
// panel of Status.
import type { Damage } from '../api/types/status';
import { known } from '../state/clock';
import { storage } from '../state/storage';
import { Ago, Panel, Time } from './bits';
import { Icon } from './icons';
import { Status } from './Status';
import { Table } from './Table';

const seconds = (t: string | undefined) => (t ? Date.parse(t) / 1000 : undefined);

export function StorageBanners() {
  const s = storage.value;
  if (!s || !known.value) return null;
  return (
    <>
      {!s.storing && (
        <p class="banner crit" role="alert">
          <Icon name="crit" /> <span class="wrap">Samples cannot be stored{s.reason ? `: ${s.reason}` : ''}</span>
        </p>
      )}
      {s.unsafe && (
        <p class="banner crit" role="alert">
          <Icon name="crit" /> Do not restart this server: samples in memory are not safe yet
        </p>
      )}
    </>
  );
}

export function StoragePanel() {
  const s = storage.value;
  if (!s) return null;
  const damaged = s.damaged ?? [];
  return (
    <Panel title="Storage">
      <dl class="facts body">
        <dt>Samples</dt>
        <dd>
          {s.storing ? <Status level="ok">stored</Status> : <Status level="crit">not stored</Status>}{' '}
          {!s.storing && seconds(s.since) && (
            <span class="dim">
              for <Ago time={seconds(s.since)} />
            </span>
          )}
          {s.reason && <div class="wrap">{s.reason}</div>}
        </dd>
        {s.unsafe && (
          <>
            <dt>Restart</dt>
            <dd>
              <Status level="crit">would lose samples in memory</Status>
            </dd>
          </>
        )}
        <dt>Damaged data</dt>
        <dd>
          {damaged.length ? <Status level="warn">{damaged.length} set aside</Status> : <Status level="ok">none</Status>}
        </dd>
      </dl>
      {damaged.length > 0 && (
        <Table<Damage>
          label="Damaged data"
          rows={damaged}
          rowKey={(d) => d.path}
          listKeys={false}
          card={(d) => (
            <span class="stack">
              <b class="wrap">{d.what}</b>
              <span>
                Missing: <Missing d={d} />
              </span>
              <span class="wrap">{d.error}</span>
              {d.hint && <span class="wrap">{d.hint}</span>}
              <code class="wrap">{d.path}</code>
            </span>
          )}
          columns={[
            {
              id: 'what',
              title: 'Set aside',
              cell: (d) => (
                <>
                  <b class="wrap">{d.what}</b> <Ago time={seconds(d.setAside)} suffix=" ago" />
                </>
              ),
            },
            { id: 'missing', title: 'Missing data', cell: (d) => <Missing d={d} /> },
            {
              id: 'why',
              title: 'Error',
              cell: (d) => (
                <>
                  <div class="wrap">{d.error}</div>
                  {d.hint && <div class="wrap">{d.hint}</div>}
                  <code class="wrap">{d.path}</code>
                </>
              ),
            },
          ]}
        />
      )}
    </Panel>
  );
}

function Missing({ d }: { d: Damage }) {
  if (!d.from && !d.to) return <span class="dim">not known</span>;
  return (
    <>
      {d.from ? <Time time={seconds(d.from)} /> : 'start'} – {d.to ? <Time time={seconds(d.to)} /> : 'not known'}
    </>
  );
}
