/** What one recogniser says of a recording, as it comes in. */

import type { Heard, Side } from "./conversation";
import { FeatureMap } from "./features";
import type { Segment, Update } from "./protocol";
import { LatencyMeter } from "./samples";

export class Take {
  segments = $state.raw<Segment[]>([]);
  /** The newest update; null as soon as nothing is being heard. */
  latest = $state.raw<Update | null>(null);
  numFrames = $state(0);
  latencyMs = $state<number | null>(null);

  /** Long and only appended to: read them after reading `latest`, which changes with them. */
  updates: Update[] = [];
  features: FeatureMap;
  latency = new LatencyMeter();

  /** A conversation that took the place of a lost one begins here, in time and in the count of segments. */
  #sinceS = 0;
  #sinceIndex = 0;
  #handedS = 0;

  constructor(readonly side: Side) {
    this.features = new FeatureMap(side.card.hop_s);
  }

  get labels(): string[] {
    return this.side.card.labels;
  }

  /** The time up to which this recogniser has heard. */
  get heardS(): number {
    return this.latest?.time_s ?? this.updates.at(-1)?.time_s ?? 0;
  }

  /** What comes from now on is about sound from this time on. */
  goOnFrom(timeS: number): void {
    this.#sinceS = timeS;
    this.#sinceIndex = this.segments.length;
    this.#handedS = 0;
    this.latency = new LatencyMeter();
  }

  /** So much more sound has been handed over. */
  handed(seconds: number): void {
    this.#handedS += seconds;
    this.latency.handed(this.#handedS, performance.now());
  }

  /** Nothing is being heard any more, or for the time being. */
  pause(): void {
    this.latest = null;
  }

  receive(message: Heard): void {
    if (message.type === "update") this.#update(message);
    else if (message.type === "segment") this.segments = [...this.segments, this.#shifted(message)];
  }

  /** The update in force at a time, if there is one. */
  at(timeS: number): Update | null {
    let low = 0;
    let high = this.updates.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.updates[middle]?.time_s ?? 0) < timeS - 1e-6) low = middle + 1;
      else high = middle;
    }
    return this.updates[low] ?? null;
  }

  #update(message: Update): void {
    this.latency.answered(message.time_s, performance.now());
    this.latencyMs = this.latency.medianMs;
    const update: Update = {
      ...message,
      time_s: message.time_s + this.#sinceS,
      segment: message.segment === null ? null : message.segment + this.#sinceIndex,
      segment_start_s: message.segment_start_s === null ? null : message.segment_start_s + this.#sinceS,
      features: null,
    };
    if (message.features) {
      const { start_s, frame_s, values } = message.features;
      this.features.add(values, start_s + this.#sinceS, frame_s);
      this.numFrames += values.length;
    }
    this.updates.push(update);
    this.latest = update;
  }

  #shifted(segment: Segment): Segment {
    return {
      ...segment,
      index: segment.index + this.#sinceIndex,
      start_s: segment.start_s + this.#sinceS,
      end_s: segment.end_s + this.#sinceS,
    };
  }
}

/** What the passages say together: the mean of their posteriors, weighted by how long they last. */
export function overall(segments: Segment[]): number[] | null {
  const spokenS = segments.reduce((sum, { start_s, end_s }) => sum + end_s - start_s, 0);
  if (spokenS === 0) return null;
  return (segments[0]?.posterior ?? []).map(
    (_, label) =>
      segments.reduce(
        (sum, { start_s, end_s, posterior }) => sum + (end_s - start_s) * (posterior[label] ?? 0),
        0,
      ) / spokenS,
  );
}
