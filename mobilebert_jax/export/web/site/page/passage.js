// The text, which can be edited at any time, and the highlights behind it.
//
// Both are plain text laid out alike: a textarea over a copy whose letters are invisible and whose answers are marked.

const SMOOTH = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";

export function makePassage({ textarea, highlights, length }, onEdit) {
  let marks = [];

  /** Marks the answers, and the one that is looked at more strongly. */
  function show(answers = [], active = -1) {
    const text = textarea.value;
    const numbered = answers.map((answer, index) => ({ ...answer, index }));
    const inOrder = numbered.sort((one, other) => one.start - other.start);
    const nodes = [];
    marks = [];
    let done = 0;
    for (const { start, end, index } of inOrder) {
      const mark = document.createElement("mark");
      mark.textContent = text.slice(start, end);
      mark.classList.toggle("active", index === active);
      nodes.push(text.slice(done, start), mark);
      marks[index] = mark;
      done = end;
    }
    highlights.replaceChildren(...nodes, text.slice(done));
    length.textContent = text ? `${text.length.toLocaleString()} characters` : "";
  }

  /** Brings an answer into view. */
  function reveal(index) {
    marks[index]?.scrollIntoView({ block: "center", behavior: SMOOTH });
  }

  function setText(text) {
    textarea.value = text;
    edited();
  }

  function edited() {
    show();
    onEdit();
  }

  textarea.addEventListener("input", edited);
  return { show, reveal, setText, text: () => textarea.value };
}
