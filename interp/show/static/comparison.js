// The results table of html.results_table: sort by the headers, filter, link to a clip, open its explorer in a window.
// The table stands without this script; a second copy of it on a page only looks for new tables.
(() => {
  "use strict";
  if (window.interpComparison) {
    window.interpComparison.scan();
    return;
  }
  const make = (tag, words, attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = words;
    Object.assign(element, attributes);
    return element;
  };

  function ready(box) {
    const body = box.querySelector("tbody");
    const first = [...body.rows];
    const heads = [...box.querySelectorAll("thead th")];
    const byClass = box.querySelector(".by-class");
    const byGuess = box.querySelector(".by-guess");
    const status = box.querySelector(".count");
    let sorted = null; // { head, down }

    const shown = () => first.filter((row) => !row.hidden).length;
    const report = () => {
      const order = sorted
        ? `, sorted by ${sorted.head.dataset.name}, ${sorted.head.dataset.sort === "class"
          ? (sorted.down ? "Z to A" : "A to Z") : (sorted.down ? "largest first" : "smallest first")}` : "";
      status.textContent = `${shown()} of ${first.length} clips${order}.`;
    };

    function filter() {
      for (const row of first) {
        const label = row.querySelector(".name").textContent;
        row.hidden = Boolean((byClass.value && byClass.value !== label) ||
          (byGuess && byGuess.value && byGuess.value !== row.dataset.right));
      }
      report();
    }

    // What a row is sorted by; null where it has no number, which comes last both ways.
    function key(row, head) {
      if (head.dataset.sort === "class") return row.querySelector(".name").textContent;
      const value = row.cells[heads.indexOf(head)].dataset.value;
      return value === "" ? null : Number(value);
    }
    function sort(head, down) {
      sorted = head && { head, down };
      const rows = [...first];
      if (head) {
        rows.sort((one, other) => {
          const [a, b] = [key(one, head), key(other, head)];
          if (a === null || b === null) return (a === null) - (b === null);
          const order = typeof a === "string" ? a.localeCompare(b) : a - b;
          return down ? -order : order;
        });
      }
      const focused = document.activeElement;
      body.append(...rows);
      if (focused && body.contains(focused)) focused.focus();
      for (const one of heads.filter((each) => each.dataset.sort)) {
        one.setAttribute("aria-sort", one !== head ? "none" : down ? "descending" : "ascending");
      }
      report();
    }

    for (const head of heads.filter((each) => each.dataset.sort)) {
      head.dataset.name = head.textContent;
      const button = make("button", "", { type: "button" });
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sort(head, sorted?.head === head && !sorted.down));
    }
    byClass.addEventListener("change", filter);
    byGuess?.addEventListener("change", filter);
    const reset = () => {
      byClass.value = "";
      if (byGuess) byGuess.value = "";
      filter();
    };
    box.querySelector(".again").addEventListener("click", () => {
      sort(null);
      reset();
    });

    for (const data of box.querySelectorAll("script[data-clip]")) {
      const row = document.getElementById(data.dataset.clip);
      const name = row.querySelector(".name").textContent;
      const button = make("button", "Explore", { type: "button", className: "explore" });
      button.setAttribute("aria-haspopup", "dialog");
      button.setAttribute("aria-label", `Explore ${name}, ${row.querySelector(".link").textContent}`);
      button.addEventListener("click", () => explore(name, data, button));
      row.querySelector(".links").prepend(button);
    }

    // The clip that the address names: shown, even where a filter hides it, marked, and in focus.
    function find() {
      const name = decodeURIComponent(location.hash.slice(1));
      for (const row of first) row.classList.remove("found");
      const row = first.find((each) => each.id === name);
      if (!row) return;
      if (row.hidden) reset();
      row.classList.add("found");
      row.scrollIntoView({ block: "center" });
      row.querySelector(".link").focus({ preventScroll: true });
    }
    addEventListener("hashchange", find);
    let hidden = [];
    addEventListener("beforeprint", () => {
      hidden = first.filter((row) => row.hidden);
      for (const row of hidden) row.hidden = false;
    });
    addEventListener("afterprint", () => {
      for (const row of hidden) row.hidden = true;
    });
    box.querySelector(".tools").hidden = false;
    window.interpFilms?.scan(box);
    filter();
    if (document.readyState === "complete") find();
    else addEventListener("load", find);
  }

  // One window at a time; what is in it is made when it opens and taken apart when it closes.
  function explore(name, data, opener) {
    const dialog = make("dialog", "", { className: "interp-dialog" });
    const clip = opener.closest("tr").querySelector(".link").textContent;
    const title = make("h2", clip[0].toUpperCase() + clip.slice(1)); // the explorer names the class itself
    const close = make("button", "Close", { type: "button" });
    const place = make("div", "");
    const header = make("header", "");
    header.append(title, close);
    dialog.append(header, place);
    dialog.setAttribute("aria-label", `Explorer of ${clip}, ${name}`);
    document.body.append(dialog);
    let mounted = null;
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
    dialog.addEventListener("close", () => {
      mounted?.destroy?.();
      dialog.remove();
      opener.focus();
    });
    dialog.showModal();
    if (!window.interpExplorer) {
      place.textContent = "The explorer is not on this page: put widgets.page_script() before the table.";
      return;
    }
    mounted = window.interpExplorer.mount(place, JSON.parse(data.textContent));
  }

  const scan = () => document.querySelectorAll(".interp-comparison:not([data-ready])").forEach((box) => {
    box.dataset.ready = "";
    ready(box);
  });
  window.interpComparison = { scan };
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", scan);
  scan();
})();
