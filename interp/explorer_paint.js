// Painting a mask on the explorer's timeline, by mouse, pen, finger or keyboard. Part of one module, which
// interp/widgets_data.py joins. `state` is the explorer's: its mask is changed here; what follows is the caller's part.

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

