/** Drawing the timeline: waveform, passages, features, the stream of emotions, and a time axis. */

import { clock, tickStep } from "../format";
import { drawHeat } from "./heat";
import { drawPassages } from "./passages";
import { layout, scale, speech } from "./scene";
import type { Look, Scene, Span } from "./scene";
import { drawStream } from "./stream";

export function draw(canvas: CanvasRenderingContext2D, scene: Scene, look: Look): void {
  const { height, axis, wave, passages, heat, stream } = layout(scene.heights);
  canvas.clearRect(0, 0, scene.width, height);
  const shown = {
    ...scene,
    updates: scene.updates.filter((u) => u.time_s >= scene.fromS - 1 && u.time_s <= scene.toS + 1),
    segments: scene.segments.filter((s) => s.end_s >= scene.fromS - 1 && s.start_s <= scene.toS + 1),
  };
  const spoken = speech(shown.updates, scene.segments);
  drawSpeech(canvas, shown, look, spoken, axis);
  if (scene.heights.wave > 0) drawWave(canvas, shown, look, spoken, wave);
  drawPassages(canvas, shown, look, passages);
  drawHeat(canvas, shown, look, heat);
  drawStream(canvas, shown, look, stream);
  drawAxis(canvas, shown, look, axis);
  if (scene.playheadS !== null) {
    canvas.fillStyle = look.ink;
    canvas.fillRect(Math.round(scale(scene)(scene.playheadS)) - 0.75, 0, 1.5, axis);
  }
}

/** A tint behind everything where someone speaks; silence stays bare. */
function drawSpeech(
  canvas: CanvasRenderingContext2D,
  scene: Scene,
  look: Look,
  spoken: Span[],
  bottom: number,
): void {
  const x = scale(scene);
  canvas.fillStyle = look.speech;
  for (const [from, to] of spoken) canvas.fillRect(x(from), 0, x(to) - x(from), bottom);
}

function drawWave(
  canvas: CanvasRenderingContext2D,
  scene: Scene,
  look: Look,
  spoken: Span[],
  top: number,
): void {
  const x = scale(scene);
  const middle = top + scene.heights.wave / 2;
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
    const half = Math.max(0.75, Math.sqrt(Math.min(1, peak)) * (scene.heights.wave / 2 - 2));
    canvas.fillStyle = inked.some(([from, to]) => left > from && left < to) ? look.ink : look.faint;
    canvas.fillRect(left, middle - half, Math.max(1, step - 1), 2 * half);
  }
}

function drawAxis(canvas: CanvasRenderingContext2D, scene: Scene, look: Look, top: number): void {
  const x = scale(scene);
  const step = tickStep(scene.toS - scene.fromS, scene.width);
  canvas.fillStyle = look.rule;
  canvas.fillRect(0, top, scene.width, 1);
  canvas.font = `12px ${look.fontFamily}`;
  canvas.textBaseline = "alphabetic";
  for (let at = Math.ceil(scene.fromS / step) * step; at <= scene.toS; at += step) {
    const text = clock(at, step < 1 ? 1 : 0);
    const width = canvas.measureText(text).width;
    canvas.fillStyle = look.rule;
    canvas.fillRect(Math.round(x(at)), top, 1, 5);
    canvas.fillStyle = look.muted;
    canvas.fillText(text, Math.max(0, Math.min(scene.width - width, x(at) - width / 2)), top + 18);
  }
}
