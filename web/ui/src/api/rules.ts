// Rules: those that are evaluated, /api/v1/rules, and those in the binary,
// /api/clanmon/v1/shipped-rules.
import { request } from './client';
import type { RuleAlert } from './types/alerts';
import type { Labels } from './types/query';

export interface Rule {
  type: 'alerting' | 'recording';
  name: string;
  query: string;
  labels?: Labels;
  health: 'ok' | 'err' | 'unknown'; // unknown: not evaluated yet
  lastError?: string;
  lastEvaluation: string;
  evaluationTime: number; // seconds
  state?: 'firing' | 'pending' | 'inactive' | 'unknown'; // of an alerting rule
  duration?: number; // seconds
  keepFiringFor?: number;
  annotations?: Labels;
  alerts?: RuleAlert[];
}

export interface RuleGroup {
  name: string;
  file: string;
  interval: number;
  limit?: number;
  rules: Rule[];
  evaluationTime: number;
  lastEvaluation: string;
}

export interface RuleSetting {
  name: string;
  value: string | number;
  default: string | number;
  flag: string;
}

// Mirrors server/ruler/info.go.
export interface ShippedRule {
  name: string;
  type: 'alerting' | 'recording';
  group: string;
  state: 'active' | 'disabled' | 'replaced' | 'off';
  expr: string; // with parameters by their names: param:threshold
  summary?: string;
  description?: string;
  settings: RuleSetting[];
  disable: string;
}

export const ruleGroups = (signal?: AbortSignal) =>
  request<{ groups: RuleGroup[] }>('/api/v1/rules', { ...(signal && { signal }) }).then((d) => d.groups);
export const shippedRules = (signal?: AbortSignal) =>
  request<ShippedRule[]>('/api/clanmon/v1/shipped-rules', { ...(signal && { signal }) });
