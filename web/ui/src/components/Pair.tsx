// Which server of a pair this is, and what the other one says.
import { pair } from '../api/clanmon';
import { ago } from '../lib/format';
import { contradiction, nameOf, troubled, type Pair, type Peer } from '../lib/pair';
import { MACHINE } from '../lib/words';
import type { State } from '../lib/fleet';
import { agent } from '../state/config';
import { useData } from '../state/data';
import { href, location } from '../state/location';
import { Ago, Menu, Panel } from './bits';
import { Icon } from './icons';
import { Status } from './Status';
import { Table } from './Table';

// A server without a cluster is asked once.
let asked = 30;
function usePair(): Pair | undefined {
  const all = useData(agent ? null : 'pair', pair, asked);
  if (all.data && !all.data.enabled) asked = 3600;
  return all.data?.enabled ? all.data : undefined;
}

const bad = (p: Peer) => !p.reachable || p.differences.length > 0;

function PeerState({ p }: { p: Peer }) {
  if (!p.reachable)
    return (
      <Status level="crit" icon="down">
        unreachable
      </Status>
    );
  if (p.differences.length) return <Status level="warn">differs</Status>;
  return <Status level="ok">reachable</Status>;
}

// The same page on another server.
const there = (p: Peer) => p.url + location.value.path + window.location.search;

const Link = ({ p }: { p: Peer }) =>
  p.url ? (
    <a data-native href={there(p)} rel="noreferrer">
      <Icon name="link" />
      Open this page on {nameOf(p)}
    </a>
  ) : null;

// The corner of the page says which of the servers one looks at.
export function PairMenu() {
  const all = usePair();
  if (!all?.self) return null;
  const troubles = all.peers.some(bad);
  return (
    <Menu
      class="who pair"
      title={`This is ${all.self.name}, one of ${all.peers.length + 1} servers`}
      label={
        <>
          <span class={`status ${troubles ? 'warn' : 'ok'}`}>
            <Icon name={troubles ? 'warn' : 'copy'} />
          </span>
          <span class="whoname ellipsis">{all.self.name}</span>
        </>
      }
    >
      {(close) => (
        <>
          <p class="whoami">
            <b>{all.self!.name}</b>
            <span>
              this server: {all.self!.machines} machines, {troubled(all.self!)}
            </span>
          </p>
          {all.peers.map((p) => (
            <div key={p.address}>
              <p class="whoami">
                <b>{nameOf(p)}</b>
                <PeerState p={p} />
                {p.reachable && p.name && (
                  <span>
                    {p.machines} machines, {troubled(p)}
                  </span>
                )}
              </p>
              <Link p={p} />
            </div>
          ))}
          <hr />
          <a href={href('/status')} onClick={close}>
            <Icon name="info" />
            Status
          </a>
        </>
      )}
    </Menu>
  );
}

const clock = (p: Peer) => {
  const off = p.clockOffset;
  if (off === undefined) return '–';
  return Math.abs(off) < 10 ? 'same' : `${ago(Math.abs(off))} ${off > 0 ? 'ahead' : 'behind'}`;
};

// PairPanel is the table of Status.
export function PairPanel() {
  const all = usePair();
  if (!all?.self) return null;
  const self = all.self;
  return (
    <Panel title="Pair of servers">
      <p class="body dim">
        This is {self.name}: {self.machines} machines, {troubled(self)}.
      </p>
      <Table<Peer>
        label="Pair of servers"
        rows={all.peers}
        rowKey={(p) => p.address}
        listKeys={false}
        columns={[
          {
            id: 'name',
            title: 'Peer',
            cell: (p) =>
              p.url ? (
                <a data-native href={there(p)} rel="noreferrer">
                  {nameOf(p)}
                </a>
              ) : (
                nameOf(p)
              ),
          },
          { id: 'state', title: 'State', width: '130px', cell: (p) => <PeerState p={p} /> },
          { id: 'address', title: 'Address', cell: (p) => <code>{p.address}</code> },
          {
            id: 'version',
            title: 'Version',
            cell: (p) =>
              p.version && p.version !== self.version ? <Status level="warn">{p.version}</Status> : p.version || '–',
          },
          {
            id: 'machines',
            title: 'Machines',
            cell: (p) => (p.name ? `${p.sameMachines ? 'same' : p.machines}, ${troubled(p)}` : '–'),
          },
          { id: 'clock', title: 'Clock', cell: clock },
          {
            id: 'heard',
            title: 'Last heard',
            cell: (p) => (p.heard ? <Ago time={Date.parse(p.heard) / 1000} suffix=" ago" /> : '–'),
          },
        ]}
        empty={<p class="body dim">No peer has joined yet.</p>}
      />
      {all.peers.flatMap((p) =>
        p.differences.map((d) => (
          <p class="body dim wrap" key={d.text}>
            {d.text}. {d.detail}
          </p>
        )),
      )}
    </Panel>
  );
}

// PeerSays stands on the page of a machine where another server says otherwise.
export function PeerSays({ machine, own }: { machine: string; own: State }) {
  const others = contradiction(usePair(), machine, own);
  return others.length ? (
    <p class="note" role="status">
      {others
        .map((o) => (o.says === 'absent' ? `${o.name} does not know it` : `${o.name} says: ${MACHINE[o.says]}`))
        .join('. ')}
      . This server says: {MACHINE[own]}.
    </p>
  ) : null;
}
