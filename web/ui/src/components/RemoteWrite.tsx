// Remote write as the pages show it: the table of Status, and what is wrong with it.
import { remoteWrite } from '../api/clanmon';
import { format, ago } from '../lib/format';
import { late, troubles, type RemoteWrite } from '../lib/remoteWrite';
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
      {troubles(all.data, agent).map((t) => (
        <p class="note crit" role="alert" key={t}>
          {t} <a href={href('/status')}>Status</a>
        </p>
      ))}
    </>
  );
}

const seconds = (t: string | undefined) => (t ? Date.parse(t) / 1000 : undefined);

function State({ r }: { r: RemoteWrite }) {
  if (r.failing) return <Status level="crit">fails</Status>;
  if (late(r)) return <Status level="warn">late</Status>;
  return r.sent ? (
    <Status level="ok">OK</Status>
  ) : (
    <Status level="off" icon="wait">
      nothing sent yet
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
        rowKey={(r) => `${r.name ?? ''} ${r.url}`}
        listKeys={false}
        columns={[
          { id: 'state', title: 'State', width: '130px', cell: (r) => <State r={r} /> },
          {
            id: 'url',
            title: 'URL',
            cell: (r) => (
              <>
                <code class="wrap">{r.url}</code>
                {r.failing && r.lastError && (
                  <p class="status crit wrap" title={r.lastErrorAt}>
                    {r.lastError}
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
            title: 'Samples given up',
            head: 'Failed',
            num: true,
            cell: (r) => format(r.failed, 'count'),
          },
          {
            id: 'behind',
            title: 'Behind by',
            num: true,
            cell: (r) => (r.behind === undefined ? '–' : <span class="nowrap">{ago(r.behind)}</span>),
          },
          {
            id: 'success',
            title: 'Last success',
            num: true,
            cell: (r) => (
              <span class="nowrap">
                <Ago time={seconds(r.lastSuccess)} suffix=" ago" />
              </span>
            ),
          },
        ]}
        empty={
          <Empty
            icon="crit"
            title="No remote_write is configured"
            why="This agent scrapes its targets and sends the samples nowhere. In the configuration file:"
          >
            <Snippet text={'remote_write:\n- url: https://monitoring.example.org/api/v1/write'} />
          </Empty>
        }
      />
    </Panel>
  );
}
