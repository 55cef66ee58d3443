// The model in onnxruntime-web: on the graphics processor where that can be, on WebAssembly otherwise.

const INSTEAD = "The processor does the work instead.";
const RUNTIMES = { wasm: "ort.wasm.min.mjs", webgpu: "ort.webgpu.min.mjs" };

/**
 * Opens the model. Gives `{ predict, device, precision, threads, note }`: `predict` as `makeAnswerer` wants it; `note`
 * says in a sentence why it is not the device that was asked for, and is empty otherwise.
 *
 * onnxruntime-web has no 8-bit products on WebGPU, so that needs the float32 file, which a folder may lack.
 *
 * @param places `{ model, runtime }`, URLs of folders
 * @param files of the model by precision, "int8" or "float32", the usual one first, each `{ name, bytes }`
 * @param device "auto", "wasm" or "webgpu"
 * @param precision "auto", "int8" or "float32"
 * @param threads 0 for as many as the browser allows
 * @param onProgress hears how many bytes of the model are here, and of how many
 * @throws Error when the browser lacks what WebAssembly needs, or a file cannot be loaded
 */
export async function openSession(places, files, options = {}) {
  const { device = "auto", precision = "auto" } = options;
  if (typeof WebAssembly !== "object" || typeof BigInt64Array !== "function") {
    throw new Error("This browser has no WebAssembly, which the model needs: a newer one will do.");
  }
  const obstacle = device === "wasm" ? "" : await graphicsObstacle(files, options);
  let note = device === "webgpu" && obstacle ? `${obstacle} ${INSTEAD}` : "";
  if (device !== "wasm" && !obstacle) {
    try {
      return { ...(await open("webgpu", "float32", places, files, options)), note };
    } catch (error) {
      note = `The graphics processor refused the model (${error.message}). ${INSTEAD}`;
    }
  }
  const chosen = precision === "auto" ? Object.keys(files)[0] : precision;
  if (!files[chosen]) throw new Error(`This page does not have the model in ${chosen}.`);
  return { ...(await open("wasm", chosen, places, files, options)), note };
}

/** Why WebGPU cannot be used; empty if it can. */
async function graphicsObstacle(files, { device, precision }) {
  const eightBits = !files.float32 || precision === "int8";
  if (eightBits) return "The model is here in 8 bits only, which WebGPU does not compute in.";
  const adapter = await globalThis.navigator?.gpu?.requestAdapter().catch(() => null);
  if (!adapter) return "This browser offers no graphics processor to the page.";
  // What the processor does in a graphics processor's stead, it does faster in WebAssembly.
  const onlyImitated = device !== "webgpu" && adapter.info?.isFallbackAdapter;
  return onlyImitated ? "This browser only imitates a graphics processor." : "";
}

async function open(device, precision, places, files, { threads = 0, onProgress }) {
  const ort = await import(new URL(RUNTIMES[device], places.runtime));
  ort.env.logLevel = "error";
  ort.env.wasm.wasmPaths = String(places.runtime);
  if (!globalThis.crossOriginIsolated) ort.env.wasm.numThreads = 1;
  else if (threads) ort.env.wasm.numThreads = threads;
  const content = await download(new URL(files[precision].name, places.model), files[precision].bytes, onProgress);
  const settings = { executionProviders: [device], logSeverityLevel: 3 };
  const session = await ort.InferenceSession.create(content, settings).catch((error) => {
    throw new Error(`This browser could not start the model; a newer one may. (${error.message})`);
  });
  return { predict: (window) => run(ort, session, window), device, precision, threads: ort.env.wasm.numThreads };
}

/** A file's bytes; `onProgress` hears how far it is. */
async function download(url, size, onProgress) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} could not be loaded (${answer.status} ${answer.statusText}).`);
  const content = new Uint8Array(size);
  const reader = answer.body.getReader();
  let done = 0;
  for (;;) {
    const { value, done: finished } = await reader.read();
    if (finished) break;
    if (done + value.length > size) throw new Error(`${url} is longer than it should be: load the page anew.`);
    content.set(value, done);
    done += value.length;
    onProgress?.(done, size);
  }
  if (done < size) throw new Error(`${url} is shorter than it should be: load the page anew.`);
  return content;
}

/** Start and end logits of one window. */
async function run(ort, session, { ids, mask, types }) {
  const tensor = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  const outputs = await session.run({
    input_ids: tensor(ids),
    attention_mask: tensor(mask),
    token_type_ids: tensor(types),
  });
  return { start: outputs.start_logits.data, end: outputs.end_logits.data };
}
