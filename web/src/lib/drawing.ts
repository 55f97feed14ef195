/** Drawing the timeline: a waveform, one lane for each label, a time axis; nothing here knows Svelte. */

import { clock, tickStep } from "./format";
import type { Segment, Update } from "./protocol";

export interface Look {
  ink: string;
  muted: string;
  faint: string;
  rule: string;
  speech: string;
  font: string;
  colours: string[];
}

export interface Scene {
  width: number;
  waveHeight: number;
  laneHeight: number;
  axisHeight: number;
  /** The seconds at the left and right edges. */
  fromS: number;
  toS: number;
  labels: string[];
  /** Write each label into its lane, where no column beside the lanes names it. */
  labelled: boolean;
  updates: Update[];
  segments: Segment[];
  peaks: number[];
  peakS: number;
  playheadS: number | null;
}

export function height(scene: Scene): number {
  return scene.waveHeight + scene.labels.length * scene.laneHeight + scene.axisHeight;
}

/** The part of the recording that is shown: its last `windowS` seconds, or all of a finished one. */
export function span(durationS: number, live: boolean, windowS: number): [number, number] {
  if (!live) return [0, Math.max(durationS, 1)];
  return durationS <= windowS ? [0, windowS] : [durationS - windowS, durationS];
}

export function draw(canvas: CanvasRenderingContext2D, scene: Scene, look: Look): void {
  const x = (seconds: number): number => ((seconds - scene.fromS) / (scene.toS - scene.fromS)) * scene.width;
  canvas.clearRect(0, 0, scene.width, height(scene));
  const shown = scene.updates.filter((u) => u.time_s >= scene.fromS - 1 && u.time_s <= scene.toS + 1);
  const spoken = speech(shown, scene.segments);
  drawSpeech(canvas, scene, look, spoken, x);
  drawWave(canvas, scene, look, spoken, x);
  scene.labels.forEach((label, index) => drawLane(canvas, scene, look, shown, x, label, index));
  drawAxis(canvas, scene, look, x);
  if (scene.playheadS !== null) {
    canvas.fillStyle = look.ink;
    canvas.fillRect(Math.round(x(scene.playheadS)), 0, 1.5, height(scene) - scene.axisHeight);
  }
}

/** The time between two updates. */
const TICK_S = 0.1;

type Scale = (seconds: number) => number;
type Span = [fromS: number, toS: number];

/** Runs of consecutive updates for which `test` holds, as index pairs [first, last]. */
export function runs(updates: Update[], test: (update: Update) => boolean): [number, number][] {
  const found: [number, number][] = [];
  updates.forEach((update, index) => {
    if (!test(update)) return;
    const open = found.at(-1);
    if (open && open[1] === index - 1) open[1] = index;
    else found.push([index, index]);
  });
  return found;
}

/** From when to when someone speaks: the segments, and what is open still by the updates that say so. */
export function speech(updates: Update[], segments: Segment[]): Span[] {
  const ended = new Set(segments.map((segment) => segment.index));
  const open = runs(updates, ({ segment }) => segment !== null && !ended.has(segment));
  return [
    ...segments.map((segment): Span => [segment.start_s, segment.end_s]),
    ...open.map(([first, last]): Span => [timeAt(updates, first - 1), timeAt(updates, last)]),
  ];
}

/** Whether an update claims an emotion; what came after its segment had ended was a pause that became silence. */
export function claims(update: Update, segments: Segment[]): boolean {
  if (update.posterior === null) return false;
  const segment = segments.find(({ index }) => index === update.segment);
  return segment === undefined || update.time_s <= segment.end_s + TICK_S / 2;
}

/** A tint behind everything where someone speaks; silence stays bare. */
function drawSpeech(
  canvas: CanvasRenderingContext2D,
  scene: Scene,
  look: Look,
  spoken: Span[],
  x: Scale,
): void {
  canvas.fillStyle = look.speech;
  for (const [from, to] of spoken) {
    canvas.fillRect(x(from), 0, x(to) - x(from), height(scene) - scene.axisHeight);
  }
}

