import { mount } from "svelte";

import App from "./App.svelte";
import "./app.css";

const target = document.getElementById("page");
if (target) mount(App, { target });

// Served over plain http from elsewhere, browsers allow none; then the page needs its server.
if (import.meta.env.PROD && "serviceWorker" in navigator) {
  void navigator.serviceWorker.register("/service_worker.js").catch(() => undefined);
}
