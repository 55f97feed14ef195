/** The stream-graph: as wide as the voice is loud, each emotion with the share that it is likely. */

import { readableOn } from "./passages";
import { TICK_S, claims, runs, scale, timeBefore } from "./scene";
import type { Look, Scene } from "./scene";
import type { Update } from "../protocol";

const MIN_WRITTEN = 15;
/** Narrower runs would be all edges. */
const MIN_EDGED = 24;

export function drawStream(canvas: CanvasRenderingContext2D, scene: Scene, look: Look, top: number): void {
  const middle = Math.round(top + scene.heights.stream / 2);
  canvas.fillStyle = look.rule;
  canvas.fillRect(0, middle, scene.width, 1);
  for (const [first, last] of runs(scene.updates, (update) => claims(update, scene.segments))) {
    const run = scene.updates.slice(first, last + 1);
    const ended = scene.segments.some(({ index }) => index === run.at(-1)?.segment);
    drawRun(canvas, scene, look, timeBefore(scene.updates, first), run, top, ended);
  }
}

/** One stretch of speech: it swells from nothing where it begins and, once it has ended, shrinks to nothing there. */
function drawRun(
  canvas: CanvasRenderingContext2D,
  scene: Scene,
  look: Look,
  fromS: number,
  run: Update[],
  top: number,
  ended: boolean,
): void {
  const x = scale(scene);
  const xs = run.map((update) => x(update.time_s));
  const middle = top + scene.heights.stream / 2;
  const widths = rounded(loudness(run.map((update) => update.level_db)), ended);
  const edges = run.map((update, at) =>
    stacked(update.posterior ?? [], middle, (widths[at] ?? 1) * scene.heights.stream),
  );
  scene.labels.forEach((label, index) => {
    canvas.beginPath();
    canvas.moveTo(x(fromS), middle);
    edges.forEach((edge, at) => canvas.lineTo(xs[at] ?? 0, edge[index] ?? middle));
    if (ended) canvas.lineTo((xs.at(-1) ?? 0) + x(scene.fromS + TICK_S) * 0.6, middle);
    for (let at = run.length - 1; at >= 0; at -= 1)
      canvas.lineTo(xs[at] ?? 0, edges[at]?.[index + 1] ?? middle);
    canvas.closePath();
    canvas.fillStyle = look.colours[index] ?? look.muted;
    canvas.fill();
    if (xs.length > 1 && (xs.at(-1) ?? 0) - (xs[0] ?? 0) > MIN_EDGED) {
      canvas.strokeStyle = look.paper;
      canvas.lineWidth = 1;
      canvas.stroke();
    }
    name(canvas, look, label, index, xs, edges);
  });
}

/** The edges between the bands from top to bottom, about the middle. */
export function stacked(probabilities: number[], middle: number, height: number): number[] {
  const edges = [middle - height / 2];
  for (const probability of probabilities) edges.push((edges.at(-1) ?? middle) + probability * height);
  return edges;
}

/** Widths between 0.5 and 1 for levels between -55 and -15 dBFS, each the mean of half a second about it. */
export function loudness(levelsDb: number[]): number[] {
  return levelsDb.map((_, at) => {
    const near = levelsDb.slice(Math.max(0, at - 2), at + 3);
    const mean = near.reduce((sum, level) => sum + level, 0) / near.length;
    return 0.5 + 0.5 * Math.min(1, Math.max(0, (mean + 55) / 40));
  });
}

/** Narrower towards the beginning, and towards the end if there is one, like the ends of a ribbon. */
export function rounded(widths: number[], ended: boolean): number[] {
  const ramp = [0.55, 0.85, 0.97];
  return widths.map((width, at) => {
    const before = ramp[at] ?? 1;
    const after = ended ? (ramp[widths.length - 1 - at] ?? 1) : 1;
    return width * Math.min(before, after);
  });
}

/** Write a band's word into it where it is thickest, if it is thick and long enough there. */
function name(
  canvas: CanvasRenderingContext2D,
  look: Look,
  label: string,
  index: number,
  xs: number[],
  edges: number[][],
): void {
  const thickness = edges.map((edge) => (edge[index + 1] ?? 0) - (edge[index] ?? 0));
  canvas.font = `600 12px ${look.fontFamily}`;
  const half = canvas.measureText(label).width / 2 + 3;
  let best = -1;
  thickness.forEach((value, at) => {
    const centre = xs[at] ?? 0;
    const fits = xs.every(
      (other, k) => Math.abs(other - centre) > half || covers(edges[k], edges[at], index),
    );
    const inside = centre - half >= Math.max(0, xs[0] ?? 0) && centre + half <= (xs.at(-1) ?? 0);
    if (fits && inside && value >= MIN_WRITTEN && value > (thickness[best] ?? 0)) best = at;
  });
  if (best < 0) return;
  const centre = ((edges[best]?.[index] ?? 0) + (edges[best]?.[index + 1] ?? 0)) / 2;
  canvas.fillStyle = readableOn(look.colours[index] ?? look.muted);
  canvas.textBaseline = "middle";
  canvas.fillText(label, (xs[best] ?? 0) - half + 3, centre + 0.5);
}

/** Whether the band, at another moment, still surrounds a line of text at the middle of this one. */
function covers(other: number[] | undefined, here: number[] | undefined, index: number): boolean {
  const centre = ((here?.[index] ?? 0) + (here?.[index + 1] ?? 0)) / 2;
  return (other?.[index] ?? 0) <= centre - 6 && (other?.[index + 1] ?? 0) >= centre + 6;
}
