/** What a card says about how often its recogniser is right, in words. */

import type { RecognizerCard } from "./protocol";

export interface Score {
  name: string;
  value: string;
  interval: string | null;
}

export interface Measured {
  how: string;
  scores: Score[];
  recall: [string, number][];
}

interface Estimate {
  value: number;
  low: number;
  high: number;
}

const SCORES: [string, string][] = [
  ["uar", "mean recall of the emotions (UAR)"],
  ["war", "accuracy (WAR)"],
  ["macro_f1", "macro F1"],
];

export function measured(card: RecognizerCard): Measured | null {
  const { metrics, labels } = card;
  const scores = SCORES.flatMap(([key, name]) => {
    const estimate = metrics[key];
    return isEstimate(estimate) ? [score(name, estimate)] : [];
  });
  if (scores.length === 0) return null;
  const recall = (metrics["recall"] ?? {}) as Record<string, unknown>;
  return {
    how: how(metrics, labels.length),
    scores,
    recall: labels.flatMap((label): [string, number][] => {
      const value = recall[label];
      return typeof value === "number" ? [[label, value]] : [];
    }),
  };
}

function score(name: string, { value, low, high }: Estimate): Score {
  return { name, value: `${tenths(value)} %`, interval: `95 % interval ${tenths(low)} to ${tenths(high)}` };
}

function how(metrics: Record<string, unknown>, numLabels: number): string {
  const chance = `Guessing among ${numLabels} would reach ${tenths(1 / numLabels)} %.`;
  const where =
    `Protocol ${String(metrics["protocol"] ?? "unknown")}: ` +
    `${String(metrics["num_utterances"] ?? "?")} clips of ${String(metrics["num_speakers"] ?? "?")} speakers`;
  const who = metrics["speaker_disjoint"]
    ? ", each heard by a recogniser that had never heard that speaker."
    : "; this protocol leaks: the same voices were learned from.";
  return `${where}${who} ${chance}`;
}

function tenths(share: number): string {
  return (100 * share).toFixed(1);
}

function isEstimate(value: unknown): value is Estimate {
  return typeof value === "object" && value !== null && "value" in value && "low" in value && "high" in value;
}
