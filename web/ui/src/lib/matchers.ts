// Matchers put into the selectors of an expression that somebody typed.
import { parser } from '@prometheus-io/lezer-promql';

// withMatcher gives every selector of expr the matcher name op value, in place
// of the ones it has for this label. An empty value takes them away.
export function withMatcher(expr: string, name: string, op: '=' | '=~', value: string): string {
  const edits: { from: number; to: number; text: string }[] = [];
  const matcher = value && `${name}${op}${JSON.stringify(value)}`;
  parser.parse(expr).iterate({
    enter(node) {
      if (node.name !== 'VectorSelector') return;
      const list = node.node.getChild('LabelMatchers');
      if (!list) {
        if (matcher && node.to > node.from) edits.push({ from: node.to, to: node.to, text: `{${matcher}}` });
        return;
      }
      const kept: string[] = [];
      for (let m = list.firstChild; m; m = m.nextSibling) {
        if (!/Matcher$|^QuotedLabelName$/.test(m.name)) continue;
        const text = expr.slice(m.from, m.to);
        const label =
          m.name !== 'QuotedLabelName' && m.firstChild ? expr.slice(m.firstChild.from, m.firstChild.to) : '';
        if (label !== name && label !== JSON.stringify(name)) kept.push(text);
      }
      if (matcher) kept.push(matcher);
      const selector = kept.length || !node.node.getChild('Identifier') ? `{${kept.join(', ')}}` : '';
      edits.push({ from: list.from, to: list.to, text: selector });
    },
  });
  return edits.reverse().reduce((s, e) => s.slice(0, e.from) + e.text + s.slice(e.to), expr);
}
