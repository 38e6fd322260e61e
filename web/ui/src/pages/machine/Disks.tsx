import { useMemo } from 'preact/hooks';
import { vector } from '../../api/prom';
import { ErrorNote, Panel } from '../../components/bits';
import { Meter } from '../../components/Meter';
import { Status } from '../../components/Status';
import { ago, format } from '../../lib/format';
import { space, used as usedLimits } from '../../lib/limits';
import { filesystems, filesystemsQuery, pick, REAL_DISK, REAL_FS, used } from '../../lib/machine';
import { useData } from '../../state/data';
import { Chart, has, NoKind, useAbout } from './context';

const both = (l: Record<string, string>, what: string) => `${l.device ?? ''} ${what}`;

export function Disks() {
  const a = useAbout();
  const { m } = a;
  const fs = useData(`filesystems ${m} ${a.when ?? ''}`, (s) => vector(filesystemsQuery(m), a.when, s));
  const sizes = useMemo(() => filesystems(fs.data ?? []), [fs.data]);
  if (!has(a, 'node_disk_io_time_seconds_total', 'node_filesystem_size_bytes'))
    return <NoKind kind="node" metrics="disks" />;
  const d = `${m},${REAL_DISK}`;
  const disks = has(a, 'node_disk_io_time_seconds_total');
  const per = (time: string, ops: string) =>
    `rate(node_disk_${time}_seconds_total{${d}}[$rate]) / (rate(node_disk_${ops}_completed_total{${d}}[$rate]) > 0)`;
  return (
    <>
      <div class="mgrid">
        {disks && (
          <>
            <Chart
              title="Throughput"
              unit="bytesps"
              queries={[
                { expr: `rate(node_disk_read_bytes_total{${d}}[$rate])`, name: (l) => both(l, 'read') },
                {
                  expr: `rate(node_disk_written_bytes_total{${d}}[$rate])`,
                  name: (l) => both(l, 'written'),
                  negate: true,
                },
              ]}
            />
            <Chart
              title="Busy"
              unit="ratio"
              min={0}
              max={1}
              queries={[{ expr: `rate(node_disk_io_time_seconds_total{${d}}[$rate])`, name: (l) => l.device ?? '' }]}
            />
            <Chart
              title="Time per request"
              unit="seconds"
              min={0}
              queries={[
                { expr: per('read_time', 'reads'), name: (l) => both(l, 'read') },
                { expr: per('write_time', 'writes'), name: (l) => both(l, 'written') },
              ]}
              empty={{ title: 'No requests in this range' }}
            />
            <Chart
              title="Requests"
              unit="perSecond"
              queries={[
                { expr: `rate(node_disk_reads_completed_total{${d}}[$rate])`, name: (l) => both(l, 'read') },
                {
                  expr: `rate(node_disk_writes_completed_total{${d}}[$rate])`,
                  name: (l) => both(l, 'written'),
                  negate: true,
                },
              ]}
            />
            <Chart
              title="Requests waiting"
              unit="none"
              min={0}
              max={1}
              queries={[
                { expr: `rate(node_disk_io_time_weighted_seconds_total{${d}}[$rate])`, name: (l) => l.device ?? '' },
              ]}
            />
          </>
        )}
        {has(a, 'node_filesystem_avail_bytes') && (
          <Chart
            title="Space used"
            unit="ratio"
            min={0}
            max={1}
            limits={(all) => space(all, sizes)}
            queries={[
              {
                expr: `1 - max by (machine, device, mountpoint) (node_filesystem_avail_bytes{${m},${REAL_FS}} / (node_filesystem_size_bytes{${m},${REAL_FS}} > 0))`,
                name: (l) => l.mountpoint ?? '',
              },
            ]}
          />
        )}
        {has(a, 'node_filesystem_files') && (
          <Chart
            title="Inodes used"
            unit="ratio"
            min={0}
            max={1}
            limits={(all) => usedLimits(all, 'InodesAlmostGone', /^node_filesystem_files_free/)}
            hideEmpty
            queries={[
              {
                expr: `1 - max by (machine, device, mountpoint) (node_filesystem_files_free{${m},${REAL_FS}} / (node_filesystem_files{${m},${REAL_FS}} > 0))`,
                name: (l) => l.mountpoint ?? '',
              },
            ]}
          />
        )}
        {has(a, 'clanmon_disk_io_errors_total') && (
          <Chart
            title="Disk I/O errors"
            unit="count"
            min={0}
            queries={[{ expr: `increase(clanmon_disk_io_errors_total{${m}}[$rate])`, name: (l) => l.device ?? '' }]}
          />
        )}
        {has(a, 'smartmon_*', 'smartctl_*') && (
          <Chart
            title="Temperature by SMART"
            unit="celsius"
            hideEmpty
            queries={[
              {
                expr: `smartctl_device_temperature{${m},temperature_type="current"} or smartmon_temperature_celsius_raw_value{${m}}`,
                name: (l) => l.device ?? l.disk ?? '',
              },
            ]}
          />
        )}
        {has(a, 'node_zfs_arc_size') && (
          <>
            <Chart
              title="ZFS ARC"
              unit="bytes"
              min={0}
              queries={[
                { expr: `node_zfs_arc_size{${m}}`, name: () => 'size', colour: () => 'var(--series-3)' },
                { expr: `node_zfs_arc_c_max{${m}}`, name: () => 'limit', line: true, colour: () => 'var(--series-8)' },
              ]}
            />
            {has(a, 'node_zfs_arc_hits') && (
              <Chart
                title="ZFS ARC hits"
                unit="ratio"
                min={0}
                max={1}
                queries={[
                  {
                    expr: `rate(node_zfs_arc_hits{${m}}[$rate]) / (rate(node_zfs_arc_hits{${m}}[$rate]) + rate(node_zfs_arc_misses{${m}}[$rate]) > 0)`,
                    name: () => 'hits',
                  },
                ]}
                empty={{ title: 'No ARC reads in this range' }}
              />
            )}
          </>
        )}
      </div>
      <Tables />
    </>
  );
}

