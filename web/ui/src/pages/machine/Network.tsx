import { vector } from '../../api/prom';
import { ErrorNote, Panel } from '../../components/bits';
import { Status } from '../../components/Status';
import { format } from '../../lib/format';
import { ofTotal } from '../../lib/limits';
import { pick } from '../../lib/machine';
import { useData } from '../../state/data';
import { Chart, has, NoKind, useAbout } from './context';

export function Network() {
  const a = useAbout();
  const { m } = a;
  if (!has(a, 'node_network_receive_bytes_total', 'node_netstat_Tcp_CurrEstab'))
    return <NoKind kind="node" metrics="network metrics" />;
  const d = `${m},device!="lo"`;
  const dir = (what: string, mul = '') => [
    {
      expr: `rate(node_network_receive_${what}_total{${d}}[$rate])${mul}`,
      name: (l: Record<string, string>) => `${l.device} in`,
    },
    {
      expr: `rate(node_network_transmit_${what}_total{${d}}[$rate])${mul}`,
      name: (l: Record<string, string>) => `${l.device} out`,
      negate: true,
    },
  ];
  const tcp = (name: string) => `node_netstat_Tcp_${name}{${m}}`;
  return (
    <div class="mgrid">
      <Chart title="Traffic" unit="bitsps" queries={dir('bytes', ' * 8')} />
      <Chart title="Packets" unit="perSecond" queries={dir('packets')} />
      <Chart title="Errors" unit="perSecond" max={0.01} queries={dir('errs')} />
      <Chart title="Dropped packets" unit="perSecond" max={0.01} queries={dir('drop')} />
      {has(a, 'node_netstat_Tcp_RetransSegs') && (
        <Chart
          title="TCP retransmits"
          unit="ratio"
          min={0}
          max={0.01}
          queries={[
            {
              expr: `rate(${tcp('RetransSegs')}[$rate]) / (rate(${tcp('OutSegs')}[$rate]) > 0)`,
              name: () => 'of segments sent',
            },
          ]}
          empty={{ title: 'No TCP traffic in this range' }}
        />
      )}
      {has(a, 'node_netstat_Tcp_CurrEstab', 'node_sockstat_TCP_tw') && (
        <Chart
          title="TCP connections"
          unit="count"
          min={0}
          queries={[
            { expr: tcp('CurrEstab'), name: () => 'established' },
            { expr: `node_sockstat_TCP_tw{${m}}`, name: () => 'closing (TIME-WAIT)' },
            { expr: `node_sockstat_TCP_orphan{${m}}`, name: () => 'orphaned' },
          ]}
        />
      )}
      {has(a, 'node_netstat_Tcp_ActiveOpens') && (
        <Chart
          title="New TCP connections"
          unit="perSecond"
          min={0}
          queries={[
            { expr: `rate(${tcp('ActiveOpens')}[$rate])`, name: () => 'outgoing' },
            { expr: `rate(${tcp('PassiveOpens')}[$rate])`, name: () => 'incoming' },
            {
              expr: `rate(node_netstat_TcpExt_ListenDrops{${m}}[$rate])`,
              name: () => 'dropped: queue full',
              colour: () => 'var(--crit)',
            },
          ]}
        />
      )}
      {has(a, 'node_nf_conntrack_entries') && (
        <Chart
          title="Tracked connections"
          unit="count"
          min={0}
          limits={(all, lines) => ofTotal(all, 'ConntrackAlmostFull', /^node_nf_conntrack_entries/, lines, 'limit')}
          queries={[
            { expr: `node_nf_conntrack_entries{${m}}`, name: () => 'entries' },
            {
              expr: `node_nf_conntrack_entries_limit{${m}} and node_nf_conntrack_entries{${m}} > 0.3 * node_nf_conntrack_entries_limit{${m}}`,
              name: () => 'limit',
              line: true,
              colour: () => 'var(--series-8)',
            },
          ]}
        />
      )}
      {has(a, 'node_netstat_Udp_InErrors') && (
        <Chart
          title="UDP errors"
          unit="perSecond"
          min={0}
          max={0.01}
          queries={['InErrors', 'NoPorts', 'RcvbufErrors', 'SndbufErrors'].map((n) => ({
            expr: `rate(node_netstat_Udp_${n}{${m}}[$rate])`,
            name: () =>
              ({
                InErrors: 'received with an error',
                NoPorts: 'no listener',
                RcvbufErrors: 'receive buffer full',
                SndbufErrors: 'send buffer full',
              })[n] ?? n,
          }))}
        />
      )}
      {has(a, 'clanmon_tailscale_active_peers') && (
        <Chart
          title="Tailscale peers with traffic"
          unit="count"
          min={0}
          stack
          queries={[
            {
              expr: `clanmon_tailscale_active_peers{${m}}`,
              name: (l) => (l.path === 'relay' ? 'relayed' : (l.path ?? '')),
            },
          ]}
        />
      )}
      <Interfaces />
    </div>
  );
}

