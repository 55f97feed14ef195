/** The sound a page has heard, kept in its memory only, so that it can be played and passages cut out. */

import { wav } from "./wav";

/** Longer recordings keep what they began with; what comes later is heard, but cannot be played. */
const MAX_S = 1800;

export class Sound {
  #chunks: Int16Array[] = [];
  #length = 0;

  constructor(readonly sampleRate: number) {}

  get durationS(): number {
    return this.#length / this.sampleRate;
  }

  push(samples: Int16Array): void {
    if (this.durationS >= MAX_S) return;
    this.#chunks.push(samples);
    this.#length += samples.length;
  }

  /** The samples between two times, as many of them as there are. */
  between(fromS: number, toS: number): Int16Array {
    const first = Math.max(0, Math.round(fromS * this.sampleRate));
    const last = Math.min(this.#length, Math.round(toS * this.sampleRate));
    const found = new Int16Array(Math.max(0, last - first));
    let at = 0;
    for (const chunk of this.#chunks) {
      const from = Math.max(first, at);
      const to = Math.min(last, at + chunk.length);
      if (from < to) found.set(chunk.subarray(from - at, to - at), from - first);
      at += chunk.length;
    }
    return found;
  }

  blob(): Blob {
    return new Blob([wav(this.between(0, this.durationS), this.sampleRate)], { type: "audio/wav" });
  }
}