const TABLES =
  'node_md_.*|node_zfs_zpool_state|node_btrfs_(info|device_errors_total|device_size_bytes|device_unused_bytes|global_rsv_size_bytes|allocation_ratio|size_bytes|used_bytes)|node_nvme_.*|node_disk_info|node_disk_ata_.*|smartmon_device_smart_healthy|smartctl_device_smart_status';

function Tables() {
  const a = useAbout();
  const { m } = a;
  const fs = useData(`filesystems ${m} ${a.when ?? ''}`, (s) => vector(filesystemsQuery(m), a.when, s));
  const facts = useData(`disk tables ${m} ${a.when ?? ''}`, (s) => vector(`{__name__=~"${TABLES}",${m}}`, a.when, s));
  const list = useMemo(() => filesystems(fs.data ?? []), [fs.data]);
  const of = (name: string) => pick(facts.data, name);
  const raids = of('node_md_state').filter((s) => s.value === 1);
  const pools = of('node_zfs_zpool_state').filter((s) => s.value === 1);
  const btrfs = of('node_btrfs_info');
  const nvme = of('node_nvme_info');
  const disks = of('node_disk_info').filter((d) => !/^(loop|ram|fd|sr)\d/.test(d.labels.device ?? ''));
  const smart = [...of('smartmon_device_smart_healthy'), ...of('smartctl_device_smart_status')];
  const stale = a.away ? ' stale' : '';
  return (
    <div class="mgrid">
      <ErrorNote error={fs.error ?? facts.error} what="The tables could not be loaded" />
      {list.length > 0 && (
        <div class={`all${stale}`}>
          <Panel title="File systems" level={3}>
            <div class="tablebox" tabIndex={0} role="region" aria-label="File systems">
              <table class="table">
                <thead>
                  <tr>
                    <th>Mounted at</th>
                    <th>Device</th>
                    <th>Type</th>
                    <th class="num">Size</th>
                    <th class="num">Free</th>
                    <th class="num">Used</th>
                    <th class="num">Inodes used</th>
                    <th class="num">Full in</th>
                    <th>State</th>
                  </tr>
                </thead>
                <tbody>
                  {list.map((f) => (
                    <tr key={`${f.device} ${f.mountpoint}`}>
                      <td>
                        <b>{f.mountpoint}</b>
                      </td>
                      <td class="mono">{f.device}</td>
                      <td>{f.fstype}</td>
                      <td class="num nowrap">{format(f.size, 'bytes')}</td>
                      <td class="num nowrap">{format(f.avail, 'bytes')}</td>
                      <td class="num" style={{ minWidth: '110px' }}>
                        <Meter value={used(f) < 0 ? undefined : used(f)} warn={0.9} crit={0.97} />
                      </td>
                      <td class="num">
                        {f.files
                          ? format(f.filesFree === undefined ? undefined : 1 - f.filesFree / f.files, 'ratio')
                          : '–'}
                      </td>
                      <td class="num nowrap">
                        {f.left !== undefined && f.left < 730 * 86400 ? `about ${ago(f.left)}` : '–'}
                      </td>
                      <td>
                        {f.error ? (
                          <Status level="crit">cannot be read</Status>
                        ) : f.readonly === undefined ? (
                          '–'
                        ) : f.readonly ? (
                          <Status level="off" icon="off">
                            read-only
                          </Status>
                        ) : (
                          <Status level="ok">writable</Status>
                        )}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </Panel>
        </div>
      )}
      {disks.length > 0 && (
        <div class={stale}>
          <Panel title="Disks" level={3}>
            <div class="tablebox">
              <table class="table">
                <thead>
                  <tr>
                    <th>Device</th>
                    <th>Model</th>
                    <th>Firmware</th>
                  </tr>
                </thead>
                <tbody>
                  {disks.map((d) => (
                    <tr key={d.labels.device}>
                      <td class="mono">{d.labels.device}</td>
                      <td>{d.labels.model || '–'}</td>
                      <td>{d.labels.revision || '–'}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </Panel>
        </div>
      )}
      {raids.length > 0 && (
        <div class={stale}>
          <Panel title="RAID" level={3}>
            <div class="tablebox">
              <table class="table">
                <thead>
                  <tr>
                    <th>Array</th>
                    <th>State</th>
                    <th class="num">Disks</th>
                    <th class="num">Failed</th>
                    <th class="num">Spare</th>
                    <th class="num">In sync</th>
                  </tr>
                </thead>
                <tbody>
                  {raids.map(({ labels: { device = '', state } }) => {
                    const n = (name: string, st?: string) =>
                      of(name).find((x) => x.labels.device === device && (!st || x.labels.state === st))?.value;
                    const [active, required] = [n('node_md_disks', 'active'), n('node_md_disks_required')];
                    const degraded = active !== undefined && required !== undefined && active < required;
                    const [done, all] = [n('node_md_blocks_synced'), n('node_md_blocks')];
                    return (
                      <tr key={device}>
                        <td class="mono">{device}</td>
                        <td>
                          {degraded ? (
                            <Status level="crit">degraded</Status>
                          ) : state === 'active' ? (
                            <Status level="ok">active</Status>
                          ) : (
                            <Status level={state === 'inactive' ? 'off' : 'info'} icon="refresh">
                              {state}
                            </Status>
                          )}
                        </td>
                        <td class="num">
                          {active ?? '–'} of {required ?? '–'}
                        </td>
                        <td class="num">{n('node_md_disks', 'failed') ?? '–'}</td>
                        <td class="num">{n('node_md_disks', 'spare') ?? '–'}</td>
                        <td class="num">{all ? format(done === undefined ? undefined : done / all, 'ratio') : '–'}</td>
                      </tr>
                    );
                  })}
                </tbody>
              </table>
            </div>
          </Panel>
        </div>
      )}
      {pools.length > 0 && (
        <div class={stale}>
          <Panel title="ZFS pools" level={3}>
            <div class="tablebox">
              <table class="table">
                <thead>
                  <tr>
                    <th>Pool</th>
                    <th>State</th>
                  </tr>
                </thead>
                <tbody>
                  {pools.map((p) => (
                    <tr key={p.labels.zpool}>
                      <td>{p.labels.zpool}</td>
                      <td>
                        <Status level={p.labels.state === 'online' ? 'ok' : 'crit'}>{p.labels.state}</Status>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </Panel>
        </div>
      )}
      {btrfs.length > 0 && (
        <div class={stale}>
          <Panel title="Btrfs" level={3}>
            <div class="tablebox">
              <table class="table">
                <thead>
                  <tr>
                    <th>File system</th>
                    <th>Errors</th>
                    <th class="num">Unallocated</th>
                  </tr>
                </thead>
                <tbody>
                  {btrfs.map(({ labels: { uuid = '', label } }) => {
                    const errors = of('node_btrfs_device_errors_total').filter(
                      (e) => e.labels.uuid === uuid && e.value > 0,
                    );
                    const counted = of('node_btrfs_device_errors_total').some((e) => e.labels.uuid === uuid);
                    return (
                      <tr key={uuid}>
                        <td title={uuid}>{label || uuid}</td>
                        <td>
                          {errors.length ? (
                            <Status level="warn">
                              {errors.map((e) => `${e.labels.device} ${e.labels.type} ${e.value}`).join(', ')}
                            </Status>
                          ) : counted ? (
                            <Status level="ok">none</Status>
                          ) : (
                            '–'
                          )}
                        </td>
                        <td class="num">
                          {format(
                            of('node_btrfs_device_unused_bytes')
                              .filter((e) => e.labels.uuid === uuid)
                              .reduce((n, e) => n + e.value, 0) || undefined,
                            'bytes',
                          )}
                        </td>
                      </tr>
                    );
                  })}
                </tbody>
              </table>
            </div>
          </Panel>
        </div>
      )}
      {nvme.length > 0 && (
        <div class={stale}>
          <Panel title="NVMe" level={3}>
            <div class="tablebox">
              <table class="table">
                <thead>
                  <tr>
                    <th>Device</th>
                    <th>Model</th>
                    <th>Firmware</th>
                    <th>State</th>
                  </tr>
                </thead>
                <tbody>
                  {nvme.map((n) => (
                    <tr key={n.labels.device}>
                      <td class="mono">{n.labels.device}</td>
                      <td>{n.labels.model}</td>
                      <td>{n.labels.firmware_revision}</td>
                      <td>
                        <Status level={n.labels.state === 'live' ? 'ok' : 'warn'}>{n.labels.state || 'unknown'}</Status>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </Panel>
        </div>
      )}
      {smart.length > 0 && (
        <div class={stale}>
          <Panel title="SMART" level={3}>
            <div class="tablebox">
              <table class="table">
                <thead>
                  <tr>
                    <th>Disk</th>
                    <th>Health</th>
                  </tr>
                </thead>
                <tbody>
                  {smart.map((s) => (
                    <tr key={s.labels.disk ?? s.labels.device}>
                      <td class="mono">{s.labels.disk ?? s.labels.device}</td>
                      <td>
                        <Status level={s.value === 1 ? 'ok' : 'crit'}>{s.value === 1 ? 'passed' : 'failing'}</Status>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </Panel>
        </div>
      )}
    </div>
  );
}
