// Pin puts a panel on a board: one that there is, or a new one.
import { useState } from 'preact/hooks';
import { oneBoard, putBoard } from '../api/boards';
import { added, machineOf, pinned, slugOf, type Board } from '../lib/boards';
import type { Panel } from '../lib/panel';
import { SAVED, useBoards } from '../state/boards';
import { refresh } from '../state/clock';
import { toast } from '../state/toast';
import { ErrorNote, Overlay } from './bits';
import { ChangeButton, NoChanges } from './Who';

// pin adds a panel to the board of that name; without one, to a new one of that title.
async function pin(
  tile: ReturnType<typeof pinned>,
  to: { name: string; title?: string },
  machine?: string,
): Promise<void> {
  const now = to.title === undefined ? await oneBoard(to.name) : undefined;
  const board: Board = now?.board ?? { version: 1, title: to.title ?? '', panels: [] };
  await putBoard(to.name, added(board, tile, machine), now?.etag);
}

export function Pin({ panel, onClose, save }: { panel: Panel; onClose: () => void; save?: boolean }) {
  const all = useBoards();
  const fits = (all.data ?? []).filter((b) => !b.readOnly && !b.error);
  const machine = machineOf(panel);
  const [title, setTitle] = useState(panel.title);
  const [follow, setFollow] = useState(!!machine);
  const [chosen, setChosen] = useState<string | undefined>(save ? SAVED : undefined);
  const [name, setName] = useState('');
  const [error, setError] = useState<Error>();
  const [busy, setBusy] = useState(false);
  const to = chosen ?? fits[0]?.name ?? '';
  const isNew = !fits.some((b) => b.name === to);
  const send = async (e: Event) => {
    e.preventDefault();
    setBusy(true);
    try {
      const tile = pinned(panel, title.trim() || panel.title, follow);
      const taken = (all.data ?? []).map((b) => b.name);
      const newTitle = save ? 'Saved queries' : name.trim();
      await pin(
        tile,
        isNew ? { name: save ? SAVED : slugOf(newTitle, taken), title: newTitle } : { name: to },
        follow ? machine : undefined,
      );
      toast(save ? 'Query saved' : `Pinned to ${isNew ? newTitle : fits.find((b) => b.name === to)?.title}`);
      refresh();
      onClose();
    } catch (x) {
      setError(x as Error);
      setBusy(false);
    }
  };
  return (
    <Overlay kind="dialog" title={save ? 'Save query' : 'Pin to board'} onClose={onClose}>
      <form class="stack" onSubmit={(e) => void send(e)}>
        <NoChanges />
        <label class="line">
          {save ? 'Name' : 'Title'}
          <input
            class="field"
            data-autofocus
            maxLength={200}
            value={title}
            onInput={(e) => setTitle(e.currentTarget.value)}
          />
        </label>
        {!save && (
          <label class="line">
            Board
            <select class="field" value={isNew ? '' : to} onChange={(e) => setChosen(e.currentTarget.value)}>
              {fits.map((b) => (
                <option key={b.name} value={b.name}>
                  {b.title}
                </option>
              ))}
              <option value="">New board…</option>
            </select>
          </label>
        )}
        {!save && isNew && (
          <label class="line">
            Title of the new board
            <input
              class="field"
              required
              maxLength={200}
              value={name}
              onInput={(e) => setName(e.currentTarget.value)}
            />
          </label>
        )}
        {machine && !save && (
          <label class="check">
            <input type="checkbox" checked={follow} onChange={(e) => setFollow(e.currentTarget.checked)} /> Follow the
            machine that is selected on the board, at first {machine}
          </label>
        )}
        <ErrorNote error={error ?? all.error} />
        <span class="row">
          <ChangeButton class="btn primary" disabled={busy || !all.data}>
            {save ? 'Save' : 'Pin'}
          </ChangeButton>
        </span>
      </form>
    </Overlay>
  );
}
