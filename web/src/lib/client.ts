/** The server's API as the page uses it; docs/protocol.md describes it. */

import { VERSION } from "./protocol";
import type {
  ClientMessage,
  ErrorMessage,
  Hello,
  Ready,
  Recognition,
  RecognizerList,
  ServerMessage,
} from "./protocol";

const LOST = "The connection to the server was lost; check that it runs, then start again.";
const TOO_SLOW = "The connection is too slow for live audio; try a file instead.";
const MAX_BUFFERED_BYTES = 2 ** 20;

export async function fetchRecognizers(): Promise<RecognizerList> {
  return answer<RecognizerList>(fetch("/v1/recognizers"));
}

export async function recognizeFile(file: File, recognizer: string): Promise<Recognition> {
  const form = new FormData();
  form.append("file", file);
  const query = new URLSearchParams({ recognizer, trace: "true" });
  return answer<Recognition>(fetch(`/v1/recognize?${query}`, { method: "POST", body: form }));
}

async function answer<T>(request: Promise<Response>): Promise<T> {
  const response = await request.catch(() => {
    throw new Error(LOST);
  });
  const body: unknown = await response.json().catch(() => null);
  if (!response.ok) {
    throw new Error((body as ErrorMessage | null)?.message ?? `The server answered ${response.status}.`);
  }
  return body as T;
}

export interface Listener {
  message(message: Exclude<ServerMessage, Ready | ErrorMessage>): void;
  /** Called once, and last: without a sentence after a proper end, with one after anything else. */
  closed(error?: string): void;
}

/** One conversation with `WS /v1/stream`. */
export class LiveStream {
  #socket: WebSocket;
  #failure: string | undefined = LOST;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  /** Resolves when the server is ready for audio; rejects with its reason where it is not. */
  static open(hello: Omit<Hello, "type" | "version">, listener: Listener): Promise<LiveStream> {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/v1/stream`);
    const stream = new LiveStream(socket);
    return new Promise((resolve, reject) => {
      let ready = false;
      socket.onopen = () => stream.#send({ type: "hello", version: VERSION, ...hello });
      socket.onmessage = (event: MessageEvent<string>) => {
        const message = JSON.parse(event.data) as ServerMessage;
        if (message.type === "ready") {
          ready = true;
          resolve(stream);
        } else if (message.type === "error") {
          stream.#failure = message.message;
        } else {
          if (message.type === "summary") stream.#failure = undefined;
          listener.message(message);
        }
      };
      socket.onclose = () => {
        if (ready) listener.closed(stream.#failure);
        else reject(new Error(stream.#failure));
      };
    });
  }

  /** Send a chunk of PCM; a connection that falls seconds behind is closed rather than left to lag. */
  send(pcm: ArrayBuffer): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (this.#socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      this.#failure = TOO_SLOW;
      this.#socket.close();
      return;
    }
    this.#socket.send(pcm);
  }

  end(): void {
    this.#send({ type: "end" });
  }

  /** Leave without a word; the listener hears nothing more. */
  abort(): void {
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }

  #send(message: ClientMessage): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }
}
