// Reads what Python asks on stdin, gives what the page's modules answer on stdout.

import { readFileSync } from "node:fs";
import { makeAnswerer } from "./answers/answerer.js";
import { characterRules } from "./answers/characters.js";
import { wordPiece } from "./answers/word-piece.js";

const { tokenizer, kinds, settings, asked, texts, characters } = JSON.parse(readFileSync(0, "utf8"));
const encode = wordPiece(tokenizer, kinds);

// The same made-up logits as in Python: sums of few quarters, exact in any precision.
function predict({ ids }) {
  const logits = (a, b, c) => Float32Array.from(ids, (id, place) => ((id * a + place * b + ids.length) % c) / 4);
  return { start: logits(31, 17, 97), end: logits(13, 29, 89) };
}

const find = makeAnswerer(encode, predict, settings);
const found = [];
for (const { question, passage, threshold } of asked ?? []) found.push(await find(question, passage, { threshold }));
const rules = characterRules(kinds, tokenizer.normalizer);
const made = Array.from(characters ?? "", (character) => rules.normalize(character).join(""));
process.stdout.write(JSON.stringify({ found, encoded: (texts ?? []).map(encode), made }));
