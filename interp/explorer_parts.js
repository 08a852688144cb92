// The explorer's words and the making of its parts. Part of one module: interp/widgets_data.py.

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

// What to do next, above the timeline. found: each network's scores of the mask, null where there are none; live:
// whether there is a kernel to ask.
function sentence(data, state, found, live) {
  if (!state.mask.some(Boolean)) return "Paint over the squares until the score falls.";
  const begin = `${framesInWords(state.mask)} ${DONE[state.kind]}`;
  if (!found) return live ? `${begin}: asking the networks …` : `${begin}: no score here for several runs.`;
  const gone = data.models.filter((model, place) => found[place].top !== model.guess).map(model => model.name);
  if (!gone.length) return `${begin}: the answer stays. Paint more, or elsewhere.`;
  const all = gone.length > 1 && gone.length === data.models.length;
  const who = all ? (gone.length === 2 ? "both" : "all") : gone.join(" and ");
  return `${begin}: ${who} ${gone.length > 1 ? "change their" : "changes its"} answer. Can fewer do it?`;
}

function remark(data, state, found, live) {
  if (!found && !live) {
    return "This page holds the scores of single runs of frames. A mask of several runs needs a kernel: download " +
      "the page as a notebook (the button at its top) and run it; there the networks score any mask.";
  }
  return data.models.filter(model => model.found.mask === digits(state.mask)).map(({ name, found: { scores } }) =>
    `This is the mask found for ${name}, with its soft values set to on or off. As it was found, soft, it leaves ` +
    `${shown(scores.freeze)} frozen and ${shown(scores.reverse)} reversed.`).join(" ");
}

// All of it, for a screen reader. untouched: each network's scores of the clip itself.
function spoken(data, state, found, live, untouched) {
  const parts = [sentence(data, state, found, live), remark(data, state, found, live)];
  data.models.forEach((model, place) => found && model.columns.forEach((index, c) => parts.push(
    `${model.name}, ${nameOf(data, index)}: ${shown(found[place].scores[c])}, was ${shown(untouched[place].scores[c])}.`)));
  data.models.forEach((model, place) => found && found[place].top !== model.guess && parts.push(
    `${model.name} now guesses ${nameOf(data, found[place].top)}, ${shown(found[place].topScore)}.`));
  return parts.join(" ");
}

