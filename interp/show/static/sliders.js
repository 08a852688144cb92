// The controls of html.slider: they choose the view and the words that are shown.
(() => {
  "use strict";
  function ready(figure) {
    const data = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
    const view = figure.querySelector(".view");
    const words = figure.querySelector(".words");
    const controls = [...figure.querySelectorAll(".control")];
    const setting = (control) => Number(control.querySelector("input[type=range], input:checked").value);
    const show = () => {
      const at = controls.map(setting);
      const index = at.reduce((before, place, one) => before * data.sizes[one] + place, 0);
      if (figure.dataset.index !== String(index)) {
        figure.dataset.index = index;
        view.innerHTML = data.views[index];
        words.textContent = data.words[index];
      }
      controls.forEach((control, one) => {
        const range = control.querySelector("input[type=range]");
        if (!range) return;
        range.setAttribute("aria-valuetext", data.values[one][at[one]]);
        control.querySelector("output").textContent = data.values[one][at[one]];
      });
    };
    for (const control of controls) control.addEventListener("input", show);
    figure.querySelector(".controls").hidden = false;
    show(); // a browser keeps the places of a form when a page is loaded again
  }
  const scan = () => document.querySelectorAll("[data-slider]:not([data-ready])").forEach((figure) => {
    figure.dataset.ready = "";
    ready(figure);
  });
  scan();
  if (!window.interpSliders) addEventListener("DOMContentLoaded", scan);
  window.interpSliders = { scan };
})();
