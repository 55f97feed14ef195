/** How a label is shown: its word, its colour and its shape. Neither carries a meaning alone; the word stands beside them. */

/** Paths in a box of 16 by 16, filled; simple enough to be told apart at 12 pixels. */
const SHAPES: Record<string, string> = {
  neutral: "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11Z",
  calm: "M1 6.5C3.5 3.5 5.5 3.5 8 6.5S12.5 9.5 15 6.5V10C12.5 13 10.5 13 8 10S3.5 7 1 10Z",
  happy: "M8 2L14.5 13H1.5Z",
  sad: "M1.5 3H14.5L8 14Z",
  angry: "M8 0.5L10 5.5L15.5 4L12.5 8L15.5 12L10 10.5L8 15.5L6 10.5L0.5 12L3.5 8L0.5 4L6 5.5Z",
  fearful: "M3.5 1.5L8 6L12.5 1.5L14.5 3.5L10 8L14.5 12.5L12.5 14.5L8 10L3.5 14.5L1.5 12.5L6 8L1.5 3.5Z",
  disgust: "M2.5 2.5H13.5V13.5H2.5Z",
  surprised: "M8 1L15 8L8 15L1 8Z",
};
const KNOWN = Object.keys(SHAPES);

/** The CSS custom property that holds a label's colour; unknown labels take turns. */
export function colourVariable(label: string, index: number): string {
  return `--emotion-${known(label, index)}`;
}

export function shape(label: string, index: number): string {
  return SHAPES[known(label, index)] ?? "";
}

function known(label: string, index: number): string {
  return KNOWN.includes(label) ? label : (KNOWN[Math.max(index, 0) % KNOWN.length] ?? "neutral");
}
