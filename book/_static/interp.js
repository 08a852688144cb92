/* What the stylesheet cannot do: a scrolling box can be reached by keyboard, and a page prints in light colours. */
(() => {
  // A box that scrolls sideways gets a tab stop while it does, so that the arrow keys can move it.
  const BOXES = ".bd-article :is(.pst-scrollable-table-container, .output, .cell_output, pre, table, mjx-container)";
  const reach = () => {
    for (const box of document.querySelectorAll(BOXES)) {
      const scrolls = box.scrollWidth > box.clientWidth + 1 &&
        ["auto", "scroll"].includes(getComputedStyle(box).overflowX);
      if (scrolls && !box.hasAttribute("tabindex")) {
        box.tabIndex = 0;
        box.dataset.reached = "";
      } else if (!scrolls && "reached" in box.dataset) {
        box.removeAttribute("tabindex");
        delete box.dataset.reached;
      }
    }
  };
  let waiting = 0;
  const soon = () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(reach); };
  addEventListener("load", () => {
    soon();
    const article = document.querySelector(".bd-article");
    if (article) {
      new ResizeObserver(soon).observe(article);
      new MutationObserver(soon).observe(article, { childList: true, subtree: true }); // formulas come late
    }
  });

  // Paper is white: the dark theme steps back while a page is printed.
  const root = document.documentElement;
  let theme = null;
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
  });
  addEventListener("afterprint", () => { if (theme) root.dataset.theme = theme; });
})();
