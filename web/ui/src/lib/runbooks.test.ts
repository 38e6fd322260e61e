import { expect, test } from 'vitest';
import text from '../../../../docs/runbooks.md?raw';
import { spans } from './markdown';
import { about, parse } from './runbooks';

test('the runbooks are read whole', () => {
  const { common, alerts } = parse(text);
  expect(common.map((s) => s.title)).toEqual(['Change or disable an alert']);
  expect(common[0]!.blocks.map((b) => b.kind)).toEqual(['list', 'text']);
  expect(alerts.length).toBe(text.match(/^### /gm)!.length);
  expect(alerts.length).toBeGreaterThan(50);
  for (const a of alerts) {
    expect(a.group, a.title).not.toBe('');
    expect(about(a), a.title).toMatch(/^\w.{10,}[.]$/s);
    // Nothing of Markdown is left in what is shown as text.
    for (const b of a.blocks)
      if (b.kind !== 'code')
        for (const t of b.kind === 'list' ? b.items : [b.text])
          for (const s of spans(t).filter((x) => !x.as)) expect(s.text, a.title).not.toMatch(/[`#]|\*\*|\]\(|^\s*[|]/);
  }
});

test('lists, code and text', () => {
  const { alerts } = parse(
    '# R\n\n## G\n\n### A\n\none\ntwo `x`\n\n```sh\n# not a heading\ndf -h\n```\n\n- **b**: c\n  d\n- e\n',
  );
  expect(alerts).toEqual([
    {
      title: 'A',
      group: 'G',
      blocks: [
        { kind: 'text', text: 'one two `x`' },
        { kind: 'code', text: '# not a heading\ndf -h' },
        { kind: 'list', items: ['**b**: c d', 'e'] },
      ],
    },
  ]);
  expect(spans('**b**: `c` d')).toEqual([
    { text: 'b', as: 'bold' },
    { text: ': ' },
    { text: 'c', as: 'code' },
    { text: ' d' },
  ]);
});
