// Ticks on Fleet, and the bar that compares what is ticked.
import { MOST } from '../lib/compare';
import { useKeys } from '../state/keys';
import { go } from '../state/location';
import { compareHref, full, pick, picked, picking, unpick } from '../state/picked';
import { Icon } from './icons';

// without says why a machine cannot be selected.
export function Tick({ name, without }: { name: string; without?: string | undefined }) {
  const on = picked.value.includes(name);
  const most = !on && full();
  return (
    <label
      class={`tick${picked.value.length ? ' used' : ''}`}
      title={without ?? (most ? `At most ${MOST} machines` : undefined)}
    >
      <input
        type="checkbox"
        checked={on}
        disabled={most || !!without}
        aria-label={`Select ${name}`}
        onChange={() => pick(name)}
      />
    </label>
  );
}

// PickButton shows the ticks on a phone.
export const PickButton = () => (
  <button
    type="button"
    class="btn"
    aria-pressed={picking.value}
    onClick={() => (picking.value ? unpick() : (picking.value = true))}
  >
    Select
  </button>
);

const LONGER = ['24h', '7d', '30d'];

export function PickBar() {
  const names = picked.value;
  useKeys([{ keys: 'c', what: 'Compare selected machines', run: () => names.length > 1 && compare() }]);
  const compare = (range?: string) => {
    go(compareHref(names, range ? { range, from: null, to: null } : {}));
    unpick();
  };
  if (!names.length) return null;
  return (
    <div class="pickbar" role="region" aria-label="Selected machines">
      <span class="grow ellipsis" title={names.join(', ')} aria-live="polite">
        <b>{names.length} selected</b> <span class="dim">{names.join(', ')}</span>
      </span>
      <span class="group">
        <button
          type="button"
          class="btn primary"
          disabled={names.length < 2}
          title={names.length < 2 ? 'Select another machine' : 'Compare (c)'}
          onClick={() => compare()}
        >
          Compare
        </button>
        {LONGER.map((r) => (
          <button
            type="button"
            class="btn"
            key={r}
            disabled={names.length < 2}
            title={`Compare the last ${r}`}
            onClick={() => compare(r)}
          >
            {r}
          </button>
        ))}
      </span>
      <button
        type="button"
        class="btn icon plain"
        aria-label="Clear selection"
        title="Clear selection"
        onClick={unpick}
      >
        <Icon name="close" />
      </button>
    </div>
  );
}
