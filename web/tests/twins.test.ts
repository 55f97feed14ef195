/** The TypeScript twins of Python's stream and voice activity against what Python decided; see twins_from_python.py. */

import { readFileSync } from "node:fs";

import { describe, expect, it } from "vitest";

import type { Card } from "../src/lib/device/card";
import { STREAM_OPTIONS, Stream } from "../src/lib/device/stream";
import type { Networks, StreamUpdate } from "../src/lib/device/stream";
import type { Output, Work } from "../src/lib/device/utterance";
import { VOICE_OPTIONS, VoiceActivity } from "../src/lib/device/voice_activity";

interface Twins {
  voice: { probabilities: number[]; levels: number[]; states: unknown[][]; ended: number }[];
  streams: {
    name: string;
    amplitudes: number[];
    options: Record<string, number>;
    card: Partial<Card>;
    temperature: number;
    updates: unknown[][];
  }[];
}

const twins = JSON.parse(readFileSync(new URL("twins.json", import.meta.url), "utf8")) as Twins;
const NAMES: Record<string, keyof typeof STREAM_OPTIONS> = {
  max_segment_s: "maxSegmentS",
  smoothing_s: "smoothingS",
  pre_roll_s: "preRollS",
};

describe("voice activity", () => {
  it.each(twins.voice)("decides as Python does", ({ probabilities, levels, states, ended }) => {
    const machine = new VoiceActivity(VOICE_OPTIONS);
    const decided = probabilities.map((probability, index) => {
      machine.step(probability, levels[index] ?? 0);
      return [machine.phase, machine.started, machine.ended, machine.spokenUntil];
    });
    expect(decided).toEqual(states);
    machine.finish(400 * 512);
    expect(machine.ended).toBe(ended);
    expect(new Set(decided.map(([phase]) => phase)).size).toBe(4);
  });
});

describe("stream", () => {
  it.each(twins.streams)("decides as Python does, however it is cut: $name", async (twin) => {
    const card = { ...twin.card, temperature: twin.temperature } as Card;
    const changed = Object.entries(twin.options).map(([name, value]) => [NAMES[name], value]);
    const stream = new Stream(card, formulas(card), { ...STREAM_OPTIONS, ...Object.fromEntries(changed) });
    const samples = generated(twin.amplitudes);
    const updates: StreamUpdate[] = [];
    for (let at = 0, size = 1; at < samples.length; at += size, size = ((size * 7) % 5003) + 1) {
      updates.push(...(await stream.push(samples.slice(at, at + size))));
    }
    updates.push(...(await stream.finish()));
    expect(updates).toHaveLength(twin.updates.length);
    updates.map(row).forEach((found, index) => same(found, twin.updates[index], `update ${index}`));
  });
});

/** The same numbers to within 2e-5, and everything else alike. */
function same(found: unknown, wanted: unknown, where: string): void {
  if (Array.isArray(found) && Array.isArray(wanted)) {
    expect(found, where).toHaveLength(wanted.length);
    found.forEach((each, index) => same(each, wanted[index], `${where}, ${index}`));
  } else if (typeof found === "number" && typeof wanted === "number") {
    expect(Math.abs(found - wanted), where).toBeLessThan(where.endsWith(", 3") ? 0.011 : 2e-5);
  } else expect(found, where).toBe(wanted);
}

function row(update: StreamUpdate): unknown[] {
  const { ended, features } = update;
  const last = features.at(-1);
  return [
    update.timeS,
    update.speech,
    update.speechProbability,
    update.levelDb,
    update.posterior && [...update.posterior],
    update.rawPosterior && [...update.rawPosterior],
    update.label,
    update.uncertain,
    update.voiceKnown,
    update.segment,
    update.segmentStartS,
    [features.length, update.featuresEndS, last ? [...last] : null],
    ended && [ended.index, ended.startS, ended.endS, ended.label, ended.uncertain, [...ended.posterior]],
  ];
}

/** Lehmer's generator, as in Python. */
function generated(amplitudes: number[]): Float32Array {
  let state = 1;
  return Float32Array.from({ length: amplitudes.length * 6400 }, (_, index) => {
    state = (state * 48271) % 2147483647;
    return (amplitudes[Math.floor(index / 6400)] ?? 0) * ((2 * state) / 2147483647 - 1);
  });
}

/** The formulas that stand for networks in Python's script. */
function formulas(card: Card): Networks {
  return {
    hear: async (chunk, memory) => ({
      probability: Math.min(1, 4 * Math.sqrt(mean(chunk, (s) => s * s))),
      memory,
    }),
    run: async (work) => (card.streaming === "window" ? windows(card, work) : frames(card, work)),
  };
}

function mean(values: ArrayLike<number>, of: (value: number) => number): number {
  return Array.from(values, of).reduce((sum, value) => sum + value, 0) / values.length;
}

function featuresOf(samples: Float32Array, hop: number): number[][] {
  return Array.from({ length: samples.length / hop }, (_, index) => {
    const frame = samples.subarray(index * hop, (index + 1) * hop);
    return [mean(frame, Math.abs), mean(frame, (sample) => sample)];
  });
}

function frames(card: Card, { samples, state }: Work): Output {
  let sum = state["sum"]?.[0] ?? 0;
  let voice = state["voice"]?.[0] ?? 0;
  const features = featuresOf(samples, card.hop);
  const logits = features.flatMap(([loud = 0]) => {
    sum += loud;
    voice += loud;
    return [0.02 * sum, 0.3 - 0.01 * voice, loud];
  });
  const known = Float32Array.from(state["voice"] ?? []);
  known[0] = voice;
  return {
    logits: Float32Array.from(logits),
    features: Float32Array.from(features.flat()),
    numFeatures: 2,
    state: { sum: Float32Array.of(sum), voice: known },
  };
}

function windows(card: Card, { samples, rows }: Work): Output {
  const size = samples.length / rows;
  const each = Array.from({ length: rows }, (_, index) =>
    featuresOf(samples.subarray(index * size, (index + 1) * size), card.hop),
  );
  const logits = each.flatMap((features) => {
    const loud = mean(
      features.map(([first = 0]) => first),
      (value) => value,
    );
    return [loud, 0.3 - loud, features.at(-1)?.[0] ?? 0];
  });
  return {
    logits: Float32Array.from(logits),
    features: Float32Array.from(each.flat(2)),
    numFeatures: 2,
    state: {},
  };
}
