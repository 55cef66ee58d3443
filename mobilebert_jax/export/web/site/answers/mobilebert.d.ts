/** A piece of the passage: `text === passage.slice(start, end)`. */
export interface Answer {
  text: string;
  /** Half-open, in UTF-16 code units, as all of JavaScript counts. */
  start: number;
  end: number;
  /** Start logit + end logit. */
  score: number;
  /** Of all candidates and "no answer" together. */
  probability: number;
}

export interface Answers {
  /** At most `topK`, best first; empty where "no answer" won. */
  answers: Answer[];
  /** All that were considered, best first, whether or not "no answer" won. */
  candidates: Answer[];
  /** Whether the best candidate won against "no answer". */
  answered: boolean;
  /** The score of "no answer". */
  nullScore: number;
  /** `nullScore` minus the best candidate's score; infinite without candidates. Compared with the threshold. */
  scoreDifference: number;
  /** What the candidates' probabilities leave for "no answer". */
  nullProbability: number;
  /** The verdict in a sentence. */
  explanation: string;
  /** Whether the question was so long that its end was not read. */
  questionCut: boolean;
  /** How many windows the passage was read in. */
  windows: number;
  /** What it took, in milliseconds. */
  milliseconds: number;
}

export interface Progress {
  /** Bytes of the model, or windows of the passage. */
  done: number;
  total: number;
}

export interface FindOptions {
  /** Default: 5. */
  topK?: number;
  /** "No answer" wins when its score exceeds the best candidate's by more than this. Default: the model's, mostly 0. */
  threshold?: number;
  /** Called after each window. */
  onProgress?: (progress: Progress) => void;
  /** Stops between two windows; the promise is then rejected with an AbortError. */
  signal?: AbortSignal;
}

export interface Answerer {
  /**
   * Finds answers to a question in a passage of any length.
   *
   * Rejects when the question is empty or too long to leave room for the passage.
   */
  findAnswers(question: string, passage: string, options?: FindOptions): Promise<Answers>;
  /** Ends the worker and frees the model. */
  close(): void;
  readonly device: "wasm" | "webgpu";
  readonly precision: "int8" | "float32";
  /** Of WebAssembly; more than one only where the server sends COOP and COEP headers. */
  readonly threads: number;
  /** Why it is not the device that was asked for; empty otherwise. */
  readonly note: string;
  /** The model's own threshold. */
  readonly threshold: number;
}

export interface LoadOptions {
  /** The folder with answering.json, seen from the page. Default: model/ beside this file's folder. */
  model?: string | URL;
  /** The folder of onnxruntime-web. Default: runtime/ there. */
  runtime?: string | URL;
  /** Default: "auto", WebGPU where there is one and the model's float32 file is there, else WebAssembly. */
  device?: "auto" | "wasm" | "webgpu";
  /** Default: "auto", what the device computes best with: int8 on WebAssembly if it is there, float32 on WebGPU. */
  precision?: "auto" | "int8" | "float32";
  /** Default: as many as the browser allows. */
  threads?: number;
  /** Called while the model's file comes in. */
  onProgress?: (progress: Progress) => void;
}

/**
 * Loads the model into a worker.
 *
 * Rejects with a message for people when the browser lacks WebAssembly or a file cannot be loaded.
 */
export function load(options?: LoadOptions): Promise<Answerer>;
