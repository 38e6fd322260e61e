// What /api/clanmon/v1/events answers. Times are Unix seconds.
export type EventKind =
  | 'reboot'
  | 'system'
  | 'exporter'
  | 'alert'
  | 'unit'
  | 'check'
  | 'filesystem'
  | 'machine'
  | 'server'
  | 'silence'
  | 'note';

export interface FleetEvent {
  time: number;
  end: number | null; // of what lasted; null for what does not last, or has not ended
  kind: EventKind;
  machine?: string; // none of a group, or of what concerns no machine
  count: number; // how many machines
  machines?: string[]; // of a group or a note, the first of them if they are many
  text: string;
  detail?: string;
  by?: string; // who wrote a note
  alert?: string;
  severity?: string;
}

export interface Events {
  from: number;
  to: number;
  events: FleetEvent[]; // the newest first
  leftOut: number; // older ones beyond the limit
}

// A note that is sent. Without machines it is of all.
export interface NewNote {
  text: string;
  machines?: string[];
  time?: number; // now without it
  by?: string; // counts only if the server does not know who sends it
}

// What /api/clanmon/v1/moved answers: metrics of a machine that were unlike before.
export interface Moved {
  metric: string;
  labels: Record<string, string>; // of the series that moved most
  expr: string; // draws it
  rate: boolean; // was and is are per second
  was: number; // the usual value
  is: number; // furthest from it, from since on
  since: number;
  score: number;
  more: number; // other series of the metric
}

export interface MovedAnswer {
  from: number;
  to: number;
  moved: Moved[]; // the most unlike first
  series: number; // that were compared
  partial: string; // why not all, '' if all were
}
