/** What the user has asked the server to keep (docs/protocol.md, "What users save"). */

import { ask } from "./client";
import type { Corrections } from "./corrections.svelte";
import type { Correction, Deleted, Save, Saved, SavedList } from "./protocol";
import type { Recording } from "./recording.svelte";
import type { Take } from "./take.svelte";

const PATH = "/v1/saved";

export class Archive {
  sessions = $state.raw<Saved[]>([]);
  error = $state<string | null>(null);
  /** Which takes are kept, and as what. */
  kept = $state.raw<ReadonlyMap<Take, Saved>>(new Map());
  #last: Promise<void> = Promise.resolve();

  async load(): Promise<void> {
    await this.#inTurn(async () => {
      this.sessions = (await ask<SavedList>("GET", PATH)).sessions;
    });
  }

  /** Keep what was heard and what was corrected; the sound as well only with the user's consent. */
  async keep(recording: Recording, take: Take, corrections: Corrections, withSound: boolean): Promise<void> {
    const corrected = corrections.of(take);
    const { card } = take.side;
    const save: Save = {
      type: "save",
      name: recording.name || "microphone",
      recognizer: card.name,
      digest: card.digest,
      labels: card.labels,
      duration_s: recording.durationS,
      segments: take.segments.map(({ type: _, ...segment }) => ({
        ...segment,
        corrected: corrected.get(segment.index) ?? null,
      })),
    };
    await this.#inTurn(async () => {
      const saved = await ask<Saved>("POST", PATH, save);
      this.sessions = [saved, ...this.sessions];
      this.#know(take, saved);
      const sound = recording.sound?.blob() ?? recording.playable;
      if (withSound && sound)
        this.#know(take, await ask<Saved>("PUT", `${PATH}/${saved.id}/audio?consent=true`, sound));
    });
  }

  /** A correction of what is kept already is kept too. */
  async correct(take: Take, index: number, label: string | null): Promise<void> {
    const correction: Correction = { type: "correction", label };
    await this.#inTurn(async () => {
      const kept = this.kept.get(take);
      if (kept) this.#know(take, await ask<Saved>("PUT", `${PATH}/${kept.id}/segments/${index}`, correction));
    });
  }

  /** Delete one session for good, or all of them. */
  async forget(id: string | null): Promise<void> {
    await this.#inTurn(async () => {
      await ask<Deleted>("DELETE", id === null ? PATH : `${PATH}/${id}`);
      this.sessions = id === null ? [] : this.sessions.filter((session) => session.id !== id);
      this.kept = new Map([...this.kept].filter(([, kept]) => id !== null && kept.id !== id));
    });
  }

  #know(take: Take, saved: Saved): void {
    this.kept = new Map([...this.kept, [take, saved]]);
    this.sessions = this.sessions.map((session) => (session.id === saved.id ? saved : session));
  }

  /** One request after the other, in the order that the user asked: no answer overtakes a later one. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#last = this.#last.then(work).then(
      () => {
        this.error = null;
      },
      (error: Error) => {
        this.error = error.message;
      },
    );
    return this.#last;
  }
}

export function exportUrl(id: string, format: "json" | "csv" | "audacity"): string {
  return `${PATH}/${id}/export?format=${format}`;
}

export const CLIPS_URL = `${PATH}/export`;
