/** The timeline as a picture of its own, with a title and a legend, in the colours that the page has now. */

import { shape } from "../emotions";
import { PEAK_S } from "../recording.svelte";
import type { Recording } from "../recording.svelte";
import type { Take } from "../take.svelte";
import { look } from "./look";
import { layout } from "./scene";
import type { Look, Scene } from "./scene";
import { draw } from "./timeline";

const WIDTH = 1200;
const MARGIN = 24;
const HEAD = 64;
const DENSITY = 2;

export async function picture(
  element: Element,
  recording: Recording,
  take: Take,
  corrected: ReadonlyMap<number, string>,
): Promise<Blob> {
  const heights = { wave: 96, heat: 104, stream: 200 };
  const canvas = new OffscreenCanvas(DENSITY * WIDTH, DENSITY * (layout(heights).height + HEAD + 2 * MARGIN));
  const context = canvas.getContext("2d") as unknown as CanvasRenderingContext2D | null;
  if (!context) throw new Error("this browser cannot draw a picture");
  const colours = look(element, take.labels);
  context.scale(DENSITY, DENSITY);
  context.fillStyle = colours.paper;
  context.fillRect(0, 0, WIDTH, canvas.height);
  drawHead(
    context,
    colours,
    `${recording.name || "Microphone"} as heard by ${take.side.card.name}`,
    take.labels,
  );
  context.translate(MARGIN, MARGIN + HEAD);
  const scene: Scene = {
    width: WIDTH - 2 * MARGIN,
    fromS: 0,
    toS: Math.max(recording.durationS, 1),
    labels: take.labels,
    updates: take.updates,
    segments: take.segments,
    corrected,
    features: take.features,
    peaks: recording.peaks,
    peakS: PEAK_S,
    playheadS: null,
    heights,
  };
  // A picture keeps what a page clears, so the timeline is drawn over the paper.
  context.clearRect = () => undefined;
  draw(context, scene, colours);
  return canvas.convertToBlob({ type: "image/png" });
}

function drawHead(canvas: CanvasRenderingContext2D, colours: Look, title: string, labels: string[]): void {
  canvas.textBaseline = "alphabetic";
  canvas.fillStyle = colours.ink;
  canvas.font = `600 18px ${colours.fontFamily}`;
  canvas.fillText(title, MARGIN, MARGIN + 16, WIDTH - 2 * MARGIN);
  canvas.font = `13px ${colours.fontFamily}`;
  let left = MARGIN;
  labels.forEach((label, index) => {
    canvas.save();
    canvas.translate(left, MARGIN + 30);
    canvas.fillStyle = colours.colours[index] ?? colours.muted;
    canvas.fill(new Path2D(shape(label, index)));
    canvas.restore();
    canvas.fillStyle = colours.muted;
    canvas.fillText(label, left + 22, MARGIN + 43);
    left += 46 + canvas.measureText(label).width;
  });
}
