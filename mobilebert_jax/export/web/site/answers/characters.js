// What BERT's normaliser makes of a character, and which characters end a word.
//
// Browsers know Unicode in versions of their own, so the kinds of characters come with the model, as the tokenizers
// library had them when it was exported.

/** Whether a character is of a kind: `ranges` is [first, last, first, last, ...], code points in ascending order. */
function within(ranges, character) {
  const code = character.codePointAt(0);
  let low = 0;
  let high = ranges.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[2 * middle + 1] < code) low = middle + 1;
    else high = middle;
  }
  return low < ranges.length / 2 && ranges[2 * low] <= code;
}

/** A function that remembers what it gave; there are few different characters in a text. */
function remembering(compute) {
  const known = new Map();
  return (character) => {
    if (!known.has(character)) known.set(character, compute(character));
    return known.get(character);
  };
}

/**
 * Three functions of a character (one code point): `normalize` gives the characters that it becomes, an array that may
 * be empty; `isSpace` and `isPunctuation` are asked of those.
 *
 * @param kinds the ranges of "space", "removed", "ideograph", "accent" and "punctuation"
 * @param settings the normalizer in tokenizer.json
 */
export function characterRules(kinds, settings) {
  const strip = settings.strip_accents ?? settings.lowercase;
  const is = (kind, character) => within(kinds[kind], character);

  function normalize(character) {
    let text = character;
    if (settings.clean_text) {
      if (is("removed", text)) return [];
      if (is("space", text)) text = " ";
    }
    if (settings.handle_chinese_chars && is("ideograph", text)) text = ` ${text} `;
    let made = Array.from(strip ? text.normalize("NFD") : text);
    if (strip) made = made.filter((one) => !is("accent", one));
    return settings.lowercase ? made.flatMap((one) => Array.from(one.toLowerCase())) : made;
  }

  return {
    normalize: remembering(normalize),
    isSpace: remembering((character) => is("space", character)),
    isPunctuation: remembering((character) => is("punctuation", character)),
  };
}
