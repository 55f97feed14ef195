/** Arithmetic on samples for the wire and for the eye; recognition itself happens behind the server. */

/** float32 in [-1, 1] to little-endian int16, the wire's `"format": "int16"`. */
export function toInt16(samples: Float32Array): ArrayBuffer {
  const view = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((sample, index) => {
    const scaled = Math.round(sample * 32768);
    view.setInt16(index * 2, Math.max(-32768, Math.min(32767, scaled)), true);
  });
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
