// Moving pictures that a reader can stop. A picture is <picture class="interp-film"><source><img></picture>: the
// source holds the still, the img the film, and the source's `media` says which of them is shown. Without this
// script the browser itself shows the still on paper and to readers who prefer less motion. With it, a film plays
// only near the window, and every button.interp-motion on the page stops and starts them all.
(() => {
  "use strict";
  if (window.interpFilms) {
    window.interpFilms.scan();
    return;
  }
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const near = new Set();
  let moving = !calm.matches;
  let printing = false;

  const show = (film) => {
    const media = moving && !printing && near.has(film) ? "not all" : "all";
    const still = film.querySelector("source");
    if (still.media !== media) still.media = media;
  };
  const showAll = () => {
    document.querySelectorAll("picture.interp-film[data-ready]").forEach(show);
    document.querySelectorAll("button.interp-motion").forEach((button) => {
      button.textContent = moving ? "Stop all motion" : "Start all motion";
    });
  };
  const set = (value) => {
    moving = value;
    showAll();
    document.dispatchEvent(new CustomEvent("interp-motion", { detail: moving }));
  };
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      near[entry.isIntersecting ? "add" : "delete"](entry.target);
      show(entry.target);
    }
  }, { rootMargin: "300px" });

  const scan = (root = document) => {
    root.querySelectorAll("picture.interp-film:not([data-ready])").forEach((film) => {
      film.dataset.ready = "";
      watcher.observe(film);
    });
    root.querySelectorAll("button.interp-motion[hidden]").forEach((button) => {
      button.hidden = false;
      button.addEventListener("click", () => set(!moving));
    });
    showAll();
  };

  const print = (now) => {
    printing = now;
    showAll();
  };
  calm.addEventListener("change", () => set(!calm.matches));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  window.interpFilms = { scan, set, get moving() { return moving; } };
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", () => scan());
  scan();
})();
