/** The features that the recogniser saw, as a heat-map: time to the right, the first feature at the bottom. */

import type { Look, Scene } from "./scene";

export function drawHeat(canvas: CanvasRenderingContext2D, scene: Scene, look: Look, top: number): void {
  const { features, width, heights } = scene;
  const rows = features.numFeatures;
  const across = Math.round(width);
  if (rows === 0 || across === 0) return;
  const image = new ImageData(across, rows);
  const hopsPerPixel = (scene.toS - scene.fromS) / across / features.hopS;
  const first = scene.fromS / features.hopS;
  for (let x = 0; x < across; x += 1) {
    const column = features.columns[Math.floor(first + (x + 0.5) * hopsPerPixel)];
    if (!column) continue;
    for (let k = 0; k < rows; k += 1) {
      const colour = mix(look.heat, features.shade(column[k] ?? 0, k));
      image.data.set([...colour, 255], 4 * ((rows - 1 - k) * across + x));
    }
  }
  const picture = new OffscreenCanvas(across, rows);
  picture.getContext("2d")?.putImageData(image, 0, 0);
  canvas.imageSmoothingEnabled = false;
  canvas.drawImage(picture, 0, top, width, heights.heat);
}

/** The colour at a place between 0 and 1 on a ramp. */
export function mix(ramp: [number, number, number][], at: number): [number, number, number] {
  const place = at * (ramp.length - 1);
  const low = ramp[Math.floor(place)] ?? [0, 0, 0];
  const high = ramp[Math.min(ramp.length - 1, Math.floor(place) + 1)] ?? low;
  const part = place - Math.floor(place);
  return [0, 1, 2].map((k) => (low[k] ?? 0) + part * ((high[k] ?? 0) - (low[k] ?? 0))) as [
    number,
    number,
    number,
  ];
}
