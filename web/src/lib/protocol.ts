// Written by web/types_from_python.py from vocaffect.server.protocol; change it there.

export const VERSION = 1;

export type ClientMessage = Hello | End;
export type ServerMessage = Ready | Update | Segment | Summary | ErrorMessage;

/** The client's first message: how its binary messages are to be read. */
export interface Hello {
  type: "hello";
  version: number;
  sample_rate: number;
  format: "int16" | "float32";
  recognizer: string | null;
}

/** The client's last message: no more audio follows. */
export interface End {
  type: "end";
}

/** The server's first message: audio may be sent. */
export interface Ready {
  type: "ready";
  version: number;
  update_s: number;
  recognizer: RecognizerInfo;
}

/** The state of the stream at `time_s`; posterior and label are null wherever no emotion is claimed. */
export interface Update {
  type: "update";
  time_s: number;
  speech: boolean;
  speech_probability: number;
  level_db: number;
  posterior: number[] | null;
  label: string | null;
  segment: number | null;
}

/** A span of speech that has ended, and the recogniser's decision about it. */
export interface Segment {
  type: "segment";
  index: number;
  start_s: number;
  end_s: number;
  label: string;
  posterior: number[];
}

/** The server's last message in answer to `end`. */
export interface Summary {
  type: "summary";
  duration_s: number;
  speech_s: number;
  segments: Segment[];
}

/** Why the server stops here; the sentence says how to mend it. */
export interface ErrorMessage {
  type: "error";
  code: "bad_message" | "unsupported_version" | "unknown_recognizer" | "bad_audio" | "too_large" | "too_long" | "timeout" | "busy" | "forbidden" | "not_found" | "internal";
  message: string;
}

/** What a client should know, and show, about a recogniser. */
export interface RecognizerInfo {
  name: string;
  labels: string[];
  streaming: "frame" | "window";
  latency_s: number;
  licence_weights: string;
  licence_data: string;
  intended_use: string;
  limits: string;
  digest: string;
}

/** The answer of `GET /v1/recognizers`. */
export interface RecognizerList {
  type: "recognizers";
  default: string;
  recognizers: RecognizerInfo[];
}

/** How a clip went: its updates, and the largest magnitude in every `peak_s` seconds of it. */
export interface Trace {
  peak_s: number;
  peaks: number[];
  updates: Update[];
}

/** The answer of `POST /v1/recognize`; label and posterior are null for a clip without speech. */
export interface Recognition {
  type: "recognition";
  recognizer: string;
  duration_s: number;
  label: string | null;
  posterior: Record<string, number> | null;
  segments: Segment[];
  trace: Trace | null;
}

/** The answer of `GET /healthz`. */
export interface Health {
  type: "health";
  status: "ok";
  version: string;
}
