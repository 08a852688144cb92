// The explorer: a clip, its Grad-CAM map, the perturbed clip, a timeline to paint a mask on, and the scores under it.
// Two hosts: anywidget calls `render`; on a static page `scan` mounts each placeholder that comes into view, and where the
// book's networks lie beside the page, networks.js runs them there.
// Frames count from 0 here, from 1 on screen. The data that show/explorer.py makes:
//
// The page holds the scores of every window of frames, as one dict ("interp-explorer" version 1), numbers little-endian in
// base64, masks as "0011100". R rows: the clip itself, all windows by first and then by last frame, the masks of "extra".
//
//     {"format", "version", "id", "title", "fps", "threshold", "recipe", "extra": [mask], "target": index or null,
//      "frames": {"count", "width", "height", "columns", "sprite": a WebP's address, frames row by row},
//      "colours": 256 x 3 bytes, "classes": {index: name}, "models": [{
//         "name", "weights": SHA-256 of their file, "words", "guess": index, "explained": index, "columns": [index shown],
//         "map": {"width", "height", "levels": T x height x width bytes, 255 for 1},
//         "tables": {"freeze": {"scores": columns x R float32, "top": R uint16, "topScores": R float32}, "reverse"},
//         "best": {"freeze": mask, "reverse": mask},
//         "found": {"mask", "soft", "perturbation", "steps", "scores": {"freeze", "reverse"}}}]}

const KINDS = ["freeze", "reverse"];

const bytesOf = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const floatsOf = text => typeof text === "string" ? new Float32Array(bytesOf(text).buffer) : text;
const indicesOf = text => typeof text === "string" ? new Uint16Array(bytesOf(text).buffer) : text;
const digits = mask => mask.map(on => (on ? "1" : "0")).join("");
const maskOf = text => [...text].map(digit => digit === "1");

// Which frame of the clip is shown at each moment, under a mask of trues and falses; as core/perturb.py.
function order(mask, kind) {
  const shownAt = mask.map((_, t) => t);
  if (kind === "freeze") {
    for (let t = 1; t < mask.length; t += 1) if (mask[t]) shownAt[t] = shownAt[t - 1];
    return shownAt;
  }
  for (const [first, last] of runs(mask)) for (let t = first; t <= last; t += 1) shownAt[t] = first + last - t;
  return shownAt;
}

function runs(mask) {
  const spans = [];
  mask.forEach((on, t) => {
    if (on && t > 0 && mask[t - 1]) spans.at(-1)[1] = t;
    else if (on) spans.push([t, t]);
  });
  return spans;
}

const highest = row => row.indexOf(Math.max(...row));

// What a binary mask costs, as core/windows.py: lambda1 a frame that is on, lambda2 an edge, which counts once or twice.
function penalty(mask, { lambda1, lambda2, border }) {
  const last = mask.length - 1, even = border === "even";
  let edges = even ? 2 * mask[0] + 2 * mask[last] : 0;
  for (let t = 1; t <= last; t += 1) {
    if (Boolean(mask[t]) !== Boolean(mask[t - 1])) edges += even ? 2 : (t > 1) + (t < last);
  }
  return lambda1 * mask.filter(Boolean).length + lambda2 * edges;
}

// All masks as {cost, code}, the cheapest first; of those that do the same to every clip only the cheapest, as in
// core/exact.py: freezing frame 0 does nothing, nor does reversing one frame alone.
function masksByCost(count, recipe, kind) {
  const list = [];
  for (let code = 0; code < 2 ** count; code += 1) {
    const mask = maskOfCode(code, count);
    if (kind === "freeze" ? mask[0] : runs(mask).some(([first, last]) => first === last)) continue;
    const plain = penalty(mask, recipe);
    mask[0] ||= kind === "freeze";
    list.push({ cost: Math.min(plain, kind === "freeze" ? penalty(mask, recipe) : plain), code });
  }
  return list.sort((one, other) => one.cost - other.cost || one.code - other.code);
}

// Frames that are equal have the number of the first of them.
function sameFrames(pixels, [channels, count, height, width]) {
  const area = height * width, part = (c, t) => pixels.subarray((c * count + t) * area, (c * count + t + 1) * area);
  const equal = (one, other) => one.every((value, i) => value === other[i]);
  const like = (t, u) => Array.from({ length: channels }, (_, c) => c).every(c => equal(part(c, t), part(c, u)));
  return Array.from({ length: count }, (_, t) => Array.from({ length: t + 1 }, (_, u) => u).find(u => u === t || like(t, u)));
}

const maskOfCode = (code, count) => Array.from({ length: count }, (_, t) => Boolean(code >> t & 1));

// The binary mask of least loss, as core/exact.py finds it, and no mask's loss is below `bound`. score: mask -> promise of
// its score; scored: scores that are known, by keyOf(mask); told: after each score; stopped: whether to end.
async function bestMask({ count, recipe, kind, keyOf, scored, score, told, stopped, budget = 2000 }) {
  const list = masksByCost(count, recipe, kind), entries = new Map(list.map(entry => [entry.code, entry]));
  let best = { loss: Infinity }, forwards = 0;
  const take = (code, cost, value) => {
    const loss = cost + value;
    if (loss < best.loss || (loss === best.loss && code < best.code)) best = { code, loss, score: value };
  };
  const keyed = entry => (entry.key ??= keyOf(maskOfCode(entry.code, count)));
  const open = entry => entry.cost < best.loss && !scored.has(keyed(entry));
  const bound = () => Math.min(best.loss, list.find(open)?.cost ?? best.loss);
  const spent = () => stopped() || forwards >= budget;
  const result = () => ({ ...best, mask: maskOfCode(best.code, count), bound: bound(), forwards });
  const look = async entry => {
    const value = await score(maskOfCode(entry.code, count));
    scored.set(keyed(entry), value);
    forwards += 1;
    take(entry.code, entry.cost, value);
    told(result());
  };
  const seen = new Set();
  for (const entry of list) { // what is known already; of masks with one effect the cheapest
    if (scored.has(keyed(entry)) && !seen.has(entry.key)) take(entry.code, entry.cost, scored.get(entry.key));
    seen.add(entry.key);
  }
  for (let center = null; center !== best.code && list.filter(open).length > budget && !spent();) { // flips of the best
    center = best.code;
    for (let flip = 0; flip < count * count && !spent(); flip += 1) {
      const code = center ^ 1 << Math.floor(flip / count) ^ (flip % count ? 1 << flip % count : 0);
      if (entries.has(code) && open(entries.get(code))) await look(entries.get(code));
    }
  }
  for (const entry of list) {
    if (entry.cost >= best.loss || spent()) break;
    if (open(entry)) await look(entry);
  }
  return result();
}

