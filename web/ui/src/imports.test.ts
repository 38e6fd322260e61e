import { expect, test } from 'vitest';
import { routes } from './routes';

// Modules that import each other, also by way of others or lazily, are evaluated in
// an order that nobody chose, and none of them can be read or tested without the rest.
function circle(imports: Map<string, string[]>): string[] | undefined {
  const done = new Set<string>();
  const visit = (file: string, path: string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const next of imports.get(file) ?? []) {
      const found = visit(next, [...path, file]);
      if (found) return found;
    }
    done.add(file);
    return undefined;
  };
  for (const file of imports.keys()) {
    const found = visit(file, []);
    if (found) return found;
  }
  return undefined;
}

// importsOf reads what each file imports of the others; 'x' may be x.ts or x.tsx.
function importsOf(files: Record<string, string>): Map<string, string[]> {
  const out = new Map<string, string[]>();
  for (const [file, text] of Object.entries(files)) {
    const named = [...text.matchAll(/\b(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(([, to]) =>
      new URL(to!, `file:///${file}`).pathname.slice(1),
    );
    out.set(
      file,
      named.flatMap((to) => ['', '.ts', '.tsx'].map((e) => to + e).filter((f) => f in files)),
    );
  }
  return out;
}

test('a circle is found, whatever its length', () => {
  const files = {
    'a.ts': `import { b } from './lib/b';`,
    'lib/b.ts': `export const c = () => import('./c');`,
    'lib/c.tsx': `import '../a.css';\nimport type { A } from '../a';`,
    'd.ts': `import { a } from './a';`,
  };
  expect(circle(importsOf(files))).toEqual(['a.ts', 'lib/b.ts', 'lib/c.tsx', 'a.ts']);
  expect(circle(importsOf({ ...files, 'lib/c.tsx': '' }))).toBeUndefined();
});

test('no modules import each other in a circle', () => {
  const sources = import.meta.glob<string>('./**/*.{ts,tsx}', { query: '?raw', import: 'default', eager: true });
  const files = Object.fromEntries(Object.entries(sources).map(([name, text]) => [name.slice(2), text]));
  const imports = importsOf(files);
  expect([...imports.values()].flat().length).toBeGreaterThan(300); // imports are read
  expect(circle(imports)).toBeUndefined();
});

test('each route has its page, and each page a route', () => {
  const pages = Object.keys(import.meta.glob('./pages/*Page.tsx')).map((f) => /(\w+)\.tsx/.exec(f)![1]!);
  expect(routes.map((r) => r.page).sort()).toEqual(pages.sort());
});
