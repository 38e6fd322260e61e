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
  status: { state: 'unprocessed' | 'active' | 'suppressed'; silencedBy: string[]; inhibitedBy: string[] };
}

export interface Matcher { name: string; value: string; isRegex: boolean; isEqual: boolean }

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

export interface ReceiverState { receiver: string; integration: string; lastSuccess?: string; lastFailure?: string; lastError?: string }
export interface ReceiverTest { receiver: string; integration: string; ok: boolean; error?: string; seconds: number }
