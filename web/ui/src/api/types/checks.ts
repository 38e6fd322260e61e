// What /api/clanmon/v1/checks answers.
export type CheckState = 'ok' | 'failed once' | 'failing' | 'not run' | 'unknown';

// Place is a check from one machine.
export interface Place {
  from: string;
  state: CheckState;
  since?: string;
  checked?: string;
  duration: number; // seconds
  why?: string;
  certificateExpires?: string;
  uptime: { day: number | null; month: number | null; quarter: number | null };
  lastFailure?: { at: string; why: string; log?: string };
}

// Check has the worst of its places' states, and the mean of their uptimes.
export interface Check extends Place {
  name: string;
  url: string;
  machine?: string;
  severity: string;
  every: number; // seconds
  certificateDays: number;
  places: Place[];
}

export interface CheckRun {
  ok: boolean;
  why: string;
  duration: number;
  log: string;
}
