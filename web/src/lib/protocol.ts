// Written by web/types_from_python.py from vocaffect.server.protocol and records; change it there.

export const VERSION = 1;

export type ClientMessage = Hello | Voice | Ping | Flush | End;
export type ServerMessage = Ready | Update | Segment | Known | Pong | Flushed | Summary | ErrorMessage;

/** The client's first message: how its binary messages are to be read, and what it wants to hear. */
export interface Hello {
  type: "hello";
  version: number;
  sample_rate: number;
  format: "int16" | "float32";
  recognizer?: string | null;
  interval_s?: number;
  features?: boolean;
  voice?: string | null;
}

/** Another voice speaks from here on: one that is known by its profile or, with null, a new one. */
export interface Voice {
  type: "voice";
  profile: string | null;
}

/** Asks for a `pong` with the same id, out of turn: how long the way there and back takes. */
export interface Ping {
  type: "ping";
  id?: number;
}

/** Asks for all that the audio sent so far makes known, and for a `flushed` after it. */
export interface Flush {
  type: "flush";
  id?: number;
}

/** The client's last message: no more audio follows. */
export interface End {
  type: "end";
}

/** A segment as it is kept: what the recogniser said, and what the user says in its place. */
export interface SavedSegment {
  index: number;
  start_s: number;
  end_s: number;
  label: string;
  posterior: number[];
  uncertain?: boolean;
  corrected?: string | null;
}

/** The body of `POST /v1/saved`: what the user wants to keep; audio follows on its own, with consent. */
export interface Save {
  type: "save";
  name: string;
  recognizer: string;
  digest?: string;
  labels: string[];
  duration_s: number;
  segments: SavedSegment[];
}

/** The body of `PUT /v1/saved/{id}/segments/{index}`: the right label, or null to take a correction back. */
export interface Correction {
  type: "correction";
  label: string | null;
}

/** The server's first message: audio may be sent. */
export interface Ready {
  type: "ready";
  version: number;
  interval_s: number;
  recognizer: RecognizerInfo;
}

/** What the recogniser saw: `values[frame][feature]`, the first frame beginning at `start_s`. */
export interface Features {
  start_s: number;
  frame_s: number;
  values: number[][];
}

/** The state of the stream at `time_s`; posterior and label are null wherever no emotion is claimed. */
export interface Update {
  type: "update";
  time_s: number;
  num_samples: number;
  speech: boolean;
  speech_probability: number;
  level_db: number;
  posterior: number[] | null;
  raw_posterior: number[] | null;
  label: string | null;
  uncertain: boolean;
  segment: number | null;
  segment_start_s: number | null;
  features: Features | null;
}

/** A span of speech that has ended, and the recogniser's decision about it. */
export interface Segment {
  type: "segment";
  index: number;
  start_s: number;
  end_s: number;
  label: string;
  posterior: number[];
  uncertain: boolean;
}

/** After a segment, of a recogniser that learns voices: how far the voice is known, and the profile that says it. */
export interface Known {
  type: "known";
  known: number;
  profile: string;
}

/** The answer to `ping`, and how much audio has been computed by now. */
export interface Pong {
  type: "pong";
  id: number;
  num_samples: number;
}

/** The answer to `flush`: every update up to `num_samples` has been sent. */
export interface Flushed {
  type: "flushed";
  id: number;
  num_samples: number;
}

/** The server's last message in answer to `end`. */
export interface Summary {
  type: "summary";
  recognizer: string;
  duration_s: number;
  speech_s: number;
  segments: Segment[];
}

/** Why the server stops here; the sentence says how to mend it. */
export interface ErrorMessage {
  type: "error";
  code: "bad_message" | "unsupported_version" | "unknown_recognizer" | "bad_audio" | "too_large" | "too_long" | "timeout" | "too_slow" | "too_many" | "busy" | "closing" | "unauthorized" | "forbidden" | "not_found" | "internal";
  message: string;
}

/** One state tensor (batch, *shape); "segment" state is fresh in every segment, "stream" state lasts. */
export interface StateSpec {
  name: string;
  shape: number[];
  scope: "segment" | "stream";
}

/** The posterior that `golden_signal(seconds)` must give, to within `tolerance`. */
export interface Golden {
  seconds: number;
  posterior: number[];
  tolerance: number;
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

/** All that a recogniser says about itself, and where its bundle is for running it on the client's own device. */
export interface RecognizerCard {
  name: string;
  labels: string[];
  streaming: "frame" | "window";
  latency_s: number;
  licence_weights: string;
  licence_data: string;
  intended_use: string;
  limits: string;
  digest: string;
  bundle_url: string;
  num_bytes: number;
  sample_rate: number;
  hop_s: number;
  window_s: number | null;
  window_hop_s: number | null;
  temperature: number;
  states: StateSpec[];
  metrics: Record<string, unknown>;
  recipe: Record<string, unknown>;
  created: string;
  golden: Golden;
}

/** What the server is, and what it takes. */
export interface ServerInfo {
  version: string;
  max_upload_bytes: number;
  max_clip_s: number;
  max_stream_s: number;
  max_batch: number;
  saves: boolean;
  voice_activity_url: string;
}

/** The answer of `GET /v1/recognizers`. */
export interface RecognizerList {
  type: "recognizers";
  default: string;
  default_for_files: string;
  recognizers: RecognizerCard[];
  server: ServerInfo;
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
  uncertain: boolean;
  segments: Segment[];
  trace: Trace | null;
}

/** How far a clip has come: the fraction of `step` that is done. */
export interface Progress {
  type: "progress";
  step: "upload" | "preprocessing" | "features" | "inference";
  fraction: number;
}

/** What became of one clip of a batch: a recognition or an error. */
export interface BatchItem {
  index: number;
  name: string;
  recognition: Recognition | null;
  error: ErrorMessage | null;
}

/** The answer of `POST /v1/recognize/batch`, in the order of the form's files. */
export interface Batch {
  type: "batch";
  results: BatchItem[];
}

/** The answer of `GET /healthz`. */
export interface Health {
  type: "health";
  status: "ok";
  version: string;
}

/** The answer of `GET /readyz`: whether another stream would be taken. */
export interface Readiness {
  type: "readiness";
  status: "ready" | "full" | "closing";
  num_streams: number;
  max_streams: number;
}

/** What is kept of one session; `has_audio` where the user consented to keep the sound as well. */
export interface Saved {
  type: "saved";
  id: string;
  created: string;
  name: string;
  recognizer: string;
  digest: string;
  labels: string[];
  duration_s: number;
  segments: SavedSegment[];
  has_audio: boolean;
}

/** The answer of `GET /v1/saved`, the newest first; `next` is where the next page begins, if there is one. */
export interface SavedList {
  type: "saved_list";
  sessions: Saved[];
  next: string | null;
}

/** The answer of both `DELETE`s: how many sessions are gone for good. */
export interface Deleted {
  type: "deleted";
  count: number;
}
