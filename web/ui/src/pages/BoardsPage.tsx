// Boards: what people put together of charts and other panels, one board or all.
import { useEffect, useMemo, useState } from 'preact/hooks';
import {
  deleteBoard,
  fileOf,
  importBoard,
  oneBoard,
  putBoard,
  type BoardEntry,
  type ImportReport,
} from '../api/boards';
import { ApiError } from '../api/client';
import { Empty, ErrorNote, Loading, Menu, Overlay } from '../components/bits';
import { Icon } from '../components/icons';
import { Marks } from '../components/Marks';
import { Table, type Column } from '../components/Table';
import { ChangeButton, NoChanges } from '../components/Who';
import type { BoardSummary } from '../api/boards';
import { ALL, arranged, free, slugOf, type Board, type Tile } from '../lib/boards';
import type { PageProps } from '../routes';
import { type Resolved, useBoards, useVariables } from '../state/boards';
import { refresh } from '../state/clock';
import { useData } from '../state/data';
import { go, href, param, setParams } from '../state/location';
import { toast } from '../state/toast';
import { EditTile } from './boards/Edit';
import { Grid } from './boards/Grid';
import { Variables } from './boards/Variables';
import './boards.css';

export default function BoardsPage({ params }: PageProps) {
  return params.board ? <One key={params.board} name={params.board} /> : <List />;
}

const pathOf = (name: string) => `/boards/${encodeURIComponent(name)}`;

function List() {
  const all = useBoards();
  const [importing, setImporting] = useState(false);
  const making = param('new') === '1';
  const taken = (all.data ?? []).map((b) => b.name);
  const q = param('q').toLowerCase();
  const rows = (all.data ?? []).filter((b) => `${b.title} ${b.name}`.toLowerCase().includes(q));
  const columns: Column<BoardSummary>[] = [
    { id: 'title', title: 'Board', sort: (b) => b.title.toLowerCase(), cell: (b) => <Title b={b} /> },
    { id: 'panels', title: 'Panels', num: true, sort: (b) => b.panels, cell: (b) => (b.error ? '–' : b.panels) },
    {
      id: 'source',
      title: 'Source',
      sort: (b) => b.readOnly ?? '',
      cell: (b) => (b.readOnly ? <span class="wrap">read-only, {b.readOnly}</span> : 'this server'),
    },
  ];
  return (
    <>
      <div class="pagehead">
        <h1>Boards</h1>
        {taken.length > 8 && (
          <input
            class="field"
            type="search"
            aria-label="Filter boards"
            placeholder="Filter"
            value={param('q')}
            onInput={(e) => setParams({ q: e.currentTarget.value })}
          />
        )}
        <span class="grow" />
        <ChangeButton type="button" class="btn" onClick={() => setImporting(true)}>
          Import
        </ChangeButton>
        <ChangeButton type="button" class="btn primary" onClick={() => setParams({ new: true }, false)}>
          <Icon name="plus" />
          New board
        </ChangeButton>
      </div>
      <ErrorNote error={all.error} what={all.data ? 'Could not refresh' : 'Boards'} />
      {!all.data && !all.error && <Loading />}
      {all.data && (
        <div class="panel">
          <Table
            label="Boards"
            rows={rows}
            columns={columns}
            rowKey={(b) => b.name}
            href={(b) => href(b.error ? '/boards' : pathOf(b.name))}
            defaultSort="title"
            pagewide
            card={(b) => (
              <>
                <Title b={b} />
                <p class="dim">
                  {b.error ? '' : `${b.panels} ${b.panels === 1 ? 'panel' : 'panels'}`}
                  {b.readOnly && ', read-only'}
                </p>
              </>
            )}
            empty={
              <Empty
                icon="board"
                title={q ? 'No board matches' : 'No boards yet'}
                why={
                  q
                    ? undefined
                    : 'A board shows charts of your choice on one page. Pin a chart by its menu, or import a dashboard of Grafana.'
                }
              />
            }
          />
        </div>
      )}
      {making && <NewBoard taken={taken} onClose={() => setParams({ new: null }, false)} />}
      {importing && <Import taken={taken} onClose={() => setImporting(false)} />}
    </>
  );
}

function Title({ b }: { b: BoardSummary }) {
  if (b.error)
    return (
      <span class="wrap">
        <b>{b.name}</b> <span class="status crit">cannot be shown</span>
        <br />
        <span class="dim">{b.error}</span>
      </span>
    );
  return <a href={href(pathOf(b.name))}>{b.title}</a>;
}

