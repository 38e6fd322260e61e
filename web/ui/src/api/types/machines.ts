// Mirrors server/fleet: /api/clanmon/v1/machines and …/discovery.
export interface MachineTarget {
  job: string;
  instance: string;
  address: string;
  health: 'up' | 'down' | 'unknown'; // unknown: not scraped yet
  lastError?: string;
  lastScrape?: string; // RFC 3339
  interval?: number; // seconds between two scrapes
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
}

export interface DiscoveryMethod {
  method: string;
  config: string;
  error?: string;
  lastSuccess?: string;
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
export interface Discovery {
  methods: DiscoveryMethod[];
  waiting: Waiting[] | null;
  leftOut: LeftOut[] | null;
}
