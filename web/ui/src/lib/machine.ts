// What the Machine page computes, apart from drawing.
import type { MachineAlert } from '../api/types/machines';
import type { VectorSample } from '../api/types/query';
import type { Unit } from './format';
import { parseDuration } from './time';

// File systems and network devices that are no disks and no cables, as in the
// server's recording rules.
export const REAL_FS =
  'fstype!~"tmpfs|ramfs|devtmpfs|squashfs|overlay|iso9660|efivarfs|fuse.*|nfs.*|cifs|smb3|9p|virtiofs"';
export const REAL_NET =
  'device!~"lo|veth.*|ve-.*|vb-.*|vnet.*|tap.*|tun.*|ppp.*|br-.*|br[0-9].*|docker.*|podman.*|virbr.*|vmbr.*|fwbr.*|fwpr.*|fwln.*|lxcbr.*|lxdbr.*|incusbr.*|cni.*|flannel.*|cali.*|tailscale.*|wg.*|zt.*|ygg.*|nebula.*|bond.*|team.*|vlan.*|.+[.][0-9]+|dummy.*|ifb.*|sit.*"';
export const REAL_DISK = 'device!~"(loop|ram|fd|sr)[0-9]+"';

// When something of a machine last responded: to the minute within a day, to a
// quarter of an hour within a month. Where nothing is scraped, by its samples.
export const lastQuery = (m: string) => {
  const answered = `(timestamp(up{${m}}) and up{${m}} == 1)`;
  return `max(max_over_time(${answered}[1d:1m])) or max(max_over_time(${answered}[30d:15m]))`;
};

// When it was first seen, as far as the rules or a month of samples know.
export const firstQuery = (m: string) =>
  `min(machine:first_seen:timestamp_seconds{${m}}) or min(min_over_time(timestamp(up{${m}})[30d:1h]))`;

// retentionOf reads the server's text of it, such as "15d or 10GiB".
export function retentionOf(text: string | undefined): { text: string; seconds: number } | undefined {
  const by = text?.split(' or ').find((p) => parseDuration(p) !== undefined);
  return by ? { text: by, seconds: parseDuration(by)! } : undefined;
}

// joined continues an expression into the time before the machine had the label
// machine, when its series were told apart by instance alone.
export function joined(expr: string, own: string, earlier: string): string {
  const flat = (e: string) => `max without (machine, instance, job, availability) (${e})`;
  return `${flat(expr)} or ${flat(expr.replaceAll(own, earlier))}`;
}

export interface Filesystem {
  mountpoint: string;
  device: string;
  fstype: string;
  size?: number;
  avail?: number;
  files?: number;
  filesFree?: number;
  readonly?: boolean;
  error?: boolean;
  left?: number; // seconds until it is full, if it goes on as in the last day
}

// filesystemsQuery asks for all of them at once. How long one lasts is only said
// where there are six hours to judge by.
export const filesystemsQuery = (m: string) => {
  const avail = `node_filesystem_avail_bytes{${m},${REAL_FS}}`;
  return (
    `{__name__=~"node_filesystem_(size_bytes|avail_bytes|files|files_free|readonly|device_error)",${m},${REAL_FS}}` +
    ` or label_replace((-${avail} / (deriv(${avail}[1d]) < 0)) and ${avail} offset 6h, "figure", "left", "", "")`
  );
};

export function filesystems(samples: VectorSample[]): Filesystem[] {
  const by = new Map<string, Filesystem>();
  for (const { metric: l, value } of samples) {
    const key = `${l.device} ${l.mountpoint}`;
    let f = by.get(key);
    if (!f) by.set(key, (f = { mountpoint: l.mountpoint ?? '', device: l.device ?? '', fstype: l.fstype ?? '' }));
    const v = Number(value?.[1]);
    if (l.figure === 'left') f.left = v;
    switch (l.__name__) {
      case 'node_filesystem_size_bytes':
        f.size = v;
        break;
      case 'node_filesystem_avail_bytes':
        f.avail = v;
        break;
      case 'node_filesystem_files':
        f.files = v;
        break;
      case 'node_filesystem_files_free':
        f.filesFree = v;
        break;
      case 'node_filesystem_readonly':
        f.readonly = v === 1;
        break;
      case 'node_filesystem_device_error':
        f.error = v === 1;
        break;
    }
  }
  // One device mounted at several places (/nix/store, btrfs subvolumes, a bind
  // mount below /run) is one line, by the shortest path. What is free of it may
  // have changed between two of them.
  const seen = new Map<string, Filesystem>();
  for (const f of [...by.values()].sort((a, b) => a.mountpoint.length - b.mountpoint.length)) {
    const key = f.device.startsWith('/') ? `${f.device} ${f.size}` : `${f.device} ${f.mountpoint}`;
    if (!seen.has(key)) seen.set(key, f);
  }
  return [...seen.values()].filter((f) => f.size !== 0 || f.error).sort((a, b) => used(b) - used(a));
}

export const used = (f: Filesystem) => (f.size && f.avail !== undefined ? 1 - f.avail / f.size : -1);

// unitOf is the unit that the name of a metric says, by Prometheus' customs.
export function unitOf(name: string): Unit {
  const base = name.replace(/_(total|sum|max|min|peak|limit|current)$/, '');
  const units: [RegExp, Unit][] = [
    [/_bytes$/, 'bytes'],
    [/_seconds$/, 'seconds'],
    [/_celsius$/, 'celsius'],
    [/_(ratio|percent_ratio)$/, 'ratio'],
    [/_hertz$/, 'hertz'],
    [/_volts$/, 'volts'],
    [/_watts?$/, 'watts'],
    [/_rpm$/, 'rpm'],
  ];
  return units.find(([r]) => r.test(base))?.[1] ?? 'none';
}

// timeOf is a value that is a time of day, such as that of the last boot.
export function timeOf(name: string, v: number | undefined): number | undefined {
  return v !== undefined &&
    v > 1e9 &&
    v < 1e10 &&
    /_(time|timestamp|trigger|boot)(_\w+)?_seconds$|_time_seconds$/.test(name)
    ? v
    : undefined;
}

// Joined samples: name → labels → value, for tables of facts.
export function pick(
  samples: VectorSample[] | undefined,
  name: string,
): { labels: Record<string, string>; value: number }[] {
  return (samples ?? [])
    .filter((s) => s.metric.__name__ === name)
    .map((s) => ({ labels: s.metric, value: Number(s.value?.[1]) }));
}

export interface Since {
  time: number; // Unix seconds
  restarted?: boolean; // the machine was in trouble before the server was started
}

// sinceOf is when an alert of a machine began to fire, as the server remembers it.
// Alertmanager knows only of the time after the server was started.
export function sinceOf(
  a: { labels: Record<string, string>; startsAt: string },
  m: { since?: string; alerts?: Pick<MachineAlert, 'name' | 'labels' | 'since'>[] | null } | undefined,
  started: number,
): Since {
  const time = Date.parse(a.startsAt) / 1000;
  const kept = m?.alerts?.find(
    (x) => x.name === a.labels.alertname && Object.entries(x.labels).every(([k, v]) => (a.labels[k] ?? v) === v),
  );
  if (kept?.since) return { time: Date.parse(kept.since) / 1000 };
  const restarted = !!started && !!m?.since && Date.parse(m.since) / 1000 < started && time >= started;
  return { time, ...(restarted && { restarted }) };
}
