// The main paths in Firefox: Fleet, a machine, the sheet of an alert, a silence, Explore.

// fits checks that nobody has to scroll sideways.
const fits = async (f) => f.check(await f.run(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth), 'is too wide');

// drawn waits until a chart is drawn: until something of a canvas is not transparent.
const drawn = (f) => f.until('chart', () => [...document.querySelectorAll('main canvas, [role="dialog"] canvas')]
  .some((c) => c.width && c.height && c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v !== 0)));

export default async function firefox(f, { base, machine, alert, summary }) {
  await f.open('/');
  await f.see(machine, summary);
  await fits(f);
  await f.shoot('firefox-fleet');

  await f.click(`main a[href$="/m/${machine}"]`);
  await f.see('Overview', 'Disks', summary);
  await drawn(f);
  await fits(f);
  await f.shoot('firefox-machine');

  await f.open('/alerts');
  await f.click('.alertrow a.open', machine);
  await f.see('What else moved', 'Two hours before');
  await drawn(f);
  await fits(f);
  await f.shoot('firefox-alert');

  await f.click('[role="dialog"] button.primary', 'Silence');
  await f.click('[role="dialog"] textarea');
  await f.type('seen in Firefox');
  await f.click('[role="dialog"] input[placeholder="Your name"]');
  await f.type('ada');
  await f.shoot('firefox-silence');
  await f.click('[role="dialog"] button.primary', 'Silence');
  await f.until('end of the form', () => !document.querySelector('[role="dialog"]'));
  const stored = (await (await fetch(`${base}/api/v2/silences`)).json()).find((s) => s.comment === 'seen in Firefox');
  f.check(stored?.createdBy === 'ada' && stored.matchers.some((m) => m.name === 'alertname' && m.value === alert), `stored ${JSON.stringify(stored)}`);
  await f.open('/alerts?tab=silenced');
  await f.see(summary);

  await f.open('/explore?g0.expr=node_load1&g0.tab=0&g0.range_input=5m');
  await drawn(f);
  await f.until('query in the editor', () => [...document.querySelectorAll('main *')].some((e) => e.shadowRoot?.querySelector('.cm-content')?.textContent === 'node_load1'));
  await fits(f);
  await f.shoot('firefox-explore');
}
