// What the server wrote into the page.

const data = document.documentElement.dataset;

// Under Vite's dev server the template is not filled in.
const filled = (s: string | undefined) => (s && !s.startsWith('{{') ? s : '');

export const prefix = filled(data.prefix).replace(/\/$/, '');
export const agent = data.agent === 'true';
export const version = filled(data.version);

// Prometheus' default title says nothing about the product.
const given = filled(data.title);
export const title = !given || given.startsWith('Prometheus Time Series') ? 'clanmon' : given;
