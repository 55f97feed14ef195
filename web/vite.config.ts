import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";
import type { Plugin } from "vite";

const SERVER = "http://127.0.0.1:8000";
const SERVICE_WORKER = "src/service_worker.js";

export default defineConfig({
  plugins: [svelte(), licences(), serviceWorker()],
  worker: { format: "es" },
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // the content security policy allows no data: URLs
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 200,
  },
  server: {
    // `npm run dev` beside a running `vocaffect serve`
    proxy: { "/v1": { target: SERVER, ws: true }, "/healthz": SERVER },
  },
});

/** Writes down whose work is in the built files besides ours, and on which terms. */
function licences(): Plugin {
  return {
    name: "licences",
    apply: "build",
    generateBundle() {
      const svelteTerms = readFileSync(new URL("node_modules/svelte/LICENSE.md", import.meta.url), "utf8");
      const source =
        `svelte (https://svelte.dev)\n\n${svelteTerms.trim()}\n\n\n` +
        "onnxruntime-web (https://onnxruntime.ai), Copyright (c) Microsoft Corporation, on the same terms.\n";
      this.emitFile({ type: "asset", fileName: "licences.txt", source });
    },
  };
}

/** Writes the service worker with the names of all files that the page needs at first; their hash is its version. */
function serviceWorker(): Plugin {
  return {
    name: "service-worker",
    apply: "build",
    generateBundle(_, bundle) {
      const source = readFileSync(new URL(SERVICE_WORKER, import.meta.url), "utf8");
      // What runs recognisers on the device is large: it is kept when it has been asked for.
      const names = Object.keys(bundle).filter((name) => !/\.wasm$|worker-|licences/.test(name));
      const files = [
        "/",
        "/favicon.svg",
        ...names.filter((name) => name !== "index.html").map((name) => `/${name}`),
      ];
      const version = createHash("sha256")
        .update(JSON.stringify(Object.keys(bundle)))
        .digest("hex")
        .slice(0, 12);
      const head = `const VERSION = ${JSON.stringify(version)};\nconst FILES = ${JSON.stringify(files)};\n`;
      this.emitFile({ type: "asset", fileName: "service_worker.js", source: head + source });
    },
  };
}
