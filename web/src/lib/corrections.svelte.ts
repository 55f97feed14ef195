/** What the user says passages express, in place of the recogniser; it stays in the page until it is downloaded or saved. */

import type { Archive } from "./archive.svelte";
import { stem, table } from "./exports";
import type { Segment } from "./protocol";
import type { Recording } from "./recording.svelte";
import type { Sound } from "./sound";
import type { Take } from "./take.svelte";
import { wav } from "./wav";
import type { Entry } from "./zip";

export interface Correction {
  take: Take;
  segment: Segment;
  /** That of its recording; null where the page itself never had the samples. */
  sound: Sound | null;
  source: string;
  emotion: string;
}

export class Corrections {
  list = $state.raw<Correction[]>([]);

  constructor(readonly archive: Archive) {}

  /** The corrected labels of one take, by the index of the segment. */
  of(take: Take | undefined): ReadonlyMap<number, string> {
    return new Map(
      this.list.filter((each) => each.take === take).map(({ segment, emotion }) => [segment.index, emotion]),
    );
  }

  /** The recogniser's own label confirms what it said; null takes back what the user has said. */
  set(recording: Recording, take: Take, segment: Segment, emotion: string | null): void {
    const { name, sound } = recording;
    const others = this.list.filter((each) => each.take !== take || each.segment.index !== segment.index);
    const added = emotion === null ? [] : [{ take, segment, sound, source: name || "microphone", emotion }];
    this.list = [...others, ...added];
    void this.archive.correct(take, segment.index, emotion);
  }

  takeBack(correction: Correction): void {
    this.list = this.list.filter((each) => each !== correction);
    void this.archive.correct(correction.take, correction.segment.index, null);
  }
}

/** A little sound is kept around each passage, so that no syllable is cut. */
const MARGIN_S = 0.1;

/** The table that `vocaffect train` and `vocaffect data prepare` take, and the clips that it names. */
export function manifest(list: Correction[], speaker: string): { csv: string; clips: Entry[] } {
  const clips: Entry[] = [];
  const rows = list.map(({ sound, segment, source, emotion }, index) => {
    const path = `clips/${stem(source)}-${String(index + 1).padStart(3, "0")}.wav`;
    if (sound) {
      const samples = sound.between(segment.start_s - MARGIN_S, segment.end_s + MARGIN_S);
      clips.push({ name: path, bytes: new Uint8Array(wav(samples, sound.sampleRate)) });
    }
    return [
      path,
      emotion,
      speaker,
      segment.label,
      source,
      segment.start_s.toFixed(3),
      segment.end_s.toFixed(3),
    ];
  });
  const head = ["path", "emotion", "speaker", "recognised", "source", "start_s", "end_s"];
  return { csv: table([head, ...rows]), clips };
}