// TitleForm asks for the title of a board. save returns once it is stored, or throws.
function TitleForm(p: {
  heading: string;
  button: string;
  title: string;
  note?: string;
  save: (title: string) => Promise<unknown>;
  onClose: () => void;
}) {
  const [title, setTitle] = useState(p.title);
  const [error, setError] = useState<Error>();
  return (
    <Overlay kind="dialog" title={p.heading} onClose={p.onClose}>
      <form
        class="stack"
        onSubmit={(e) => {
          e.preventDefault();
          p.save(title.trim()).catch((x) => setError(x as Error));
        }}
      >
        <NoChanges />
        <TitleField title={title} change={setTitle} />
        {p.note && <p class="dim">{p.note}</p>}
        <ErrorNote error={error} />
        <span class="row">
          <ChangeButton class="btn primary">{p.button}</ChangeButton>
        </span>
      </form>
    </Overlay>
  );
}

function TitleField({ title, change }: { title: string; change: (title: string) => void }) {
  return (
    <label class="line">
      Title
      <input
        class="field"
        data-autofocus
        required
        maxLength={200}
        value={title}
        onInput={(e) => change(e.currentTarget.value)}
      />
    </label>
  );
}

function NewBoard({ taken, onClose, of }: { taken: string[]; onClose: () => void; of?: Board }) {
  return (
    <TitleForm
      heading={of ? 'Duplicate board' : 'New board'}
      button="Create board"
      title={of ? `${of.title} copy` : ''}
      onClose={onClose}
      save={async (title) => {
        const name = slugOf(title, taken);
        await putBoard(name, { ...(of ?? { version: 1, panels: [] }), title });
        go(href(pathOf(name)));
        refresh();
      }}
    />
  );
}

// Import reads a file, says what of it cannot be imported, and only then stores it.
function Import({ taken, onClose }: { taken: string[]; onClose: () => void }) {
  const [report, setReport] = useState<ImportReport>();
  const [title, setTitle] = useState('');
  const [error, setError] = useState<Error>();
  const read = async (file: File | undefined) => {
    setReport(undefined);
    setError(undefined);
    if (!file) return;
    try {
      let content: unknown;
      try {
        content = JSON.parse(await file.text());
      } catch (x) {
        throw new Error(`${file.name} is not JSON: ${(x as Error).message}`);
      }
      const got = await importBoard(content);
      setReport(got);
      setTitle(got.board.title);
    } catch (x) {
      setError(x as Error);
    }
  };
  const save = async (e: Event) => {
    e.preventDefault();
    const name = slugOf(title, taken);
    try {
      await putBoard(name, { ...report!.board, title: title.trim() });
      go(href(pathOf(name)));
      refresh();
    } catch (x) {
      setError(x as Error);
    }
  };
  return (
    <Overlay kind="dialog" title="Import a board" onClose={onClose}>
      <form class="stack" onSubmit={(e) => void save(e)}>
        <NoChanges />
        <label class="line">
          File with a board, or with a dashboard exported by Grafana
          <input
            class="field"
            data-autofocus
            type="file"
            accept=".json,application/json"
            onChange={(e) => void read(e.currentTarget.files?.[0])}
          />
        </label>
        <ErrorNote error={error} />
        {report && (
          <>
            <p>
              <b>
                {report.imported} of {report.panels} panels
              </b>{' '}
              {report.problems.length === 0 ? 'can be imported, with all they have.' : 'can be imported.'}
            </p>
            {report.problems.length > 0 && (
              <ul class="importproblems" tabIndex={0} aria-label="What cannot be imported">
                {report.problems.map((p, i) => (
                  <li key={i}>
                    <span class={`status ${p.missing ? 'warn' : 'info'}`}>
                      <Icon name={p.missing ? 'warn' : 'info'} />
                      {p.missing ? 'Left out' : 'Changed'}
                    </span>{' '}
                    <b>{p.where || 'Dashboard'}</b>: {p.why}
                  </li>
                ))}
              </ul>
            )}
            <TitleField title={title} change={setTitle} />
            <span class="row">
              <ChangeButton class="btn primary">Import board</ChangeButton>
            </span>
          </>
        )}
      </form>
    </Overlay>
  );
}

