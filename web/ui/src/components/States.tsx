// The states that rows are in, as buttons: one shows only the rows in that state.
import { Icon } from './icons';

export interface State {
  id: string;
  n: number; // rows in it
  level: string;
  icon: string;
  word: string;
}

// States are in the order given. One that no row is in is left out, unless it is chosen.
export function States(props: {
  label: string;
  all: State[];
  chosen: (id: string) => boolean;
  onChoose: (id: string) => void;
}) {
  return (
    <div class="states" role="group" aria-label={props.label}>
      {props.all.map(
        (s) =>
          (s.n > 0 || props.chosen(s.id)) && (
            <button
              type="button"
              key={s.id}
              class={`problem ${s.level}`}
              aria-pressed={props.chosen(s.id)}
              onClick={() => props.onChoose(s.id)}
            >
              <Icon name={s.icon} />
              <b>{s.n}</b> {s.word}
            </button>
          ),
      )}
    </div>
  );
}
