import { readFileSync } from "node:fs";

import { describe, expect, it } from "vitest";

import { mix } from "../src/lib/drawing/heat";
import { readableOn } from "../src/lib/drawing/passages";
import { loudness, rounded, stacked } from "../src/lib/drawing/stream";
import { shape } from "../src/lib/emotions";
import { FeatureMap } from "../src/lib/features";

const EMOTIONS = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"];

describe("stream-graph", () => {
  it("is as wide as all emotions together, about the middle", () => {
    const edges = stacked([0.5, 0.25, 0.25], 100, 80);
    expect(edges).toEqual([60, 100, 120, 140]);
  });

  it("is wider where the voice is louder, and never gone", () => {
    expect(loudness([-100, -100, -100])).toEqual([0.5, 0.5, 0.5]);
    expect(loudness([-10, -10])).toEqual([1, 1]);
    expect(rounded([1, 1, 1, 1, 1, 1, 1], true)).toEqual([0.55, 0.85, 0.97, 1, 0.97, 0.85, 0.55]);
    expect(rounded([1, 1, 1, 1], false).at(-1)).toBe(1);
  });
});

describe("features", () => {
  it("lie where they were heard, a window's frames over those before", () => {
    const map = new FeatureMap(0.01);
    map.add([[1], [2], [3]], 0.02, 0.01);
    map.add([[7]], 0.03, 0.02);
    expect(map.columns.map((column) => column?.[0])).toEqual([undefined, undefined, 1, 7, 7]);
  });

  it("are shaded about their own mean", () => {
    const map = new FeatureMap(0.01);
    map.add(
      [
        [0, 100],
        [2, 300],
        [4, 500],
      ],
      0,
      0.01,
    );
    expect(map.shade(2, 0)).toBeCloseTo(0.5);
    expect(map.shade(300, 1)).toBeCloseTo(0.5);
    expect(map.shade(4, 0)).toBeCloseTo(map.shade(500, 1));
    expect(map.shade(1e9, 0)).toBe(1);
  });

  it("mix colours along a ramp", () => {
    expect(
      mix(
        [
          [0, 0, 0],
          [100, 0, 0],
          [100, 200, 0],
        ],
        0.75,
      ),
    ).toEqual([100, 100, 0]);
    expect(
      mix(
        [
          [0, 0, 0],
          [100, 0, 0],
        ],
        1,
      ),
    ).toEqual([100, 0, 0]);
  });
});

type Colour = [number, number, number];

/** Linear light to what an eye without one kind of cone sees (Machado, Oliveira and Fernandes 2009, severity 1). */
const EYES: Record<string, Colour[]> = {
  normal: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protan: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deutan: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritan: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};

function times(matrix: Colour[], vector: Colour): Colour {
  return matrix.map((row) => row[0] * vector[0] + row[1] * vector[1] + row[2] * vector[2]) as Colour;
}

function linear(hex: string): Colour {
  return [1, 3, 5].map((at) => {
    const value = parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as Colour;
}

/** OKLab (Ottosson 2020). */
function oklab(colour: Colour): Colour {
  const cones = times(
    [
      [0.4122214708, 0.5363325363, 0.0514459929],
      [0.2119034982, 0.6806995451, 0.1073969566],
      [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    colour.map((value) => Math.min(1, Math.max(0, value))) as Colour,
  );
  return times(
    [
      [0.2104542553, 0.793617785, -0.0040720468],
      [1.9779984951, -2.428592205, 0.4505937099],
      [0.0259040371, 0.7827717662, -0.808675766],
    ],
    cones.map(Math.cbrt) as Colour,
  );
}

function luminance(hex: string): number {
  const [red, green, blue] = linear(hex);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

describe.each(["light", "dark"])("the %s palette", (theme) => {
  const css = readFileSync(new URL("../src/app.css", import.meta.url), "utf8");
  const part = css.split("@media (prefers-color-scheme: dark)")[theme === "light" ? 0 : 1] ?? "";
  const named = (name: string): string => new RegExp(`--${name}: (#\\w{6})`).exec(part)?.[1] ?? "";
  const colours = EMOTIONS.map((emotion) => named(`emotion-${emotion}`));

  it.each(Object.keys(EYES))("keeps emotions apart for a %s eye", (eye) => {
    const seen = colours.map((colour) => oklab(times(EYES[eye] as Colour[], linear(colour))));
    const distances = seen.flatMap((one, at) =>
      seen.slice(at + 1).map((other) => Math.hypot(...one.map((v, k) => v - (other[k] ?? 0)))),
    );
    expect(Math.min(...distances)).toBeGreaterThan(0.1);
  });

  it("stands out from its ground (WCAG 2.2, 1.4.11)", () => {
    const ground = luminance(named("card"));
    for (const colour of colours) {
      const [low = 0, high = 0] = [ground, luminance(colour)].sort((a, b) => a - b);
      expect((high + 0.05) / (low + 0.05), colour).toBeGreaterThanOrEqual(3);
    }
  });

  it("lets words be read on it (WCAG 2.2, 1.4.3)", () => {
    for (const colour of colours) {
      const [low = 0, high = 0] = [luminance(readableOn(colour)), luminance(colour)].sort((a, b) => a - b);
      expect((high + 0.05) / (low + 0.05), colour).toBeGreaterThanOrEqual(4.5);
    }
  });
});

it("every emotion has a shape of its own, and so have the first eight unknown words", () => {
  expect(new Set(EMOTIONS.map((emotion, index) => shape(emotion, index))).size).toBe(8);
  expect(new Set(EMOTIONS.map((_, index) => shape("unheard-of", index))).size).toBe(8);
});
