/** What a recogniser saw: one column of features for each hop of time. */

import type { RecognizerCard } from "./protocol";

/** Whether a recogniser hears the sound as it is: its features are then for people alone. */
export function hearsWaveform(card: RecognizerCard): boolean {
  const { frontend } = card.recipe as { frontend?: { features?: object } };
  return Object.keys(frontend?.features ?? {}).join() === "waveform";
}

export class FeatureMap {
  /** By number of hops; a frame that no model has run on (silence) is missing. */
  columns: (Float32Array | undefined)[] = [];
  numFeatures = 0;
  #count: number[] = [];
  #mean: number[] = [];
  #squares: number[] = [];

  constructor(readonly hopS: number) {}

  /** Frames in order, each `frameS` long, the first of which begins at `startS`. */
  add(frames: ArrayLike<number>[], startS: number, frameS: number): void {
    frames.forEach((frame, index) => {
      const first = Math.max(0, Math.round((startS + index * frameS) / this.hopS));
      const next = Math.round((startS + (index + 1) * frameS) / this.hopS);
      const column = Float32Array.from(frame);
      for (let at = first; at < next; at += 1) this.columns[at] = column;
      this.numFeatures = frame.length;
      this.#learn(frame);
    });
  }

  /** Each feature on a scale of its own, so that all can be seen: 0 to 1 for three deviations about its mean. */
  shade(value: number, feature: number): number {
    const count = this.#count[feature] ?? 0;
    const deviation = Math.sqrt((this.#squares[feature] ?? 0) / Math.max(count, 1)) || 1;
    return Math.min(1, Math.max(0, 0.5 + (value - (this.#mean[feature] ?? 0)) / (5 * deviation)));
  }

  /** Running mean and sum of squared differences (Welford 1962). */
  #learn(frame: ArrayLike<number>): void {
    for (let k = 0; k < frame.length; k += 1) {
      const count = (this.#count[k] ?? 0) + 1;
      const mean = this.#mean[k] ?? 0;
      const difference = (frame[k] ?? 0) - mean;
      this.#count[k] = count;
      this.#mean[k] = mean + difference / count;
      this.#squares[k] = (this.#squares[k] ?? 0) + difference * ((frame[k] ?? 0) - mean - difference / count);
    }
  }
}
