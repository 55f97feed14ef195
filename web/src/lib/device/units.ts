/** Samples and seconds: the twin of `vocaffect.units`. */

export const SAMPLE_RATE = 16_000;

export function secondsToSamples(seconds: number): number {
  return Math.round(seconds * SAMPLE_RATE);
}

export function concat(...parts: Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
