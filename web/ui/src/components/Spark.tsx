// Spark is a line without axes. values may have gaps; null draws none.
export function Spark({ values, max, label }: { values: (number | null)[] | undefined; max?: number; label: string }) {
  if (!values || values.filter((v) => v !== null).length < 2) return <span class="spark" />;
  const top = max ?? (Math.max(...values.map((v) => v ?? 0)) || 1);
  const x = (i: number) => ((i / (values.length - 1)) * 72).toFixed(1);
  const y = (v: number) => (21 - Math.min(1, Math.max(0, v / top)) * 20).toFixed(1);
  let d = '';
  let pen = false;
  let first = -1;
  let last = -1;
  values.forEach((v, i) => {
    if (v === null) {
      pen = false;
      return;
    }
    d += `${pen ? 'L' : 'M'}${x(i)} ${y(v)}`;
    pen = true;
    if (first < 0) first = i;
    last = i;
  });
  return (
    <svg class="spark" viewBox="0 0 72 22" preserveAspectRatio="none" role="img" aria-label={label}>
      {values.every((v) => v !== null) && <path class="area" d={`${d}L${x(last)} 22L${x(first)} 22Z`} />}
      <path d={d} />
    </svg>
  );
}