// All masks of one run of frames, by first and then by last frame.
const windowsOf = count => Array.from({ length: count }, (_, first) => Array.from({ length: count - first }, (_, more) =>
  Array.from({ length: count }, (_, t) => t >= first && t <= first + more))).flat();

// The page's scores, by the order of frames that a mask gives: two masks that do the same have the same scores.
function lookups(data) {
  const count = data.frames.count;
  const masks = [Array(count).fill(false), ...windowsOf(count), ...data.extra.map(maskOf)];
  const tables = {};
  for (const kind of KINDS) {
    const rows = new Map();
    const known = masks.slice(0, indicesOf(data.models[0].tables[kind].top).length); // the first alone for a reader's video
    known.forEach((mask, row) => { // the first stays: the untouched clip before a window that does nothing
      const key = order(mask, kind).join();
      if (!rows.has(key)) rows.set(key, row);
    });
    const models = data.models.map(model => {
      const table = model.tables[kind];
      return { scores: floatsOf(table.scores), top: indicesOf(table.top),
        topScores: floatsOf(table.topScores), columns: model.columns.length };
    });
    tables[kind] = key => rows.has(key) ? models.map(({ scores, top, topScores, columns }) => {
      const row = rows.get(key);
      return { top: top[row], topScore: topScores[row],
        scores: Array.from({ length: columns }, (_, c) => scores[c * top.length + row]) };
    }) : null;
  }
  return tables;
}

// The clip's frames and, over them, the map, enlarged to about 256 pixels.
async function pictures(data) {
  const { count, width, height, columns, sprite } = data.frames;
  const sheet = new Image();
  sheet.src = sprite;
  await sheet.decode();
  const pixels = data.pixels ?? pixelsOf(sheet, data.frames);
  const scale = Math.max(1, Math.round(256 / width)), size = { width: scale * width, height: scale * height };
  const frames = Array.from({ length: count }, (_, t) => {
    const small = Object.assign(document.createElement("canvas"), { width, height }); // so that no neighbour bleeds in
    small.getContext("2d").drawImage(sheet, -(t % columns) * width, -Math.floor(t / columns) * height);
    const large = Object.assign(document.createElement("canvas"), size), brush = large.getContext("2d");
    brush.imageSmoothingQuality = "high";
    brush.drawImage(small, 0, 0, size.width, size.height);
    return large;
  });
  const colours = bytesOf(data.colours), kept = new Map();
  const heat = (place, t) => {
    const name = `${place}:${t}`;
    if (!kept.has(name)) kept.set(name, overlay(frames[t], data.models[place].map, t, colours));
    return kept.get(name);
  };
  return { size, frames, heat, pixels };
}

// The networks that lie beside the page: `list` of them, `open` to load them once, `run` to have a clip scored. null where
// the page names none; `trouble` says why they cannot run.
const findNetworks = () => globalThis.interpNetworks ??= (async () => {
  const address = document.querySelector('link[rel="interp-networks"]')?.href;
  if (!address) return null;
  if (!address.startsWith("http")) return { trouble: "A page opened from a file may not run them; serve the book's folder." };
  if (typeof WebAssembly === "undefined") return { trouble: "This browser has no WebAssembly to run them in." };
  const { runtime, networks } = await (await fetch(address)).json(), waiting = new Map(), listeners = new Set();
  const place = name => new URL(name, address).href, total = [runtime, ...networks].reduce((sum, { bytes }) => sum + bytes, 0);
  let worker = null, number = 0, loaded = 0, opened = null;
  const ask = (task, options, told = null) => new Promise((done, failed) => {
    number += 1;
    waiting.set(number, { done, failed, told });
    worker.postMessage({ id: number, task, options });
  });
  return {
    list: networks, megabytes: total / 1e6,
    open(told) { // told: of the share that is loaded
      listeners.add(told);
      return opened ??= (async () => {
        worker = new Worker(place("networks.js"), { type: "module" });
        worker.onmessage = ({ data: { id, loaded: more, result, error } }) => {
          const { done, failed, told: heard } = waiting.get(id);
          if (more !== undefined) return heard?.(more);
          waiting.delete(id);
          return error === undefined ? done(result) : failed(new Error(error));
        };
        worker.onerror = event => { for (const { failed } of waiting.values()) failed(new Error(event.message)); };
        await ask("open", { script: place(runtime.script), wasm: place(runtime.wasm),
          networks: networks.map(({ name, file }) => ({ name, address: place(file) })) }, more => {
          loaded += more;
          for (const each of listeners) each(Math.min(1, loaded / total));
        });
      })();
    },
    run: (network, pixels, size, shownAt) => ask("run", { network, pixels, size, shownAt }),
  };
})().catch(error => ({ trouble: `They could not be found (${error.message}).` }));

