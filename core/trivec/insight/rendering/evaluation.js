"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.getElementById("charts");
  const SVG = "http://www.w3.org/2000/svg";
  // As wide as the page allows: a wider drawing would be scaled down with its letters.
  const WIDTH = Math.min(900, Math.max(340, root.clientWidth || 900));
  const byMode = Object.fromEntries(data.modes.map((m) => [m.mode, m]));
  const names = data.modes.map((m) => m.mode);
  root.textContent = "";

  // --- small helpers; text always goes through textContent, never through markup ---
  const add = (parent, tag, attributes = {}, text) => {
    const svg = parent instanceof SVGElement || tag === "svg";
    const node = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  };
  const three = (value) => value.toFixed(3);
  const signed = (value) => (value > 0 ? "+" : "") + value.toFixed(3);
  const colour = (mode) => `var(--${mode})`;
  const drawing = (parent, height, label) =>
    add(parent, "svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label });
  const select = (parent, label, options, chosen) => {
    const box = add(parent, "label", {}, `${label} `);
    const field = add(box, "select");
    for (const option of options) add(field, "option", { value: option }, option);
    field.value = chosen;
    field.addEventListener("change", draw);
    return field;
  };
  const tip = add(root, "div", { class: "tip", hidden: "" });
  const hover = (node, text) => {
    node.addEventListener("pointermove", (event) => {
      const lines = typeof text === "function" ? text(event) : text;
      if (!lines) return;
      tip.textContent = lines;
      tip.hidden = false;
      tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
      tip.style.top = `${event.clientY + 14}px`;
    });
    node.addEventListener("pointerleave", () => (tip.hidden = true));
  };
  const ticks = (low, high) => {
    const rough = (high - low) / 5 || 0.1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= 0.7 * rough);
    const found = [];
    for (let t = Math.ceil(low / step) * step; t <= high + 1e-9; t += step) found.push(t);
    return found;
  };

  // --- the controls ---
  const controls = add(root, "div", { class: "controls" });
  const metric = select(controls, "Metric", data.metrics, data.metrics[0]);
  const means = add(root, "div");
  const speed = add(root, "div");
  const pair = add(root, "div", { class: "controls" });
  const best = names.includes("hybrid") ? "hybrid" : names[names.length - 1];
  const first = select(pair, "Query by query:", names, best);
  const second = select(pair, "against", names, data.reference);
  const differences = add(root, "div");

  // --- the mean of each mode with its interval ---
  function drawMeans() {
    means.textContent = "";
    add(means, "h3", {}, `Mean ${metric.value} and its 95 % interval`);
    const height = 40 * data.modes.length + 34;
    const svg = drawing(means, height, `mean ${metric.value} per mode`);
    const all = data.modes.flatMap((m) => m.means[metric.value]);
    const pad = Math.max(0.02, 0.05 * (Math.max(...all) - Math.min(...all)));
    const low = Math.min(...all) - pad;
    const high = Math.max(...all) + pad;
    const x = (v) => 90 + ((v - low) / (high - low)) * (WIDTH - 170);
    for (const t of ticks(low, high)) {
      add(svg, "line", { class: "grid", x1: x(t), x2: x(t), y1: 4, y2: height - 26 });
      add(svg, "text", { class: "muted", x: x(t), y: height - 8, "text-anchor": "middle" },
        t.toFixed(2));
    }
    data.modes.forEach((m, i) => {
      const [mean, from, to] = m.means[metric.value];
      const y = 24 + 40 * i;
      const row = add(svg, "g");
      add(row, "rect", { x: 0, y: y - 20, width: WIDTH, height: 40, fill: "transparent" });
      add(row, "text", { x: 80, y: y + 4, "text-anchor": "end" }, m.mode);
      add(row, "line", { x1: x(from), x2: x(to), y1: y, y2: y, stroke: colour(m.mode),
        "stroke-width": 4, "stroke-linecap": "round", opacity: 0.55 });
      add(row, "circle", { cx: x(mean), cy: y, r: 7, fill: colour(m.mode) });
      add(row, "text", { x: WIDTH - 4, y: y + 4, "text-anchor": "end" }, three(mean));
      hover(row, `${m.mode}: ${three(mean)}, between ${three(from)} and ${three(to)}`);
    });
  }

  // --- quality against time ---
  function drawSpeed() {
    speed.textContent = "";
    add(speed, "h3", {}, `${metric.value} against milliseconds per query`);
    const svg = drawing(speed, 240, "quality against time");
    const times = data.modes.map((m) => m.milliseconds);
    const values = data.modes.map((m) => m.means[metric.value][0]);
    const top = Math.max(...times) * 1.1;
    const pad = Math.max(0.01, 0.1 * (Math.max(...values) - Math.min(...values)));
    const low = Math.min(...values) - pad;
    const high = Math.max(...values) + pad;
    const x = (v) => 60 + (v / top) * (WIDTH - 150);
    const y = (v) => 200 - ((v - low) / (high - low)) * 185;
    for (const t of ticks(low, high)) {
      add(svg, "line", { class: "grid", x1: 60, x2: WIDTH - 90, y1: y(t), y2: y(t) });
      add(svg, "text", { class: "muted", x: 52, y: y(t) + 4, "text-anchor": "end" }, t.toFixed(2));
    }
    for (const t of ticks(0, top)) {
      add(svg, "text", { class: "muted", x: x(t), y: 218, "text-anchor": "middle" },
        `${Number(t.toPrecision(3))}`);
    }
    add(svg, "text", { class: "muted", x: WIDTH - 90, y: 236, "text-anchor": "end" },
      "milliseconds");
    const labels = [];
    data.modes.forEach((m) => {
      const point = add(svg, "g");
      const [cx, cy] = [x(m.milliseconds), y(m.means[metric.value][0])];
      let below = cy + 4;
      while (labels.some(([a, b]) => Math.abs(a - cx) < 60 && Math.abs(b - below) < 13)) below += 13;
      labels.push([cx, below, m.mode]);
      add(point, "circle", { cx, cy, r: 7, fill: colour(m.mode) });
      hover(point,
        `${m.mode}: ${three(m.means[metric.value][0])} in ${m.milliseconds.toFixed(1)} ms`);
    });
    for (const [cx, y, mode] of labels) {  // over every point, also a neighbour's
      add(svg, "text", { class: "label", x: cx + 11, y }, mode);
    }
  }

  // --- each query's difference between two modes, sorted ---
  function drawDifferences() {
    differences.textContent = "";
    const [a, b] = [byMode[first.value], byMode[second.value]];
    const [ours, theirs] = [a.values[metric.value], b.values[metric.value]];
    const order = ours.map((value, i) => [value - theirs[i], i]).sort((p, q) => q[0] - p[0]);
    const wins = order.filter(([d]) => d > 1e-9).length;
    const losses = order.filter(([d]) => d < -1e-9).length;
    add(differences, "p", {}, `${a.mode} is better on ${wins} queries, ${b.mode} on ${losses}, ` +
      `and ${order.length - wins - losses} are equal.`);
    const most = Math.max(0.05, ...order.map(([d]) => Math.abs(d)));
    const svg = drawing(differences, 220, "difference of each query");
    const y = (d) => 105 - (d / most) * 95;
    const step = (WIDTH - 60) / order.length;
    for (const t of [most, 0, -most]) {
      add(svg, "line", { class: "grid", x1: 50, x2: WIDTH - 10, y1: y(t), y2: y(t) });
      add(svg, "text", { class: "muted", x: 44, y: y(t) + 4, "text-anchor": "end" },
        signed(t).replace("+0.000", "0"));
    }
    const area = (sign) =>
      order.filter(([d]) => Math.sign(d) === sign).length
        ? order.map(([d], i) => Math.sign(d) === sign
          ? `M${50 + i * step},${y(0)}V${y(d)}h${Math.max(step * 0.85, 0.6)}V${y(0)}z` : "").join("")
        : "";
    add(svg, "path", { d: area(1), fill: colour(a.mode) });
    add(svg, "path", { d: area(-1), fill: colour(b.mode) });
    const catcher = add(svg, "rect", { x: 50, y: 0, width: WIDTH - 60, height: 215,
      fill: "transparent" });
    hover(catcher, (event) => {
      const box = catcher.getBoundingClientRect();
      const place = Math.floor(((event.clientX - box.left) / box.width) * order.length);
      const found = order[Math.min(order.length - 1, Math.max(0, place))];
      if (!found) return "";
      const [d, i] = found;
      const [id, text] = data.queries[i];
      return `${id}: ${text} — ${a.mode} ${three(ours[i])}, ${b.mode} ${three(theirs[i])} ` +
        `(${signed(d)})`;
    });
    const shown = [...order.slice(0, 5), ...order.slice(5).slice(-5)]
      .filter(([d]) => Math.abs(d) > 1e-9);
    if (!shown.length) return;
    const scroll = add(differences, "div", { class: "scroll" });
    const table = add(scroll, "table");
    const head = add(add(table, "thead"), "tr");
    add(head, "th", {}, "query");
    for (const title of [a.mode, b.mode, "difference"]) {
      add(head, "th", { class: "num" }, title);
    }
    const body = add(table, "tbody");
    for (const [d, i] of shown) {
      const row = add(body, "tr");
      add(row, "td", { dir: "auto" }, data.queries[i][1]);
      add(row, "td", { class: "num" }, three(ours[i]));
      add(row, "td", { class: "num" }, three(theirs[i]));
      add(row, "td", { class: "num" }, signed(d));
    }
  }

  function draw() {
    drawMeans();
    drawSpeed();
    drawDifferences();
  }
  pair.hidden = differences.hidden = names.length < 2;
  if (pair.hidden) pair.style.display = "none";
  draw();
})();
