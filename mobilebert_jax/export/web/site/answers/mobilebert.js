// Two calls: load(), then findAnswers(question, passage). All work is done in a worker. Types: mobilebert.d.ts.

/** See mobilebert.d.ts. */
export async function load(options = {}) {
  const { device, precision, threads, onProgress } = options;
  const beside = (usual) => new URL(usual, import.meta.url);
  const below = (given) => new URL(String(given).replace(/\/?$/, "/"), location.href);
  const folder = (given, usual) => (given ? below(given) : beside(usual)).href;
  const request = connect(new Worker(new URL("./worker.js", import.meta.url), { type: "module" }));
  const places = { model: folder(options.model, "../model/"), runtime: folder(options.runtime, "../runtime/") };
  const given = { ...places, device, precision, threads };
  const about = await request.send({ load: given }, { onProgress }).catch((error) => {
    request.close();
    throw error;
  });
  return {
    ...about,
    findAnswers: (question, passage, { onProgress, signal, ...limits } = {}) =>
      request.send({ find: { question, passage, ...limits } }, { onProgress, signal }),
    close: request.close,
  };
}

/** Requests to the worker and their answers, by number. */
function connect(worker) {
  const waiting = new Map();
  let last = 0;

  function close(reason = new DOMException("The model was closed.", "AbortError")) {
    worker.terminate();
    for (const { reject } of waiting.values()) reject(reason);
    waiting.clear();
  }

  worker.addEventListener("error", (event) => {
    close(new Error(event.message || "This browser could not start the worker that the model runs in."));
  });
  worker.addEventListener("message", ({ data: { id, progress, done, failed } }) => {
    const { resolve, reject, onProgress } = waiting.get(id) ?? {};
    if (progress) return onProgress?.(progress);
    waiting.delete(id);
    if (!failed) return resolve?.(done);
    reject?.(failed.name === "AbortError" ? new DOMException(failed.message, failed.name) : new Error(failed.message));
  });

  async function send(message, { onProgress, signal } = {}) {
    signal?.throwIfAborted();
    const id = ++last;
    signal?.addEventListener("abort", () => worker.postMessage({ cancel: id }), { once: true });
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject, onProgress });
      worker.postMessage({ id, ...message });
    });
  }

  return { send, close: () => close() };
}
