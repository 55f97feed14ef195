/** One utterance on its way through a model: the twin of `vocaffect.utterance`. */

import type { Card } from "./card";
import { concat, secondsToSamples } from "./units";

export type State = Record<string, Float32Array>;

/** Samples of `rows` equal parts that a model shall be run on; only window models have more than one row. */
export interface Work {
  samples: Float32Array;
  rows: number;
  state: State;
}

/** What a model answers, flat, last dimension fastest. */
export interface Output {
  logits: Float32Array;
  features: Float32Array;
  numFeatures: number;
  state: State;
}

/** What a model thinks at some sample positions, counted from the utterance's start. */
export interface Decisions {
  positions: number[];
  logits: Float32Array[];
  features: Float32Array[];
}

export interface Utterance {
  state: State;
  /** What to run now that these samples have followed those before, if anything. */
  plan(samples: Float32Array): Work | null;
  complete(output: Output): Decisions;
  /** What must still be run for a decision at exactly this position, if anything. */
  planEnd(position: number): Work | null;
}

/** The calibrated posterior: exp(l / T) over its sum. */
export function softmax(logits: Float32Array, temperature: number): Float32Array {
  const largest = Math.max(...logits);
  const powers = [...logits].map((value) => Math.exp((value - largest) / temperature));
  const total = powers.reduce((sum, value) => sum + value, 0);
  return Float32Array.from(powers, (value) => value / total);
}

export function openUtterance(card: Card, lasting: State, lookback: number): Utterance {
  return card.streaming === "frame"
    ? new FrameUtterance(card, lasting)
    : new WindowUtterance(card, lasting, lookback);
}

/** The part of a state that outlives utterances (scope "stream"). */
export function lastingState(card: Card, state: State): State {
  const lasting = card.state.filter(({ scope }) => scope === "stream").map(({ name }) => name);
  return Object.fromEntries(Object.entries(state).filter(([name]) => lasting.includes(name)));
}

export function freshState(card: Card): State {
  return Object.fromEntries(
    card.state.map(({ name, shape }) => [name, new Float32Array(shape.reduce((size, n) => size * n, 1))]),
  );
}

/** A causal model: every whole hop is run once, its logits are the decision so far. */
class FrameUtterance implements Utterance {
  state: State;
  #hop: number;
  #numLabels: number;
  #remainder: Float32Array = new Float32Array(0);
  #position = 0;

  constructor(card: Card, lasting: State) {
    this.state = { ...freshState(card), ...lasting };
    this.#hop = card.hop;
    this.#numLabels = card.labels.length;
  }

  plan(samples: Float32Array): Work | null {
    const waiting = concat(this.#remainder, samples);
    const whole = waiting.length - (waiting.length % this.#hop);
    this.#remainder = waiting.slice(whole);
    return whole > 0 ? { samples: waiting.slice(0, whole), rows: 1, state: this.state } : null;
  }

  complete(output: Output): Decisions {
    this.state = output.state;
    const logits = rows(output.logits, this.#numLabels);
    const positions = logits.map((_, index) => this.#position + this.#hop * (index + 1));
    this.#position = positions.at(-1) ?? this.#position;
    return { positions, logits, features: rows(output.features, output.numFeatures) };
  }

  planEnd(): Work | null {
    return null; // a frame ends at every whole hop
  }
}

/** A model that sees a window at a time, the part before the utterance being zeros; see the Python twin. */
class WindowUtterance implements Utterance {
  state: State;
  #size: number;
  #hop: number;
  #keep: number;
  #numLabels: number;
  #heard: Float32Array = new Float32Array(0);
  #numHeard = 0;
  #planned: number[] = [];
  #full: { position: number; logits: Float32Array }[] = [];

  constructor(card: Card, lasting: State, lookback: number) {
    this.state = { ...freshState(card), ...lasting };
    this.#size = secondsToSamples(card.window_s ?? 0);
    this.#hop = secondsToSamples(card.window_hop_s ?? 0);
    this.#keep = this.#size + lookback;
    this.#numLabels = card.labels.length;
  }

  plan(samples: Float32Array): Work | null {
    const first = Math.floor(this.#numHeard / this.#hop) + 1;
    this.#heard = concat(this.#heard, samples);
    this.#numHeard += samples.length;
    const positions: number[] = [];
    for (let k = first; k * this.#hop <= this.#numHeard; k += 1) positions.push(k * this.#hop);
    const work = this.#windows(positions);
    this.#heard = this.#heard.slice(-this.#keep);
    return work;
  }

  complete(output: Output): Decisions {
    const logits = rows(output.logits, this.#numLabels).map((row, index) =>
      this.#decide(this.#planned[index] ?? 0, row),
    );
    this.state = mapped(output.state, (value) => value.slice(value.length - value.length / logits.length));
    const perWindow = output.features.length / Math.max(logits.length, 1);
    const newest = output.features.subarray(output.features.length - perWindow);
    return { positions: this.#planned, logits, features: rows(newest, output.numFeatures) };
  }

  planEnd(position: number): Work | null {
    this.#full = this.#full.filter((window) => window.position <= position);
    return position % this.#hop === 0 ? null : this.#windows([position]);
  }

  #windows(positions: number[]): Work | null {
    this.#planned = positions;
    if (positions.length === 0) return null;
    const padded = concat(new Float32Array(this.#size), this.#heard);
    const windows = positions.map((position) => {
      const end = position - this.#numHeard + padded.length;
      return padded.subarray(end - this.#size, end);
    });
    const state = mapped(this.state, (value) => concat(...windows.map(() => value)));
    return { samples: concat(...windows), rows: positions.length, state };
  }

  #decide(position: number, logits: Float32Array): Float32Array {
    if (position < this.#size) return logits;
    this.#full.push({ position, logits });
    return logits.map(
      (_, index) =>
        this.#full.reduce((sum, window) => sum + (window.logits[index] ?? 0), 0) / this.#full.length,
    );
  }
}

function mapped(state: State, change: (value: Float32Array) => Float32Array): State {
  return Object.fromEntries(Object.entries(state).map(([name, value]) => [name, change(value)]));
}

function rows(flat: Float32Array, width: number): Float32Array[] {
  if (width === 0) return [];
  return Array.from({ length: flat.length / width }, (_, row) => flat.slice(row * width, (row + 1) * width));
}
