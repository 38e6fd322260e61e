// Whether samples are stored: what every page has to say where they are not, and the
// panel of Status.
import type { Damage } from '../api/types/status';
import { format } from '../lib/format';
import { known } from '../state/clock';
import { storage } from '../state/storage';
import { Ago, Panel, Time } from './bits';
import { Icon } from './icons';
import { Status } from './Status';

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
        {s.room && (
          <>
            <dt>Free disk space</dt>
            <dd>{format(s.room.freeBytes, 'bytes')}</dd>
            <dt>Size at the retention</dt>
            <dd>
              {!s.room.expectedBytes ? (
                <span class="dim">known after a day</span>
              ) : s.room.retentionSizeBytes ? (
                <>
                  <Status level="warn">{format(s.room.expectedBytes, 'bytes')} does not fit</Status>
                  <div class="wrap">
                    Set <code>--storage.tsdb.retention.size={Math.floor(s.room.retentionSizeBytes / 2 ** 20)}MB</code>
                  </div>
                </>
              ) : (
                format(s.room.expectedBytes, 'bytes')
              )}
            </dd>
          </>
        )}
        <dt>Damaged data</dt>
        <dd>
          {damaged.length ? <Status level="warn">{damaged.length} found</Status> : <Status level="ok">none</Status>}
        </dd>
      </dl>
      {damaged.length > 0 && (
        <ul class="body stack" aria-label="Damaged data">
          {damaged.map((d) => (
            <li key={d.path || d.what} class="stack">
              <span>
                <b class="wrap">{d.what}</b> {d.block ? 'in use, found' : 'set aside'}{' '}
                <Ago time={seconds(d.setAside)} suffix=" ago" />
                {d.bytes ? <span class="dim"> {format(d.bytes, 'bytes')}</span> : null}
              </span>
              <span>
                Missing: <Missing d={d} />
              </span>
              <span class="wrap">{d.error}</span>
              {d.hint && <span class="wrap">{d.hint}</span>}
              {d.path && <code class="wrap">{d.path}</code>}
            </li>
          ))}
        </ul>
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
