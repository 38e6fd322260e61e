import { useMemo } from 'preact/hooks';
import { anyOf, quote, vector } from '../../api/prom';
import { Empty, ErrorNote, Panel } from '../../components/bits';
import { Icon } from '../../components/icons';
import { Meter } from '../../components/Meter';
import { ago, format } from '../../lib/format';
import { direct, memory } from '../../lib/limits';
import { filesystems, filesystemsQuery, REAL_DISK, REAL_NET, used, type Filesystem } from '../../lib/machine';
import { frozen, range } from '../../state/clock';
import { MachineTraffic } from '../../components/Traffic';
import { useData } from '../../state/data';
import { Chart, has, NoKind, useAbout, type About } from './context';

const MODES: Record<string, number> = { user: 1, system: 2, iowait: 5, softirq: 4, irq: 8, nice: 3, steal: 7 };

export function Overview() {
  const a = useAbout();
  const { m } = a;
  const node = has(a, 'node_cpu_seconds_total', 'node_memory_MemTotal_bytes', 'node_load1');
  if (!node && !has(a, 'systemd_unit_cpu_seconds_total', 'process_cpu_seconds_total'))
    return <NoKind kind="node" metrics="CPU and memory" />;
  const units = has(a, 'systemd_unit_cpu_seconds_total', 'systemd_unit_memory_bytes');
  return (
    <div class="mgrid">
      {node ? (
        <Node a={a} m={m} />
      ) : (
        <div class="all">
          <NoKind kind="node" metrics="CPU and memory of the machine" />
        </div>
      )}
      {node && <Filesystems wide={!units} />}
      {node && !a.away && a.site === undefined && <MachineTraffic machine={a.name} />}
      {units && <TopUnits />}
      {!node && has(a, 'process_cpu_seconds_total') && <Processes />}
    </div>
  );
}

