// The explorer: a clip, its Grad-CAM map, the clip perturbed, a timeline to paint a mask on, and the scores under it.
// The last part of one module (interp/widgets_data.py joins them). Two hosts: anywidget calls `render`; on a static
// page, where the module stands as a plain script without its last line, `scan` mounts what comes into view.

const HOLD = 2; // steps that the last frame stays before the clip begins again
const SETTLED = 400; // ms without a change before a screen reader is told
const SEND_AFTER = 150; // ms without a change before a kernel is asked

let mounted = 0; // gives radio buttons and descriptions names of their own

function mount(element, data, { ask = null } = {}) {
  if (element.interpExplorer) return element.interpExplorer;
  if (data?.format !== "interp-explorer" || data.version !== 1) throw new Error("no data of an explorer, version 1");
  mounted += 1;
  const own = `interp-explorer-${mounted}`, count = data.frames.count, known = lookups(data), answers = new Map();
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const state = { mask: Array(count).fill(false), kind: "freeze", model: 0, frame: 0, speed: 1,
    playing: !still.matches };
  const untouched = known.freeze(order(state.mask, "freeze").join());
  let art = null, last = 0, held = 0, seen = true, running = 0, telling = 0, sending = 0;

  // What stands on the page.
  const panel = () => {
    const canvas = make("canvas", { role: "img" }), words = make("span");
    return { canvas, words, figure: make("figure", {}, canvas, make("figcaption", {}, words)) };
  };
  const [original, heat, perturbed] = [panel(), panel(), panel()];
  const hint = make("p", { class: "ix-hint" });
  const legend = make("p", { class: "ix-legend" });
  const keys = make("p", { class: "ix-legend ix-keys", id: `${own}-keys` },
    "Keys: arrows move, space paints or erases, shift with arrows paints on, delete erases.");
  const note = make("p", { class: "ix-note" });
  const said = make("p", { class: "ix-hidden", role: "status" });
  const squares = Array.from({ length: count }, (_, t) => make("div",
    { class: "ix-square", role: "option", "aria-label": `Frame ${t + 1}`, tabindex: t ? "-1" : "0" },
    make("span", { "aria-hidden": "true" }, `${t + 1}`)));
  const timeline = make("div", { class: "ix-timeline", role: "listbox", "aria-multiselectable": "true",
    "aria-orientation": "horizontal", "aria-label": `Mask: the ${count} frames of the clip`,
    "aria-describedby": `${own}-keys` }, ...squares);
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
    ...options.map(([value, words]) => make("label", {}, make("input", { type: "radio", name: `${own}-${group}`, value,
      checked: value === chosen, onchange: () => pick(value) }), make("span", {}, words))));
  const kinds = choice("Painted frames", "kind", [["freeze", "freeze"], ["reverse", "reverse"]], "freeze",
    kind => { state.kind = kind; changed(); });
  const networks = choice("Map and masks of", "model", data.models.map((model, place) => [`${place}`, model.name]), "0",
    place => { state.model = Number(place); changed(); });
  networks.hidden = data.models.length < 2;
  const preset = (words, maskFor) => make("button", { type: "button",
    onclick: () => { state.mask = maskFor(data.models[state.model]); changed(); } }, words);
  const presets = make("div", { class: "ix-buttons", role: "group", "aria-label": "Set the mask" },
    preset("The found mask", model => maskOf(model.found.mask)),
    preset("Best window", model => maskOf(model.best[state.kind])),
    preset("Clear", () => Array(count).fill(false)));
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
    const board = make("div", { class: "ix-model", role: "group", "aria-label": `Scores of ${model.name}` },
      make("strong", {}, model.name), ...rows.map(row => row.node), now);
    return { board, rows, now };
  });
  const root = make("div", { class: "ix", role: "group", "aria-label": `Explorer: ${data.title}` },
    make("div", { class: "ix-title" }, make("strong", {}, data.title), " ", counter),
    make("div", { class: "ix-panels" }, original.figure, heat.figure, perturbed.figure),
    hint, timeline, make("div", { class: "ix-help" }, legend, keys), note,
    make("div", { class: "ix-boards" }, ...boards.map(({ board }) => board)),
    make("div", { class: "ix-controls" }, make("div", { class: "ix-buttons" }, step("back", "One frame back", -1), play,
      step("on", "One frame on", 1), speed), kinds, networks, presets), said);
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
    if (now - last < 1000 / (data.fps * state.speed)) return;
    last = now;
    held = state.frame === count - 1 ? held + 1 : 0;
    if (state.frame < count - 1 || held > HOLD) show((state.frame + 1) % count);
  }

  // The mask and its scores.
  function scores() {
    const key = order(state.mask, state.kind).join();
    return known[state.kind](key) ?? answers.get(`${state.kind}:${key}`) ?? null;
  }

  function changed({ by = "hand", settled = true } = {}) {
    squares.forEach((square, t) => square.setAttribute("aria-selected", state.mask[t]));
    const model = data.models[state.model], found = scores();
    original.canvas.setAttribute("aria-label", `The clip: ${data.title}`);
    original.words.textContent = "The clip";
    heat.words.textContent = `Where ${model.name} looked`;
    heat.canvas.setAttribute("aria-label", `Grad-CAM of ${model.name}: brighter where its decision rests`);
    perturbed.canvas.setAttribute("aria-label", `The clip with the painted frames ${DONE[state.kind]}`);
    legend.textContent = `Orange with a dot: ${DONE[state.kind]}. Blue: as it is. Framed: shown now.`;
    hint.textContent = sentence(data, state, found, Boolean(ask));
    note.textContent = remark(data, state, found, Boolean(ask));
    boards.forEach(({ rows, now, board }, place) => {
      const answer = found?.[place];
      board.classList.toggle("ix-unknown", !answer);
      const other = Boolean(answer) && answer.top !== data.models[place].guess;
      now.textContent = !answer ? (ask ? "…" : "No score here.") :
        `${other ? "New guess" : "Guess"}: ${nameOf(data, answer.top)}, ${shown(answer.topScore)}`;
      now.classList.toggle("ix-changed", other);
      rows.forEach(({ number, fill }, c) => {
        number.textContent = answer ? shown(answer.scores[c]) : "–";
        fill.style.width = `${100 * (answer ? answer.scores[c] : 0)}%`;
      });
    });
    root.dataset.mask = digits(state.mask);
    root.dataset.kind = state.kind;
    show(state.frame);
    clearTimeout(telling);
    if (settled) telling = setTimeout(() => {
      said.textContent = spoken(data, state, scores(), Boolean(ask), untouched);
    }, SETTLED);
    if (ask && by !== "kernel") {
      clearTimeout(sending);
      sending = setTimeout(() => ask([...state.mask], state.kind), SEND_AFTER);
    }
  }

  painting(timeline, squares, root, state, { show, changed, setPlaying });

  // Nothing plays out of sight, or for readers who have just asked for less motion.
  const watcher = "IntersectionObserver" in window ? new IntersectionObserver(entries => {
    seen = entries.at(-1).isIntersecting;
    if (seen && state.playing && !running) running = requestAnimationFrame(tick);
  }) : null;
  watcher?.observe(root);
  const calm = () => { if (still.matches) setPlaying(false); };
  still.addEventListener?.("change", calm);

  setPlaying(state.playing);
  changed({ by: "kernel", settled: false });
  pictures(data).then(drawn => { art = drawn; show(state.frame); root.dataset.ready = "yes"; });

  const handle = {
    set(mask, kind = state.kind) {
      if (digits([...mask]) === digits(state.mask) && kind === state.kind) return;
      state.mask = Array.from({ length: count }, (_, t) => Boolean(mask[t]));
      state.kind = kind;
      kinds.querySelector(`[value="${kind}"]`).checked = true;
      changed({ by: "kernel" });
    },
    answer({ mask, perturbation, models, names }) {
      if (!mask) return;
      Object.assign(data.classes, names);
      answers.set(`${perturbation}:${order(maskOf(mask), perturbation).join()}`, models);
      changed({ by: "kernel" });
    },
    destroy() {
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
  const ask = (mask, kind) => {
    model.set("perturbation", kind);
    model.set("mask", mask);
    model.save_changes();
  };
  const handle = mount(el, structuredClone(model.get("data")), { ask });
  const answered = () => handle.answer(model.get("answer"));
  const moved = () => handle.set(model.get("mask"), model.get("perturbation"));
  model.on("change:answer", answered);
  model.on("change:mask", moved);
  model.on("change:perturbation", moved);
  moved();
  answered();
  return () => {
    model.off("change:answer", answered);
    model.off("change:mask", moved);
    model.off("change:perturbation", moved);
    handle.destroy();
  };
}

// A static page: each placeholder is mounted when it comes into view.
function scan(root = document) {
  const fill = place => mount(place, JSON.parse(document.getElementById(place.dataset.interpExplorer).textContent));
  const places = [...root.querySelectorAll("[data-interp-explorer]")].filter(place => !place.interpExplorer);
  if (!("IntersectionObserver" in window)) return places.forEach(fill);
  const watcher = new IntersectionObserver(entries => {
    for (const { target } of entries.filter(entry => entry.isIntersecting)) {
      watcher.unobserve(target);
      fill(target);
    }
  }, { rootMargin: "200px" });
  return places.forEach(place => watcher.observe(place));
}

export default { render, mount, scan, order };