// A clip as the networks take it, float32 (C,T,H,W) in 0..1: draw each frame with `brush`, then take(t) it.
function clipOf(count, width, height) {
  const area = width * height, pixels = new Float32Array(3 * count * area);
  const small = Object.assign(document.createElement("canvas"), { width, height });
  const brush = small.getContext("2d", { willReadFrequently: true });
  return {
    pixels, brush,
    take(t) {
      const values = brush.getImageData(0, 0, width, height).data;
      for (let i = 0; i < area; i += 1) {
        for (let c = 0; c < 3; c += 1) pixels[(c * count + t) * area + i] = values[4 * i + c] / 255;
      }
    },
  };
}

function pixelsOf(sheet, { count, width, height, columns }) {
  const clip = clipOf(count, width, height);
  for (let t = 0; t < count; t += 1) {
    clip.brush.drawImage(sheet, -(t % columns) * width, -Math.floor(t / columns) * height);
    clip.take(t);
  }
  return clip.pixels;
}

// A reader's video: `count` moments spread evenly over it, as data/video.py spreads them, as a sheet to show and as pixels
// for the networks, whose frames are `size` (C,T,H,W). The browser decodes; nothing is sent.
async function readVideo(file, size) {
  const [, count, height, width] = size, columns = Math.ceil(Math.sqrt(count)), clip = clipOf(count, width, height);
  const video = Object.assign(document.createElement("video"), { muted: true, preload: "auto", playsInline: true });
  const happens = name => new Promise((done, failed) => {
    video.addEventListener(name, done, { once: true });
    video.addEventListener("error", () => failed(new Error("not decoded")), { once: true });
  });
  try {
    const ready = happens("loadeddata");
    video.src = URL.createObjectURL(file);
    await ready;
    const large = 256 / Math.max(video.videoWidth, video.videoHeight);
    const shown = { width: Math.round(large * video.videoWidth), height: Math.round(large * video.videoHeight) };
    if (!Number.isFinite(video.duration) || !(shown.width > 0)) throw new Error("not decoded");
    const sheet = Object.assign(document.createElement("canvas"),
      { width: columns * shown.width, height: Math.ceil(count / columns) * shown.height });
    const wide = sheet.getContext("2d");
    for (const each of [wide, clip.brush]) each.imageSmoothingQuality = "high";
    for (let t = 0; t < count; t += 1) {
      const sought = happens("seeked");
      video.currentTime = Math.min(t * video.duration / count + 1 / 60, video.duration); // inside a frame, not on its edge
      await sought;
      wide.drawImage(video, (t % columns) * shown.width, Math.floor(t / columns) * shown.height, shown.width, shown.height);
      clip.brush.drawImage(video, 0, 0, width, height);
      clip.take(t);
    }
    return { pixels: clip.pixels, size, frames: { count, ...shown, columns, sprite: sheet.toDataURL("image/png") } };
  } finally {
    URL.revokeObjectURL(video.src);
  }
}

// An explorer's data for a reader's video: both networks' guesses, and the map of a network that gives one.
async function dataOf(data, title, video, networks) {
  const models = [], shownAt = Array.from({ length: video.frames.count }, (_, t) => t);
  for (const { name, weights } of data.models) {
    const network = networks.list.find(each => each.weights === weights);
    const { scores, map } = await networks.run(network.name, video.pixels, video.size, shownAt);
    const guess = highest(scores), row = Float32Array.of(scores[guess]);
    const table = { scores: row, top: Uint16Array.of(guess), topScores: row };
    models.push({ name, weights, guess, explained: guess, columns: [guess], map: map && placed(map, network.shares),
      tables: { freeze: table, reverse: table } });
  }
  return { ...data, ...video, id: title, title, target: null, extra: [], models, own: true };
}

// The network's map (T',H',W') in its place over the clip, 0..255: along each axis a cell has a share of every point, as
// core/gradcam.py gives it.
function placed(map, shares) {
  const [times, rows, columns] = shares, sizes = shares.map(axis => axis[0].length);
  const values = new Float32Array(times.length * rows.length * columns.length);
  const parts = axis => axis.map(cells => cells.map((share, k) => [k, share]).filter(([, share]) => share > 0));
  const [ofTime, ofRow, ofColumn] = [times, rows, columns].map(parts);
  let place = 0, most = 0;
  for (const inTime of ofTime) for (const inRow of ofRow) for (const inColumn of ofColumn) {
    let sum = 0;
    for (const [t, a] of inTime) for (const [y, b] of inRow) for (const [x, c] of inColumn) {
      sum += a * b * c * map[(t * sizes[1] + y) * sizes[2] + x];
    }
    most = Math.max(most, sum);
    values[place++] = sum;
  }
  const bytes = Uint8Array.from(values, value => Math.round(255 * value / (most || 1)));
  return { width: columns.length, height: rows.length, bytes };
}

// One frame under its map, drawn as figure.overlay does: grey, the map's colours, a line round values of a half.
function overlay(frame, map, t, colours) {
  const { width, height } = frame, canvas = Object.assign(document.createElement("canvas"), { width, height });
  const brush = canvas.getContext("2d"), values = map && enlarged(map, t, width, height);
  brush.drawImage(frame, 0, 0);
  if (!map) return canvas;
  const picture = brush.getImageData(0, 0, width, height), pixels = picture.data;
  for (let i = 0; i < values.length; i += 1) {
    const grey = 0.8 * (0.299 * pixels[4 * i] + 0.587 * pixels[4 * i + 1] + 0.114 * pixels[4 * i + 2]);
    const share = 0.65 * values[i] ** 0.7, level = 3 * Math.round(255 * values[i]);
    for (let c = 0; c < 3; c += 1) pixels[4 * i + c] = share * colours[level + c] + (1 - share) * grey;
  }
  const held = (place, length) => Math.min(Math.max(place, 0), length - 1);
  const inside = (x, y) => values[held(y, height) * width + held(x, width)] >= 0.5;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const hot = inside(x, y);
      const around = [inside(x - 1, y), inside(x + 1, y), inside(x, y - 1), inside(x, y + 1)];
      if (around.every(other => other === hot)) continue;
      pixels.fill(hot ? 255 : 0, 4 * (y * width + x), 4 * (y * width + x) + 3);
    }
  }
  brush.putImageData(picture, 0, 0);
  return canvas;
}

