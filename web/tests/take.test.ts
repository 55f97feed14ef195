import { describe, expect, it } from "vitest";

import type { Side } from "../src/lib/conversation";
import { hearsWaveform } from "../src/lib/features";
import type { RecognizerCard, Segment, Update } from "../src/lib/protocol";
import { Take, overall } from "../src/lib/take.svelte";

const side = {
  card: { hop_s: 0.01, labels: ["happy", "sad"], recipe: {} },
  place: "server",
  voiceUrl: "",
} as unknown as Side;

function update(time_s: number, segment: number | null = null): Update {
  return {
    type: "update",
    time_s,
    num_samples: Math.round(16_000 * time_s),
    speech: segment !== null,
    speech_probability: 0,
    level_db: -60,
    posterior: null,
    raw_posterior: null,
    label: null,
    uncertain: false,
    segment,
    segment_start_s: segment === null ? null : time_s - 0.1,
    features: { start_s: time_s - 0.02, frame_s: 0.01, values: [[time_s], [time_s]] },
  };
}

function segment(index: number, start_s: number, end_s: number, posterior = [1, 0]): Segment {
  return { type: "segment", index, start_s, end_s, label: "happy", posterior, uncertain: false };
}

describe("a take", () => {
  it("tells a recogniser that hears the sound as it is from one that is given features", () => {
    const hears = (features: object): boolean =>
      hearsWaveform({ recipe: { frontend: { features } } } as unknown as RecognizerCard);
    expect([hears({ waveform: {} }), hears({ mfcc: {} }), hears({})]).toEqual([true, false, false]);
  });

  it("goes on in time and in its count of passages when a conversation takes the place of a lost one", () => {
    const take = new Take(side);
    take.receive(update(0.1, 0));
    take.receive(segment(0, 0, 0.1));
    take.pause();
    take.goOnFrom(5);
    take.receive(update(0.1, 0));
    take.receive(segment(0, 0, 0.1));
    expect(
      take.updates.map(({ time_s, segment, segment_start_s }) => [time_s, segment, segment_start_s]),
    ).toEqual([
      [0.1, 0, 0],
      [5.1, 1, 5],
    ]);
    expect(take.segments.map(({ index, start_s, end_s }) => [index, start_s, end_s])).toEqual([
      [0, 0, 0.1],
      [1, 5, 5.1],
    ]);
    expect(
      [take.features.columns[8]?.[0], take.features.columns[508]?.[0]].map((value) => value?.toFixed(1)),
    ).toEqual(["0.1", "0.1"]);
    expect(take.numFrames).toBe(4);
  });

  it("finds the update in force at a moment", () => {
    const take = new Take(side);
    [0.1, 0.2, 0.3].forEach((time_s) => take.receive(update(time_s)));
    expect([0, 0.1, 0.15, 0.3, 9].map((at) => take.at(at)?.time_s)).toEqual([0.1, 0.1, 0.2, 0.3, undefined]);
  });
});

describe("what passages say together", () => {
  it("is their mean, weighted by how long they last", () => {
    expect(overall([segment(0, 0, 3, [1, 0]), segment(1, 5, 6, [0, 1])])).toEqual([0.75, 0.25]);
    expect(overall([])).toBeNull();
  });
});
