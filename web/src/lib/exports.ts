/** A result as text in the formats of other programs. */

import type { Segment, Update } from "./protocol";

export interface Result {
  source: string;
  recognizer: string;
  digest: string;
  /** Where it was computed. */
  place: string;
  labels: string[];
  duration_s: number;
  segments: Segment[];
  corrected: ReadonlyMap<number, string>;
  updates: Update[];
}

export function asJson(result: Result): string {
  const { corrected, updates, segments, ...rest } = result;
  const kept = segments.map(({ type: _, ...segment }) => ({
    ...segment,
    corrected: corrected.get(segment.index) ?? null,
  }));
  const course = updates.map(
    ({ time_s, speech, level_db, posterior, raw_posterior, label, uncertain, segment }) => {
      return { time_s, speech, level_db, posterior, raw_posterior, label, uncertain, segment };
    },
  );
  return `${JSON.stringify({ ...rest, segments: kept, updates: course }, null, 1)}\n`;
}

/** One row a passage (RFC 4180). */
export function asCsv(result: Result): string {
  const head = ["passage", "start_s", "end_s", "label", "corrected", ...result.labels.map((l) => `p_${l}`)];
  const rows = result.segments.map((segment) => [
    segment.index + 1,
    segment.start_s.toFixed(3),
    segment.end_s.toFixed(3),
    segment.label,
    result.corrected.get(segment.index) ?? "",
    ...segment.posterior.map((value) => value.toFixed(5)),
  ]);
  return table([head, ...rows]);
}

/** A label track as Audacity imports it: start, end and text, divided by tabs. */
export function asAudacity(result: Result): string {
  return result.segments
    .map((segment) => {
      const label = result.corrected.get(segment.index) ?? segment.label;
      return `${segment.start_s.toFixed(6)}\t${segment.end_s.toFixed(6)}\t${label}\n`;
    })
    .join("");
}

export function table(rows: (string | number)[][]): string {
  return rows.map((row) => `${row.map(quoted).join(",")}\r\n`).join("");
}

function quoted(cell: string | number): string {
  const text = String(cell);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function download(content: string | Blob, name: string, type = "text/plain"): void {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A file name without its folder and its ending, fit for the name of another file. */
export function stem(name: string): string {
  const base = name.replace(/^.*[\\/]/, "").replace(/\.[^.]*$/, "");
  return base.replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "") || "recording";
}
