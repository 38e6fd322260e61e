// TrafficRow is what a machine received and sent in this month, in bytes. Dates are
// YYYY-MM-DD in the zone of the server.
export interface TrafficRow {
  machine: string;
  received: number;
  sent: number;
  since?: string; // the data begin later than the month
  expected?: number; // of the sum, at the end of the month
  last?: { received: number; sent: number; since?: string };
  quota?: { bytes: number; used: number; expected?: number; due?: string };
}

export interface TrafficAnswer {
  at: number; // Unix seconds
  from: string; // the first day of this month
  to: string; // the last one
  counting?: boolean; // what is stored is counted, after the first start
  rows: TrafficRow[];
}
