// Which of the candidates a page shows: places that do not overlap, and that win against "no answer".

const MOST = 5;

/**
 * At most five candidates, best first. One is shown unless "no answer" scores higher by more than `threshold`, or it
 * overlaps a better one.
 *
 * @param result of `findAnswers`
 */
export function shownAnswers({ candidates, nullScore }, threshold) {
  const shown = [];
  for (const candidate of candidates) {
    const overlaps = shown.some(({ start, end }) => candidate.start < end && start < candidate.end);
    if (nullScore - candidate.score <= threshold && !overlaps) shown.push(candidate);
  }
  return shown.slice(0, MOST);
}
