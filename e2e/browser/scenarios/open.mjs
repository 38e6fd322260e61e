// What one open Fleet page requests in a minute, by the stream or by polls: not a test.
//
//   node run.mjs open <<< '{"base": "http://127.0.0.1:9090", "chromium": "/usr/bin/chromium", "polls": false, "minutes": 3}'
export default async function open(browser, { polls, minutes }) {
  const page = await browser.open('about:blank', { settled: false });
  if (polls) await page.p.route('**/api/clanmon/v1/stream*', (route) => route.fulfill({ status: 204 }));
  await page.goto('/');
  await page.p.waitForTimeout(45_000); // it has a stream, and all that it requests once
  const sum = { requests: 0, bytes: 0, events: 0 };
  const net = await page.p.context().newCDPSession(page.p);
  net.on('Network.requestWillBeSent', () => sum.requests++);
  net.on('Network.loadingFinished', (e) => (sum.bytes += e.encodedDataLength));
  net.on('Network.eventSourceMessageReceived', (e) => {
    sum.events++;
    sum.bytes += e.data.length;
  });
  await net.send('Network.enable');
  await page.p.waitForTimeout(minutes * 60_000);
  return Object.fromEntries(Object.entries(sum).map(([what, n]) => [`${what} a minute`, n / minutes]));
}
