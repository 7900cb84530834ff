// Draws the charts of a report with uPlot: values under the pointer, zoom by dragging (a double
// click shows all again), and, for all charts at once, smoothing and logarithmic axes.
"use strict";

const GRAY = "#808080";

// An exponential moving average over points; weight 0 leaves the curve as it is.
function smooth(values, weight) {
  let mean = 0, total = 0;
  return values.map((value) => {
    if (value === null) return null;
    mean = weight * mean + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return mean / total;
  });
}

// 12,345,678 -> 12.3M; short enough for an axis.
function short(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  for (const [least, suffix] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]])
    if (size >= least) return +(value / least * (least === 1e4 ? 10 : 1)).toPrecision(3) + suffix;
  return String(+value.toPrecision(4));
}

// Vertical lines from the low to the high end of each evaluation's interval.
function intervals(chart) {
  return (plot) => {
    const pen = plot.ctx;
    for (const dots of chart.dots) {
      pen.save();
      pen.strokeStyle = dots.color;
      pen.lineWidth = devicePixelRatio;
      pen.setLineDash([]);
      dots.x.forEach((x, i) => {
        if (dots.low[i] === null || dots.high[i] === null) return;
        const at = plot.valToPos(x, "x", true);
        if (at < plot.bbox.left || at > plot.bbox.left + plot.bbox.width) return;
        pen.beginPath();
        pen.moveTo(at, plot.valToPos(dots.low[i], "y", true));
        pen.lineTo(at, plot.valToPos(dots.high[i], "y", true));
        pen.stroke();
      });
      pen.restore();
    }
  };
}

// The series of a chart, and for each a table [x, y, ...] as uPlot.join takes them.
function parts(chart, weight) {
  const series = [], tables = [], bands = [];
  const paths = chart.steps ? uPlot.paths.stepped({ align: 1 }) : undefined;
  for (const band of chart.bands) {
    const first = series.length + 1;
    for (const label of band.ends)
      series.push({ label, stroke: band.color + "33", width: 0.5, points: { show: false }, spanGaps: true, paths });
    tables.push([band.x, band.high, band.low]);
    bands.push({ series: [first, first + 1], fill: band.color + "26" });
  }
  for (const line of chart.lines) {
    series.push({
      label: line.label,
      stroke: line.color + (line.faint ? "55" : ""),
      width: line.faint ? 1 : 1.5,
      dash: line.dashed ? [6, 4] : [],
      points: { show: line.x.length === 1 },
      spanGaps: true,
      paths,
    });
    tables.push([line.x, chart.steps ? line.y : smooth(line.y, weight)]);
  }
  for (const dots of chart.dots) {
    const points = { show: true, size: 8, fill: dots.color };
    series.push({ label: dots.label, stroke: dots.color, paths: () => null, points });
    tables.push([dots.x, dots.y]);
  }
  if (chart.level !== null && tables.length) {
    const ends = tables.flatMap((table) => table[0]);
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    series.push({ label: "random play", stroke: GRAY, dash: [2, 4], spanGaps: true, points: { show: false } });
    tables.push(low < high ? [[low, high], [chart.level, chart.level]] : [[low], [chart.level]]);
  }
  return { series, tables, bands };
}

// The range of the vertical axis, with room for the intervals of evaluations.
function range(chart) {
  const ends = chart.dots.flatMap((dots) => [...dots.low, ...dots.high]).filter((y) => y !== null);
  return (plot, low, high) =>
    low === null ? [0, 1] : uPlot.rangeNum(Math.min(low, ...ends), Math.max(high, ...ends), 0.1, true);
}

// A logarithmic axis shows nothing that is not above 0.
function positive(data) {
  return data.map((column, i) => (i ? column.map((y) => (y > 0 ? y : null)) : column));
}

function draw(figure, chart, weight, logarithmic) {
  const { series, tables, bands } = parts(chart, weight);
  const box = figure.querySelector("div");
  box.replaceChildren();
  if (!tables.length) return;
  const axis = { stroke: GRAY, grid: { stroke: "#88888833" }, ticks: { stroke: "#88888855" } };
  const data = tables.length > 1 ? uPlot.join(tables) : tables[0];
  const logged = logarithmic && !chart.steps && data.slice(1).some((column) => column.some((y) => y > 0));
  const named = new Set();  // seeds of one group share a place in the legend
  for (const one of series) {
    one.value = (plot, value) => short(value);
    if (named.has(one.label + one.stroke)) one.class = "again";
    named.add(one.label + one.stroke);
  }
  const large = figure.classList.contains("large");
  const options = {
    width: box.clientWidth,
    height: large ? 300 : 170,
    scales: { x: { time: false }, y: logged ? { distr: 3 } : { range: range(chart) } },
    axes: [
      { ...axis, label: large ? chart.x : undefined, values: (plot, ticks) => ticks.map(short) },
      { ...axis, label: large ? chart.y : undefined, size: 56, values: (plot, ticks) => ticks.map(short) },
    ],
    series: [{ label: chart.x, value: (plot, value) => short(value) }, ...series],
    bands,
    legend: { show: large },
    cursor: { y: false, sync: { key: chart.x } },
    hooks: { draw: [intervals(chart)], setCursor: large ? [] : [(plot) => tell(figure, chart, plot)] },
  };
  figure.plot = new uPlot(options, logged ? positive(data) : data, box);
}

// Small charts have no legend: the values under the pointer stand beside the title.
function tell(figure, chart, plot) {
  const at = plot.cursor.idx;
  const values = at === null || at === undefined ? [] : plot.series.slice(1).flatMap((series, i) => {
    const value = plot.data[i + 1][at];
    return value === null || value === undefined ? [] : [short(value)];
  });
  const out = figure.querySelector("output");
  out.textContent = values.length ? `${short(plot.data[0][at])}: ${values.slice(0, 6).join(", ")}` : "";
}

function drawAll() {
  const weight = Number(document.querySelector("#smoothing").value);
  const logarithmic = document.querySelector("#logarithmic").checked;
  for (const figure of document.querySelectorAll("figure.chart"))
    draw(figure, JSON.parse(figure.dataset.chart), weight, logarithmic);
}

if (document.querySelector("figure.chart")) {
  document.querySelector("#smoothing").addEventListener("input", drawAll);
  document.querySelector("#logarithmic").addEventListener("change", drawAll);
  let width = document.body.clientWidth;
  addEventListener("resize", () => {
    if (width !== document.body.clientWidth) drawAll();
    width = document.body.clientWidth;
  });
  drawAll();
}
