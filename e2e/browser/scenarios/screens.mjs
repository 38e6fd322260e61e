// The pictures in docs/screens, of a server that watches e2e/simfleet: not a test.
//
//   node run.mjs screens <<< '{"base": "http://127.0.0.1:9090", "chromium": "/usr/bin/chromium", "pictures": "../../docs/screens"}'
import { PHONE } from '../browser.mjs';

export default async function screens(browser, { base }) {
  const { data } = await (await fetch(`${base}/api/clanmon/v1/fleet`)).json();
  const machine = data.rows.find((r) => r.state === 'ok')?.name ?? data.rows[0].name;
  const take = async (name, path, more) => {
    const page = await browser.open(path, more);
    await page.shoot(name);
    await page.close();
  };
  await take('fleet', '/');
  await take('machine', `/m/${encodeURIComponent(machine)}`, { dark: true });
  await take('alerts', '/alerts');
  await take('explore', `/explore?g0.expr=${encodeURIComponent('topk(6, rate(node_network_receive_bytes_total{device="eth0"}[5m]))')}&g0.tab=graph`);
  await take('phone', '/', { size: PHONE });
}
