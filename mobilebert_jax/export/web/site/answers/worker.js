// The model at work, away from the page: `{ id, load }` and `{ id, find }` in, `{ id, progress | done | failed }` out.

import { makeAnswerer } from "./answerer.js";
import { openSession } from "./session.js";
import { wordPiece } from "./word-piece.js";

const cancelled = new Set();
let find = null;
let turn = Promise.resolve(); // one request after the other

async function readJson(name, folder) {
  const url = new URL(name, folder);
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} could not be loaded (${answer.status} ${answer.statusText}).`);
  return answer.json();
}

async function load({ model, runtime, ...options }, onProgress) {
  const names = ["answering.json", "tokenizer.json", "characters.json"];
  const [settings, tokenizer, kinds] = await Promise.all(names.map((name) => readJson(name, model)));
  const { predict, ...about } = await openSession({ model, runtime }, settings.files, { ...options, onProgress });
  find = makeAnswerer(wordPiece(tokenizer, kinds), predict, settings);
  // The first run is slow: it is over before anybody asks. Whatever fails in it will fail again, and be said, then.
  turn = turn.then(() => find("?", "").catch(() => {}));
  return { ...about, threshold: settings.threshold };
}

const tasks = {
  load,
  find: ({ question, passage, ...options }, onProgress, isCancelled) =>
    find(question, passage, { ...options, onProgress, isCancelled }),
};

async function perform(id, name, options) {
  const onProgress = (done, total) => postMessage({ id, progress: { done, total } });
  try {
    postMessage({ id, done: await tasks[name](options, onProgress, () => cancelled.has(id)) });
  } catch (error) {
    postMessage({ id, failed: { name: error.name, message: error.message } });
  }
  cancelled.delete(id);
}

addEventListener("message", ({ data: { id, cancel, ...task } }) => {
  if (cancel) return cancelled.add(cancel);
  const [[name, options]] = Object.entries(task);
  turn = turn.then(() => perform(id, name, options));
});
