// A question and its passage as overlapping windows `[CLS] question [SEP] passage chunk [SEP]`, BERT's SQuAD rules.

/**
 * A window: `ids` of its tokens; `begin`, the place of its first passage token among them; `first` and `count`, which
 * of the passage's tokens it shows; `leads`, an array: whether no other window shows the token with more context.
 *
 * @param asked `{ ids }` of the question's tokens, cut off after `settings.max_query_length`
 * @param read `{ ids }` of the passage's tokens
 * @param settings sequence_length, doc_stride, max_query_length and special_ids of the model
 * @throws Error when the question leaves no room for the passage
 */
export function buildWindows(asked, read, settings) {
  const { cls, sep } = settings.special_ids;
  const head = [cls, ...asked.ids.slice(0, settings.max_query_length), sep];
  const room = settings.sequence_length - head.length - 1;
  if (room < 1) throw new Error("The question leaves no room for the passage: ask a shorter one.");
  const windows = slide(read.ids.length, room, settings.doc_stride).map((chunk) => ({
    ...chunk,
    ids: [...head, ...read.ids.slice(chunk.first, chunk.first + chunk.count), sep],
    begin: head.length,
  }));
  return withLeads(windows, read.ids.length);
}

/** The chunks of a passage; the last one is the first that reaches its end. */
function slide(length, room, stride) {
  const step = Math.min(room, stride);
  const turns = 1 + Math.max(0, Math.ceil((length - room) / step));
  return Array.from({ length: turns }, (_, turn) => {
    const first = turn * step;
    return { first, count: Math.min(room, length - first) };
  });
}

/** A token belongs to the first window with the greatest min(left, right) + 0.01 * chunk length. */
function withLeads(windows, length) {
  const best = new Float64Array(length).fill(-Infinity);
  const owner = new Int32Array(length);
  windows.forEach(({ first, count }, index) => {
    for (let place = 0; place < count; place++) {
      const context = Math.min(place, count - 1 - place) + 0.01 * count;
      if (context <= best[first + place]) continue;
      best[first + place] = context;
      owner[first + place] = index;
    }
  });
  return windows.map((window, index) => ({
    ...window,
    leads: Array.from({ length: window.count }, (_, place) => owner[window.first + place] === index),
  }));
}

/**
 * How many tokens a window of `length` is padded to: the shortest of `lengths` that leaves padding, or the longest.
 * The model sees in the last token's neighbours what stands behind it; so that is padding in every bucket.
 */
export function paddedLength(length, lengths) {
  return lengths.find((each) => each > length) ?? lengths.at(-1);
}
