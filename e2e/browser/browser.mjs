// A browser and what is asked of every page in it: nothing on the console, no
// request that fails or goes elsewhere, and what a person would see.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const WIDE = { width: 1440, height: 900 };
export const PHONE = { width: 360, height: 740 };

// How long something may take that is shown as soon as it is known. Only what
// never comes waits for it.
export const PATIENCE = 60_000;

export class Browser {
  problems = [];

  static async launch(options) {
    const b = new Browser();
    b.options = options;
    b.chromium = await chromium.launch({
      executablePath: options.chromium,
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', ...(options.args ?? [])],
    });
    return b;
  }

  close() { return this.chromium.close(); }

  problem(text) { this.problems.push(text); }

  check(right, text) { if (!right) this.problem(text); }

  // open opens a path in a profile of its own and waits until it has settled.
  // Its clock is ahead of ours by as many seconds as clock says.
  async open(path, { size = WIDE, dark = false, context = {}, settled = true, clock = 0 } = {}) {
    const profile = await this.chromium.newContext({
      viewport: size, colorScheme: dark ? 'dark' : 'light', reducedMotion: 'reduce', locale: 'en-GB', timezoneId: 'Europe/Berlin',
      hasTouch: size === PHONE, isMobile: size === PHONE, ...context,
    });
    profile.setDefaultTimeout(PATIENCE);
    if (clock) await profile.clock.setSystemTime(Date.now() + clock * 1000);
    const page = new Page(this, await profile.newPage(), `${path} at ${size.width}`);
    this.last = page;
    await page.goto(path, settled);
    return page;
  }

  // shoot keeps a picture of the last page, where the options say.
  async shoot(name) {
    if (!this.options.pictures || !this.last) return;
    await this.last.p.screenshot({ path: join(this.options.pictures, `${name}.png`) }).catch(() => undefined);
  }
}

export class Page {
  constructor(browser, p, name) {
    Object.assign(this, { browser, p, name, running: new Set(), quiet: true });
    const own = [browser.options.base, ...(browser.options.elsewhere ?? [])].map((u) => new URL(u).origin);
    p.on('console', (m) => this.complain(`the console says (${m.type()}): ${m.text()}`));
    p.on('pageerror', (e) => this.complain(`an error: ${e.stack ?? e}`));
    p.on('request', (r) => {
      if (!own.includes(new URL(r.url()).origin) && !r.url().startsWith('data:')) this.complain(`a request to elsewhere: ${r.url()}`);
      if (r.resourceType() !== 'eventsource') this.running.add(r);
    });
    p.on('requestfinished', (r) => this.running.delete(r));
    p.on('requestfailed', (r) => {
      this.running.delete(r);
      // Leaving a page ends what it asked for.
      if (r.failure()?.errorText !== 'net::ERR_ABORTED') this.complain(`a request failed: ${r.method()} ${r.url()}: ${r.failure()?.errorText}`);
    });
    // What a page asked for while it was left is answered to nobody.
    p.on('response', (r) => {
      if (!r.request().isNavigationRequest()) return;
      this.running.clear();
      this.running.add(r.request());
      this.coming = r.request();
    });
    // Nor what it asked for between that response and its end.
    p.on('framenavigated', (f) => {
      if (!this.coming || f !== p.mainFrame()) return;
      for (const r of this.running) if (r !== this.coming) this.running.delete(r);
      this.coming = undefined;
    });
    p.on('response', (r) => { if (r.status() >= 400) this.complain(`a request failed: ${r.request().method()} ${r.url()}: ${r.status()}`); });
  }

  // expectTrouble makes this page's messages and failed requests no problem, for
  // when a scenario causes them. They are kept in this.trouble.
  expectTrouble() { this.trouble = []; }

  complain(text) {
    if (this.trouble) this.trouble.push(text);
    else this.problem(text);
  }

  problem(text) { this.browser.problem(`${this.name}: ${text}`); }

  check(right, text) { if (!right) this.problem(text); }

  async goto(path, settled = true) {
    this.running.clear(); // what the page before asked for
    await this.p.goto(new URL(path, this.browser.options.base).href, { waitUntil: 'load' });
    if (settled) await this.settle();
  }

