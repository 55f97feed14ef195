/** What the page and the worker that runs recognisers say to each other. */

import type { Heard } from "../conversation";

export type ToWorker =
  | { type: "open"; id: number; bundleUrl: string; digest: string; voiceUrl: string }
  | { type: "samples"; id: number; samples: Int16Array }
  | { type: "end"; id: number }
  | { type: "abort"; id: number };

export type FromWorker =
  | { type: "ready"; id: number }
  | { type: "heard"; id: number; message: Heard }
  /** So many samples have been used up. */
  | { type: "used"; id: number; numSamples: number }
  | { type: "failed"; id: number; message: string };
