// TrafficRow is what a machine received and sent in this month, in bytes. Times are Unix seconds.
export interface TrafficRow {
  machine: string;
  received: number;
  sent: number;
  since?: number; // the data begin later than the month
  expected?: number; // of the sum, at the end of the month
  last?: { received: number; sent: number; since?: number };
  quota?: { bytes: number; used: number; expected?: number; due?: number };
}

export interface TrafficAnswer {
  at: number;
  from: number; // this month
  to: number;
  lastFrom: number;
  counting?: boolean; // what is stored is counted, after the first start
  rows: TrafficRow[];
}
