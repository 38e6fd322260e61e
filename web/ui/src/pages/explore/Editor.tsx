// The editor of PromQL: CodeMirror with Prometheus' own language package. It is
// a chunk of its own. CodeMirror writes <style> elements, which our security
// policy forbids, except in a shadow root, where it adopts style sheets.
import {
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
  startCompletion,
  type Completion,
  type CompletionContext,
  type CompletionResult,
} from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, insertNewlineAndIndent } from '@codemirror/commands';
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { forceLinting, linter, lintKeymap, type Diagnostic } from '@codemirror/lint';
import { EditorState, Prec } from '@codemirror/state';
import { EditorView, keymap, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { EqlSingle } from '@prometheus-io/lezer-promql';
import { newCompleteStrategy, PromQLExtension, type CompleteStrategy } from '@prometheus-io/codemirror-promql';
import { useEffect, useRef } from 'preact/hooks';
import { labelNames, labelValues, metadata, metricNames } from '../../api/metadata';
import { request } from '../../api/client';
import { selector } from '../../lib/promql';

export { withMatcher } from '../../lib/matchers';

export interface EditorProps {
  value: string; // what it begins with; later texts go in by the handle
  label: string;
  history: string[];
  error?: { from: number; text: string } | undefined;
  onChange: (text: string) => void;
  onRun: () => void;
  onLeave: () => void;
  onReady: (e: EditorHandle | null) => void;
}

export interface EditorHandle {
  focus: () => void;
  insert: (text: string) => void;
  set: (text: string) => void;
}

// Colours come from the page's tokens, which reach into shadow roots.
const colours = HighlightStyle.define([
  { tag: tags.comment, color: 'var(--ink-3)', fontStyle: 'italic' },
  { tag: tags.labelName, color: 'var(--syntax-label)' },
  { tag: tags.string, color: 'var(--syntax-string)' },
  { tag: tags.number, color: 'var(--syntax-number)' },
  { tag: tags.variableName, color: 'var(--ink)' },
  { tag: [tags.function(tags.variableName), tags.operatorKeyword], color: 'var(--syntax-function)', fontWeight: '600' },
  { tag: [tags.modifier, tags.logicOperator], color: 'var(--syntax-keyword)', fontWeight: '600' },
  { tag: [tags.operator, tags.arithmeticOperator, tags.paren, tags.squareBracket, tags.brace], color: 'var(--ink-2)' },
  { tag: tags.invalid, color: 'var(--crit)', textDecoration: 'underline' },
]);

const look = EditorView.theme({
  '&': {
    color: 'var(--ink)',
    background: 'var(--panel)',
    borderRadius: 'var(--radius)',
    fontSize: 'var(--editor-size)',
  },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.55', maxHeight: '40vh' },
  '.cm-content': { padding: '7px 0', caretColor: 'var(--ink)' },
  '.cm-line': { padding: '0 10px' },
  '.cm-placeholder': { color: 'var(--ink-3)' },
  '.cm-cursor': { borderLeftColor: 'var(--ink)' },
  '&.cm-focused .cm-matchingBracket, .cm-matchingBracket': {
    background: 'var(--accent-soft)',
    outline: '1px solid var(--accent)',
  },
  '&.cm-focused .cm-nonmatchingBracket, .cm-nonmatchingBracket': { background: 'var(--crit-soft)' },
  '& ::selection': { background: 'var(--accent-soft)' },
  '.cm-tooltip': {
    background: 'var(--raised)',
    color: 'var(--ink)',
    border: '1px solid var(--line-strong)',
    borderRadius: 'var(--radius)',
    boxShadow: 'var(--shadow)',
    fontFamily: 'var(--font)',
    fontSize: 'var(--size)',
  },
  '.cm-tooltip.cm-tooltip-autocomplete': { marginTop: '4px' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul': {
    fontFamily: 'var(--mono)',
    fontSize: 'var(--size-s)',
    maxHeight: '320px',
    minWidth: 'min(340px, 80vw)',
    maxWidth: 'min(640px, 92vw)',
  },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li': {
    padding: '4px 10px',
    lineHeight: '1.4',
    display: 'flex',
    gap: '10px',
  },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { background: 'var(--accent-soft)', color: 'var(--ink)' },
  '.cm-completionLabel': { overflow: 'hidden', textOverflow: 'ellipsis', flex: '1 1 auto' },
  '.cm-completionMatchedText': { textDecoration: 'none', color: 'var(--accent)', fontWeight: '700' },
  '.cm-completionDetail': { fontStyle: 'normal', color: 'var(--ink-3)', marginLeft: '0' },
  '.cm-tooltip.cm-completionInfo': {
    padding: '8px 10px',
    maxWidth: 'min(380px, 80vw)',
    whiteSpace: 'pre-line',
    lineHeight: '1.45',
  },
  '.cm-diagnostic': { padding: '5px 10px', borderLeft: '3px solid var(--crit)' },
  '.cm-diagnostic-warning': { borderLeftColor: 'var(--warn)' },
  '.cm-lintRange-error': {
    backgroundImage: 'none',
    textDecoration: 'underline wavy var(--crit)',
    textUnderlineOffset: '3px',
  },
  '.cm-lintRange-warning': {
    backgroundImage: 'none',
    textDecoration: 'underline wavy var(--warn)',
    textUnderlineOffset: '3px',
  },
  '.cm-lintPoint:after': { borderBottomColor: 'var(--crit)' },
});

const quiet = <T,>(p: Promise<T>, none: T) => p.catch(() => none);
type Typed = { name: string; type: number; value: string };