/** An update speaks for the tick that ends with it. */
function timeAt(updates: Update[], index: number): number {
  return updates[index]?.time_s ?? Math.max(0, (updates[0]?.time_s ?? 0) - TICK_S);
}

function drawWave(
  canvas: CanvasRenderingContext2D,
  scene: Scene,
  look: Look,
  spoken: Span[],
  x: Scale,
): void {
  const middle = scene.waveHeight / 2;
  canvas.fillStyle = look.rule;
  canvas.fillRect(0, Math.round(middle), scene.width, 1);
  const perPixel = (scene.toS - scene.fromS) / scene.width / scene.peakS;
  const step = Math.max(2, Math.ceil(x(scene.fromS + scene.peakS)));
  const inked = spoken.map(([from, to]): Span => [x(from) - step, x(to)]);
  for (let left = 0; left < scene.width; left += step) {
    const first = Math.floor(scene.fromS / scene.peakS + left * perPixel);
    const last = Math.max(first + 1, Math.floor(scene.fromS / scene.peakS + (left + step) * perPixel));
    let peak = 0;
    for (let index = first; index < last; index += 1) peak = Math.max(peak, scene.peaks[index] ?? 0);
    if (peak === 0) continue;
    // A square root lets a quiet voice be seen beside a loud one.
    const half = Math.max(0.75, Math.sqrt(Math.min(1, peak)) * (middle - 2));
    canvas.fillStyle = inked.some(([from, to]) => left > from && left < to) ? look.ink : look.faint;
    canvas.fillRect(left, middle - half, Math.max(1, step - 1), 2 * half);
  }
}

function drawLane(
  canvas: CanvasRenderingContext2D,
  scene: Scene,
  look: Look,
  shown: Update[],
  x: Scale,
  label: string,
  index: number,
): void {
  const bottom = scene.waveHeight + (index + 1) * scene.laneHeight;
  const reach = scene.laneHeight - 6;
  canvas.fillStyle = look.rule;
  canvas.fillRect(0, bottom - 1, scene.width, 1);
  canvas.fillStyle = look.colours[index] ?? look.ink;
  for (const [first, last] of runs(shown, (update) => claims(update, scene.segments))) {
    canvas.beginPath();
    canvas.moveTo(x(timeAt(shown, first - 1)), bottom - 1);
    for (let at = first; at <= last; at += 1) {
      const probability = shown[at]?.posterior?.[index] ?? 0;
      if (at === first) canvas.lineTo(x(timeAt(shown, first - 1)), bottom - 1 - probability * reach);
      canvas.lineTo(x(timeAt(shown, at)), bottom - 1 - probability * reach);
    }
    canvas.lineTo(x(timeAt(shown, last)), bottom - 1);
    canvas.closePath();
    canvas.fill();
  }
  if (scene.labelled) {
    canvas.font = look.font;
    canvas.fillStyle = look.ink;
    canvas.fillText(label, 2, bottom - scene.laneHeight + 13);
  }
}

function drawAxis(canvas: CanvasRenderingContext2D, scene: Scene, look: Look, x: Scale): void {
  const step = tickStep(scene.toS - scene.fromS, scene.width);
  const top = height(scene) - scene.axisHeight;
  canvas.font = look.font;
  for (let at = Math.ceil(scene.fromS / step) * step; at <= scene.toS; at += step) {
    const text = clock(at, step < 1 ? 1 : 0);
    const width = canvas.measureText(text).width;
    canvas.fillStyle = look.rule;
    canvas.fillRect(Math.round(x(at)), top, 1, 5);
    canvas.fillStyle = look.muted;
    canvas.fillText(text, Math.max(0, Math.min(scene.width - width, x(at) - width / 2)), top + 18);
  }
}
