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
  /** Which takes are kept, under which id. */
  kept = $state.raw<ReadonlyMap<Take, string>>(new Map());

  async load(): Promise<void> {
    await this.#try(async () => {
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
    await this.#try(async () => {
      let saved = await ask<Saved>("POST", PATH, save);
      this.kept = new Map([...this.kept, [take, saved.id]]);
      const sound = recording.sound?.blob() ?? recording.playable;
      if (withSound && sound)
        saved = await ask<Saved>("PUT", `${PATH}/${saved.id}/audio?consent=true`, sound);
      this.sessions = [saved, ...this.sessions];
    });
  }

  /** A correction of what is kept already is kept too. */
  async correct(take: Take, index: number, label: string | null): Promise<void> {
    const id = this.kept.get(take);
    if (id === undefined) return;
    const correction: Correction = { type: "correction", label };
    await this.#try(async () => {
      const saved = await ask<Saved>("PUT", `${PATH}/${id}/segments/${index}`, correction);
      this.sessions = this.sessions.map((session) => (session.id === id ? saved : session));
    });
  }

  /** Delete one session for good, or all of them. */
  async forget(id: string | null): Promise<void> {
    await this.#try(async () => {
      await ask<Deleted>("DELETE", id === null ? PATH : `${PATH}/${id}`);
      this.sessions = id === null ? [] : this.sessions.filter((session) => session.id !== id);
      this.kept = new Map([...this.kept].filter(([, kept]) => id !== null && kept !== id));
    });
  }

  async #try(work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.error = null;
    } catch (error) {
      this.error = (error as Error).message;
    }
  }
}

export function exportUrl(id: string, format: "json" | "csv" | "audacity"): string {
  return `${PATH}/${id}/export?format=${format}`;
}

export const CLIPS_URL = `${PATH}/export`;