function One({ name }: { name: string }) {
  const got = useData(`board ${name}`, (s) => oneBoard(name, s), 60);
  const entry = got.data;
  if (got.error instanceof ApiError && got.error.status === 404)
    return (
      <>
        <div class="pagehead">
          <h1 class="wrap boardtitle">{name}</h1>
        </div>
        <div class="panel">
          <Empty icon="board" title="No board with this name" why="It may have been deleted.">
            <a class="btn" href={href('/boards')}>
              All boards
            </a>
          </Empty>
        </div>
      </>
    );
  if (!entry)
    return (
      <>
        <ErrorNote error={got.error} what="Board" />
        {!got.error && <Loading />}
      </>
    );
  if (!entry.board)
    return (
      <>
        <div class="pagehead">
          <h1>{name}</h1>
          <span class="grow" />
          <a class="btn" download href={fileOf(name, 'file')}>
            Download file
          </a>
        </div>
        <div class="panel">
          <Empty icon="crit" title="This board cannot be shown" why={entry.error}>
            <a class="btn" href={href('/boards')}>
              All boards
            </a>
          </Empty>
        </div>
      </>
    );
  return <Shown entry={entry as BoardEntry & { board: Board }} error={got.error} />;
}

function Shown({ entry, error }: { entry: BoardEntry & { board: Board }; error: Error | undefined }) {
  const { name } = entry;
  // What was stored counts until the next answer, which has it or something newer.
  const [stored, setStored] = useState<BoardEntry & { board: Board }>();
  useEffect(() => setStored(undefined), [entry.etag]);
  const now = stored ?? entry;
  const [draft, setDraft] = useState<Board>();
  const [base, setBase] = useState(''); // the etag of what the draft began with
  const [editing, setEditing] = useState<number>();
  const [dialog, setDialog] = useState<'rename' | 'duplicate' | 'delete' | ''>('');
  const [failed, setFailed] = useState<Error>();
  const all = useBoards(dialog === 'duplicate');
  const board = draft ?? now.board;
  const variables = useVariables(board);
  const own = useMemo(() => chosenMachines(board, variables.data), [board, variables.data]);
  const arrange = () => {
    const begun = { ...now.board, panels: arranged(now.board.panels) };
    setBase(now.etag);
    setDraft(begun);
    return begun;
  };
  const change = (panels: Tile[]) => setDraft({ ...(draft ?? now.board), panels });

  const store = async (b: Board, etag: string) => {
    // In the file, panels are in the order in which they are read.
    const panels = [...b.panels].sort((x, y) => x.y - y.y || x.x - y.x);
    const got = await putBoard(name, { ...b, panels }, etag);
    setStored(got as BoardEntry & { board: Board });
    setDraft(undefined);
    setFailed(undefined);
    toast('Board saved');
    refresh();
  };
  const save = (b: Board, etag: string) => store(b, etag).catch((x) => setFailed(x as Error));
  const add = () => {
    const begun = draft ?? arrange();
    const tile: Tile = { type: 'chart', ...free(begun.panels, 12, 8), queries: [{ expr: '' }] };
    setDraft({ ...begun, panels: [...begun.panels, tile] });
    setEditing(begun.panels.length);
  };
  const why = entry.readOnly && `This board is read-only, from ${entry.readOnly}. Duplicate it to change the copy.`;

  return (
    <>
      <div class="pagehead">
        <h1 class="wrap boardtitle">{board.title}</h1>
        {entry.readOnly && (
          <span class="chip" title={why}>
            read-only
          </span>
        )}
        {draft ? (
          <>
            <button type="button" class="btn" onClick={add}>
              <Icon name="plus" />
              Add panel
            </button>
            <button
              type="button"
              class="btn"
              onClick={() => {
                setDraft(undefined);
                setFailed(undefined);
              }}
            >
              Discard
            </button>
            <ChangeButton type="button" class="btn primary" onClick={() => void save(draft, base)}>
              Save
            </ChangeButton>
          </>
        ) : (
          <>
            <ChangeButton type="button" class="btn" disabled={!!why} title={why} onClick={arrange}>
              <Icon name="edit" />
              Edit
            </ChangeButton>
            <Menu icon="more" title="Menu of the board">
              {(close) => {
                const item = (text: string, icon: string, to: typeof dialog, fixed?: boolean) => (
                  <ChangeButton
                    type="button"
                    disabled={fixed && !!why}
                    title={fixed ? why : undefined}
                    onClick={() => {
                      close();
                      setDialog(to);
                    }}
                  >
                    <Icon name={icon} />
                    {text}
                  </ChangeButton>
                );
                return (
                  <>
                    {item('Rename', 'edit', 'rename', true)}
                    {item('Duplicate', 'copy', 'duplicate')}
                    <a download href={fileOf(name, 'file')} onClick={close}>
                      <Icon name="down_" />
                      Download JSON
                    </a>
                    <a download href={fileOf(name, 'grafana')} onClick={close}>
                      <Icon name="down_" />
                      Download for Grafana
                    </a>
                    <hr />
                    {item('Delete', 'close', 'delete', true)}
                  </>
                );
              }}
            </Menu>
          </>
        )}
      </div>
      {board.description && <p class="dim boarddescription">{board.description}</p>}
      <ErrorNote error={error ?? variables.error} />
      {failed && (
        <p class="note crit" role="alert">
          {failed.message}
          {failed instanceof ApiError && failed.status === 412 && (
            <>
              {' '}
              <ChangeButton type="button" class="btn" onClick={() => void save(board, '*')}>
                Overwrite it
              </ChangeButton>
            </>
          )}
        </p>
      )}
      {draft && (
        <p class="dim arrangehint" aria-live="polite">
          <span class="desktop">Drag a panel by its handle, or focus the handle and use the arrow keys.</span>
          <span class="phoneonly">Panels are moved on a larger screen.</span>
        </p>
      )}
      {variables.data && <Variables list={board.variables ?? []} resolved={variables.data} />}
      {!board.panels.length && (
        <div class="panel">
          <Empty icon="board" title="This board is empty" why="Pin a chart to it by the chart's menu, or add a panel.">
            <ChangeButton type="button" class="btn primary" disabled={!!why} title={why} onClick={add}>
              <Icon name="plus" />
              Add panel
            </ChangeButton>
          </Empty>
        </div>
      )}
      {!variables.data && !variables.error && <Loading />}
      {variables.data && board.panels.length > 0 && (
        <Marks machines={own} wanted={board.panels.some((t) => t.type === 'chart')}>
          <Grid
            tiles={board.panels}
            values={variables.data}
            arranging={
              draft && {
                change,
                edit: setEditing,
                duplicate: (i) => {
                  const t = board.panels[i]!;
                  change([...board.panels, { ...t, ...free(board.panels, t.w, t.h) }]);
                },
                remove: (i) => change(arranged(board.panels.filter((_, k) => k !== i))),
              }
            }
          />
        </Marks>
      )}
      {editing !== undefined && draft?.panels[editing] && (
        <EditTile
          tile={draft.panels[editing]}
          variables={draft.variables ?? []}
          onSave={(t) => {
            change(arranged(draft.panels.map((x, k) => (k === editing ? t : x))));
            setEditing(undefined);
          }}
          onClose={() => {
            // A panel that was added and not filled in is none.
            if (draft.panels[editing]?.queries?.[0]?.expr === '') change(draft.panels.filter((_, k) => k !== editing));
            setEditing(undefined);
          }}
        />
      )}
      {dialog === 'rename' && (
        <TitleForm
          heading="Rename board"
          button="Rename"
          title={board.title}
          note="Its address stays the same."
          onClose={() => setDialog('')}
          save={async (title) => {
            await store({ ...now.board, title }, now.etag);
            setDialog('');
          }}
        />
      )}
      {dialog === 'duplicate' && all.data && (
        <NewBoard taken={all.data.map((b) => b.name)} of={now.board} onClose={() => setDialog('')} />
      )}
      {dialog === 'delete' && <Delete name={name} title={board.title} etag={now.etag} onClose={() => setDialog('')} />}
    </>
  );
}

// chosenMachines are those that a variable of the board selects; undefined for all.
function chosenMachines(board: Board, values: Resolved | undefined): ReadonlySet<string> | undefined {
  const name = board.variables?.find((v) => v.kind === 'machine')?.name;
  const choice = name ? values?.choices[name] : undefined;
  return choice && !choice.chosen.includes(ALL) ? new Set(choice.chosen) : undefined;
}

function Delete({ name, title, etag, onClose }: { name: string; title: string; etag: string; onClose: () => void }) {
  const [error, setError] = useState<Error>();
  return (
    <Overlay
      kind="dialog"
      title={`Delete ${title}?`}
      onClose={onClose}
      footer={
        <ChangeButton
          type="button"
          class="btn danger"
          onClick={() =>
            void deleteBoard(name, etag).then(
              () => {
                go(href('/boards'));
                refresh();
                toast('Board deleted');
              },
              (x) => setError(x as Error),
            )
          }
        >
          Delete board
        </ChangeButton>
      }
    >
      <p>Its file is removed from the data directory. Download it first to keep a copy.</p>
      <ErrorNote error={error} />
    </Overlay>
  );
}
