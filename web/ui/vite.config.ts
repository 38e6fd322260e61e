import { defineConfig } from 'vitest/config';

// Asset links are relative: chunks find each other by their own addresses, and
// the server puts its path prefix before those of index.html.
export default defineConfig({
  base: './',
  plugins: [
    {
      // Vite's preview server serves index.html at /m/NAME too, where relative
      // links of assets would lead elsewhere; clanmon itself puts its prefix there.
      name: 'preview-nested-paths',
      configurePreviewServer(server) {
        server.middlewares.use((req, _res, next) => {
          req.url = req.url?.replace(/^\/.+(?=\/(assets|favicon))/, '');
          next();
        });
      },
    },
  ],
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  build: {
    target: 'es2022',
    outDir: 'dist',
    assetsDir: 'assets',
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    assetsInlineLimit: 0, // the security policy forbids data: in scripts and styles
  },
  test: { css: true }, // style sheets are tested too
  // CLANMON names the server that the pages talk to while they are developed.
  server: {
    fs: { allow: ['.', '../../docs'] }, // docs/runbooks.md is a page, docs/install.md in a dialog
    proxy: Object.fromEntries(
      ['/api', '/-/', '/favicon.svg'].map((p) => [p, process.env.CLANMON ?? 'http://localhost:9090']),
    ),
  },
});
