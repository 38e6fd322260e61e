// Firefox over WebDriver BiDi: what the main paths need of it, and no more.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PATIENCE = 60_000; // Firefox starts slowly where processors are busy

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Socket is the client of a WebSocket at a local port: text messages only.
class Socket {
  static async open(url) {
    const { hostname, port, pathname } = new URL(url);
    const s = new Socket();
    s.tcp = connect(Number(port), hostname);
    await once(s.tcp, 'connect');
    s.tcp.write(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nSec-WebSocket-Version: 13\r\n\r\n`);
    let head = Buffer.alloc(0);
    while (!head.includes('\r\n\r\n')) head = Buffer.concat([head, (await once(s.tcp, 'data'))[0]]);
    const end = head.indexOf('\r\n\r\n') + 4;
    if (!head.subarray(0, end).toString().startsWith('HTTP/1.1 101')) throw new Error(`no WebSocket at ${url}: ${head}`);
    s.rest = head.subarray(end);
    s.parts = [];
    s.tcp.on('data', (d) => s.take(d));
    return s;
  }

  take(data) {
    this.rest = Buffer.concat([this.rest, data]);
    for (;;) {
      const b = this.rest;
      if (b.length < 2) return;
      let [length, at] = [b[1] & 127, 2];
      if (length === 126) [length, at] = [b.length < 4 ? Infinity : b.readUInt16BE(2), 4];
      else if (length === 127) [length, at] = [b.length < 10 ? Infinity : Number(b.readBigUInt64BE(2)), 10];
      if (b.length < at + length) return;
      this.rest = b.subarray(at + length);
      const [opcode, payload] = [b[0] & 15, b.subarray(at, at + length)];
      if (opcode === 9) this.send(payload, 10);
      if (opcode > 2) continue;
      this.parts.push(payload);
      if (b[0] & 128) this.onmessage(Buffer.concat(this.parts.splice(0)).toString());
    }
  }

  send(text, opcode = 1) {
    const data = Buffer.from(text);
    const mask = randomBytes(4);
    // A length has to be written as short as it can be.
    const head = Buffer.alloc(data.length < 126 ? 2 : data.length < 1 << 16 ? 4 : 10);
    head[0] = 128 | opcode;
    head[1] = 128 | (head.length === 2 ? data.length : head.length === 4 ? 126 : 127);
    if (head.length === 4) head.writeUInt16BE(data.length, 2);
    if (head.length === 10) head.writeBigUInt64BE(BigInt(data.length), 2);
    for (let i = 0; i < data.length; i++) data[i] ^= mask[i & 3];
    this.tcp.write(Buffer.concat([head, mask, data]));
  }
}

// Firefox is one tab. What it complains of is in problems.
export class Firefox {
  problems = [];
  waiting = new Map();
  last = 0;

  static async launch(options) {
    const f = new Firefox();
    f.options = options;
    f.profile = mkdtempSync(join(tmpdir(), 'firefox-'));
    writeFileSync(join(f.profile, 'user.js'), [
      ['browser.shell.checkDefaultBrowser', false], ['datareporting.policy.dataSubmissionEnabled', false], ['app.update.enabled', false],
      ['network.captive-portal-service.enabled', false], ['network.connectivity-service.enabled', false], ['browser.safebrowsing.update.enabled', false],
      ['services.settings.server', 'data:,'], ['toolkit.telemetry.enabled', false], ['extensions.update.enabled', false], ['ui.prefersReducedMotion', 1],
    ].map(([k, v]) => `user_pref(${JSON.stringify(k)}, ${JSON.stringify(v)});\n`).join(''));
    f.process = spawn(options.firefox, ['--headless', '--no-remote', '--profile', f.profile, '--remote-debugging-port=0', 'about:blank'],
      { env: { ...process.env, HOME: f.profile, MOZ_HEADLESS: '1', MOZ_HEADLESS_WIDTH: '1440', MOZ_HEADLESS_HEIGHT: '985' }, stdio: ['ignore', 'ignore', 'pipe'] });
    try {
      f.socket = await Socket.open(`${await f.address()}/session`);
      f.socket.onmessage = (text) => f.hear(JSON.parse(text));
      f.socket.tcp.once('close', () => {
        for (const respond of f.waiting.values()) respond({ type: 'error', error: 'closed', message: 'Firefox closed the connection' });
      });
      await f.call('session.new', { capabilities: {} });
      await f.call('session.subscribe', { events: ['log.entryAdded', 'network.fetchError', 'network.responseCompleted'] });
      f.context = (await f.call('browsingContext.getTree', {})).contexts[0].context;
    } catch (e) {
      await f.close();
      throw e;
    }
    return f;
  }

  // address is what Firefox says on its standard error when it listens.
  async address() {
    let said = '';
    return await new Promise((done, fail) => {
      const late = setTimeout(() => fail(new Error(`Firefox does not listen: ${said}`)), PATIENCE);
      this.process.stderr.on('data', (d) => {
        said += d;
        const found = said.match(/WebDriver BiDi listening on (ws:\S+)/);
        if (!found) return;
        clearTimeout(late);
        done(found[1]);
      });
      this.process.once('exit', (code) => fail(new Error(`Firefox ended with ${code}: ${said}`)));
    });
  }

  async close() {
    this.socket?.tcp.destroy();
    if (this.process.exitCode === null) {
      this.process.kill('SIGKILL');
      await once(this.process, 'exit');
    }
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  call(method, params) {
    const id = ++this.last;
    return new Promise((done, fail) => {
      const late = setTimeout(() => fail(new Error(`${method}: no response`)), PATIENCE);
      this.waiting.set(id, (m) => {
        clearTimeout(late);
        if (m.type === 'success') done(m.result);
        else fail(new Error(`${method}: ${m.error}: ${m.message}`));
      });
      this.socket.send(JSON.stringify({ id, method, params }));
    });
  }

  hear(m) {
    if (m.id !== undefined) {
      this.waiting.get(m.id)?.(m);
      this.waiting.delete(m.id);
      return;
    }
    const p = m.params;
    if (m.method === 'log.entryAdded' && ['error', 'warn'].includes(p.level)) this.problem(`the console says (${p.level}): ${p.text}`);
    const url = p.request?.url ?? '';
    if (!url.startsWith(this.options.base)) return;
    // Leaving a page ends what it asked for.
    if (m.method === 'network.fetchError' && !/ABORT/i.test(p.errorText)) this.problem(`a request failed: ${url}: ${p.errorText}`);
    if (m.method === 'network.responseCompleted' && p.response.status >= 400) this.problem(`a request failed: ${url}: ${p.response.status}`);
  }

  problem(text) { this.problems.push(`${this.path ?? 'Firefox'}: ${text}`); }

  check(right, text) { if (!right) this.problem(text); }

  async open(path) {
    this.path = path;
    await this.call('browsingContext.navigate', { context: this.context, url: new URL(path, this.options.base).href, wait: 'complete' });
  }

  // run evaluates a function in the page, with arguments that JSON can write.
  async run(fn, ...args) {
    const r = await this.call('script.evaluate', {
      expression: `Promise.resolve((${fn})(...${JSON.stringify(args)})).then((v) => JSON.stringify(v ?? null))`,
      target: { context: this.context }, awaitPromise: true,
    });
    if (r.type === 'exception') throw new Error(`${this.path}: ${r.exceptionDetails.text}`);
    return JSON.parse(r.result.value);
  }

  // until waits for a function in the page to return something.
  async until(what, fn, ...args) {
    for (const begin = Date.now(); ;) {
      const v = await this.run(fn, ...args);
      if (v) return v;
      if (Date.now() - begin > PATIENCE) throw new Error(`${this.path}: no ${what}; the page says: ${(await this.run(() => document.body.innerText)).slice(0, 1500)}`);
      await pause(100);
    }
  }

  // see waits until the page shows all of these texts.
  see(...texts) {
    return this.until(texts.join(' and '), (all) => all.every((t) => document.body.innerText.replace(/\s+/g, ' ').includes(t)), texts);
  }

  // click clicks with the mouse in the middle of the first visible match, as a person does. A
  // second argument is what its text or label contains.
  async click(selector, text = '') {
    const at = await this.until(`${selector} ${text}`, (s, t) => {
      const e = [...document.querySelectorAll(s)].find((x) => x.getClientRects().length && !x.disabled && (x.innerText + x.getAttribute('aria-label')).includes(t));
      if (!e) return null;
      e.scrollIntoView({ block: 'center', behavior: 'instant' });
      const r = e.getClientRects()[0];
      return { x: Math.round(r.left + r.width / 2), y: Math.round(r.top + r.height / 2) };
    }, selector, text);
    await this.call('input.performActions', {
      context: this.context,
      actions: [{ type: 'pointer', id: 'mouse', actions: [{ type: 'pointerMove', ...at }, { type: 'pointerDown', button: 0 }, { type: 'pointerUp', button: 0 }] }],
    });
  }

  type(text) {
    return this.call('input.performActions', {
      context: this.context, actions: [{ type: 'key', id: 'keys', actions: [...text].flatMap((value) => [{ type: 'keyDown', value }, { type: 'keyUp', value }]) }],
    });
  }

  async shoot(name) {
    if (!this.options.pictures) return;
    const { data } = await this.call('browsingContext.captureScreenshot', { context: this.context });
    writeFileSync(join(this.options.pictures, `${name}.png`), Buffer.from(data, 'base64'));
  }
}
