/** What the user says passages express, in place of the recogniser; it stays in the page until it is downloaded or saved. */

import { stem, table } from "./exports";
import type { Segment } from "./protocol";
import type { Recording } from "./recording.svelte";
import type { Take } from "./take.svelte";
import { wav } from "./wav";
import type { Entry } from "./zip";

export interface Correction {
  /** The passage's place among all corrections: which take, which segment. */
  take: Take;
  recording: Recording;
  segment: Segment;
  source: string;
  emotion: string;
}

export class Corrections {
  list = $state.raw<Correction[]>([]);

  /** The corrected labels of one take, by the index of the segment. */
  of(take: Take | undefined): ReadonlyMap<number, string> {
    return new Map(
      this.list.filter((each) => each.take === take).map(({ segment, emotion }) => [segment.index, emotion]),
    );
  }

  /** The recogniser's own label takes a correction back, unless `confirm` says that it was found right. */
  set(recording: Recording, take: Take, segment: Segment, emotion: string, confirm = false): void {
    const others = this.list.filter((each) => each.take !== take || each.segment.index !== segment.index);
    const source = recording.name || "microphone";
    const added = emotion === segment.label && !confirm ? [] : [{ recording, take, segment, source, emotion }];
    this.list = [...others, ...added];
  }

  clear(): void {
    this.list = [];
  }
}

/** A little sound is kept around each passage, so that no syllable is cut. */
const MARGIN_S = 0.1;

/** The table that `vocaffect train` and `vocaffect data prepare` take, and the clips that it names. */
export function manifest(list: Correction[], speaker: string): { csv: string; clips: Entry[] } {
  const clips: Entry[] = [];
  const rows = list.map(({ recording, segment, source, emotion }, index) => {
    const path = `clips/${stem(source)}-${String(index + 1).padStart(3, "0")}.wav`;
    const { sound } = recording;
    if (sound) {
      const samples = sound.between(segment.start_s - MARGIN_S, segment.end_s + MARGIN_S);
      clips.push({ name: path, bytes: new Uint8Array(wav(samples, sound.sampleRate)) });
    }
    return [path, emotion, speaker, segment.label, source, segment.start_s.toFixed(3), segment.end_s.toFixed(3)];
  });
  const head = ["path", "emotion", "speaker", "recognised", "source", "start_s", "end_s"];
  return { csv: table([head, ...rows]), clips };
}
