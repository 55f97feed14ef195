import { describe, expect, it } from "vitest";

import { manifest } from "../src/lib/corrections.svelte";
import { asAudacity, asCsv, asJson, stem } from "../src/lib/exports";
import type { Result } from "../src/lib/exports";
import type { Segment } from "../src/lib/protocol";
import { Sound } from "../src/lib/sound";
import type { Take } from "../src/lib/take.svelte";
import { wav } from "../src/lib/wav";
import { crc32, zip } from "../src/lib/zip";

const segment: Segment = {
  type: "segment",
  index: 0,
  start_s: 0.5,
  end_s: 1.25,
  label: "happy",
  posterior: [0.75, 0.25],
  uncertain: false,
};

const result: Result = {
  source: "a, b.wav",
  recognizer: "live",
  digest: "sha256:0",
  place: "device",
  labels: ["happy", "sad"],
  duration_s: 2,
  segments: [segment],
  corrected: new Map([[0, "sad"]]),
  updates: [],
};

describe("exports", () => {
  it("write a row for each passage", () => {
    expect(asCsv(result)).toBe(
      "passage,start_s,end_s,label,corrected,p_happy,p_sad\r\n1,0.500,1.250,happy,sad,0.75000,0.25000\r\n",
    );
  });

  it("write a label track of what is right", () => {
    expect(asAudacity(result)).toBe("0.500000\t1.250000\tsad\n");
  });

  it("write all of it as JSON", () => {
    const read = JSON.parse(asJson(result)) as { segments: unknown[]; source: string };
    expect(read.source).toBe("a, b.wav");
    expect(read.segments).toEqual([
      {
        index: 0,
        start_s: 0.5,
        end_s: 1.25,
        label: "happy",
        posterior: [0.75, 0.25],
        uncertain: false,
        corrected: "sad",
      },
    ]);
  });

  it("never name a file after a path", () => {
    expect(["a/b c.wav", "..\\x.mp3", "...", "Müller 1.flac", ""].map(stem)).toEqual([
      "b-c",
      "x",
      "recording",
      "Müller-1",
      "recording",
    ]);
  });
});

describe("sound", () => {
  it("gives back what lies between two times, however it came", () => {
    const sound = new Sound(10);
    const all = Int16Array.from({ length: 40 }, (_, index) => index);
    [0, 3, 4, 19, 40].forEach((end, at, ends) => sound.push(all.slice(ends[at - 1] ?? 0, end)));
    expect([...sound.between(0.25, 0.65)]).toEqual([3, 4, 5, 6]);
    expect([...sound.between(3.75, 9)]).toEqual([38, 39]);
    expect([...sound.between(-1, 0.2)]).toEqual([0, 1]);
  });

  it("becomes a WAV file", () => {
    const view = new DataView(wav(Int16Array.of(1, -2), 16_000));
    const text = (at: number): string => String.fromCharCode(...new Uint8Array(view.buffer, at, 4));
    expect([text(0), text(8), text(36)]).toEqual(["RIFF", "WAVE", "data"]);
    expect([view.getUint32(4, true), view.getUint32(24, true), view.getUint32(40, true)]).toEqual([
      40, 16_000, 4,
    ]);
    expect([view.getInt16(44, true), view.getInt16(46, true)]).toEqual([1, -2]);
  });
});

describe("zip", () => {
  it("checks as CRC-32 does", () => {
    expect(crc32(new TextEncoder().encode("123456789"))).toBe(0xcbf43926);
  });

  it("counts its entries at its end", async () => {
    const bytes = new Uint8Array(
      await zip([
        { name: "a", bytes: Uint8Array.of(1, 2, 3) },
        { name: "b/c", bytes: new Uint8Array(0) },
      ]).arrayBuffer(),
    );
    const end = new DataView(bytes.buffer, bytes.length - 22);
    expect(end.getUint32(0, true)).toBe(0x06054b50);
    expect(end.getUint16(10, true)).toBe(2);
  });
});

describe("corrections", () => {
  it("become a table, and a clip for each row of it", () => {
    const sound = new Sound(100);
    sound.push(new Int16Array(200));
    const take = {} as Take;
    const list = [{ sound, take, segment, source: "My talk.wav", emotion: "sad" }];
    const { csv, clips } = manifest(list, "me");
    expect(csv).toBe(
      "path,emotion,speaker,recognised,source,start_s,end_s\r\n" +
        "clips/My-talk-001.wav,sad,me,happy,My talk.wav,0.500,1.250\r\n",
    );
    expect(clips.map(({ name, bytes }) => [name, bytes.length])).toEqual([
      ["clips/My-talk-001.wav", 44 + 2 * 95],
    ]);
  });
});
