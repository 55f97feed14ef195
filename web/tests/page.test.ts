import { describe, expect, it } from "vitest";

import { claims, closer, runs, span, speech } from "../src/lib/drawing/scene";
import { clock, tickStep } from "../src/lib/format";
import type { Segment, Update } from "../src/lib/protocol";
import { reading } from "../src/lib/reading";
import { LatencyMeter, PeakMeter, littleEndian, toInt16 } from "../src/lib/samples";

const LABELS = ["happy", "sad"];

function update(fields: Partial<Update>): Update {
  return {
    type: "update",
    time_s: 0.1,
    num_samples: 1600,
    speech: false,
    speech_probability: 0,
    level_db: -60,
    posterior: null,
    raw_posterior: null,
    label: null,
    uncertain: false,
    segment: null,
    segment_start_s: null,
    features: null,
    ...fields,
  };
}

describe("samples", () => {
  it("become little-endian int16, and never wrap around", () => {
    const bytes = new Uint8Array(littleEndian(toInt16(Float32Array.of(0, 0.5, -1, 1, 2, -2))));
    expect([...bytes]).toEqual([0, 0, 0, 0x40, 0, 0x80, 0xff, 0x7f, 0xff, 0x7f, 0, 0x80]);
  });

  it("give the same peaks however they are cut", () => {
    const samples = Float32Array.from({ length: 1000 }, (_, index) => Math.sin(index * index));
    const whole = new PeakMeter(32).push(samples);
    const meter = new PeakMeter(32);
    const pieces = [0, 1, 7, 100, 333].flatMap((start, at, starts) =>
      meter.push(samples.subarray(start, starts[at + 1] ?? 1000)),
    );
    expect(pieces).toEqual(whole);
    expect(whole).toHaveLength(Math.floor(1000 / 32));
  });
});

describe("latency", () => {
  it("is the median from the hand-over of a sample to the update that heard it", () => {
    const meter = new LatencyMeter();
    expect(meter.medianMs).toBeNull();
    [0.05, 0.1, 0.15, 0.2, 0.25, 0.3].forEach((endS, index) => meter.handed(endS, 1000 + 50 * index));
    meter.answered(0.1, 1050 + 20);
    meter.answered(0.2, 1150 + 90);
    meter.answered(0.3, 1250 + 30);
    expect(meter.medianMs).toBe(30);
  });
});

describe("reading", () => {
  it("shows silence as silence, whatever else the update holds", () => {
    const silent = update({ posterior: [0.9, 0.1], label: "happy" });
    expect(reading("listening", silent, null, null, LABELS)).toMatchObject({
      word: "Silence",
      label: null,
      posterior: null,
    });
  });

  it("claims no emotion before there is one", () => {
    expect(reading("listening", update({ speech: true }), null, null, LABELS)).toMatchObject({
      word: "Speech",
      label: null,
    });
  });

  it("names the emotion with its probability", () => {
    const spoken = update({ speech: true, posterior: [0.25, 0.75], label: "sad" });
    expect(reading("listening", spoken, null, null, LABELS)).toMatchObject({
      word: "Sad",
      note: "75 % likely right now",
    });
  });

  it("says which passage is going on, and for how long", () => {
    const fields = {
      time_s: 4,
      speech: true,
      posterior: [0.25, 0.75],
      label: "sad",
      segment: 2,
      segment_start_s: 1.5,
    };
    expect(reading("listening", update(fields), null, null, LABELS).note).toBe(
      "75 % likely right now, in passage 3 for 2.5 s",
    );
  });

  it("says so where it is uncertain, and between what", () => {
    const spoken = update({ speech: true, posterior: [0.45, 0.55], label: "sad", uncertain: true });
    expect(reading("listening", spoken, null, null, LABELS)).toMatchObject({
      word: "Uncertain",
      note: "Perhaps sad, perhaps happy, right now",
    });
  });

  it("says that a file without speech is silence", () => {
    expect(
      reading("done", null, { label: null, posterior: null, uncertain: false, passages: 0 }, null, LABELS)
        .word,
    ).toBe("Silence");
  });
});

describe("the whole of several passages", () => {
  const three = ["happy", "sad", "angry"];
  const whole = (posterior: number[], passages: number) =>
    reading("done", null, { label: "happy", posterior, uncertain: false, passages }, null, three);

  it("is mixed where no emotion has half of it", () => {
    expect(whole([0.4, 0.25, 0.35], 3)).toMatchObject({
      word: "Mixed",
      note: "Above all happy and angry, on average over 3 passages",
      label: null,
      posterior: [0.4, 0.25, 0.35],
    });
  });

  it("is an emotion where one has half of it, and in one passage the likeliest", () => {
    expect(whole([0.5, 0.25, 0.25], 3).word).toBe("Happy");
    expect(whole([0.4, 0.25, 0.35], 1).word).toBe("Happy");
  });
});

describe("timeline", () => {
  it("finds runs and keeps them apart", () => {
    const speech = [false, true, true, false, true];
    expect(
      runs(
        speech.map((value) => update({ speech: value })),
        (u) => u.speech,
      ),
    ).toEqual([
      [1, 2],
      [4, 4],
    ]);
  });

  it("shows a passage from its start to its end, not the pause that ended it", () => {
    const spoken = [0.5, 0.6, 0.7, 0.8].map((time_s) =>
      update({ time_s, speech: true, segment: 0, posterior: [1], label: "happy" }),
    );
    const segment: Segment = {
      type: "segment",
      index: 0,
      start_s: 0.2,
      end_s: 0.6,
      label: "happy",
      posterior: [1],
      uncertain: false,
    };
    expect(speech(spoken, [])).toEqual([[0.4, 0.8]]);
    expect(speech(spoken, [segment])).toEqual([[0.2, 0.6]]);
    expect(spoken.map((each) => claims(each, [segment]))).toEqual([true, true, false, false]);
    expect(claims(update({ time_s: 0.5 }), [])).toBe(false);
  });

  it("scrolls while live and shows all of it afterwards", () => {
    expect(span(10, true, 30)).toEqual([0, 30]);
    expect(span(45, true, 30)).toEqual([15, 45]);
    expect(span(45, false, 30)).toEqual([0, 45]);
  });

  it("shows a part about a moment, and never leaves the whole", () => {
    expect(closer([0, 80], 4, 40)).toEqual([30, 50]);
    expect(closer([0, 80], 4, 3)).toEqual([0, 20]);
    expect(closer([0, 80], 8, 79)).toEqual([70, 80]);
  });

  it("writes times as people read them", () => {
    expect([clock(0), clock(9.96), clock(59.96), clock(75.34), clock(61, 0)]).toEqual([
      "0:00.0",
      "0:10.0",
      "1:00.0",
      "1:15.3",
      "1:01",
    ]);
    expect(tickStep(30, 700)).toBe(5);
  });
});