function Node({ a, m }: { a: About; m: string }) {
  const cpu = (modes: string) =>
    `sum by (machine, mode) (rate(node_cpu_seconds_total{${m},${modes}}[$rate])) / on (machine) group_left () sum by (machine) (rate(node_cpu_seconds_total{${m}}[$rate]))`;
  // Each CPU counts every second once: how much of a window samples cover, which is
  // less than all after a start and around a gap.
  const covered = (rate: string) =>
    has(a, 'node_cpu_seconds_total')
      ? `${rate} / on (machine) clamp_max(sum by (machine) (rate(node_cpu_seconds_total{${m}}[$rate])) / count by (machine) (node_cpu_seconds_total{${m},mode="idle"}), 1)`
      : rate;
  const arc = has(a, 'node_zfs_arc_size');
  const cap = 'node_memory_MemTotal_bytes';
  return (
    <>
      <Chart
        title="CPU"
        unit="ratio"
        stack
        min={0}
        max={1}
        queries={[
          {
            expr: cpu('mode!~"idle|iowait|steal"'),
            name: (l) => l.mode ?? '',
            colour: (l) => `var(--series-${MODES[l.mode ?? ''] ?? 6})`,
          },
          // Time in which it could have run and did not is no work: Fleet's value
          // is the top of the stack.
          {
            expr: `${cpu('mode=~"iowait|steal"')} > 0`,
            name: (l) => (l.mode === 'steal' ? 'stolen' : 'waiting for I/O'),
            line: true,
            colour: (l) => `var(--series-${MODES[l.mode ?? ''] ?? 6})`,
          },
        ]}
      />
      <Chart
        title="Memory"
        unit="bytes"
        stack
        min={0}
        limits={memory}
        queries={[
          {
            expr: `max by (machine) (node_memory_MemTotal_bytes{${m}} - node_memory_MemAvailable_bytes{${m}}${arc ? ` - on (instance, machine) node_zfs_arc_size{${m}}` : ''})`,
            name: () => 'used',
            colour: () => 'var(--series-1)',
          },
          ...(arc
            ? [
                {
                  expr: `max by (machine) (node_zfs_arc_size{${m}})`,
                  name: () => 'ZFS ARC',
                  colour: () => 'var(--series-3)',
                },
              ]
            : []),
          {
            expr: `max by (machine) (clamp_min(node_memory_MemAvailable_bytes{${m}} - node_memory_MemFree_bytes{${m}}, 0))`,
            name: () => 'cache',
            colour: () => 'var(--series-6)',
          },
          {
            expr: `max by (machine) (node_memory_SwapTotal_bytes{${m}} - node_memory_SwapFree_bytes{${m}} and node_memory_SwapTotal_bytes{${m}} > 0)`,
            name: () => 'swap used',
            line: true,
            colour: () => 'var(--series-2)',
          },
          { expr: `max by (machine) (${cap}{${m}})`, name: () => 'total', line: true, colour: () => 'var(--series-8)' },
        ]}
      />
      {has(a, 'node_pressure_*') ? (
        <Chart
          title="Pressure"
          unit="ratio"
          min={0}
          max={0.05}
          limits={(all) => [
            ...direct(all, 'CpuStarved', /^rate\(node_pressure_cpu_waiting/),
            ...direct(all, 'MemoryStalled', /^rate\(node_pressure_memory_stalled/),
            ...direct(all, 'IoStalled', /^rate\(node_pressure_io_stalled/),
          ]}
          queries={[
            {
              expr: covered(`max by (machine) (rate(node_pressure_cpu_waiting_seconds_total{${m}}[$rate]))`),
              name: () => 'CPU waiting',
              colour: () => 'var(--series-1)',
            },
            {
              expr: covered(`max by (machine) (rate(node_pressure_memory_stalled_seconds_total{${m}}[$rate]))`),
              name: () => 'memory stalled',
              colour: () => 'var(--series-2)',
            },
            {
              expr: covered(`max by (machine) (rate(node_pressure_io_stalled_seconds_total{${m}}[$rate]))`),
              name: () => 'I/O stalled',
              colour: () => 'var(--series-3)',
            },
          ]}
        />
      ) : (
        <Panel title="Pressure" level={3}>
          <Empty
            icon="chart"
            title={frozen.value || a.away ? 'No data in this range' : 'No pressure metrics (PSI)'}
            why={
              frozen.value || a.away
                ? undefined
                : 'Needs a kernel with CONFIG_PSI and psi=1. The exporter’s collector “pressure” must be on.'
            }
          />
        </Panel>
      )}
      {has(a, 'node_network_receive_bytes_total') && (
        <Chart
          title="Network"
          unit="bitsps"
          queries={[
            {
              expr: `${covered(`sum by (machine) (rate(node_network_receive_bytes_total{${m},${REAL_NET}}[$rate]))`)} * 8`,
              name: () => 'received',
              colour: () => 'var(--series-3)',
            },
            {
              expr: `${covered(`sum by (machine) (rate(node_network_transmit_bytes_total{${m},${REAL_NET}}[$rate]))`)} * 8`,
              name: () => 'sent',
              negate: true,
              colour: () => 'var(--series-1)',
            },
          ]}
          empty={{
            title: 'No hardware interfaces',
            why: 'Bridges, tunnels and containers are listed on the tab Network.',
          }}
        />
      )}
      {has(a, 'node_disk_read_bytes_total') && (
        <Chart
          title="Disk throughput"
          unit="bytesps"
          queries={[
            {
              expr: covered(`sum by (machine) (rate(node_disk_read_bytes_total{${m},${REAL_DISK}}[$rate]))`),
              name: () => 'read',
              colour: () => 'var(--series-3)',
            },
            {
              expr: covered(`sum by (machine) (rate(node_disk_written_bytes_total{${m},${REAL_DISK}}[$rate]))`),
              name: () => 'written',
              negate: true,
              colour: () => 'var(--series-1)',
            },
          ]}
        />
      )}
      <Chart
        title="Load and processes"
        unit="none"
        min={0}
        max={1}
        queries={[
          { expr: `max by (machine) (node_load1{${m}})`, name: () => 'load, 1 min', colour: () => 'var(--series-1)' },
          { expr: `max by (machine) (node_load15{${m}})`, name: () => 'load, 15 min', colour: () => 'var(--series-6)' },
          {
            expr: `max by (machine) (node_procs_blocked{${m}})`,
            name: () => 'waiting for I/O',
            colour: () => 'var(--series-2)',
          },
          {
            expr: `count by (machine) (node_cpu_seconds_total{${m},mode="idle"})`,
            name: () => 'cores',
            line: true,
            colour: () => 'var(--series-8)',
          },
        ]}
      />
    </>
  );
}

function Filesystems({ wide }: { wide: boolean }) {
  const a = useAbout();
  const got = useData(`filesystems ${a.m} ${a.when ?? ''}`, (s) => vector(filesystemsQuery(a.m), a.when, s));
  const list = useMemo(() => filesystems(got.data ?? []), [got.data]);
  if (got.data && !list.length && !got.error && !a.away) return null;
  return (
    <div class={wide ? 'all' : ''}>
      <Panel title="File systems" level={3} label="File systems">
        <ErrorNote error={got.error} />
        {!list.length && got.data && <Empty icon="info" title="No current data" />}
        <div class={`scrollbox fsbars${a.away ? ' stale' : ''}`} tabIndex={list.length > 5 ? 0 : undefined}>
          {list.map((f) => (
            <Bar key={`${f.device} ${f.mountpoint}`} f={f} />
          ))}
        </div>
      </Panel>
    </div>
  );
}

function Bar({ f }: { f: Filesystem }) {
  const days = f.left !== undefined && f.left < 365 * 86400 && !f.readonly ? f.left : undefined;
  return (
    <div class="fsbar" title={`${f.device}, ${f.fstype}`}>
      <span class="name">
        <b class="ellipsis">{f.mountpoint}</b>
        {f.readonly && <span class="chip">read-only</span>}
        {f.error && (
          <span class="status crit">
            <Icon name="crit" />
            cannot be read
          </span>
        )}
      </span>
      <span class="num nowrap dim">
        {format(f.avail, 'bytes')} free of {format(f.size, 'bytes')}
      </span>
      <Meter value={used(f) < 0 ? undefined : used(f)} warn={0.9} crit={0.97} />
      {days !== undefined && (
        <span class={days < 7 * 86400 ? 'status warn' : 'dim'} title="At the rate of the last day">
          {days < 7 * 86400 && <Icon name="warn" />}full in about {ago(days)}
        </span>
      )}
      {f.files !== undefined && f.filesFree !== undefined && f.files > 0 && 1 - f.filesFree / f.files > 0.5 && (
        <span class="num dim">inodes {format(1 - f.filesFree / f.files, 'ratio')} used</span>
      )}
    </div>
  );
}

// The ten units that used most over the range are chosen first, so that the
// lines stay the same units throughout.
function TopUnits() {
  const a = useAbout();
  const { from, to, relative } = range.value;
  const w = `${Math.max(120, Math.round(to - from))}s`;
  const units = `${a.m},type!="slice"`;
  const top = useData(
    `top units ${a.m} ${relative ?? `${from} ${to}`} ${a.when ?? ''}`,
    (s) =>
      vector(
        `label_replace(topk(10, sum by (name) (rate(systemd_unit_cpu_seconds_total{${units}}[${w}]))), "figure", "cpu", "", "")` +
          ` or label_replace(topk(10, sum by (name) (avg_over_time(systemd_unit_memory_bytes{${units},kind="current"}[${w}]))), "figure", "memory", "", "")`,
        a.when,
        s,
      ),
    300,
  );
  const names = (figure: string) =>
    anyOf(
      (top.data ?? [])
        .filter((t) => t.metric.figure === figure && Number(t.value?.[1]) > 0)
        .map((t) => t.metric.name ?? '')
        .sort(),
    );
  const [cpu, memory] = [names('cpu'), names('memory')];
  return (
    <>
      <ErrorNote error={top.error} what="The units could not be loaded" />
      {cpu && (
        <Chart
          title="Units by CPU"
          note="100 % is one core"
          unit="ratio"
          stack
          min={0}
          queries={[
            {
              expr: `sum by (machine, name) (rate(systemd_unit_cpu_seconds_total{${units},name=~${quote(cpu)}}[$rate]))`,
              name: (l) => l.name ?? '',
            },
          ]}
        />
      )}
      {memory && (
        <Chart
          title="Units by memory"
          unit="bytes"
          stack
          min={0}
          queries={[
            {
              expr: `sum by (machine, name) (systemd_unit_memory_bytes{${units},kind="current",name=~${quote(memory)}})`,
              name: (l) => l.name ?? '',
            },
          ]}
        />
      )}
    </>
  );
}

// Where there is no node exporter: what exporters and other programs say of
// themselves.
function Processes() {
  const { m } = useAbout();
  return (
    <>
      <Chart
        title="CPU by program"
        note="100 % is one core"
        unit="ratio"
        min={0}
        queries={[{ expr: `rate(process_cpu_seconds_total{${m}}[$rate])`, name: (l) => l.job ?? l.instance ?? '' }]}
      />
      <Chart
        title="Memory by program"
        unit="bytes"
        min={0}
        queries={[{ expr: `process_resident_memory_bytes{${m}}`, name: (l) => l.job ?? l.instance ?? '' }]}
      />
      <Chart
        title="Open files"
        unit="count"
        min={0}
        queries={[{ expr: `process_open_fds{${m}}`, name: (l) => l.job ?? l.instance ?? '' }]}
      />
    </>
  );
}
