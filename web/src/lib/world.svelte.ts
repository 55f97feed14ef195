/** What the page can recognise with: the server's recognisers, and whether they run there or on this device. */

import { fetchRecognizers } from "./client";
import { Failure } from "./failure";
import type { Place, Side } from "./conversation";
import type { RecognizerCard, ServerInfo } from "./protocol";

const RETRY_MS = 2000;

export class World {
  cards = $state.raw<RecognizerCard[]>([]);
  server = $state.raw<ServerInfo | null>(null);
  chosen = $state("");
  place = $state<Place>("server");
  /** How far running on this device has come. */
  device = $state<"off" | "loading" | "ready">("off");
  error = $state<string | null>(null);
  /** The server runs on the computer that shows the page. */
  readonly here = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);

  /** What every new recording is recognised with. */
  readonly side = $derived.by(() => this.sideOf(this.chosen, this.place));

  /** Ask the server until it answers. */
  async load(): Promise<void> {
    while (this.cards.length === 0) {
      try {
        const list = await fetchRecognizers();
        this.server = list.server;
        this.chosen = list.default;
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

  choose(name: string): void {
    this.chosen = name;
    if (this.place === "device") void this.#prepare();
  }

  move(place: Place): void {
    this.place = place;
    this.error = null;
    if (place === "device") void this.#prepare();
    else this.device = "off";
  }

  async #prepare(): Promise<void> {
    const side = this.side;
    if (!side) return;
    this.device = "loading";
    try {
      const { DeviceConversation } = await import("./device/conversation");
      await DeviceConversation.prepare(side);
      if (this.side === side) this.device = "ready";
    } catch (error) {
      this.error = (error as Error).message;
      this.place = "server";
      this.device = "off";
    }
  }
}
