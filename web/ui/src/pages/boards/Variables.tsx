// The variables of a board, above it. What is selected is in the URL.
import { ALL, type Variable } from '../../lib/boards';
import type { Resolved } from '../../state/boards';
import { setParams } from '../../state/location';
import { Menu } from '../../components/bits';

export function Variables({ list, resolved }: { list: Variable[]; resolved: Resolved }) {
  const seen = list.filter((v) => !v.hidden && v.kind !== 'constant');
  if (!seen.length) return null;
  return (
    <div class="row variables" role="group" aria-label="Variables">
      {seen.map((v) => (
        <One key={v.name} v={v} resolved={resolved} />
      ))}
      {resolved.problems.map((p) => (
        <p class="note crit" role="alert" key={p}>
          {p}
        </p>
      ))}
    </div>
  );
}

const set = (v: Variable, values: string[]) => setParams({ [`var-${v.name}`]: values.join('|~|') || null }, false);

function One({ v, resolved }: { v: Variable; resolved: Resolved }) {
  const { options, chosen } = resolved.choices[v.name] ?? { options: [], chosen: [] };
  const label = v.label || v.name;
  const all = v.all || v.kind === 'machine';
  if (v.kind === 'text')
    return (
      <label class="variable">
        <span>{label}</span>
        <input class="field" value={chosen[0] ?? ''} onChange={(e) => set(v, [e.currentTarget.value])} />
      </label>
    );
  if (v.multi) {
    const text = chosen.includes(ALL)
      ? 'All'
      : chosen.length > 2
        ? `${chosen.length} selected`
        : chosen.map((c) => options.find((o) => o.value === c)?.text ?? c).join(', ');
    const toggle = (value: string) => {
      const rest = chosen.filter((c) => c !== value && c !== ALL);
      set(v, chosen.includes(value) ? rest : [...rest, value]);
    };
    return (
      <span class="variable">
        <span>{label}</span>
        <Menu label={text || 'None'} title={label}>
          {() => (
            <>
              {all && (
                <button type="button" aria-pressed={chosen.includes(ALL)} onClick={() => set(v, [ALL])}>
                  <span class="boardpick">{chosen.includes(ALL) ? '✓' : ''}</span>All
                </button>
              )}
              {options.slice(0, 300).map((o) => (
                <button
                  type="button"
                  key={o.value}
                  aria-pressed={chosen.includes(o.value)}
                  onClick={() => toggle(o.value)}
                >
                  <span class="boardpick">{chosen.includes(o.value) ? '✓' : ''}</span>
                  {o.text}
                </button>
              ))}
              {options.length > 300 && <p class="dim">and {options.length - 300} more</p>}
            </>
          )}
        </Menu>
      </span>
    );
  }
  return (
    <label class="variable">
      <span>{label}</span>
      <select class="field" value={chosen[0] ?? ''} onChange={(e) => set(v, [e.currentTarget.value])}>
        {all && <option value={ALL}>All</option>}
        {options.map((o) => (
          <option key={o.value} value={o.value}>
            {o.text}
          </option>
        ))}
        {!options.length && !all && <option value="">none</option>}
      </select>
    </label>
  );
}
