/** What the page says at a moment, in words: the one place that decides between emotion, speech and silence. */

import { capitalised, clock, percent } from "./format";
import type { Segment, Update } from "./protocol";
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

export function reading(
  phase: Phase,
  latest: Update | null,
  whole: Decision | null,
  played: Update | null,
): Reading {
  switch (phase) {
    case "idle":
      return plain("Ready", "Start the microphone, or open a recording of someone speaking.");
    case "starting":
      return plain("One moment", "Waiting for the microphone.");
    case "analysing":
      return plain("One moment", "Listening to the file.");
    case "listening":
    case "finishing":
      return latest ? ofUpdate(latest, "right now") : plain("Listening", "Say something.");
    case "done":
      if (played) return ofUpdate(played, `at ${clock(played.time_s)}`);
      if (!whole) return plain("Stopped", "The passages that were heard are listed below.");
      return claimed(whole, "in the whole recording") ?? plain("Silence", "Nobody speaks in this recording.");
  }
}

function ofUpdate(update: Update, when: string): Reading {
  if (!update.speech) return plain("Silence", "Nobody is speaking.");
  return claimed(update, when) ?? plain("Speech", "Heard too little of it yet to tell.");
}

function claimed({ label, posterior }: Decision, when: string): Reading | null {
  if (label === null || posterior === null) return null;
  const note = `${percent(Math.max(...posterior))} likely ${when}`;
  return { word: capitalised(label), note, label, posterior };
}

function plain(word: string, note: string): Reading {
  return { word, note, label: null, posterior: null };
}

/** What a screen reader is told: when listening begins and ends, and each passage, but not every update. */
export function announcement(phase: Phase, newest: Segment | undefined, now: Reading): string {
  switch (phase) {
    case "listening":
      return newest
        ? `Passage ${newest.index + 1}: ${newest.label}, ${percent(Math.max(...newest.posterior))}`
        : "Listening";
    case "analysing":
      return "Analysing the file";
    case "done":
      return `${now.word}. ${now.note}`;
    default:
      return "";
  }
}
