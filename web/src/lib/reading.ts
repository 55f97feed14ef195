/** What the page says at a moment, in words: the one place that decides between emotion, speech and silence. */

import { capitalised, percent } from "./format";
import type { Update } from "./protocol";
import type { Phase } from "./recording.svelte";

export interface Reading {
  /** The word in large letters. */
  word: string;
  /** The sentence under it. */
  note: string;
  /** The emotion that is claimed, if one is. */
  label: string | null;
  posterior: number[] | null;
}

type Decision = { label: string | null; posterior: number[] | null };

export function reading(phase: Phase, latest: Update | null, whole: Decision | null, played: Update | null): Reading {
  switch (phase) {
    case "idle":
      return plain("Ready", "Start the microphone, or open a recording of someone speaking.");
    case "starting":
      return plain("One moment", "Waiting for the microphone.");
    case "analysing":
      return plain("One moment", "Listening to the file.");
    case "listening":
    case "finishing":
      return latest ? ofUpdate(latest) : plain("Listening", "Say something.");
    case "done":
      if (played) return ofUpdate(played);
      if (!whole) return plain("Stopped", "The passages that were heard are listed below.");
      return claimed(whole, "in the whole recording") ?? plain("Silence", "Nobody speaks in this recording.");
  }
}

function ofUpdate(update: Update): Reading {
  if (!update.speech) return plain("Silence", "Nobody is speaking.");
  return claimed(update, "right now") ?? plain("Speech", "Heard too little of it yet to tell.");
}

function claimed({ label, posterior }: Decision, when: string): Reading | null {
  if (label === null || posterior === null) return null;
  return { word: capitalised(label), note: `${percent(Math.max(...posterior))} likely ${when}`, label, posterior };
}

function plain(word: string, note: string): Reading {
  return { word, note, label: null, posterior: null };
}
