// The page: a question, a text, the answers in it.

import { load } from "../answers/mobilebert.js";
import { makePassage } from "./passage.js";
import { drawAnswers, facts, thresholdText, verdict } from "./results.js";
import { SAMPLE } from "./sample.js";
import { shownAnswers } from "./shown.js";

const at = (id) => document.getElementById(id);
const passage = makePassage({ textarea: at("passage"), highlights: at("highlights"), length: at("length") }, forget);
const state = { answerer: null, asked: null, result: null, shown: [], active: -1, asking: null };

/** One line for everybody, and what is read aloud after it. */
function say(text, alert = false, aloud = "") {
  at("status").textContent = text;
  at("spoken").textContent = aloud;
  at("status").classList.toggle("alert", alert);
}

/** The thin line below the question; without an argument it goes away. */
function progress(done, total) {
  at("progress").hidden = total === undefined;
  if (total) at("progress").value = done / total;
}

/** What was found is no longer about this text. */
function forget() {
  state.asking?.abort();
  Object.assign(state, { asked: null, result: null, shown: [], active: -1, asking: null });
  draw();
  if (state.answerer) say(passage.text() ? "Ask a question about the text." : "Paste a text, then ask.");
}

/** The slider's; at its right end every answer is taken. */
function threshold() {
  const { max, valueAsNumber } = at("threshold");
  return valueAsNumber < Number(max) ? valueAsNumber : Infinity;
}

function draw() {
  const { result, shown, active } = state;
  passage.show(shown, active);
  at("count").textContent = shown.length ? `${active + 1} of ${shown.length}` : "";
  at("previous").disabled = at("next").disabled = shown.length < 2;
  at("results").hidden = !result;
  if (!result) return;
  at("threshold-value").textContent = thresholdText(threshold());
  drawAnswers(at("answers"), shown, active, result, look);
  at("verdict").textContent = verdict(result, shown);
  at("facts").textContent = facts(result);
}

/** Looks at an answer, counted from 0; the one after the last is the first. */
function look(index) {
  if (!state.shown.length) return;
  state.active = (index + state.shown.length) % state.shown.length;
  draw();
  passage.reveal(state.active);
  say(`Answer ${state.active + 1} of ${state.shown.length}`, false, state.shown[state.active].text);
}

/** Chooses what is shown anew; the answer that was looked at stays, if it still is. */
function choose() {
  if (!state.result) return;
  const before = state.shown[state.active];
  state.shown = shownAnswers(state.result, threshold());
  const kept = state.shown.findIndex(({ start, end }) => start === before?.start && end === before?.end);
  state.active = state.shown.length ? Math.max(kept, 0) : -1;
  draw();
  if (!state.shown.length) say("The text does not seem to say.");
  else if (kept < 0) look(0);
}

async function ask() {
  const question = at("question").value;
  const text = passage.text();
  if (!state.answerer) return;
  if (!question.trim()) return say("Write a question first.");
  if (!text.trim()) return say("Paste a text first.");
  forget();
  const asking = (state.asking = new AbortController());
  say("Reading the text …");
  const onProgress = ({ done, total }) => {
    if (asking.signal.aborted || total < 2) return;
    progress(done, total);
    say(`Reading the text, ${done} of ${total} …`);
  };
  try {
    const result = await state.answerer.findAnswers(question, text, { onProgress, signal: asking.signal });
    if (asking.signal.aborted) return;
    Object.assign(state, { result, asked: question, asking: null });
    choose();
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, true);
  } finally {
    if (!state.asking || state.asking === asking) progress();
  }
}

/** Enter asks; once there are answers to this question it goes through them. */
function onSubmit(event) {
  event.preventDefault();
  if (state.result && state.asked === at("question").value && state.shown.length) look(state.active + 1);
  else ask();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = (distance) => (event.preventDefault(), look(state.active + distance));
  if (event.target === at("passage")) {
    if (event.key === "Escape") at("question").focus();
  } else if (event.target === at("question")) {
    if (event.key === "ArrowDown") step(1);
    else if (event.key === "ArrowUp" || (event.key === "Enter" && event.shiftKey && state.result)) step(-1);
  } else if (event.target !== at("threshold")) {
    if (event.key === "n" || event.key === "ArrowDown") step(1);
    else if (event.key === "p" || event.key === "ArrowUp") step(-1);
    else if (event.key === "/") (event.preventDefault(), at("question").select());
  }
}

function describe({ device, precision, threads, note }) {
  const counted = threads > 1 ? `${threads} threads` : "1 thread";
  const runtime = device === "webgpu" ? "the graphics processor (WebGPU)" : `WebAssembly, ${counted}`;
  const bits = precision === "int8" ? "8-bit weights" : "float32";
  return `The model runs here, in this browser: ${runtime}, ${bits}. Nothing is sent anywhere. ${note}`;
}

/** The page's address may say what to compute with, such as `?device=wasm&precision=int8&threads=1`. */
async function start() {
  const options = Object.fromEntries(new URLSearchParams(location.search));
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  const onProgress = ({ done, total }) => {
    progress(done, total);
    say(`Loading the model, ${megabytes(done)} of ${megabytes(total)} MB …`);
  };
  say("Loading the model …");
  try {
    state.answerer = await load({ ...options, threads: Number(options.threads ?? 0), onProgress });
    at("threshold").value = state.answerer.threshold;
    at("device").textContent = describe(state.answerer);
    at("submit").disabled = false;
    forget();
  } catch (error) {
    say(`The model could not be loaded. ${error.message}`, true);
  } finally {
    progress();
  }
}

at("ask").addEventListener("submit", onSubmit);
at("previous").addEventListener("click", () => look(state.active - 1));
at("next").addEventListener("click", () => look(state.active + 1));
at("threshold").addEventListener("input", choose);
at("clear").addEventListener("click", () => (passage.setText(""), at("passage").focus()));
at("sample").addEventListener("click", () => (passage.setText(SAMPLE.text), (at("question").value = SAMPLE.question)));
document.addEventListener("keydown", onKey);
passage.setText(SAMPLE.text);
at("question").value = SAMPLE.question;
at("question").select();
start();
