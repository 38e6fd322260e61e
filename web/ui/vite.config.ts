import { defineConfig } from 'vite';

// Asset links are relative: chunks find each other by their own addresses, and
// the server puts its path prefix before those of index.html.
export default defineConfig({
  base: './',
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  build: {
    target: 'es2022',
    outDir: 'dist',
    assetsDir: 'assets',
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    assetsInlineLimit: 0, // the security policy forbids data: in scripts and styles
  },
  // CLANMON names the server that the pages talk to while they are developed.
  server: { proxy: Object.fromEntries(['/api', '/-/', '/favicon.svg'].map((p) => [p, process.env.CLANMON ?? 'http://localhost:9090'])) },
});
