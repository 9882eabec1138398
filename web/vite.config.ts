import { defineConfig } from "vite";

// One HTML file per page: `graphiql.html` now, `index.html` (the console) beside it later.
// The server mounts the whole output at /static and serves the pages at their own addresses,
// so every reference has to be absolute.
export default defineConfig({
  base: "/static/",
  publicDir: false,
  worker: { format: "es" },
  build: {
    outDir: "static",
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    // Nothing becomes a data: URI, because font-src in the page's policy is 'self' alone.
    assetsInlineLimit: 0,
    // All browsers of the target load modules ahead by themselves.
    modulePreload: { polyfill: false },
    // The bundled packages are MIT and ask that their notices travel with them.
    license: { fileName: "licenses.md" },
    // Monaco is one editor; its size is known (docs/decisions/005) and not news in every build.
    chunkSizeWarningLimit: 3500,
    rolldownOptions: {
      input: { graphiql: "graphiql.html" },
      // "use client" means something to server rendering only; each such file would log a warning.
      onLog(level, log, report) {
        if (log.code !== "MODULE_LEVEL_DIRECTIVE") report(level, log);
      },
    },
  },
});
