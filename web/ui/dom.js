// Building elements. Data only ever becomes text or an attribute, never markup.

const svgNames = new Set(['svg', 'path', 'line', 'text', 'rect', 'g']);

/** h('td', {class: 'num'}, 'text', child): attributes starting with "on" are listeners. */
export function h(tag, attributes = {}, ...children) {
  const el = svgNames.has(tag) ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) {
    if (v === undefined || v === null || v === false) continue;
    if (k.startsWith('on')) el.addEventListener(k.slice(2), v);
    else if (k === 'value') el.value = v;
    else el.setAttribute(k, v === true ? '' : v);
  }
  el.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}

const icons = { ok: '●', warn: '▲', bad: '■', off: '○', info: '◆' };

/** Colour, icon and word together: none of them alone says it. */
export const status = (kind, word) => h('span', { class: `status ${kind}` }, `${icons[kind]} ${word}`);

/** table(['a', ['b', 'num']], rows): a row is a list of cells, text or elements. */
export function table(columns, rows, { cards = false } = {}) {
  const cols = columns.map((c) => (Array.isArray(c) ? c : [c, '']));
  return h('div', { class: 'scroll' }, h('table', { class: cards && 'cards' },
    h('thead', {}, h('tr', {}, cols.map(([name, cls]) => h('th', { class: cls, scope: 'col' }, name)))),
    h('tbody', {}, rows.map((cells) => h('tr', {}, cells.map((c, i) => h('td', { class: cols[i][1], 'data-label': cols[i][0] }, c)))))));
}

export const card = (title, ...children) => h('section', { class: 'card' }, title && h('h2', {}, title), ...children);

export const labels = (map) => h('span', { class: 'labels' }, Object.entries(map).map(([k, v]) => h('code', {}, `${k}="${v}"`)));
