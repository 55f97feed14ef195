/** Numbers as people read them. */

export function percent(probability: number): string {
  return `${Math.round(probability * 100)} %`;
}

/** `75.34` -> `1:15.3` */
export function clock(seconds: number, digits = 1): string {
  const rounded = Number(seconds.toFixed(digits));
  const minutes = Math.floor(rounded / 60);
  const rest = (rounded - 60 * minutes).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return `${minutes}:${rest}`;
}

/** The distance between marks on a time axis, so that they stay at least `minPixels` apart. */
export function tickStep(spanS: number, pixels: number, minPixels = 72): number {
  const steps = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600];
  return steps.find((step) => (step / spanS) * pixels >= minPixels) ?? 1200;
}

export function capitalised(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
