// docs/runbooks.md as the pages show it: the sections of alerts by the headings above
// them, in the little of Markdown that the file uses.

import { blocksOf, type Block } from './markdown';

export interface Section {
  title: string;
  blocks: Block[];
}

export interface Runbook extends Section {
  group: string; // the heading above it
}

export interface Runbooks {
  common: Section[]; // what holds for every alert
  alerts: Runbook[];
}

// parse reads the file: "##" is a group of alerts, or a section for all of them where
// no "###" follows.
export function parse(markdown: string): Runbooks {
  const out: Runbooks = { common: [], alerts: [] };
  let fenced = false;
  let group = '';
  let lines: string[] = [];
  let title = '';
  let level = 0;
  const flush = () => {
    const blocks = blocksOf(lines);
    if (level === 3) out.alerts.push({ title, group, blocks });
    else if (level === 2 && blocks.length) out.common.push({ title, blocks });
    lines = [];
  };
  for (const line of markdown.split('\n')) {
    if (line.startsWith('```')) fenced = !fenced;
    const heading = fenced ? null : /^(#+) (.+)$/.exec(line);
    if (!heading) {
      lines.push(line);
      continue;
    }
    flush();
    level = heading[1]!.length;
    title = heading[2]!;
    if (level === 2) group = title;
  }
  flush();
  return out;
}

// about is the first sentence of a runbook that says what its alert means.
export function about(r: Runbook): string {
  const text = r.blocks.find((b) => b.kind === 'text' && !b.text.startsWith('Severity'));
  return text?.kind === 'text' ? (/^.+?[.](?= |$)/.exec(text.text)?.[0] ?? text.text).replaceAll('`', '') : '';
}
