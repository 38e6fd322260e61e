// A line of the journal, by journald's names.
export interface Line {
  __CURSOR?: string;
  __REALTIME_TIMESTAMP?: string; // microseconds
  _BOOT_ID?: string;
  PRIORITY?: string; // 0 to 7
  SYSLOG_IDENTIFIER?: string;
  _PID?: string;
  _SYSTEMD_UNIT?: string;
  MESSAGE: string;
  length?: number; // in bytes, of a message that was cut
}

export interface JournalQuery {
  machine: string;
  unit?: string;
  lines?: number;
  until?: number; // Unix seconds
  priority?: string;
  grep?: string;
  boot?: string;
}

export interface JournalAnswer {
  lines: Line[];
  limit?: 'lines' | 'bytes' | 'time';
  incomplete?: string; // why lines are missing, where no limit was reached
}

export interface Process {
  pid: number;
  name: string;
  command?: string;
  unit?: string;
  cpu: number; // processors
  memory: number; // bytes
  io?: number; // bytes a second
  unitIO?: number; // likewise, of its whole unit
}

export interface ProcessesAnswer {
  processes: Process[];
  total: number;
}
