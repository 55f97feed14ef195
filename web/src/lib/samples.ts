/** Arithmetic on samples for the wire and for the eye; recognition itself happens elsewhere. */

/** float32 in [-1, 1] to 16 bits; what is beyond is cut off there. */
export function toInt16(samples: Float32Array): Int16Array<ArrayBuffer> {
  return Int16Array.from(samples, (sample) => Math.max(-32768, Math.min(32767, Math.round(sample * 32768))));
}

/** The wire's `"format": "int16"`, little-endian on every machine. */
export function littleEndian(samples: Int16Array): ArrayBuffer {
  const view = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((sample, index) => view.setInt16(index * 2, sample, true));
  return view.buffer;
}

/** The largest magnitude in every `size` samples, whatever chunks they come in. */
export class PeakMeter {
  #size: number;
  #count = 0;
  #peak = 0;

  constructor(size: number) {
    this.#size = size;
  }

  push(samples: Float32Array): number[] {
    const peaks: number[] = [];
    for (const sample of samples) {
      this.#peak = Math.max(this.#peak, Math.abs(sample));
      this.#count += 1;
      if (this.#count === this.#size) {
        peaks.push(this.#peak);
        this.#count = 0;
        this.#peak = 0;
      }
    }
    return peaks;
  }
}

/** How long answers take: from the moment a sample was handed over to that of the update that heard it. */
export class LatencyMeter {
  #handed: { endS: number; at: number }[] = [];
  #latest: number[] = [];

  handed(endS: number, atMs: number): void {
    this.#handed.push({ endS, at: atMs });
  }

  /** An update about everything before `timeS` has come. */
  answered(timeS: number, atMs: number): void {
    const index = this.#handed.findIndex(({ endS }) => endS >= timeS - 1e-6);
    const found = this.#handed[index];
    if (!found) return;
    this.#handed.splice(0, index);
    this.#latest = [...this.#latest.slice(-49), atMs - found.at];
  }

  /** The median of the last answers, in milliseconds; null before the first. */
  get medianMs(): number | null {
    const sorted = [...this.#latest].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? null;
  }
}
