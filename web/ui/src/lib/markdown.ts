// The little of Markdown that pages show: headings, paragraphs, lists, code, bold and links.
// What it becomes is data; HTML in it stays text.

export type Block =
  | { kind: 'text'; text: string }
  | { kind: 'heading'; text: string }
  | { kind: 'code'; text: string }
  | { kind: 'list'; items: string[] };

export function blocksOf(lines: string[]): Block[] {
  const out: Block[] = [];
  let open: Block | undefined;
  let fenced = false;
  for (const line of lines) {
    if (line.startsWith('```')) {
      fenced = !fenced;
      open = undefined;
      if (fenced) {
        open = { kind: 'code', text: '' };
        out.push(open);
      }
    } else if (fenced && open?.kind === 'code') {
      open.text += (open.text && '\n') + line;
    } else if (!line.trim()) {
      open = undefined;
    } else if (/^#{1,6} /.test(line)) {
      open = undefined;
      out.push({ kind: 'heading', text: line.replace(/^#+ /, '') });
    } else if (/^[-*] /.test(line)) {
      if (open?.kind === 'list') open.items.push(line.slice(2));
      else {
        open = { kind: 'list', items: [line.slice(2)] };
        out.push(open);
      }
    } else if (open?.kind === 'list') {
      open.items.push(`${open.items.pop()} ${line.trim()}`);
    } else if (open?.kind === 'text') {
      open.text += ` ${line}`;
    } else {
      open = { kind: 'text', text: line };
      out.push(open);
    }
  }
  return out;
}

export interface Span {
  text: string;
  as?: 'code' | 'bold' | 'link';
  to?: string; // of a link: http or https
}

// spans splits a text into what is code, bold, a link, and none of them.
export function spans(text: string): Span[] {
  return text
    .split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\(https?:\/\/[^\s)]+\))/)
    .filter(Boolean)
    .map((s): Span => {
      const link = /^\[([^\]]+)\]\((.+)\)$/.exec(s);
      if (link) return { text: link[1]!, as: 'link', to: link[2]! };
      if (s.startsWith('`')) return { text: s.slice(1, -1), as: 'code' };
      return s.startsWith('**') ? { text: s.slice(2, -2), as: 'bold' } : { text: s };
    });
}
