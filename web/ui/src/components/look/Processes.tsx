// What runs on a machine now: those that use most.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ApiError } from '../../api/client';
import { processes } from '../../api/look';
import type { Process, ProcessesAnswer } from '../../api/types/look';
import { format } from '../../lib/format';
import { serverNow } from '../../state/clock';
import { href, machinePath } from '../../state/location';
import { Ago, ErrorNote, Loading } from '../bits';
import { Icon } from '../icons';
import { LookButton, NoLooks } from '../Who';
import { Table, type Column } from '../Table';

const columns = (machine: string): Column<Process>[] => [
  {
    id: 'name',
    title: 'Process',
    sort: (p) => p.name,
    cell: (p) => (
      <>
        <b>{p.name}</b> {p.command && p.command !== p.name && <span class="dim mono">{p.command}</span>}
      </>
    ),
  },
  {
    id: 'unit',
    title: 'Unit',
    sort: (p) => p.unit ?? '',
    cell: (p) =>
      p.unit ? (
        <a href={href(machinePath(machine), { tab: 'services', unit: p.unit })}>{p.unit}</a>
      ) : (
        <span class="dim">–</span>
      ),
  },
  { id: 'pid', title: 'PID', num: true, sort: (p) => p.pid, cell: (p) => p.pid },
  { id: 'cpu', title: 'CPU', num: true, sort: (p) => p.cpu, cell: (p) => format(p.cpu, 'ratio') },
  { id: 'memory', title: 'Memory', num: true, sort: (p) => p.memory, cell: (p) => format(p.memory, 'bytes') },
  {
    id: 'io',
    title: 'Disk',
    num: true,
    sort: (p) => p.io ?? p.unitIO ?? -1,
    cell: (p) =>
      p.io !== undefined ? (
        format(p.io, 'bytesps')
      ) : p.unitIO !== undefined ? (
        <span class="dim" title="Of the whole unit: only root sees what a process of another user reads and writes">
          unit: {format(p.unitIO, 'bytesps')}
        </span>
      ) : (
        <span class="dim">–</span>
      ),
  },
];

export function Processes({ machine }: { machine: string }) {
  const [got, setGot] = useState<{ answer?: ProcessesAnswer; error?: ApiError; at?: number }>({});
  const [busy, setBusy] = useState(false);
  const stop = useRef<AbortController | undefined>(undefined);
  useEffect(() => () => stop.current?.abort(), []);
  const ask = () => {
    stop.current = new AbortController();
    setBusy(true);
    processes(machine, stop.current.signal)
      .then(
        (answer) => setGot({ answer, at: serverNow() }),
        (error: ApiError) => error.name !== 'AbortError' && setGot({ error }),
      )
      .finally(() => setBusy(false));
  };
  const { answer, error } = got;
  return (
    <section class="panel">
      <header>
        <h2>Processes now</h2>
        <span class="dim grow">
          {answer && (
            <>
              {answer.processes.length} of {answer.total}, <Ago time={got.at} suffix=" ago" />
            </>
          )}
        </span>
        <LookButton type="button" class="btn" disabled={busy} onClick={ask}>
          <Icon name={answer ? 'refresh' : 'list'} />
          {answer ? 'Refresh' : 'Show processes'}
        </LookButton>
      </header>
      <NoLooks />
      {error && (
        <div class="body">
          <ErrorNote error={error} />
        </div>
      )}
      {busy && !answer && <Loading />}
      {answer && (
        <Table<Process>
          label="Processes now"
          rows={answer.processes}
          columns={columns(machine)}
          rowKey={(p) => String(p.pid)}
          sortParam="psort"
          defaultSort="-cpu"
          listKeys={false}
        />
      )}
    </section>
  );
}
