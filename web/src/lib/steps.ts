/** The way of a file through a recogniser, step by step; every share and number is counted, none is guessed. */

import { clock } from "./format";
import { hearsWaveform } from "./features";
import type { Phase, Progress } from "./recording.svelte";
import type { Take } from "./take.svelte";

export interface Step {
  name: string;
  /** 0 before it began, 1 when it is done. */
  share: number;
  detail: string;
}

const NAMES = ["Upload", "Preprocessing", "Features", "Inference", "Result"];

export function steps(phase: Phase, progress: Progress | null, take: Take | undefined): Step[] {
  if (!progress || !take || phase === "idle") return NAMES.map((name) => ({ name, share: 0, detail: "" }));
  const done = phase === "done";
  const { upload, preprocessing, features, inference, totalS } = progress;
  const shares = done ? [1, 1, 1, 1, 1] : [upload, preprocessing, features, inference, 0];
  const decisions = take.updates.filter((update) => update.posterior !== null).length;
  const details = [
    sent(progress, take),
    preprocessing > 0 && totalS > 0 ? `${clock(preprocessing * totalS)} of ${clock(totalS)}` : "",
    framed(features, take),
    decisions > 0 ? `${decisions} decisions` : "",
    done ? `${take.segments.length} passage${take.segments.length === 1 ? "" : "s"}` : "",
  ];
  return NAMES.map((name, index) => ({ name, share: shares[index] ?? 0, detail: details[index] ?? "" }));
}

function framed(share: number, { numFrames, side }: Take): string {
  if (hearsWaveform(side.card)) return share > 0 ? "the sound as it is" : "";
  return numFrames > 0 ? `${numFrames} frames` : "";
}

function sent(progress: Progress, take: Take): string {
  if (progress.way === "decode") return "reading the file";
  const share = `${Math.round(100 * progress.upload)} %`;
  return take.side.place === "device" ? `${share}, to this device` : share;
}
