/** A bar for each passage of speech, in its emotion's colour, with its shape and, where there is room, its word. */

import { shape } from "../emotions";
import { PASSAGES_HEIGHT, scale } from "./scene";
import type { Look, Scene } from "./scene";

export function drawPassages(canvas: CanvasRenderingContext2D, scene: Scene, look: Look, top: number): void {
  const x = scale(scene);
  for (const segment of scene.segments) {
    const label = scene.corrected.get(segment.index) ?? segment.label;
    const index = scene.labels.indexOf(label);
    const left = x(segment.start_s);
    const width = Math.max(2, x(segment.end_s) - left - 1);
    canvas.fillStyle = look.colours[index] ?? look.muted;
    canvas.beginPath();
    canvas.roundRect(left, top + 3, width, PASSAGES_HEIGHT - 6, Math.min(6, width / 2));
    canvas.fill();
    write(canvas, look, label, index, left, width, top);
  }
  drawOpen(canvas, scene, look, top);
}

/** The passage that is going on: a bar that is open to the right, in the colour of what is heard right now. */
function drawOpen(canvas: CanvasRenderingContext2D, scene: Scene, look: Look, top: number): void {
  const newest = scene.updates.at(-1);
  if (!newest || newest.segment === null || newest.segment_start_s === null) return;
  if (scene.segments.some(({ index }) => index === newest.segment)) return;
  const x = scale(scene);
  const left = x(newest.segment_start_s);
  const width = x(newest.time_s) - left;
  const index = scene.labels.indexOf(newest.label ?? "");
  const colour = look.colours[index] ?? look.muted;
  canvas.strokeStyle = canvas.fillStyle = colour;
  canvas.lineWidth = 2;
  canvas.beginPath();
  canvas.moveTo(left + width, top + 4);
  canvas.lineTo(left + 5, top + 4);
  canvas.quadraticCurveTo(left + 1, top + 4, left + 1, top + 9);
  canvas.lineTo(left + 1, top + PASSAGES_HEIGHT - 9);
  canvas.quadraticCurveTo(left + 1, top + PASSAGES_HEIGHT - 4, left + 5, top + PASSAGES_HEIGHT - 4);
  canvas.lineTo(left + width, top + PASSAGES_HEIGHT - 4);
  canvas.stroke();
  if (newest.label !== null) write(canvas, look, newest.label, index, left, width, top, look.ink);
}

function write(
  canvas: CanvasRenderingContext2D,
  look: Look,
  label: string,
  index: number,
  left: number,
  width: number,
  top: number,
  colour = readableOn(look.colours[index] ?? look.muted),
): void {
  if (width < 20) return;
  canvas.fillStyle = colour;
  canvas.save();
  canvas.translate(left + 5, top + PASSAGES_HEIGHT / 2 - 6);
  canvas.scale(0.75, 0.75);
  canvas.fill(new Path2D(shape(label, index)));
  canvas.restore();
  canvas.font = `600 12px ${look.fontFamily}`;
  canvas.textBaseline = "middle";
  if (canvas.measureText(label).width + 26 <= width) {
    canvas.fillText(label, left + 21, top + PASSAGES_HEIGHT / 2 + 0.5);
  }
}

/** Black or white, whichever stands out more from a colour "#rrggbb" (WCAG 2.2, relative luminance). */
export function readableOn(colour: string): string {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const value = parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000000" : "#ffffff";
}
