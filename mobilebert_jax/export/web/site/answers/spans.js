// From start and end logits to answer candidates in the passage's characters.

const NOT_ALLOWED = -Infinity;

/**
 * The candidates over all windows, best first, and the score of "no answer".
 *
 * A span starts at a token that its window shows with the greatest context, and has at most `max_answer_length` tokens;
 * of each window the best starts and ends are paired. Of spans with the same characters the best one stays.
 *
 * @param windows as `buildWindows` gives them
 * @param logits of each window `{ start, end }`, Float32Arrays
 * @param read `{ starts, ends }` of the passage's tokens
 * @param settings candidates, max_answer_length
 * @returns `{ spans: [{ start, end, score }], nullScore }`
 */
export function bestSpans(windows, logits, read, settings) {
  const nullScore = Math.min(...logits.map(({ start, end }) => start[0] + end[0]));
  const found = windows.flatMap((window, index) => pairs(window, logits[index], read, settings));
  return { spans: distinct(found).slice(0, settings.candidates), nullScore };
}

/** The best spans of one window, best first. */
function pairs(window, { start, end }, read, { candidates, max_answer_length }) {
  const starts = largest(start, window, candidates, window.leads);
  const ends = largest(end, window, candidates);
  const found = [];
  for (const first of starts) {
    for (const last of ends) {
      const length = last.place - first.place + 1;
      const span = { start: read.starts[window.first + first.place], end: read.ends[window.first + last.place] };
      if (length < 1 || length > max_answer_length || span.end <= span.start) continue;
      found.push({ ...span, score: first.score + last.score });
    }
  }
  return found.sort(byScore).slice(0, candidates);
}

/** The chunk's places with the largest logits, best first; equal ones in the passage's order. */
function largest(logits, { begin, count }, candidates, allowed) {
  const places = [];
  for (let place = 0; place < count; place++) {
    const score = allowed && !allowed[place] ? NOT_ALLOWED : logits[begin + place];
    if (score > NOT_ALLOWED) places.push({ place, score });
  }
  return places.sort(byScore).slice(0, candidates);
}

/** Spans of equal characters merged, best first; equal scores keep the passage's order. */
function distinct(spans) {
  const inOrder = spans.sort((one, other) => one.start - other.start || one.end - other.end || byScore(one, other));
  const differs = (span, index) => span.start !== inOrder[index - 1]?.start || span.end !== inOrder[index - 1]?.end;
  return inOrder.filter(differs).sort(byScore);
}

function byScore(one, other) {
  return other.score - one.score;
}

/** `end` moved past the accents that belong to the last character; the tokenizer drops them. */
export function answerEnd(passage, end) {
  const accents = /^\p{Mn}*/u.exec(passage.slice(end, end + 64))[0];
  return end + accents.length;
}

/** Shares that add up to 1. */
export function softmax(scores) {
  const highest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - highest));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}
