// Steps through the simulations of the search trees.
for (const place of document.querySelectorAll(".tree")) {
  const tree = JSON.parse(place.dataset.tree);
  const groups = [...place.querySelectorAll("g.node")];
  const slider = place.querySelector("input"), said = place.querySelector("output");
  const decimal = (x) => (Math.round(x * 100) / 100 + 0).toFixed(2);
  const show = () => {
    const now = Number(slider.value), state = new Map(), path = new Set();
    tree.changes.slice(0, now + 1).forEach((lines) => {
      path.clear();
      for (const [node, visits, q] of lines) { state.set(node, [visits, q]); path.add(node); }
    });
    if (now === tree.changes.length - 1) {
      for (const [node, visits, q] of tree.final) state.set(node, [visits, q]);
    }
    tree.nodes.forEach(([node, parent], i) => {
      const group = groups[i], found = state.get(node);
      group.style.display = found ? "" : "none";
      if (!found) return;
      const [visits, q] = found, box = group.querySelector("rect"), edge = group.querySelector("path");
      const numbers = group.querySelectorAll("tspan")[1];
      numbers.textContent = `N ${visits}  ${node ? "Q" : "V"} ${decimal(q)}`;
      if (!edge) return;
      box.setAttribute("fill", q >= tree.base ? "#2f9e5b" : "#c94f4f");
      const shade = Math.min(1, Math.abs(q - tree.base) / tree.scale) * 0.45;
      box.setAttribute("fill-opacity", shade.toFixed(2));
      edge.setAttribute("stroke", path.has(node) && path.has(parent) ? "#e07b1f" : "#808080");
      edge.setAttribute("stroke-width", 1 + 4 * visits / Math.max(1, tree.changes.length - 1));
    });
    const end = now === tree.changes.length - 1 ? " (the last)" : "";
    said.textContent = now ? `simulation ${now}${end}` : "the root alone";
  };
  slider.addEventListener("input", show);
  slider.parentElement.hidden = false;
}
