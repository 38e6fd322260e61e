// UptimeShare is a month of a machine, in seconds. What is in none of them is not known.
export interface UptimeShare {
  up?: number;
  down?: number;
  maintenance?: number; // down, with its alerts silenced
  on?: number; // reachable, of an intermittent machine
  off?: number;
  ratio?: number; // up, of what was known and expected
}

export interface UptimeMonth {
  name: string; // such as 2026-11
  from: number;
  to: number;
}

export interface UptimeMachine {
  machine: string;
  months: Record<string, UptimeShare>;
}

export interface UptimeAnswer {
  at: number;
  from: number; // before this, no data was stored
  counted?: number; // stored data is still being read
  months: UptimeMonth[];
  machines: UptimeMachine[];
}
