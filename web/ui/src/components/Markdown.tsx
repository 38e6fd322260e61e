// Markdown that was read by lib/markdown. It is text and elements, never HTML.
import { spans, type Block } from '../lib/markdown';
import { outside, safeLink, Snippet } from './bits';

export function Blocks({ list, level = 3 }: { list: Block[]; level?: 2 | 3 }) {
  const H = `h${level}` as 'h2';
  return (
    <>
      {list.map((b, i) =>
        b.kind === 'code' ? (
          <Snippet key={i} text={b.text} />
        ) : b.kind === 'list' ? (
          <ul key={i} class="dots">
            {b.items.map((t) => (
              <li key={t}>
                <Line text={t} />
              </li>
            ))}
          </ul>
        ) : b.kind === 'heading' ? (
          <H key={i}>
            <Line text={b.text} />
          </H>
        ) : (
          <p key={i}>
            <Line text={b.text} />
          </p>
        ),
      )}
    </>
  );
}

const Line = ({ text: t }: { text: string }) => (
  <>
    {spans(t).map((s, i) =>
      s.as === 'code' ? (
        <code key={i}>{s.text}</code>
      ) : s.as === 'bold' ? (
        <b key={i}>{s.text}</b>
      ) : s.as === 'link' ? (
        <a key={i} href={safeLink(s.to)} {...outside}>
          {s.text}
        </a>
      ) : (
        s.text
      ),
    )}
  </>
);