// match selects what the label is asked of: the metric, and what is equal to a
// value elsewhere in the braces.
function match(metric?: string, matchers: Typed[] = [], label = ''): string {
  const equal = matchers.filter(
    (m) => m.type === EqlSingle && m.value !== '' && m.name !== label && m.name !== '__name__',
  );
  return metric || equal.length
    ? selector({ name: metric ?? '', matchers: equal.map((m) => ({ name: m.name, type: '=', value: m.value })) })
    : '';
}

const remote = newCompleteStrategy({
  remote: {
    labelNames: (metric) => quiet(labelNames(match(metric)), []),
    labelValues: (label, metric, matchers) => quiet(labelValues(label, match(metric, matchers as Typed[], label)), []),
    metricMetadata: () => quiet(metadata(), {}),
    metricNames: () => quiet(metricNames(), []),
    series: async () => [],
    flags: () => quiet(request<Record<string, string>>('/api/v1/status/flags'), {}),
  },
  maxMetricsMetadata: 20000,
});

// withHistory offers whole queries that were run before, at the end of the list.
function withHistory(past: () => string[]): CompleteStrategy {
  return {
    async promQL(context: CompletionContext): Promise<CompletionResult | null> {
      const r = await remote.promQL(context);
      const doc = context.state.doc.toString();
      const typed = doc.trim().toLowerCase();
      const own: Completion[] = past()
        .filter((h) => h !== doc && h.toLowerCase().includes(typed))
        .slice(0, 20)
        .map(
          (h) =>
            ({
              label: h.length > 90 ? `${h.slice(0, 89)}…` : h,
              detail: 'history',
              info: h.length > 90 ? h : undefined,
              boost: -99,
              apply: (view) =>
                view.dispatch({
                  changes: { from: 0, to: view.state.doc.length, insert: h },
                  selection: { anchor: h.length },
                }),
            }) as Completion,
        );
      // Only where a whole expression begins does another one fit.
      const word = context.matchBefore(/[\w:]*/);
      if (!own.length || !word || doc.slice(0, word.from).trim() !== '' || doc.slice(context.pos).trim() !== '')
        return r;
      return r ? { ...r, options: [...r.options, ...own] } : { from: word.from, options: own };
    },
  };
}

export default function Editor(p: EditorProps) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const latest = useRef(p);
  latest.current = p;

  useEffect(() => {
    const root = host.current!.shadowRoot ?? host.current!.attachShadow({ mode: 'open' });
    let back = -1; // place in the history while going through it
    let draft = '';
    const recall = (by: number) => (v: EditorView) => {
      const past = latest.current.history;
      const doc = v.state.doc.toString();
      if (back >= 0 && doc !== past[back]) back = -1;
      if (back < 0) draft = doc;
      let next = back + by;
      while (next >= 0 && next < past.length && past[next] === doc) next += by;
      if (next >= past.length || next < -1) return true;
      back = next;
      put(v, next < 0 ? draft : past[next]!);
      return true;
    };
    const promql = new PromQLExtension().setComplete({ completeStrategy: withHistory(() => latest.current.history) });
    const v = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        doc: p.value,
        extensions: [
          look,
          syntaxHighlighting(colours),
          history(),
          bracketMatching(),
          closeBrackets(),
          EditorView.lineWrapping,
          EditorView.contentAttributes.of({
            'aria-label': p.label,
            'aria-multiline': 'true',
            spellcheck: 'false',
            autocapitalize: 'off',
            autocorrect: 'off',
          }),
          placeholder('PromQL: Enter runs, Shift+Enter for a new line'),
          promql.asExtension(),
          linter(() => serverError(latest.current)),
          autocompletion({ icons: false, maxRenderedOptions: 60 }),
          keymap.of([
            ...completionKeymap,
            {
              key: 'Enter',
              run: () => {
                latest.current.onRun();
                return true;
              },
            },
            {
              key: 'Mod-Enter',
              run: () => {
                latest.current.onRun();
                return true;
              },
            },
            { key: 'Shift-Enter', run: insertNewlineAndIndent },
            { key: 'Ctrl-ArrowUp', run: recall(1) },
            { key: 'Ctrl-ArrowDown', run: recall(-1) },
            { key: 'Ctrl-Space', run: startCompletion },
            {
              key: 'Escape',
              run: (e) => {
                e.contentDOM.blur();
                latest.current.onLeave();
                return true;
              },
            },
            ...closeBracketsKeymap,
            ...lintKeymap,
            ...historyKeymap,
          ]),
          Prec.low(keymap.of(defaultKeymap)),
          EditorView.updateListener.of((u) => {
            if (u.docChanged) latest.current.onChange(u.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = v;
    p.onReady({
      focus: () => v.focus(),
      set: (text) => {
        if (v.state.doc.toString() !== text) put(v, text);
      },
      insert: (text) => {
        v.dispatch(v.state.replaceSelection(text));
        v.focus();
      },
    });
    return () => {
      latest.current.onReady(null);
      promql.destroy();
      v.destroy();
      view.current = null;
    };
  }, []);

  useEffect(() => {
    if (view.current) forceLinting(view.current);
  }, [p.error?.from, p.error?.text]);

  return <div class="editorhost" ref={host} />;
}

function put(v: EditorView, text: string): void {
  v.dispatch({ changes: { from: 0, to: v.state.doc.length, insert: text }, selection: { anchor: text.length } });
}

// The server's objection, until the text is changed.
function serverError(p: EditorProps): Diagnostic[] {
  if (!p.error) return [];
  const end = p.value.length;
  const from = Math.min(p.error.from, Math.max(0, end - 1));
  const word = /^[\w:.]+/.exec(p.value.slice(from));
  return end
    ? [{ from, to: Math.min(end, from + (word?.[0].length ?? 1)), severity: 'error', message: p.error.text }]
    : [];
}
