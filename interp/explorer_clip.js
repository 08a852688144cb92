// What the explorer shows: the order of frames under a mask, the scores that came along, the pictures.
// Part of one module; interp/widgets_data.py joins them, and tells the form of the data.
// Frames count from 0 here, from 1 on screen.

const KINDS = ["freeze", "reverse"];

const bytesOf = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const floatsOf = text => new Float32Array(bytesOf(text).buffer);
const digits = mask => mask.map(on => (on ? "1" : "0")).join("");
const maskOf = text => [...text].map(digit => digit === "1");

// Which frame of the clip is shown at each moment, under a mask of trues and falses; as interp/perturb.py.
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
  const found = [];
  mask.forEach((on, t) => {
    if (on && t > 0 && mask[t - 1]) found[found.length - 1][1] = t;
    else if (on) found.push([t, t]);
  });
  return found;
}

// Every score that was shipped, by what it makes the clip look like: two masks that do the same have the same scores.
function lookups(data) {
  const count = data.frames.count, masks = [Array(count).fill(false)];
  for (let first = 0; first < count; first += 1) {
    for (let last = first; last < count; last += 1) masks.push(masks[0].map((_, t) => t >= first && t <= last));
  }
  masks.push(...data.extra.map(maskOf));
  const tables = {};
  for (const kind of KINDS) {
    const rows = new Map();
    masks.forEach((mask, row) => { // the first stays: the untouched clip before a window that does nothing
      const key = order(mask, kind).join();
      if (!rows.has(key)) rows.set(key, row);
    });
    const models = data.models.map(model => {
      const table = model.tables[kind];
      return { scores: floatsOf(table.scores), top: new Uint16Array(bytesOf(table.top).buffer),
        topScores: floatsOf(table.topScores), columns: model.columns.length };
    });
    tables[kind] = key => rows.has(key) ? models.map(({ scores, top, topScores, columns }) => {
      const row = rows.get(key);
      return { top: top[row], topScore: topScores[row],
        scores: Array.from({ length: columns }, (_, c) => scores[c * masks.length + row]) };
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
  return { size, frames, heat };
}

// One frame under its map, drawn as figures.overlay does: grey, the map's colours, a line round values of a half.
function overlay(frame, map, t, colours) {
  const { width, height } = frame, canvas = Object.assign(document.createElement("canvas"), { width, height });
  const brush = canvas.getContext("2d"), values = enlarged(map, t, width, height);
  brush.drawImage(frame, 0, 0);
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
      const own = inside(x, y);
      const around = [inside(x - 1, y), inside(x + 1, y), inside(x, y - 1), inside(x, y + 1)];
      if (around.every(other => other === own)) continue;
      pixels.fill(own ? 255 : 0, 4 * (y * width + x), 4 * (y * width + x) + 3);
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
    values[y * width + x] = Math.min(1, ((1 - down) * upper + down * lower) * map.highest / 255);
  }));
  return values;
}