  async reload() {
    this.running.clear();
    await this.p.reload({ waitUntil: 'load' });
    await this.settle();
  }

  shoot(name) { return this.browser.shoot(name); }

  // settle waits until the page has what it asked for and shows it.
  async settle() {
    const begin = Date.now();
    for (let calm = 0; calm < 3;) {
      // Charts further down load when they are scrolled to.
      const loading = await this.p.evaluate(() => [...document.querySelectorAll('[aria-label="Loading"], .skeleton, [aria-busy="true"]')]
        .some((e) => e.getClientRects().length && e.getBoundingClientRect().top < innerHeight));
      calm = this.running.size === 0 && !loading ? calm + 1 : 0;
      if (Date.now() - begin > PATIENCE) {
        this.problem(`has not settled: ${[...this.running].map((r) => r.url()).join(', ') || 'still says that it is loading'}`);
        return;
      }
      await this.p.waitForTimeout(50); // between two looks
    }
  }

  // text is what a person reads in the page's main part.
  async text(selector = 'main') {
    return (await this.p.locator(selector).innerText()).replace(/\s+/g, ' ');
  }

  // see waits until the page shows all of these: texts or regular expressions.
  async see(...wanted) {
    const begin = Date.now();
    for (;;) {
      const text = await this.text('body');
      const missing = wanted.filter((w) => !(w instanceof RegExp ? w.test(text) : text.includes(w)));
      if (missing.length === 0) return text;
      if (Date.now() - begin > PATIENCE) {
        this.problem(`does not show ${missing.map(String).join(' and ')} but: ${text.slice(0, 1500)}`);
        return text;
      }
      await this.p.waitForTimeout(100); // between two looks
    }
  }

  async dontSee(...unwanted) {
    const text = await this.text('body');
    for (const u of unwanted) this.check(!(u instanceof RegExp ? u.test(text) : text.includes(u)), `shows ${u}`);
  }

  // fits checks that nobody has to scroll sideways. After a change of the window a table
  // chooses its columns a moment later.
  async fits() {
    let wide = await this.tooWide();
    for (let tries = 0; wide && tries < 20; tries++) {
      await this.p.waitForTimeout(100);
      wide = await this.tooWide();
    }
    this.check(!wide, `is too wide: ${wide}`);
  }

  // tooWide says what is wider than the window; '' if nothing is.
  tooWide() {
    return this.p.evaluate(() => {
      const limit = document.documentElement.clientWidth;
      if (document.documentElement.scrollWidth <= limit) return '';
      const scrolls = (e) => { for (let p = e.parentElement; p; p = p.parentElement) if (/auto|scroll|hidden|clip/.test(getComputedStyle(p).overflowX)) return true; return false; };
      const far = [...document.body.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().right > limit + 1 && !scrolls(e));
      return `${document.documentElement.scrollWidth} of ${limit} pixels, because of ${far.slice(0, 3).map((e) => e.outerHTML.slice(0, 120)).join(' and ') || 'something invisible'}`;
    });
  }

  // accessible asks axe-core, for the size of what a finger hits too. Whatever it finds is a
  // problem.
  async accessible(theme = '') {
    await this.p.evaluate(axe);
    const found = await this.p.evaluate(async () => (await window.axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'], rules: { 'target-size': { enabled: true } } })).violations
      .map((v) => `${v.id} (${v.impact}): ${v.help}: ${v.nodes.slice(0, 3).map((n) => `${n.html.slice(0, 160)} ${n.any.map((a) => a.message).join('; ').slice(0, 160)}`).join(' | ')}`));
    for (const f of found) this.problem(`${theme} axe: ${f}`);
  }

  // touchable checks that what a finger has to hit is at least 44 pixels high.
  async touchable(selector) {
    const small = await this.p.locator(selector).evaluateAll((all) => all
      .filter((e) => e.getClientRects().length && e.getBoundingClientRect().height < 44)
      .map((e) => `${e.outerHTML.slice(0, 80)} (${Math.round(e.getBoundingClientRect().height)})`));
    this.check(small.length === 0, `too small for a finger: ${small.slice(0, 5).join(', ')}`);
  }

  close() { return this.p.context().close(); }
}