function Interfaces() {
  const a = useAbout();
  const got = useData(`interfaces ${a.m} ${a.when ?? ''}`, (s) =>
    vector(
      `{__name__=~"node_network_(info|speed_bytes|mtu_bytes|carrier|carrier_changes_total|address_info)|node_nf_conntrack_entries|node_nf_conntrack_entries_limit|node_bonding_.*",${a.m}}`,
      a.when,
      s,
    ),
  );
  const of = (name: string) => pick(got.data, name);
  const list = of('node_network_info').sort(
    (x, y) => rank(x.labels) - rank(y.labels) || (x.labels.device ?? '').localeCompare(y.labels.device ?? ''),
  );
  const [entries, limit] = [of('node_nf_conntrack_entries')[0]?.value, of('node_nf_conntrack_entries_limit')[0]?.value];
  const stale = a.away ? ' stale' : '';
  return (
    <>
      <ErrorNote error={got.error} what="The interfaces could not be loaded" />
      {list.length > 0 && (
        <div class={`all${stale}`}>
          <Panel
            title="Interfaces"
            level={3}
            tools={
              entries !== undefined && limit ? (
                <span class="dim">
                  connection tracking {format(entries, 'count')} of {format(limit, 'count')} (
                  {format(entries / limit, 'ratio')})
                </span>
              ) : undefined
            }
          >
            <div class="tablebox" tabIndex={0} role="region" aria-label="Interfaces">
              <table class="table">
                <thead>
                  <tr>
                    <th>Interface</th>
                    <th>Link</th>
                    <th class="num">Speed</th>
                    <th>Duplex</th>
                    <th class="num">MTU</th>
                    <th>Hardware address</th>
                    <th>Addresses</th>
                    <th class="num">Link changes</th>
                  </tr>
                </thead>
                <tbody>
                  {list.map(({ labels: l }) => {
                    const n = (name: string) => of(name).find((x) => x.labels.device === l.device)?.value;
                    const speed = n('node_network_speed_bytes');
                    const up = l.operstate === 'up' || (l.operstate === 'unknown' && n('node_network_carrier') === 1);
                    const addresses = of('node_network_address_info')
                      .filter((x) => x.labels.device === l.device)
                      .map((x) => `${x.labels.address}/${x.labels.netmask}`);
                    return (
                      <tr key={l.device}>
                        <td class="mono">
                          <b>{l.device}</b>
                          {l.ifalias && <span class="dim"> {l.ifalias}</span>}
                        </td>
                        <td>
                          {up ? (
                            <Status level="ok">up</Status>
                          ) : (
                            <Status level="off" icon="off">
                              {l.operstate || 'unknown'}
                            </Status>
                          )}
                        </td>
                        <td class="num nowrap">{speed && speed > 0 ? format(speed * 8, 'bitsps') : '–'}</td>
                        <td>{l.duplex && l.duplex !== 'unknown' ? l.duplex : '–'}</td>
                        <td class="num">{n('node_network_mtu_bytes') ?? '–'}</td>
                        <td class="mono">{l.address && !/^(00:?)+$/.test(l.address) ? l.address : '–'}</td>
                        <td class="mono">{addresses.join(', ') || '–'}</td>
                        <td class="num">{n('node_network_carrier_changes_total') ?? '–'}</td>
                      </tr>
                    );
                  })}
                </tbody>
              </table>
            </div>
          </Panel>
        </div>
      )}
    </>
  );
}

const rank = (l: Record<string, string>) => (l.device === 'lo' ? 2 : l.operstate === 'up' ? 0 : 1);
