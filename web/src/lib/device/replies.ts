/** What a stream on this device says, as the protocol's messages: the twin of `vocaffect.server.views`. */

import type { Heard } from "../conversation";
import type { Segment, Summary, Update } from "../protocol";
import type { Card } from "./card";
import type { EndedSegment, StreamUpdate } from "./stream";
import { SAMPLE_RATE } from "./units";

export class Replies {
  #segments: Segment[] = [];
  #durationS = 0;

  constructor(private readonly card: Card) {}

  of(updates: StreamUpdate[]): Heard[] {
    return updates.flatMap((update) => {
      this.#durationS = update.timeS;
      const ended = update.ended && this.#segment(update.ended);
      if (ended) this.#segments.push(ended);
      return ended ? [this.#update(update), ended] : [this.#update(update)];
    });
  }

  summary(): Summary {
    return {
      type: "summary",
      recognizer: this.card.name,
      duration_s: this.#durationS,
      speech_s: this.#segments.reduce((sum, { start_s, end_s }) => sum + end_s - start_s, 0),
      segments: this.#segments,
    };
  }

  #update(update: StreamUpdate): Update {
    const frameS =
      this.card.window_s === null ? this.card.hop / SAMPLE_RATE : this.card.window_s / update.features.length;
    const values = update.features.map((row) => [...row]);
    return {
      type: "update",
      time_s: update.timeS,
      num_samples: Math.round(update.timeS * SAMPLE_RATE),
      speech: update.speech,
      speech_probability: update.speechProbability,
      level_db: update.levelDb,
      posterior: update.posterior && [...update.posterior],
      raw_posterior: update.rawPosterior && [...update.rawPosterior],
      label: update.label,
      uncertain: update.uncertain,
      segment: update.segment,
      segment_start_s: update.segmentStartS,
      features:
        values.length > 0
          ? { start_s: update.featuresEndS - values.length * frameS, frame_s: frameS, values }
          : null,
    };
  }

  #segment(ended: EndedSegment): Segment {
    return {
      type: "segment",
      index: ended.index,
      start_s: ended.startS,
      end_s: ended.endS,
      label: ended.label,
      posterior: [...ended.posterior],
      uncertain: ended.uncertain,
    };
  }
}
