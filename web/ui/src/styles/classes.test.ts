import { expect, test } from 'vitest';

// The style sheet of a page stays once it was loaded, so a class that two pages
// define would look different depending on where one came from.
test('a class is defined by one page only', () => {
  const sheets = import.meta.glob<string>('../pages/**/*.css', { query: '?raw', import: 'default', eager: true });
  const owners = new Map<string, Set<string>>();
  for (const [file, text] of Object.entries(sheets)) {
    for (const [, selectors] of text.replace(/\/\*[\s\S]*?\*\//g, '').matchAll(/([^{}]+)\{/g)) {
      for (const s of selectors!.split(',')) {
        const first = /^\s*\.([\w-]+)/.exec(s)?.[1];
        if (first) owners.set(first, (owners.get(first) ?? new Set()).add(file));
      }
    }
  }
  const own = [...owners]
    .filter(([name, files]) => files.size > 1 && name !== 'pagehead')
    .map(([name, files]) => `${name}: ${[...files].join(', ')}`);
  expect(Object.keys(sheets).length).toBeGreaterThan(3);
  expect(own).toEqual([]);
});
