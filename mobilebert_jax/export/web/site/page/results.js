// What was found, in words: the answers with their scores, "no answer", and what it took.

const LONGEST_QUOTE = 80;
const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Text, share and score, and a bar as long as the share. */
function row(text, share, score) {
  const track = element("span", "track");
  track.style.setProperty("--share", share);
  const shares = element("span", "share", percent(share));
  return [element("span", "text", text), shares, element("span", "score", `score ${score.toFixed(1)}`), track];
}

/**
 * Draws the answers as a list.
 *
 * @param onChoose hears the number of the answer that was pressed
 */
export function drawAnswers(list, shown, active, result, onChoose) {
  const items = shown.map((answer, index) => {
    const item = document.createElement("li");
    const button = element("button", "");
    button.type = "button";
    button.append(...row(answer.text, answer.probability, answer.score));
    button.addEventListener("click", () => onChoose(index));
    item.setAttribute("aria-current", String(index === active));
    item.append(button);
    return item;
  });
  const silence = element("li", "silence");
  silence.append(...row("The text does not say", result.nullProbability, result.nullScore));
  list.replaceChildren(...items, silence);
}

/** Why there is an answer, or none. */
export function verdict({ candidates, scoreDifference }, shown) {
  if (!candidates.length) return "Nothing in this text could be an answer.";
  const distance = Math.abs(scoreDifference).toFixed(1);
  const than = scoreDifference > 0 ? "less" : "more";
  if (shown.length) return `The best answer scores ${distance} ${than} than “the text does not say”.`;
  const { text } = candidates[0];
  const closest = text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)} …` : text;
  return `The closest answer, “${closest}”, scores ${distance} ${than} than “the text does not say”.`;
}

/** How long it took, and whether all was read. */
export function facts({ milliseconds, windows, questionCut }) {
  const time = milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
  const read = windows > 1 ? `, the text read in ${windows} windows` : "";
  return `Answered in ${time}${read}.${questionCut ? " The question is long: its end was not read." : ""}`;
}

export function thresholdText(threshold) {
  if (threshold === Infinity) return "any";
  return (threshold < 0 ? "−" : "+") + Math.abs(threshold).toFixed(1);
}
