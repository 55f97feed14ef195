/** The files that recognising on this device needs: loaded once, then kept by the browser for use without a network. */

import { Failure } from "../failure";

export const KEPT = "vocaffect-recognisers";

/** The bytes at a URL; what has been kept under the same mark is not loaded again. */
export async function fetchKept(url: string, mark: string): Promise<ArrayBuffer> {
  const key = `${url}${url.includes("?") ? "&" : "?"}kept=${encodeURIComponent(mark)}`;
  const cache = await caches.open(KEPT);
  const found = await cache.match(key);
  if (found) return found.arrayBuffer();
  const response = await fetch(url).catch(() => null);
  if (!response)
    throw new Failure("The recogniser is not on this device yet, and the server does not answer.", true);
  if (!response.ok) throw new Failure(`The server does not give out the recogniser (${response.status}).`);
  await cache.put(key, response.clone());
  return response.arrayBuffer();
}
