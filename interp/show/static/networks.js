// A worker that runs exported networks by onnxruntime-web: explorer.js sends a clip and orders of its frames, and gets
// softmax scores. All files lie beside the page, and nothing that it is given leaves the browser.
const sessions = new Map();
let runtime = null;

// A file as bytes, told of their number as they come; gzipped ones are unpacked.
async function load(address, told) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address} gave ${answer.status}`);
  const parts = [];
  for (const reader = answer.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    told(value.length);
    parts.push(value);
  }
  const file = new Blob(parts), [first, second] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  const packed = first === 0x1f && second === 0x8b;
  const content = packed ? new Response(file.stream().pipeThrough(new DecompressionStream("gzip"))) : file;
  return new Uint8Array(await content.arrayBuffer());
}

const tasks = {
  async open({ script, wasm, networks }, told) {
    if (runtime) return;
    const library = await import(script);
    library.env.wasm.numThreads = 1; // more need headers that a page's host seldom sends
    library.env.wasm.wasmBinary = await load(wasm, told);
    for (const { name, address } of networks) {
      sessions.set(name, await library.InferenceSession.create(await load(address, told)));
    }
    runtime = library;
  },

  // pixels: float32 (C,T,H,W) of one clip; shownAt: which of its frames is shown at each of T moments. Gives the softmax of
  // every class, and the map of the highest one (T',H',W') where the network has maps.
  async run({ network, pixels, size, shownAt }) {
    const [channels, count, height, width] = size, area = height * width, input = new Float32Array(pixels.length);
    for (let c = 0; c < channels; c += 1) {
      shownAt.forEach((source, t) => input.set(
        pixels.subarray((c * count + source) * area, (c * count + source + 1) * area), (c * count + t) * area));
    }
    const { logits, maps } = await sessions.get(network).run({ clips: new runtime.Tensor("float32", input, [1, ...size]) });
    const most = Math.max(...logits.data), top = logits.data.indexOf(most), cells = maps?.data.length / logits.data.length;
    const shares = Array.from(logits.data, value => Math.exp(value - most)), sum = shares.reduce((a, b) => a + b, 0);
    return { scores: shares.map(value => value / sum), map: maps ? maps.data.slice(top * cells, (top + 1) * cells) : null };
  },
};

let before = Promise.resolve(); // one task at a time, in the order in which they came
onmessage = ({ data: { id, task, options } }) => {
  before = before.then(() => tasks[task](options, loaded => postMessage({ id, loaded })))
    .then(result => postMessage({ id, result: result ?? null }), error => postMessage({ id, error: String(error) }));
};