// One frame of a map's grid, bilinearly; the cells' middles lie as PyTorch's align_corners=False lays them.
function enlarged(map, t, width, height) {
  map.bytes ??= bytesOf(map.levels);
  const at = (length, cells) => Array.from({ length }, (_, i) => {
    const place = Math.max(0, (i + 0.5) * cells / length - 0.5), low = Math.min(Math.floor(place), cells - 1);
    return [low, Math.min(low + 1, cells - 1), place - low];
  });
  const across = at(width, map.width), values = new Float32Array(width * height), start = t * map.width * map.height;
  at(height, map.height).forEach(([top, bottom, down], y) => across.forEach(([left, right, along], x) => {
    const cell = (row, column) => map.bytes[start + row * map.width + column];
    const upper = (1 - along) * cell(top, left) + along * cell(top, right);
    const lower = (1 - along) * cell(bottom, left) + along * cell(bottom, right);
    values[y * width + x] = Math.min(1, ((1 - down) * upper + down * lower) / 255);
  }));
  return values;
}

// Words, and the making of parts.
const DONE = { freeze: "frozen", reverse: "reversed" };
const SPEEDS = [["0.5", "½ ×"], ["1", "1 ×"], ["2", "2 ×"]];
const ICONS = { play: "M4 2.5v11l9-5.5z", pause: "M4 2.5h3v11H4zM9 2.5h3v11H9z", back: "M11 3v10L4.5 8zM3 3h1.6v10H3z",
  on: "M5 3v10l6.5-5zM11.4 3H13v10h-1.6z" };
const shown = score => score.toFixed(2);

function framesInWords(mask) {
  const parts = runs(mask).map(([first, last]) => (first === last ? `${first + 1}` : `${first + 1} to ${last + 1}`));
  const number = mask.filter(Boolean).length;
  if (parts.length > 2) return `${number} frames in ${parts.length} runs`;
  return `${number === 1 ? "Frame" : "Frames"} ${parts.join(" and ")}`;
}

