/** What the page and the worker that runs recognisers say to each other. */

import type { Heard } from "../conversation";
import type { VoiceHeard } from "../voice.svelte";
import type { VoiceProfile } from "./voice_profile";

export type ToWorker =
  | {
      type: "open";
      id: number;
      bundleUrl: string;
      digest: string;
      voiceUrl: string;
      voice: VoiceProfile | null;
    }
  | { type: "samples"; id: number; samples: Int16Array }
  | { type: "voice"; id: number; voice: VoiceProfile | null }
  | { type: "end"; id: number }
  | { type: "abort"; id: number };

export type FromWorker =
  | { type: "ready"; id: number }
  | { type: "heard"; id: number; message: Heard }
  | { type: "voice"; id: number; heard: VoiceHeard }
  /** So many samples have been used up. */
  | { type: "used"; id: number; numSamples: number }
  | { type: "failed"; id: number; message: string };
