// Mirrors server/fleet: /api/clanmon/v1/machines, …/fleet and …/discovery. The
// server judges; pages show. A figure that is absent is not known, and never 0.
export type State = 'down' | 'critical' | 'warning' | 'waiting' | 'offline' | 'unjudged' | 'ok';

export interface MachineTarget {
  job: string;
  instance: string;
  address: string;
  health: 'up' | 'down' | 'unknown'; // unknown: not scraped yet
  lastError?: string;
  lastScrape?: string; // RFC 3339
  interval?: number; // seconds between two scrapes
  method?: string;
  forgettable?: boolean; // DELETE can forget it
}

export interface ActiveSilence {
  id: string;
  until: string; // RFC 3339
  by: string;
  comment: string;
  whole?: boolean; // every alert of the machine
}

export interface Muted {
  alert: string;
  by: 'silence' | 'inhibition' | 'time';
  what: string; // the silence, the alert that inhibits, the interval
}

export interface MachineAlert {
  name: string;
  labels: Record<string, string>;
  severity?: string;
  since?: string; // also before the server was started, RFC 3339
  checking?: boolean;
  muted?: boolean;
}

export interface Warning {
  kind: 'same-machine' | 'renamed' | 'replaced' | string;
  text: string;
  machine?: string;
  at?: string; // RFC 3339
}

export interface Facts {
  os?: string;
  kernel?: string;
  generation?: string;
  exporter?: string;
  nodename?: string;
  booted?: number; // Unix seconds by the server's clock
  reboot?: boolean;
  filesystems?: { mountpoint: string; size: number; avail: number }[];
  at?: string; // of which time they are, RFC 3339
}

export interface Machine {
  machine: string;
  availability: 'always' | 'intermittent' | '';
  tags: string[] | null;
  os?: string;
  sources: string[] | null;
  addresses: string[] | null;
  tailscale?: {
    name: string;
    online: boolean;
    direct: boolean;
    relay?: string;
    keyExpiry?: string;
    lastSeen?: string;
    expired?: boolean;
  };
  targets: MachineTarget[] | null;
  selector: string; // what goes inside {} to select all its series
  earlier?: string; // the same for the time before it had the label machine
  labelled: boolean;
  judged: boolean;
  state: State;
  since?: string;
  why?: string;
  checking?: boolean; // fired before the server was restarted, and is pending again
  pending?: number;
  critical?: number;
  warning?: number;
  info?: number;
  silenced?: ActiveSilence[] | null;
  muted?: Muted[] | null;
  alerts?: MachineAlert[] | null; // that fire
  lastSeen?: string;
  unitsKnown?: boolean;
  facts?: Facts | null;
  warnings?: Warning[] | null;
}

export interface FleetRow {
  name: string;
  state: State;
  since?: string;
  why?: string;
  checking?: boolean;
  silenced?: ActiveSilence[] | null;
  judged?: boolean;
  labelled?: boolean;
  selector?: string;
  tags?: string[] | null;
  intermittent?: boolean;
  up?: number; // targets that respond
  targets?: number;
  downJobs?: string[] | null;
  critical?: number; // alerts that fire and are not muted
  warning?: number;
  info?: number;
  pending?: number;
  cpu?: number;
  memory?: number;
  filesystem?: number;
  ioStalled?: number;
  memoryStalled?: number;
  receive?: number; // bytes per second
  transmit?: number;
  temperature?: number;
  unitsFailed?: number;
  full?: number; // Unix seconds: when its first disk will be
  booted?: number; // Unix seconds by the server's clock
  os?: string;
  kernel?: string;
  exporter?: string;
  reboot?: boolean;
  lastSeen?: string; // only when nothing of it responds
  addresses?: string[] | null;
  warnings?: Warning[] | null;
  site?: string; // of the server that watches it, if that is another one
  machine?: string; // what it is called there
}

// Mirrors server/elsewhere: /api/clanmon/v1/elsewhere. Machines that other servers watch.
export interface OtherMachine {
  name: string; // machine@site
  machine: string;
  site: string;
  tags: string[]; // label=value of the site
  selector: string;
  state: State;
  since?: string;
  why: string;
  intermittent?: boolean;
  judged: boolean;
  up: number;
  targets: number;
  critical: number;
  warning: number;
  info: number;
  heard: string; // the time of its newest sample, RFC 3339
  figures: Partial<Record<string, number>>; // by the names of FleetRow
  os?: string;
  kernel?: string;
  booted?: number;
  reboot?: boolean;
}
export interface Elsewhere {
  enabled: boolean;
  site: string; // of this server
  time: number; // of the machines, Unix seconds; 0: the engine never responded
  machines: OtherMachine[];
  warnings: string[];
}

export interface Notice {
  level: 'critical' | 'warning' | 'info';
  kind: string;
  text: string;
  detail?: string;
  link?: string;
}

export interface FleetAnswer {
  cursor: string;
  time: number; // Unix seconds
  started: number;
  full?: boolean; // rows are all there are
  rows: FleetRow[] | null;
  gone?: string[] | null;
  notices?: Notice[] | null;
}

export interface DiscoveryMethod {
  method: string;
  from?: string; // what it asks or reads: a file, a socket, a DNS name
  config?: string;
  jobs?: string[] | null;
  error?: string;
  lastSuccess?: string;
  failingSince?: string;
  never?: boolean; // it has not succeeded yet
}
export interface Waiting {
  job: string;
  machine: string;
  instance: string;
  address: string;
  method: string;
  reason: string;
  error?: string;
  attempts: number;
}
export interface LeftOut {
  device: string;
  method: string;
  reason: string;
}
export interface Refused {
  entry: string;
  method: string;
  reason: string;
}
export interface Discovery {
  methods: DiscoveryMethod[];
  waiting: Waiting[] | null;
  leftOut: LeftOut[] | null;
  refused?: Refused[] | null;
}
