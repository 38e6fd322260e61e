// score rates how well text fits query: 0 is not at all. The beginning of the
// text counts most, then the beginning of a word, then anywhere, then letters
// in order.
export function score(query: string, text: string): number {
  const q = query.toLowerCase();
  const t = text.toLowerCase();
  const i = t.indexOf(q);
  if (i === 0) return 1000 - t.length;
  if (i > 0) return (/[a-z0-9]/.test(t[i - 1]!) ? 500 : 750) - t.length - i;
  let from = 0;
  for (const c of q) {
    const k = t.indexOf(c, from);
    if (k < 0) return 0;
    from = k + 1;
  }
  return Math.max(1, 200 - from);
}
