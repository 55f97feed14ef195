// Keeps the page usable without a server, for recognising on the device. The build puts VERSION and FILES in front.
/* global VERSION, FILES */

const PAGE = `vocaffect-page-${VERSION}`;
const KEPT = "vocaffect-recognisers";

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(PAGE).then(async (cache) => {
      await cache.addAll(FILES);
      // The page has asked for the recognisers before this worker was there to keep the answer.
      await cache.add("/v1/recognizers").catch(() => undefined);
    }),
  );
  self.skipWaiting();
});

self.addEventListener("activate", (event) => {
  event.waitUntil(forgetOldPages().then(() => self.clients.claim()));
});

async function forgetOldPages() {
  const names = await caches.keys();
  await Promise.all(
    names.filter((name) => name !== PAGE && name !== KEPT).map((name) => caches.delete(name)),
  );
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== location.origin) return;
  if (pathname.startsWith("/assets/")) event.respondWith(keptFirst(request));
  else if (pathname === "/" || pathname === "/favicon.svg" || pathname === "/v1/recognizers") {
    event.respondWith(networkFirst(request));
  }
});

/** Names under /assets/ carry a hash of their content: what is kept is never stale. */
async function keptFirst(request) {
  const found = await caches.match(request);
  if (found) return found;
  const response = await fetch(request);
  if (response.ok) await (await caches.open(PAGE)).put(request, response.clone());
  return response;
}

async function networkFirst(request) {
  try {
    const response = await fetch(request);
    if (response.ok) await (await caches.open(PAGE)).put(request, response.clone());
    return response;
  } catch (error) {
    const found = await caches.match(request, { ignoreSearch: true });
    if (found) return found;
    throw error;
  }
}
