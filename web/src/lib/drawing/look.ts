/** The colours and the type of a drawing, from the style sheet in force. */

import { colourVariable } from "../emotions";
import type { Look } from "./scene";

const HEAT_STEPS = 5;

export function look(element: Element, labels: string[]): Look {
  const style = getComputedStyle(element);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  return {
    paper: colour("--card"),
    ink: colour("--ink"),
    muted: colour("--muted"),
    faint: colour("--wave-silent"),
    rule: colour("--rule"),
    speech: colour("--speech"),
    heat: Array.from({ length: HEAT_STEPS }, (_, step) => channels(colour(`--heat-${step}`))),
    fontFamily: style.fontFamily,
    colours: labels.map((label, index) => colour(colourVariable(label, index))),
  };
}

/** "#rrggbb" as numbers. */
function channels(hex: string): [number, number, number] {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)) as [number, number, number];
}
