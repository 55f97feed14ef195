/** What the page can recognise with: the server's recognisers, and whether they run there or on this device. */

import { fetchRecognizers } from "./client";
import { Failure } from "./failure";
import type { Place, Side } from "./conversation";
import type { RecognizerCard, ServerInfo } from "./protocol";

const RETRY_MS = 2000;

/** What sound is recognised for; each has a recogniser of its own, which the server proposes and the user may change. */
export type Purpose = "live" | "file";

export class World {
  cards = $state.raw<RecognizerCard[]>([]);
  server = $state.raw<ServerInfo | null>(null);
  #chosen = $state<Record<Purpose, string>>({ live: "", file: "" });
  /** What the user turns to now. */
  purpose = $state<Purpose>("live");
  place = $state<Place>("server");
  /** How far running on this device has come. */
  device = $state<"off" | "loading" | "ready">("off");
  error = $state<string | null>(null);
  /** The server runs on the computer that shows the page. */
  readonly here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);

  /** What new recordings are recognised with. */
  readonly sides = $derived.by(() => ({
    live: this.sideOf(this.#chosen.live, this.place),
    file: this.sideOf(this.#chosen.file, this.place),
  }));

  /** Ask the server until it answers. */
  async load(): Promise<void> {
    while (this.cards.length === 0) {
      try {
        const list = await fetchRecognizers();
        this.server = list.server;
        this.#chosen = { live: list.default, file: list.default_for_files };
        this.cards = list.recognizers;
        this.error = null;
      } catch (error) {
        this.error = (error as Error).message;
        if (!(error instanceof Failure && error.gone)) return;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  sideOf(name: string, place: Place): Side | null {
    const card = this.cards.find((each) => each.name === name);
    if (!card || !this.server) return null;
    const { voice_activity_url: url, version } = this.server;
    return { card, place, voiceUrl: `${url}?version=${version}` }; // a newer server's is loaded anew
  }

  /** The name of the recogniser for what the user has turned to. */
  get chosen(): string {
    return this.#chosen[this.purpose];
  }

  choose(name: string): void {
    this.#chosen = { ...this.#chosen, [this.purpose]: name };
    if (this.place === "device") void this.#prepare();
  }

  turnTo(purpose: Purpose): void {
    const before = this.chosen;
    this.purpose = purpose;
    if (this.place === "device" && this.chosen !== before) void this.#prepare();
  }

  move(place: Place): void {
    this.place = place;
    this.error = null;
    if (place === "device") void this.#prepare();
    else this.device = "off";
  }

  async #prepare(): Promise<void> {
    const side = this.sides[this.purpose];
    if (!side) return;
    this.device = "loading";
    try {
      const { DeviceConversation } = await import("./device/conversation");
      await DeviceConversation.prepare(side);
      if (this.sides[this.purpose] === side) this.device = "ready";
    } catch (error) {
      this.error = (error as Error).message;
      this.place = "server";
      this.device = "off";
    }
  }
}
