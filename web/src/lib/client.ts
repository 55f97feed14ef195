/** The server's API as the page uses it; docs/protocol.md describes it. */

import { Failure } from "./failure";
import type { Conversation, Listener } from "./conversation";
import type { VoiceProfile } from "./device/voice_profile";
import { VERSION } from "./protocol";
import type {
  ClientMessage,
  ErrorMessage,
  Progress,
  Recognition,
  RecognizerCard,
  RecognizerList,
  ServerMessage,
} from "./protocol";
import { littleEndian } from "./samples";

export const LOST = "The server does not answer; check that it runs.";
const LOCKED =
  "This server asks for a token: open the address with ?token=… that it printed when it started.";
const TOO_SLOW = "The connection is too slow for live audio; try a file instead.";
const MAX_BUFFERED_BYTES = 2 ** 20;
const ROOM_BYTES = 2 ** 16;

export function fetchRecognizers(): Promise<RecognizerList> {
  return ask<RecognizerList>("GET", "/v1/recognizers");
}

/** One question over HTTP: a message of the protocol or bytes go, a message comes back. */
export async function ask<Answer>(method: string, path: string, body?: object | Blob): Promise<Answer> {
  const request: RequestInit = { method };
  if (body instanceof Blob) request.body = body;
  else if (body) {
    request.body = JSON.stringify(body);
    request.headers = { "Content-Type": "application/json" };
  }
  const response = await fetch(path, request).catch(() => null);
  if (!response) throw new Failure(LOST, true);
  const text = await response.text();
  if (!response.ok) throw refusal(response.status, text);
  return JSON.parse(text) as Answer;
}

/** Have the server decode a file that this browser cannot; `tell` hears how far it has come, as it comes. */
export function recognizeFile(
  file: Blob,
  recognizer: string,
  tell: (step: Progress["step"], fraction: number) => void,
): Promise<Recognition> {
  const form = new FormData();
  form.append("file", file);
  const query = new URLSearchParams({ recognizer, trace: "true", features: "true", progress: "true" });
  const request = new XMLHttpRequest(); // fetch does not tell how far an upload has come
  let read = 0;
  return new Promise((resolve, reject) => {
    const receive = (): void => {
      if (request.status !== 200) return;
      for (let end = request.responseText.indexOf("\n", read); end >= 0;) {
        const message = JSON.parse(request.responseText.slice(read, end)) as
          Progress | Recognition | ErrorMessage;
        if (message.type === "progress") tell(message.step, message.fraction);
        else if (message.type === "recognition") resolve(message);
        else reject(new Failure(message.message));
        read = end + 1;
        end = request.responseText.indexOf("\n", read);
      }
    };
    request.upload.onprogress = ({ loaded, total }) => tell("upload", total > 0 ? loaded / total : 0);
    request.onprogress = receive;
    request.onerror = () => reject(new Failure(LOST, true));
    request.onload = () => {
      receive();
      reject(refusal(request.status, request.responseText)); // unless an answer has come, which goes first
    };
    request.open("POST", `/v1/recognize?${query}`);
    request.send(form);
  });
}

function refusal(status: number, body: string): Failure {
  try {
    const { code, message } = JSON.parse(body) as ErrorMessage;
    return new Failure(code === "unauthorized" ? LOCKED : message);
  } catch {
    return new Failure(`The server answered ${status}.`); // no message of ours: a proxy's page, perhaps
  }
}

/** One conversation with `WS /v1/stream`. */
export class ServerConversation implements Conversation {
  #failure: Failure | undefined = new Failure(LOST, true);

  private constructor(private readonly socket: WebSocket) {
    socket.binaryType = "arraybuffer";
  }

  /** Resolves when the server is ready for audio; rejects with its reason where it is not. */
  static open(
    card: RecognizerCard,
    sampleRate: number,
    listener: Listener,
    voice: VoiceProfile | null = null,
  ): Promise<ServerConversation> {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/v1/stream`);
    const conversation = new ServerConversation(socket);
    return new Promise((resolve, reject) => {
      let ready = false;
      socket.onopen = () =>
        conversation.#tell({
          type: "hello",
          version: VERSION,
          sample_rate: sampleRate,
          format: "int16",
          recognizer: card.name,
          features: true,
          voice: voice && JSON.stringify(voice),
        });
      socket.onmessage = (event: MessageEvent<string>) => {
        const message = JSON.parse(event.data) as ServerMessage;
        if (message.type === "ready") {
          ready = true;
          resolve(conversation);
        } else {
          conversation.#receive(message, listener);
        }
      };
      socket.onclose = () => {
        if (ready) listener.closed(conversation.#failure);
        else reject(conversation.#failure ?? new Failure(LOST, true));
      };
    });
  }

  /** A connection that falls seconds behind is closed rather than left to lag. */
  send(samples: Int16Array): void {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    if (this.socket.bufferedAmount > MAX_BUFFERED_BYTES) {
      this.#failure = new Failure(TOO_SLOW);
      this.socket.close();
      return;
    }
    this.socket.send(littleEndian(samples));
  }

  useVoice(voice: VoiceProfile | null): void {
    this.#tell({ type: "voice", profile: voice && JSON.stringify(voice) });
  }

  async room(): Promise<void> {
    while (this.socket.readyState === WebSocket.OPEN && this.socket.bufferedAmount > ROOM_BYTES) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  end(): void {
    this.#tell({ type: "end" });
  }

  abort(): void {
    this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
  }

  #receive(message: Exclude<ServerMessage, { type: "ready" }>, listener: Listener): void {
    switch (message.type) {
      case "update":
      case "segment":
        listener.message(message);
        break;
      case "known":
        listener.voice?.({ known: message.known, profile: JSON.parse(message.profile) as VoiceProfile });
        break;
      case "summary":
        this.#failure = undefined;
        listener.message(message);
        break;
      case "error":
        this.#failure = new Failure(message.message, message.code === "closing");
        break;
    }
  }

  #tell(message: ClientMessage): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }
}
