// Text to BERT's word pieces, each with its place in the text as it was given.

import { characterRules } from "./characters.js";

/** A word with more characters than this is unknown as a whole. */
const LONGEST_WORD = 100;

/**
 * A function from a text to `{ ids, starts, ends }`: half-open places in UTF-16 code units, nothing added or cut off.
 * Special tokens written in the text ("[MASK]") become their ids.
 *
 * @param tokenizer what tokenizer.json holds
 * @param kinds of characters, see `characterRules`
 */
export function wordPiece(tokenizer, kinds) {
  const rules = characterRules(kinds, tokenizer.normalizer);
  const { vocab, unk_token, continuing_subword_prefix: prefix, max_input_chars_per_word } = tokenizer.model;
  const table = { ids: new Map(Object.entries(vocab)), unknown: vocab[unk_token], prefix };
  table.longest = max_input_chars_per_word ?? LONGEST_WORD;
  const added = new Map(tokenizer.added_tokens.map(({ content, id }) => [content, id]));
  const special = specialPattern([...added.keys()]);

  return (text) => {
    const found = { ids: [], starts: [], ends: [] };
    let begin = 0;
    for (const { 0: token, index } of text.matchAll(special)) {
      addWords(found, text, begin, index, rules, table);
      addPiece(found, added.get(token), index, index + token.length);
      begin = index + token.length;
    }
    addWords(found, text, begin, text.length, rules, table);
    return found;
  };
}

/** Matches the added tokens, the longer ones first. */
function specialPattern(tokens) {
  const longestFirst = tokens.sort((one, other) => other.length - one.length);
  const escaped = longestFirst.map((token) => token.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  return new RegExp(escaped.join("|") || "(?!)", "gu");
}

function addPiece(found, id, start, end) {
  found.ids.push(id);
  found.starts.push(start);
  found.ends.push(end);
}

/** The pieces of the words in text[begin, end). */
function addWords(found, text, begin, end, rules, table) {
  let word = [];
  const finish = () => {
    if (word.length) addPieces(found, word, table);
    word = [];
  };
  for (let place = begin; place < end; ) {
    const character = String.fromCodePoint(text.codePointAt(place));
    const next = place + character.length;
    // Half of a surrogate pair is no character; Python's side reads it as this one, too.
    const whole = /^[\ud800-\udfff]$/u.test(character) ? "\ufffd" : character;
    for (const made of rules.normalize(whole)) {
      const alone = rules.isPunctuation(made);
      if (alone || rules.isSpace(made)) finish();
      if (alone) addPieces(found, [{ made, place, next }], table);
      else if (!rules.isSpace(made)) word.push({ made, place, next });
    }
    place = next;
  }
  finish();
}

/** The longest piece that the word begins with, then the longest of the rest, ...; unknown if there is none. */
function addPieces(found, word, table) {
  const pieces = word.length > table.longest ? null : longestPieces(word, table);
  if (!pieces) return addPiece(found, table.unknown, word[0].place, word.at(-1).next);
  for (const { id, first, last } of pieces) addPiece(found, id, word[first].place, word[last - 1].next);
}

function longestPieces(word, { ids, prefix }) {
  const pieces = [];
  for (let first = 0; first < word.length; first = pieces.at(-1).last) {
    let last = word.length;
    let text = (first ? prefix : "") + word.slice(first).map(({ made }) => made).join("");
    while (last > first && !ids.has(text)) {
      last -= 1;
      text = text.slice(0, text.length - word[last].made.length);
    }
    if (last === first) return null;
    pieces.push({ id: ids.get(text), first, last });
  }
  return pieces;
}
