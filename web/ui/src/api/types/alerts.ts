// Mirrors Alertmanager's API v2: /api/v2/alerts, /api/v2/silences.
import type { Labels } from './query';

export interface Alert {
  labels: Labels;
  annotations: Labels;
  startsAt: string;
  updatedAt: string;
  endsAt: string;
  generatorURL?: string;
  fingerprint: string;
  receivers: { name: string }[];
  status: {
    state: 'unprocessed' | 'active' | 'suppressed';
    silencedBy: string[];
    inhibitedBy: string[];
    mutedBy?: string[];
  };
}

export interface Matcher {
  name: string;
  value: string;
  isRegex: boolean;
  isEqual: boolean;
}

export interface Silence {
  id: string;
  status: { state: 'active' | 'pending' | 'expired' };
  matchers: Matcher[];
  startsAt: string;
  endsAt: string;
  updatedAt: string;
  createdBy: string;
  comment: string;
}

export interface ReceiverState {
  receiver: string;
  integration: string;
  lastSuccess?: string;
  lastFailure?: string;
  lastError?: string;
}
// Schedule says when people are notified.
export interface Schedule {
  timeZone: string;
  quiet?: { hours: string[]; active: boolean; until?: string };
  digest?: { every: 'daily' | 'weekly'; next: string };
}
// Digest is the report as it would be sent now; its title is empty if there is nothing to report.
export interface Digest {
  title: string;
  text: string;
  from: string;
  to: string;
}
export interface ReceiverTest {
  receiver: string;
  integration: string;
  ok: boolean;
  error?: string;
  seconds: number;
}

// Of /api/v1/alerts, which is Prometheus' own.
export interface RuleAlert {
  labels: Labels;
  annotations: Labels;
  state: 'firing' | 'pending' | 'inactive';
  activeAt: string;
  value: string;
}

// Of /api/v1/rules?type=alert&exclude_alerts=true.
export interface AlertRule {
  name: string;
  query: string;
  duration: number; // seconds for which the condition has to hold
  keepFiringFor?: number;
  labels?: Labels;
  health: 'ok' | 'err' | 'unknown';
}
export interface AlertRuleGroup {
  name: string;
  file: string; // "clanmon:…" of the built-in rules
  interval: number; // seconds
  lastEvaluation: string;
  rules: AlertRule[];
}

// Of /api/clanmon/v1/notifications, by the fingerprint of the alert.
export type Notifications = Record<string, { receiver: string; integration: string; at: string }[]>;

export interface NewSilence {
  id?: string;
  matchers: Matcher[];
  startsAt: string;
  endsAt: string;
  createdBy: string;
  comment: string;
}
export interface DeliveryStatus {
  config: { original: string };
  uptime: string;
}
