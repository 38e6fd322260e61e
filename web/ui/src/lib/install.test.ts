import { expect, test } from 'vitest';
import { listed, ways } from './install';

test('the document has a block for each way, and no block is long', () => {
  const all = ways();
  expect(all.map((w) => w.name)).toEqual([
    'Debian and Ubuntu',
    'Fedora, RHEL and openSUSE',
    'NixOS',
    'clan',
    'Container',
    'Archive',
  ]);
  for (const w of [...all, { name: 'static', text: listed() }]) {
    expect(w.text, w.name).not.toBe('');
    expect(w.text.split('\n').length, w.name).toBeLessThanOrEqual(6);
  }
  expect(listed()).toContain('--discovery.static');
});

test('only blocks of the exporter are taken, with the heading above them', () => {
  expect(ways('# a\n## One\n```sh server\nx\n```\n## Two\ntext\n```sh exporter\na\nb\n```\n')).toEqual([
    { name: 'Two', text: 'a\nb' },
  ]);
});
