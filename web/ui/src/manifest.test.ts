import { expect, test } from 'vitest';
import manifest from '../public/manifest.webmanifest?raw';

// A browser offers to install what has a name, a start below its scope, and icons of 192
// and 512 pixels.
test('the pages can be installed, also below a prefix', () => {
  const m = JSON.parse(manifest);
  const files = Object.keys(import.meta.glob('../public/*', { query: '?url' })).map((f) => f.replace('../public/', ''));
  for (const icon of m.icons) expect(files).toContain(icon.src);
  expect(m.icons.map((i: { sizes: string }) => i.sizes)).toEqual(expect.arrayContaining(['192x192', '512x512']));
  expect(m.icons.some((i: { purpose?: string }) => i.purpose === 'maskable')).toBe(true);
  for (const path of [m.id, m.start_url, m.scope]) expect(path).toBe('./');
  expect(m.display).toBe('standalone');
});
