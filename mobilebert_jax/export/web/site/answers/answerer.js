// Answers to a question from a passage: windows, logits, spans. Knows neither the runtime nor the page.

import { answerEnd, bestSpans, softmax } from "./spans.js";
import { buildWindows, paddedLength } from "./windows.js";

/**
 * @param encode text -> `{ ids, starts, ends }`, see `wordPiece`
 * @param predict `{ ids, mask, types }`, arrays of one window's padded length -> promise of `{ start, end }` logits
 * @param settings what answering.json holds
 */
export function makeAnswerer(encode, predict, settings) {
  /**
   * See `findAnswers` in mobilebert.d.ts.
   *
   * @param onProgress hears after each window how many are done, and of how many
   * @param isCancelled is asked before each window
   */
  async function find(question, passage, { topK = 5, threshold = settings.threshold, onProgress, isCancelled } = {}) {
    if (!question.trim()) throw new Error("The question is empty: ask something about the passage.");
    const began = performance.now();
    const read = encode(passage);
    const asked = encode(question);
    const windows = buildWindows(asked, read, settings);
    const logits = [];
    for (const window of windows) {
      await pause(windows.length);
      if (isCancelled?.()) throw new DOMException("Another question was asked.", "AbortError");
      logits.push(await predict(laidOut(window, settings)));
      onProgress?.(logits.length, windows.length);
    }
    const limits = { ...settings, candidates: Math.max(settings.candidates, topK) };
    const { spans, nullScore } = bestSpans(windows, logits, read, limits);
    const verdict = judge(passage, spans, nullScore, threshold, settings);
    return {
      ...verdict,
      answers: verdict.answered ? verdict.candidates.slice(0, topK) : [],
      questionCut: asked.ids.length > settings.max_query_length,
      windows: windows.length,
      milliseconds: performance.now() - began,
    };
  }
  return find;
}

/** Lets messages in between the windows of a long passage. */
function pause(windows) {
  return windows > 1 ? new Promise((resolve) => setTimeout(resolve)) : undefined;
}

/** The model's inputs of a window. */
function laidOut({ ids, begin }, { window_lengths, special_ids }) {
  const length = paddedLength(ids.length, window_lengths);
  const padded = (values, padding) => [...values, ...Array(length - values.length).fill(padding)];
  return {
    ids: padded(ids, special_ids.pad),
    mask: padded(Array(ids.length).fill(1), 0),
    types: padded(
      ids.map((_, place) => (place >= begin ? 1 : 0)),
      0,
    ),
  };
}

/** Candidates with their probabilities, and whether the best of them wins against "no answer". */
function judge(passage, spans, nullScore, threshold, { max_answer_length }) {
  if (!spans.length) {
    const explanation = `The passage has no span of at most ${max_answer_length} tokens that could be an answer.`;
    return { candidates: [], answered: false, nullScore, scoreDifference: Infinity, nullProbability: 1, explanation };
  }
  const shares = softmax([...spans.map(({ score }) => score), nullScore]);
  const candidates = spans.map(({ start, end, score }, place) => {
    const whole = answerEnd(passage, end);
    return { text: passage.slice(start, whole), start, end: whole, score, probability: shares[place] };
  });
  const scoreDifference = nullScore - spans[0].score;
  return {
    candidates,
    answered: !(scoreDifference > threshold),
    nullScore,
    scoreDifference,
    nullProbability: shares.at(-1),
    explanation: explain(scoreDifference, threshold),
  };
}

/** Why there is an answer, or none. */
function explain(scoreDifference, threshold) {
  const side = scoreDifference > 0 ? "above" : "below";
  const distance = Math.abs(scoreDifference).toFixed(2);
  return `"No answer" scores ${distance} ${side} the best span; it wins when more than ${threshold} above.`;
}
