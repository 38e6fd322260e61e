// The form of a panel.
import { useState } from 'preact/hooks';
import { Overlay } from '../../components/bits';
import type { Tile, Variable } from '../../lib/boards';
import { UNITS } from '../../lib/format';
import { Icon } from '../../components/icons';

const TYPES: [Tile['type'], string][] = [
  ['chart', 'Chart'],
  ['stat', 'Stat'],
  ['gauge', 'Gauge'],
  ['bars', 'Bars'],
  ['table', 'Table'],
  ['text', 'Text'],
  ['row', 'Row'],
];

const KINDS = { line: 'Lines', area: 'Areas', stacked: 'Stacked' } as const;
const CALCS = { last: 'Last', mean: 'Mean', min: 'Minimum', max: 'Maximum', sum: 'Sum' } as const;

interface Editing {
  tile: Tile;
  variables: Variable[];
  onSave: (t: Tile) => void;
  onClose: () => void;
}

export function EditTile({ tile, variables, onSave, onClose }: Editing) {
  const [t, setT] = useState(tile);
  const set = (change: Partial<Tile>) => setT({ ...t, ...change });
  const queries = t.queries?.length ? t.queries : [{ expr: '' }];
  const asks = t.type !== 'text' && t.type !== 'row';
  const number = (key: 'min' | 'max', label: string) => (
    <label class="line">
      {label}
      <input
        class="field"
        size={8}
        inputMode="decimal"
        value={t[key] ?? ''}
        onChange={(e) => {
          const v = e.currentTarget.value.trim();
          const { [key]: _, ...rest } = t;
          setT(v === '' || !Number.isFinite(Number(v)) ? rest : { ...rest, [key]: Number(v) });
        }}
      />
    </label>
  );
  const save = (e: Event) => {
    e.preventDefault();
    const { queries: _, text: __, kind, calc, unit, ...rest } = t;
    onSave({
      ...rest,
      ...(t.type === 'text' && { text: t.text ?? '' }),
      ...(asks && { queries: queries.filter((q) => q.expr.trim()) }),
      ...(asks && unit && unit !== 'none' && { unit }),
      ...(t.type === 'chart' && kind && kind !== 'line' && { kind }),
      ...(asks && t.type !== 'chart' && calc && calc !== 'last' && { calc }),
      ...(t.type === 'row' && { x: 0, w: 24, h: 1 }),
    });
  };
  return (
    <Overlay kind="dialog" title="Panel" onClose={onClose}>
      <form class="stack" onSubmit={save}>
        <span class="row">
          <label class="line">
            Type
            <select class="field" value={t.type} onChange={(e) => set({ type: e.currentTarget.value as Tile['type'] })}>
              {TYPES.map(([id, name]) => (
                <option key={id} value={id}>
                  {name}
                </option>
              ))}
            </select>
          </label>
          <label class="line grow">
            Title
            <input
              class="field"
              data-autofocus
              maxLength={200}
              value={t.title ?? ''}
              onInput={(e) => set({ title: e.currentTarget.value })}
            />
          </label>
        </span>
        {t.type === 'text' && (
          <label class="line">
            Text, with **bold**, `code`, lists and [links](https://…)
            <textarea
              class="field"
              rows={8}
              value={t.text ?? ''}
              onInput={(e) => set({ text: e.currentTarget.value })}
            />
          </label>
        )}
        {asks && (
          <>
            {queries.map((q, i) => {
              const change = (c: Partial<typeof q>) =>
                set({ queries: queries.map((x, k) => (k === i ? { ...x, ...c } : x)) });
              return (
                <fieldset class="queryfields" key={i}>
                  <legend class="sr">Query {i + 1}</legend>
                  <label class="line">
                    PromQL
                    <textarea
                      class="field mono"
                      rows={2}
                      required={i === 0}
                      spellcheck={false}
                      value={q.expr}
                      onInput={(e) => change({ expr: e.currentTarget.value })}
                    />
                  </label>
                  <label class="line">
                    Legend, such as {'{{machine}}'}
                    <input
                      class="field"
                      value={q.legend ?? ''}
                      onInput={(e) => change({ legend: e.currentTarget.value })}
                    />
                  </label>
                </fieldset>
              );
            })}
            <span class="row">
              <button type="button" class="btn" onClick={() => set({ queries: [...queries, { expr: '' }] })}>
                <Icon name="plus" />
                Add query
              </button>
            </span>
            <span class="row">
              <label class="line">
                Unit
                <select class="field" value={t.unit ?? 'none'} onChange={(e) => set({ unit: e.currentTarget.value })}>
                  {UNITS.map((u) => (
                    <option key={u}>{u}</option>
                  ))}
                </select>
              </label>
              {t.type === 'chart' ? (
                <label class="line">
                  Drawn as
                  <select
                    class="field"
                    value={t.kind ?? 'line'}
                    onChange={(e) => set({ kind: e.currentTarget.value as keyof typeof KINDS })}
                  >
                    {Object.entries(KINDS).map(([id, name]) => (
                      <option key={id} value={id}>
                        {name}
                      </option>
                    ))}
                  </select>
                </label>
              ) : (
                t.type !== 'table' && (
                  <label class="line">
                    Value
                    <select
                      class="field"
                      value={t.calc ?? 'last'}
                      onChange={(e) => set({ calc: e.currentTarget.value as keyof typeof CALCS })}
                    >
                      {Object.entries(CALCS).map(([id, name]) => (
                        <option key={id} value={id}>
                          {name}
                        </option>
                      ))}
                    </select>
                  </label>
                )
              )}
              {t.type !== 'table' && number('min', 'Minimum')}
              {t.type !== 'table' && number('max', 'Maximum')}
            </span>
          </>
        )}
        {variables.length > 0 && (
          <label class="line">
            Repeat
            <select
              class="field"
              value={t.repeat ?? ''}
              onChange={(e) => {
                const { repeat: _, down: __, perLine: ___, ...rest } = t;
                setT(e.currentTarget.value ? { ...t, repeat: e.currentTarget.value } : rest);
              }}
            >
              <option value="">Once</option>
              {variables.map((v) => (
                <option key={v.name} value={v.name}>
                  For each value of {v.label || v.name}
                </option>
              ))}
            </select>
          </label>
        )}
        <span class="row">
          <button class="btn primary">Apply</button>
        </span>
      </form>
    </Overlay>
  );
}
