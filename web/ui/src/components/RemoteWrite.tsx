// Remote write as the pages show it: the table of Status, and what is wrong with it.
import { remoteWrite } from '../api/clanmon';
import { format, ago } from '../lib/format';
import { failing, troubles, type RemoteWrite } from '../lib/remoteWrite';
import { OK, FAILING, NOTHING_SENT } from '../lib/words';
import { second } from '../state/clock';
import { agent } from '../state/config';
import { useData } from '../state/data';
import { href } from '../state/location';
import { Ago, Empty, ErrorNote, Panel, Snippet } from './bits';
import { Status } from './Status';
import { Table } from './Table';

const useRemoteWrite = () => useData('remote write', remoteWrite);

// RemoteWriteTrouble is what an agent has to say first of all.
export function RemoteWriteTrouble() {
  const all = useRemoteWrite();
  if (!all.data) return null;
  return (
    <>
      {troubles(all.data, agent, second.value).map((t) => (
        <p class="note crit" role="alert" key={t}>
          {t}{' '}
          <a class="btn" href={href('/status')}>
            Status
          </a>
        </p>
      ))}
    </>
  );
}

const seconds = (t: string | undefined) => (t ? Date.parse(t) / 1000 : undefined);

function State({ r }: { r: RemoteWrite }) {
  if (failing(r, second.value)) return <Status level="crit">{FAILING}</Status>;
  if (r.state === 'behind') return <Status level="crit">behind</Status>;
  if (r.state === 'catching up') return <Status level="warn">catching up</Status>;
  return r.state !== 'idle' ? (
    <Status level="ok">{OK}</Status>
  ) : (
    <Status level="off" icon="wait">
      {NOTHING_SENT}
    </Status>
  );
}

// RemoteWritePanel is absent where a server that is no agent has no receivers.
export function RemoteWritePanel() {
  const all = useRemoteWrite();
  if (!all.data) return all.error?.status === 404 ? null : <ErrorNote error={all.error} what="Remote write" />;
  if (!all.data.length && !agent) return null;
  return (
    <Panel title="Remote write">
      <Table<RemoteWrite>
        label="Remote write"
        rows={all.data}
        rowKey={(r) => r.name}
        listKeys={false}
        columns={[
          { id: 'state', title: 'State', width: '130px', cell: (r) => <State r={r} /> },
          {
            id: 'url',
            title: 'URL',
            cell: (r) => (
              <>
                <code class="wrap">{r.url}</code>
                {r.lastError && (
                  <p class="dim wrap">
                    last error <Ago time={seconds(r.lastErrorAt)} suffix=" ago" />: {r.lastError}
                  </p>
                )}
                {r.resent + r.refused > 0 && (
                  <p class="dim">
                    {format(r.resent, 'count')} samples sent from the store
                    {r.refused > 0 && `, ${format(r.refused, 'count')} refused`}
                  </p>
                )}
              </>
            ),
          },
          { id: 'sent', title: 'Samples sent', head: 'Sent', num: true, cell: (r) => format(r.sent, 'count') },
          {
            id: 'pending',
            title: 'Samples pending',
            head: 'Pending',
            num: true,
            cell: (r) => format(r.pending, 'count'),
          },
          {
            id: 'failed',
            title: 'Samples dropped after an error',
            head: 'Failed',
            num: true,
            cell: (r) => format(r.failed, 'count'),
          },
          {
            id: 'behind',
            title: 'Behind by',
            num: true,
            cell: (r) => <span class="nowrap">{ago(r.behindSeconds)}</span>,
          },
          {
            id: 'newest',
            title: 'Newest sample sent',
            head: 'Newest sent',
            num: true,
            cell: (r) => (
              <span class="nowrap">
                <Ago time={seconds(r.lastSent)} suffix=" ago" />
              </span>
            ),
          },
        ]}
        empty={
          <Empty
            icon="crit"
            title="No remote_write is configured"
            why="Samples of this agent are not sent anywhere. Add this to the configuration file:"
          >
            <Snippet text={'remote_write:\n- url: https://monitoring.example.org/api/v1/write'} />
          </Empty>
        }
      />
    </Panel>
  );
}
