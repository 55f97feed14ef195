/** How a label is shown: its word and its colour. Colour never carries a meaning alone; the word stands beside it. */

const KNOWN = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"];

/** The CSS custom property that holds a label's colour; unknown labels take turns. */
export function colourVariable(label: string, index: number): string {
  const name = KNOWN.includes(label) ? label : KNOWN[index % KNOWN.length];
  return `--emotion-${name}`;
}