function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true || value === false) node.toggleAttribute(name, value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function icon(name) {
  const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  drawing.setAttribute("viewBox", "0 0 16 16");
  drawing.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  drawing.append(path);
  return drawing;
}

const nameOf = (data, index) => data.classes[index] ?? `class ${index}`;

// What to do next, above the timeline. scores: each network's under the mask, null where there are none; live: whether
// a kernel, or the networks beside the page, will give them.
function sentence(data, state, scores, live) {
  if (!state.mask.some(Boolean)) return "Paint over the squares until the score falls.";
  const begin = `${framesInWords(state.mask)} ${DONE[state.kind]}`;
  if (!scores) return live ? `${begin}: the networks score it …` : `${begin}: no score here for several runs.`;
  const gone = data.models.filter((model, place) => scores[place].top !== model.guess).map(model => model.name);
  if (!gone.length) return `${begin}: the guess stays. Paint more, or elsewhere.`;
  const all = gone.length > 1 && gone.length === data.models.length;
  const who = all ? (gone.length === 2 ? "both" : "all") : gone.join(" and ");
  return `${begin}: ${who} ${gone.length > 1 ? "change their" : "changes its"} guess. Can fewer do it?`;
}

function remark(data, state, scores, live, networks) {
  if (networks?.trouble && !scores) {
    return `The networks do not run in this page. ${networks.trouble} It holds the scores of single runs of frames.`;
  }
  if (state.loaded !== null && state.loaded < 1) {
    const [megabytes, percent] = [networks.megabytes.toFixed(0), Math.round(100 * state.loaded)];
    return `The networks come into this page, once, ${megabytes} MB: ${percent} %. Then every mask is scored here.`;
  }
  if (data.own && !state.mask.some(Boolean)) {
    return `${data.title} stays in this browser. The networks know only the book's ${Object.keys(data.classes).length} classes.`;
  }
  if (!scores && !live) {
    return "This page holds the scores of single runs of frames. A mask of several runs needs a kernel: download " +
      "the page as a notebook (the button at its top) and run it; there the networks score any mask.";
  }
  return data.models.filter(({ found }) => found?.mask === digits(state.mask)).map(({ name, found }) =>
    `This is the mask found for ${name}${found.soft === false ? "." : ", with its soft values set to on or off. As it " +
    `was found, soft, it leaves ${shown(found.scores.freeze)} frozen and ${shown(found.scores.reverse)} reversed.`}`)
    .join(" ");
}

// All of it, for a screen reader. untouched: each network's scores of the clip itself.
function spoken(data, state, scores, live, untouched, networks) {
  const parts = [sentence(data, state, scores, live), remark(data, state, scores, live, networks)];
  data.models.forEach((model, place) => scores && model.columns.forEach((index, c) => parts.push(
    `${model.name}, ${nameOf(data, index)}: ${shown(scores[place].scores[c])}, was ${shown(untouched[place].scores[c])}.`)));
  data.models.forEach((model, place) => scores && scores[place].top !== model.guess && parts.push(
    `${model.name} now guesses ${nameOf(data, scores[place].top)}, ${shown(scores[place].topScore)}.`));
  return parts.join(" ");
}

// Painting a mask on the timeline, by mouse, pen, finger or keyboard. It changes the explorer's `state.mask`.
function painting(timeline, squares, root, state, { show, changed, setPlaying }) {
  const count = squares.length;
  let brush = null; // what the pointer paints, and where it was

  function paint(from, to, on) {
    for (let t = Math.min(from, to); t <= Math.max(from, to); t += 1) state.mask[t] = on;
  }

  // Painting by mouse, pen or finger.
  const under = event => {
    const boxes = squares.map(square => square.getBoundingClientRect());
    const away = boxes.map(box => Math.hypot(Math.max(box.left - event.clientX, 0, event.clientX - box.right),
      Math.max(box.top - event.clientY, 0, event.clientY - box.bottom)));
    return away.indexOf(Math.min(...away));
  };
  const rove = t => squares.forEach((square, other) => { square.tabIndex = other === t ? 0 : -1; });
  timeline.addEventListener("pointerdown", event => {
    if (event.button !== 0) return;
    const t = under(event);
    root.classList.add("ix-by-pointer"); // no ring and no list of keys, which browsers show for focus set by a script
    event.preventDefault();
    try { timeline.setPointerCapture(event.pointerId); } catch { /* a pointer made by a script has none to capture */ }
    brush = { on: !state.mask[t], at: t, pointer: event.pointerId };
    paint(t, t, brush.on);
    rove(t);
    squares[t].focus({ preventScroll: true });
    if (!state.playing) show(t);
    changed({ settled: false });
  });
  timeline.addEventListener("pointermove", event => {
    if (event.pointerId !== brush?.pointer) return;
    const t = under(event);
    if (t === brush.at) return;
    paint(brush.at, t, brush.on);
    brush.at = t;
    rove(t);
    squares[t].focus({ preventScroll: true });
    if (!state.playing) show(t);
    changed({ settled: false });
  });
  const lift = event => {
    if (event.pointerId !== brush?.pointer) return;
    brush = null;
    changed();
  };
  timeline.addEventListener("pointerup", lift);
  timeline.addEventListener("pointercancel", lift);
  timeline.addEventListener("click", event => { // detail 0: a screen reader's click, which no pointer went before
    const t = squares.indexOf(event.target.closest(".ix-square"));
    if (event.detail !== 0 || t < 0) return;
    state.mask[t] = !state.mask[t];
    changed();
  });

  // Painting by keyboard.
  timeline.addEventListener("keydown", event => {
    const t = squares.findIndex(square => square.tabIndex === 0);
    root.classList.remove("ix-by-pointer");
    const columns = getComputedStyle(timeline).gridTemplateColumns.split(" ").length;
    const moves = { ArrowRight: t + 1, ArrowLeft: t - 1, Home: 0, End: count - 1,
      ArrowDown: columns < count ? t + columns : t, ArrowUp: columns < count ? t - columns : t };
    const all = event.key.toLowerCase() === "a" && (event.ctrlKey || event.metaKey);
    if (event.altKey || ((event.ctrlKey || event.metaKey) && !all)) return;
    if (event.key in moves) {
      const to = moves[event.key] < 0 || moves[event.key] >= count ? t : moves[event.key];
      event.preventDefault();
      rove(to);
      squares[to].focus();
      setPlaying(false);
      show(to);
      if (!event.shiftKey) return;
      paint(t, to, true);
    } else if (all) paint(0, count - 1, true);
    else if (event.key === " " || event.key === "Enter") state.mask[t] = !state.mask[t];
    else if (event.key === "Delete" || event.key === "Backspace") state.mask[t] = false;
    else return;
    event.preventDefault();
    changed();
  });
}

const HOLD = 2; // steps that the last frame stays before the clip begins again
const SETTLED = 400; // ms without a change before a screen reader says it
const SEND_AFTER = 150; // ms without a change before the mask goes to a kernel

function mount(element, data, { send = null } = {}) {
  if (element.interpExplorer) return element.interpExplorer;
  if (data?.format !== "interp-explorer" || data.version !== 1) throw new Error("no data of an explorer, version 1");
  const prefix = `interp-explorer-${Math.random().toString(36).slice(2)}`; // of names of radio buttons and of ids
  const count = data.frames.count, known = lookups(data), received = new Map();
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const state = { mask: Array(count).fill(false), kind: "freeze", model: 0, frame: 0, speed: 1,
    playing: !still.matches, loaded: null }; // loaded: the share of the networks, once they are asked for
  const untouched = known.freeze(order(state.mask, "freeze").join());
  const size = data.size ?? [3, count, data.frames.height, data.frames.width];
  let art = null, last = 0, held = 0, seen = true, running = 0, telling = 0, sending = 0;
  let networks = null, asking = false, search = null, gone = false; // the networks beside the page, and what they do
  const live = () => Boolean(send) || Boolean(networks?.list && !networks.trouble);

  // What stands on the page.
  const panel = () => {
    const canvas = make("canvas", { role: "img" }), words = make("span");
    return { canvas, words, figure: make("figure", {}, canvas, make("figcaption", {}, words)) };
  };
  const [original, heat, perturbed] = [panel(), panel(), panel()];
  const colours = bytesOf(data.colours), stops = Array.from({ length: 9 }, (_, k) => Math.min(255, 32 * k));
  const ramp = make("i", { "aria-hidden": "true" });
  ramp.style.background = `linear-gradient(to right, ${stops.map(level =>
    `rgb(${colours.slice(3 * level, 3 * level + 3).join()})`).join()})`;
  const scale = make("small", { class: "ix-scale" }, "0 ", ramp, " highest");
  heat.figure.lastChild.append(" ", scale);
  const hint = make("p", { class: "ix-hint" });
  const legend = make("p", { class: "ix-legend" });
  const keys = make("p", { class: "ix-legend ix-keys", id: `${prefix}-keys` },
    "Keys: arrows move, space paints or erases, shift with arrows paints on, delete erases.");
  const note = make("p", { class: "ix-note" });
  const said = make("p", { class: "ix-hidden", role: "status" });
  const squares = Array.from({ length: count }, (_, t) => make("div",
    { class: "ix-square", role: "option", "aria-label": `Frame ${t + 1}`, tabindex: t ? "-1" : "0" },
    make("span", { "aria-hidden": "true" }, `${t + 1}`)));
  const timeline = make("div", { class: "ix-timeline", role: "listbox", "aria-multiselectable": "true",
    "aria-orientation": "horizontal", "aria-label": `Mask: the ${count} frames of the clip`,
    "aria-describedby": `${prefix}-keys` }, ...squares);
  const perRow = most => Math.ceil(count / Math.ceil(count / most));
  timeline.style.setProperty("--ix-wide", perRow(16));
  timeline.style.setProperty("--ix-narrow", perRow(8));
  const play = make("button", { type: "button", class: "ix-icon", onclick: () => setPlaying(!state.playing) });
  const step = (name, words, by) => make("button", {
    type: "button", class: "ix-icon", "aria-label": words, title: words,
    onclick: () => { setPlaying(false); show((state.frame + by + count) % count); },
  }, icon(name));
  const counter = make("span", { class: "ix-counter" });
  const speed = make("select", { "aria-label": "Speed", title: "Speed",
    onchange: event => { state.speed = Number(event.target.value); } },
  ...SPEEDS.map(([value, words]) => make("option", { value, selected: value === "1" }, words)));
  const choice = (legendWords, group, options, chosen, pick) => make("fieldset", {}, make("legend", {}, legendWords),
    ...options.map(([value, words]) => make("label", {}, make("input", { type: "radio", name: `${prefix}-${group}`, value,
      checked: value === chosen, onchange: () => pick(value) }), make("span", {}, words))));
  const kinds = choice("Painted frames", "kind", [["freeze", "freeze"], ["reverse", "reverse"]], "freeze",
    kind => { state.kind = kind; changed(); });
  const choices = choice("Map and masks of", "model", data.models.map((model, place) => [`${place}`, model.name]), "0",
    place => { state.model = Number(place); changed(); });
  choices.hidden = data.models.length < 2;
  const preset = (words, maskFor) => make("button", { type: "button",
    onclick: () => { state.mask = maskFor(data.models[state.model]); changed(); } }, words);
  const presets = make("div", { class: "ix-buttons", role: "group", "aria-label": "Set the mask" },
    ...data.own ? [] : [preset("The found mask", model => maskOf(model.found.mask)),
      preset("Best window", model => maskOf(model.best[state.kind]))],
    preset("Clear", () => Array(count).fill(false)));
  const hunt = make("button", { type: "button", onclick: () => (search ? search.stop() : startSearch()) }, "Find the best mask");
  const gap = make("i"), found = make("p", { class: "ix-found" });
  const finding = make("div", { class: "ix-finding", hidden: true }, found,
    make("span", { class: "ix-bar", "aria-hidden": "true" }, gap));
  const chosen = make("input", { type: "file", accept: "video/*", onchange: () => readFile(chosen.files[0]) });
  const file = make("label", { class: "ix-file" }, chosen, make("span", {}, data.own ? "Another video" : "Your own video"));
  const inPage = make("div", { class: "ix-buttons", role: "group", "aria-label": "The networks in this page", hidden: true },
    hunt, file, ...data.own ? [make("button", { type: "button", onclick: () => handle.exchange(data.book) }, "The book's clip")] : []);
  const progress = make("progress", { max: "1", value: "0", hidden: true, "aria-label": "The networks are loading" });
  const boards = data.models.map((model, place) => {
    const now = make("p", { class: "ix-now" });
    const rows = model.columns.map((index, c) => {
      const number = make("b"), fill = make("i"), before = untouched[place].scores[c], tick = make("u");
      tick.style.left = `${100 * before}%`;
      const kinds = [index === data.target && "true class", index === model.guess && "first guess"].filter(Boolean);
      const node = make("div", { class: "ix-row" }, make("span", { class: "ix-class" }, nameOf(data, index), " ",
        make("small", {}, kinds.join(" and "))), make("span", { class: "ix-bar", "aria-hidden": "true" }, fill, tick),
      make("span", { class: "ix-number" }, number, make("small", {}, ` was ${shown(before)}`)));
      node.classList.toggle("ix-other", index !== data.target && data.target !== null);
      return { number, fill, node };
    });
    const every = Object.entries(data.classes).map(([index, name]) => {
      const number = make("b"), fill = make("i");
      const node = make("div", { class: "ix-row" }, make("span", { class: "ix-class" }, name),
        make("span", { class: "ix-bar", "aria-hidden": "true" }, fill), make("span", { class: "ix-number" }, number));
      node.classList.toggle("ix-other", Number(index) !== data.target && data.target !== null);
      return { index: Number(index), number, fill, node };
    });
    const all = make("details", { class: "ix-all", hidden: true, ontoggle: () => changed() },
      make("summary", {}, `All ${every.length} classes`), ...every.map(row => row.node));
    const board = make("div", { class: "ix-model", role: "group", "aria-label": `Scores of ${model.name}` },
      make("strong", {}, model.name), ...rows.map(row => row.node), now, all);
    return { board, rows, now, all, every };
  });
  const root = make("div", { class: "ix", role: "group", "aria-label": `Explorer: ${data.title}` },
    make("div", { class: "ix-title" }, make("strong", {}, data.title), " ", counter),
    make("div", { class: "ix-panels" }, original.figure, heat.figure, perturbed.figure),
    hint, timeline, make("div", { class: "ix-help" }, legend, keys), note, progress, finding,
    make("div", { class: "ix-boards" }, ...boards.map(({ board }) => board)),
    make("div", { class: "ix-controls" }, make("div", { class: "ix-buttons" }, step("back", "One frame back", -1), play,
      step("on", "One frame on", 1), speed), kinds, choices, presets, inPage), said);
  element.replaceChildren(root);
  element.classList.add("interp-explorer");

  // Frames.
  function draw({ canvas }, picture) {
    const { width, height } = art.size;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    canvas.getContext("2d").drawImage(picture, 0, 0);
  }

  function show(frame) {
    squares[state.frame].classList.remove("ix-current");
    state.frame = frame;
    squares[frame].classList.add("ix-current");
    const source = order(state.mask, state.kind)[frame];
    counter.textContent = `frame ${frame + 1} of ${count}`;
    perturbed.words.textContent = source === frame ? "With your mask" : `With your mask: frame ${source + 1}`;
    if (!art) return;
    draw(original, art.frames[frame]);
    draw(heat, art.heat(state.model, frame));
    draw(perturbed, art.frames[source]);
    root.dataset.frame = frame;
    root.dataset.shows = source;
  }

  function setPlaying(playing) {
    state.playing = playing;
    const words = playing ? "Pause" : "Play";
    play.replaceChildren(icon(playing ? "pause" : "play"));
    play.setAttribute("aria-label", words);
    play.title = words;
    if (playing && !running) running = requestAnimationFrame(tick);
  }

  function tick(now) {
    running = state.playing && seen ? requestAnimationFrame(tick) : 0;
    if (!state.playing || now - last < 1000 / (data.fps * state.speed)) return;
    last = now;
    held = state.frame === count - 1 ? held + 1 : 0;
    if (state.frame < count - 1 || held > HOLD) show((state.frame + 1) % count);
  }

  // The mask and its scores.
  const painted = () => `${state.kind}:${order(state.mask, state.kind).join()}`;

  function scores() {
    return received.get(painted()) ?? known[state.kind](order(state.mask, state.kind).join()) ?? null;
  }

  function changed({ by = "hand", settled = true } = {}) {
    squares.forEach((square, t) => square.setAttribute("aria-selected", state.mask[t]));
    const model = data.models[state.model], current = scores();
    original.canvas.setAttribute("aria-label", `The clip: ${data.title}`);
    original.words.textContent = "The clip";
    scale.hidden = !model.map;
    heat.words.textContent = model.map ? `Where ${model.name} looked` : `A map of ${model.name} needs Python`;
    heat.canvas.setAttribute("aria-label", model.map ? `Grad-CAM of ${model.name}: brighter where its decision rests` :
      "The clip, without a map");
    perturbed.canvas.setAttribute("aria-label", `The clip with the painted frames ${DONE[state.kind]}`);
    legend.textContent = `Purple with a dot: ${DONE[state.kind]}. Grey: as it is. Framed: shown now.`;
    hint.textContent = sentence(data, state, current, live());
    note.textContent = remark(data, state, current, live(), networks);
    progress.hidden = state.loaded === null || state.loaded === 1 || Boolean(networks.trouble);
    progress.value = state.loaded ?? 0;
    boards.forEach(({ rows, now, board, every }, place) => {
      const row = current?.[place];
      board.classList.toggle("ix-unknown", !row);
      const other = Boolean(row) && row.top !== data.models[place].guess;
      now.textContent = !row ? (live() ? "…" : "No score here.") :
        `${other ? "New guess" : "Guess"}: ${nameOf(data, row.top)}, ${shown(row.topScore)}`;
      now.classList.toggle("ix-changed", other);
      rows.forEach(({ number, fill }, c) => {
        number.textContent = row ? shown(row.scores[c]) : "–";
        fill.style.width = `${100 * (row ? row.scores[c] : 0)}%`;
      });
      for (const { index, number, fill } of every) {
        number.textContent = row?.all ? shown(row.all[index]) : "–";
        fill.style.width = `${100 * (row?.all?.[index] ?? 0)}%`;
      }
    });
    root.dataset.mask = digits(state.mask);
    root.dataset.kind = state.kind;
    show(state.frame);
    clearTimeout(telling);
    if (settled) telling = setTimeout(() => {
      said.textContent = `${spoken(data, state, scores(), live(), untouched, networks)} ${found.textContent}`.trim();
    }, SETTLED);
    if (send && by !== "kernel") {
      clearTimeout(sending);
      sending = setTimeout(() => send([...state.mask], state.kind), SEND_AFTER);
    }
    if (by === "hand") search?.stop(); // the reader paints
    if (by !== "start") ask();
  }

  // The networks beside the page score the mask, from the first stroke on; of those painted meanwhile only the newest.
  async function ask() {
    const needed = state.loaded === 1 || state.mask.some(Boolean) || boards.some(({ all }) => all.open);
    if (!live() || send || asking || gone || !needed || !art || received.has(painted())) return;
    asking = true;
    try {
      await load();
      const name = painted(), shownAt = order(state.mask, state.kind), rows = [];
      for (const model of data.models) {
        const { scores: all } = await networks.run(networkOf(model).name, art.pixels, size, shownAt);
        const top = highest(all);
        rows.push({ all, top, topScore: all[top], scores: model.columns.map(index => all[index]) });
      }
      received.set(name, rows);
    } catch (error) {
      networks.trouble = `They failed: ${error.message}.`;
    }
    asking = false;
    if (!gone) changed({ by: "networks" });
  }

  async function load() {
    if (state.loaded === 1) return;
    const tell = share => {
      state.loaded = Math.min(share, 0.99); // all of it only once they are ready to run
      if (!gone) changed({ by: "start", settled: false });
    };
    tell(0);
    await networks.open(tell);
    state.loaded = 1;
  }

  const networkOf = model => networks.list.find(({ weights }) => weights === model.weights);

  // The exact search, of the chosen network and kind; the best mask so far is painted.
  async function startSearch() {
    const model = data.models[state.model], { kind } = state, scored = new Map();
    let stopped = false, best = null;
    search = { stop() { stopped = true; } };
    hunt.textContent = "Stop the search";
    finding.hidden = false;
    const tell = (now, done = false) => {
      const [loss, bound] = [now.loss, now.bound].map(value => value.toFixed(3));
      const proven = now.bound === now.loss, scoredNow = `${now.forwards} masks scored.`;
      found.textContent = `${model.name}, ${kind}: loss ${loss}, the score ${now.score.toFixed(3)} and the mask's price ` +
        `${(now.loss - now.score).toFixed(3)}. ` + (done && proven ? `Proven: no other mask has less. ${scoredNow}` :
        `No mask has less than ${bound}. ${scoredNow}`);
      gap.style.left = `${100 * now.bound / first}%`;
      gap.style.width = `${100 * (now.loss - now.bound) / first}%`;
      if (now.code === best || stopped) return;
      best = now.code;
      state.mask = now.mask;
      changed({ by: "search", settled: done });
    };
    let first = 1;
    try {
      await load();
      const same = sameFrames(art.pixels, size), keyOf = mask => order(mask, kind).map(t => same[t]).join();
      const column = model.columns.indexOf(model.explained), nothing = Array(count).fill(false);
      for (const mask of [nothing, ...windowsOf(count)]) { // what the page's tables hold
        const row = known[kind](order(mask, kind).join());
        if (row) scored.set(keyOf(mask), row[state.model].scores[column]);
      }
      first = scored.get(keyOf(nothing));
      const score = async mask =>
        (await networks.run(networkOf(model).name, art.pixels, size, order(mask, kind))).scores[model.explained];
      tell(await bestMask({ count, recipe: data.recipe, kind, keyOf, scored, score, told: tell,
        stopped: () => stopped || gone }), true);
    } catch (error) {
      networks.trouble = `They failed: ${error.message}.`;
    }
    search = null;
    hunt.textContent = "Find the best mask";
    if (!gone) changed({ by: "networks" });
  }

  // A reader's video takes the clip's place.
  async function readFile(chosenFile) {
    if (!chosenFile || !live()) return;
    search?.stop();
    try {
      hint.textContent = `${chosenFile.name} is read …`;
      await load();
      const video = await readVideo(chosenFile, size);
      handle.exchange(await dataOf(data, chosenFile.name, video, networks), data.book ?? data);
    } catch {
      changed({ by: "networks" });
      note.textContent = `This browser cannot decode ${chosenFile.name}; it plays most MP4 and WebM files.`;
    }
  }
  root.addEventListener("dragover", event => { if (live() && !send) event.preventDefault(); });
  root.addEventListener("drop", event => {
    if (!live() || send) return;
    event.preventDefault();
    readFile(event.dataTransfer.files[0]);
  });

  painting(timeline, squares, root, state, { show, changed, setPlaying });

  // Nothing plays out of sight, or once a reader prefers less motion.
  const watcher = "IntersectionObserver" in window ? new IntersectionObserver(entries => {
    seen = entries.at(-1).isIntersecting;
    if (seen && state.playing && !running) running = requestAnimationFrame(tick);
  }) : null;
  watcher?.observe(root);
  const calm = () => { if (still.matches) setPlaying(false); };
  still.addEventListener?.("change", calm);

  setPlaying(state.playing);
  changed({ by: "start", settled: false });
  pictures(data).then(drawn => { art = drawn; show(state.frame); root.dataset.ready = "yes"; });
  if (!send) {
    findNetworks().then(beside => {
      const weights = new Set(beside?.list?.map(network => network.weights));
      if (!beside || gone || (beside.list && !data.models.every(model => weights.has(model.weights)))) return;
      networks = beside;
      inPage.hidden = !beside.list || count > 20; // more masks than a search can list
      boards.forEach(({ all }) => { all.hidden = !beside.list; });
      changed({ by: "networks", settled: false });
    });
  }

  const handle = {
    set(mask, kind = state.kind) {
      if (digits([...mask]) === digits(state.mask) && kind === state.kind) return;
      state.mask = Array.from({ length: count }, (_, t) => Boolean(mask[t]));
      state.kind = kind;
      kinds.querySelector(`[value="${kind}"]`).checked = true;
      changed({ by: "kernel" });
    },
    receive({ mask, perturbation, models }) {
      if (!mask) return;
      received.set(`${perturbation}:${order(maskOf(mask), perturbation).join()}`, models);
      changed({ by: "kernel" });
    },
    exchange(other, book = other) {
      handle.destroy();
      mount(element, other === book ? other : { ...other, book });
    },
    destroy() {
      gone = true;
      state.playing = false;
      cancelAnimationFrame(running);
      clearTimeout(telling);
      clearTimeout(sending);
      watcher?.disconnect();
      still.removeEventListener?.("change", calm);
      element.replaceChildren();
      delete element.interpExplorer;
    },
  };
  element.interpExplorer = handle;
  return handle;
}

// A live kernel: the mask goes to Python, the scores come back.
function render({ model, el }) {
  const send = (mask, kind) => {
    model.set("perturbation", kind);
    model.set("mask", mask);
    model.save_changes();
  };
  const handle = mount(el, structuredClone(model.get("data")), { send });
  const scored = () => handle.receive(model.get("scores"));
  const moved = () => handle.set(model.get("mask"), model.get("perturbation"));
  model.on("change:scores", scored);
  model.on("change:mask", moved);
  model.on("change:perturbation", moved);
  moved();
  scored();
  return () => {
    model.off("change:scores", scored);
    model.off("change:mask", moved);
    model.off("change:perturbation", moved);
    handle.destroy();
  };
}

function scan(root = document) {
  const fill = place => mount(place, JSON.parse(place.nextElementSibling.textContent));
  const places = [...root.querySelectorAll(".interp-explorer")].filter(place => !place.interpExplorer);
  if (!("IntersectionObserver" in window)) return places.forEach(fill);
  const watcher = new IntersectionObserver(entries => {
    for (const { target } of entries.filter(entry => entry.isIntersecting)) {
      watcher.unobserve(target);
      fill(target);
    }
  }, { rootMargin: "200px" });
  return places.forEach(place => watcher.observe(place));
}

globalThis.interpExplorer ??= { mount, scan, order }; // for html.results_table, and for a second copy of this script
if (typeof document !== "undefined") globalThis.interpExplorer.scan();

export default { render, mount, scan, order, penalty, masksByCost, bestMask, placed };
