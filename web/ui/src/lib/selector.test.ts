import { describe, expect, it } from 'vitest';
import { machineFinder, selectorOf } from './selector';

describe('selectorOf', () => {
  it('is what the server says', () => {
    expect(selectorOf({ selector: 'instance=~"web1:9100|web1:9558"' }, 'web1')).toBe('instance=~"web1:9100|web1:9558"');
  });
  it('is the label machine until the server has said it', () => {
    expect(selectorOf(undefined, 'a"b\\c')).toBe('machine="a\\"b\\\\c"');
    expect(selectorOf({}, 'alpha')).toBe('machine="alpha"');
  });
});

describe('machineFinder', () => {
  const find = machineFinder([
    { name: 'alpha', selector: 'machine="alpha"', labelled: true },
    { name: 'web1', selector: 'instance=~"web1\\\\.lan:9100|web1\\\\.lan:9558"', labelled: false },
    { name: 'broken', selector: 'instance="', labelled: false },
  ]);
  it('takes the label machine first', () => {
    expect(find({ machine: 'alpha', instance: 'web1.lan:9100' })).toBe('alpha');
    expect(find({ machine: 'gone', instance: 'x' })).toBe('gone');
  });
  it('finds series without the label by their instance', () => {
    expect(find({ instance: 'web1.lan:9558', job: 'systemd' })).toBe('web1');
    expect(find({ instance: 'web1.lan:9100' })).toBe('web1');
  });
  it('says nothing of others', () => {
    expect(find({ instance: 'web1xlan:9100' })).toBeUndefined();
    expect(find({ instance: 'web10.lan:9100' })).toBeUndefined();
    expect(find({})).toBeUndefined();
  });
});
