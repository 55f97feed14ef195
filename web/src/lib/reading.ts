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
  uncertain: boolean;
}

export interface Decision {
  label: string | null;
  posterior: number[] | null;
  uncertain: boolean;
}

/** `invitation` is what to do while there is nothing yet. */
export function reading(
  phase: Phase,
  latest: Update | null,
  whole: (Decision & { passages: number }) | null,
  played: Update | null,
  labels: string[],
  invitation = "Start the microphone and speak.",
): Reading {
  switch (phase) {
    case "idle":
      return plain("Ready", invitation);
    case "starting":
      return plain("One moment", "Getting ready to listen.");
    case "analysing":
      return plain("One moment", "Listening to the file.");
    case "reconnecting":
      return plain("Waiting", "The server is gone. Listening goes on as soon as it is back.");
    case "listening":
    case "finishing":
      return latest
        ? ofUpdate(latest, `right now${ofPassage(latest)}`, labels)
        : plain("Listening", "Say something.");
    case "done":
      if (played) return ofUpdate(played, `at ${clock(played.time_s)}`, labels);
      return (
        (whole && (mixed(whole, labels) ?? claimed(whole, ofPassages(whole.passages), labels))) ??
        plain("Silence", "Nobody speaks in this recording.")
      );
  }
}

/** Which passage is going on, and for how long. */
function ofPassage({ segment, segment_start_s, time_s }: Update): string {
  if (segment === null || segment_start_s === null) return "";
  return `, in passage ${segment + 1} for ${(time_s - segment_start_s).toFixed(1)} s`;
}

function ofPassages(count: number): string {
  return count > 1 ? `on average over ${count} passages` : "in what was said";
}

function ofUpdate(update: Update, when: string, labels: string[]): Reading {
  if (!update.speech) return plain("Silence", "Listening… nobody is speaking.");
  const { label, posterior, uncertain } = update;
  return (
    claimed({ label, posterior, uncertain }, when, labels) ??
    plain("Speech", "Heard too little of it yet to tell.")
  );
}

/** Several passages of which no emotion has half: none is claimed for all of them. */
function mixed({ posterior, passages }: Decision & { passages: number }, labels: string[]): Reading | null {
  if (posterior === null || passages < 2 || Math.max(...posterior) >= 0.5) return null;
  const [first, second] = likeliest(posterior).map((index) => labels[index] ?? "");
  const note = `Above all ${first} and ${second}, ${ofPassages(passages)}`;
  return { word: "Mixed", note, label: null, posterior, uncertain: false };
}

function claimed({ label, posterior, uncertain }: Decision, when: string, labels: string[]): Reading | null {
  if (label === null || posterior === null) return null;
  if (uncertain) {
    const [first, second] = likeliest(posterior).map((index) => labels[index] ?? "");
    return {
      word: "Uncertain",
      note: `Perhaps ${first}, perhaps ${second}, ${when}`,
      label,
      posterior,
      uncertain,
    };
  }
  const note = `${percent(Math.max(...posterior))} likely ${when}`;
  return { word: capitalised(label), note, label, posterior, uncertain };
}

/** The places of the largest values, the largest first. */
export function likeliest(posterior: number[]): number[] {
  return posterior.map((_, index) => index).sort((a, b) => (posterior[b] ?? 0) - (posterior[a] ?? 0));
}

function plain(word: string, note: string): Reading {
  return { word, note, label: null, posterior: null, uncertain: false };
}

/** What a screen reader is told: when listening begins and ends, and each passage, but not every update. */
export function announcement(phase: Phase, newest: Segment | undefined, now: Reading): string {
  switch (phase) {
    case "listening":
      return newest
        ? `Passage ${newest.index + 1}: ${newest.label}, ${percent(Math.max(...newest.posterior))}`
        : "Listening";
    case "reconnecting":
    case "done":
      return `${now.word}. ${now.note}`;
    case "analysing":
      return "Analysing the file";
    default:
      return "";
  }
}
