/** What a timeline shows and how it looks; nothing in this folder knows Svelte. */

import type { FeatureMap } from "../features";
import type { Segment, Update } from "../protocol";

export interface Look {
  paper: string;
  ink: string;
  muted: string;
  faint: string;
  rule: string;
  speech: string;
  /** From the lowest to the highest value of a feature, as red, green, blue. */
  heat: [number, number, number][];
  fontFamily: string;
  colours: string[];
}

export interface Scene {
  width: number;
  /** The seconds at the left and right edges. */
  fromS: number;
  toS: number;
  labels: string[];
  updates: Update[];
  segments: Segment[];
  /** Labels that the user has put in the place of the recogniser's, by the index of their segment. */
  corrected: ReadonlyMap<number, string>;
  features: FeatureMap;
  peaks: number[];
  peakS: number;
  playheadS: number | null;
  /** With 0 a band is left out. */
  heights: Heights;
}

export interface Heights {
  wave: number;
  heat: number;
  stream: number;
}

export const PASSAGES_HEIGHT = 30;
export const AXIS_HEIGHT = 24;
/** Between two bands, with room for a caption. */
const GAP = 24;

/** Where each band begins, from the top. */
export interface Layout {
  wave: number;
  passages: number;
  heat: number;
  stream: number;
  axis: number;
  height: number;
}

export function layout({ wave, heat, stream }: Heights): Layout {
  const waveTop = wave > 0 ? GAP - 8 : 0;
  const passages = wave > 0 ? waveTop + wave + 4 : 0;
  const heatTop = passages + PASSAGES_HEIGHT + GAP;
  const streamTop = heatTop + heat + GAP;
  const axis = streamTop + stream + 4;
  return { wave: waveTop, passages, heat: heatTop, stream: streamTop, axis, height: axis + AXIS_HEIGHT };
}

export function scale(scene: Scene): (seconds: number) => number {
  return (seconds) => ((seconds - scene.fromS) / (scene.toS - scene.fromS)) * scene.width;
}

/** The part of a recording that is shown: its last `windowS` seconds, or all of a finished one. */
export function span(durationS: number, live: boolean, windowS: number): Span {
  if (!live) return [0, Math.max(durationS, 1)];
  return durationS <= windowS ? [0, windowS] : [durationS - windowS, durationS];
}

/** A part of `whole`, so many times shorter, about a moment; it never leaves `whole`. */
export function closer(whole: Span, times: number, aboutS: number): Span {
  const length = (whole[1] - whole[0]) / times;
  const from = Math.min(Math.max(aboutS - length / 2, whole[0]), whole[1] - length);
  return [from, from + length];
}

/** The time between two updates. */
export const TICK_S = 0.1;

/** Updates on either side of a longer pause do not belong together: nothing was heard in between. */
const BREAK_S = 1.5;

/** Runs of consecutive updates for which `test` holds, as index pairs [first, last]. */
export function runs(updates: Update[], test: (update: Update) => boolean): [number, number][] {
  const found: [number, number][] = [];
  updates.forEach((update, index) => {
    if (!test(update)) return;
    const open = found.at(-1);
    const follows = update.time_s - (updates[index - 1]?.time_s ?? 0) < BREAK_S;
    if (open && open[1] === index - 1 && follows) open[1] = index;
    else found.push([index, index]);
  });
  return found;
}

export type Span = [fromS: number, toS: number];

/** From when to when someone speaks: the segments, and what is open still by the updates that say so. */
export function speech(updates: Update[], segments: Segment[]): Span[] {
  const ended = new Set(segments.map((segment) => segment.index));
  const open = runs(updates, ({ segment }) => segment !== null && !ended.has(segment));
  return [
    ...segments.map((segment): Span => [segment.start_s, segment.end_s]),
    ...open.map(([first, last]): Span => {
      const startS = updates[first]?.segment_start_s ?? timeBefore(updates, first);
      return [startS, updates[last]?.time_s ?? 0];
    }),
  ];
}

/** Whether an update claims an emotion; what came after its segment had ended was a pause that became silence. */
export function claims(update: Update, segments: Segment[]): boolean {
  if (update.posterior === null) return false;
  const segment = segments.find(({ index }) => index === update.segment);
  return segment === undefined || update.time_s <= segment.end_s + TICK_S / 2;
}

/** An update speaks for the tick that ends with it. */
export function timeBefore(updates: Update[], index: number): number {
  return Math.max(0, (updates[index]?.time_s ?? 0) - TICK_S);
}
