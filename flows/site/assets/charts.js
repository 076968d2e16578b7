// Draws every chart of a page from the figures that stand beside it, in the colours of the page.
"use strict";

const SERIES_COLOURS = 14;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function trace(chart, series, index) {
  const [values, labels] = [series.values, chart.labels];
  return {
    type: chart.is_line ? "scatter" : "bar",
    mode: "lines+markers",
    orientation: chart.is_sideways ? "h" : "v",
    name: series.name,
    x: chart.is_sideways ? values : labels,
    y: chart.is_sideways ? labels : values,
    marker: { color: colour(`--series-${(index % SERIES_COLOURS) + 1}`) },
    hovertemplate: `%{${chart.is_sideways ? "x" : "y"}:,} ${chart.unit}<extra>${series.name}</extra>`,
  };
}

function layout(chart) {
  const values = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), rangemode: "tozero", automargin: true };
  const labels = { type: "category", automargin: true, showticklabels: chart.is_sideways, showgrid: false };
  return {
    barmode: "stack",
    xaxis: chart.is_sideways ? values : labels,
    yaxis: chart.is_sideways ? labels : values,
    font: { family: "system-ui, sans-serif", size: 13, color: colour("--text") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 8, r: 8, t: 8, b: 8 },
    height: chart.is_sideways ? 170 : 240 + 24 * Math.ceil(chart.series.length / 3),
    showlegend: chart.series.length > 1,
    legend: { orientation: "h", yanchor: "top", y: -0.08, traceorder: "normal", font: { size: 12 } },
    hoverlabel: { bgcolor: colour("--page"), font: { color: colour("--text") } },
  };
}

function draw() {
  for (const place of document.querySelectorAll("[data-chart]")) {
    const chart = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    const traces = chart.series.map((series, index) => trace(chart, series, index));
    Plotly.react(place, traces, layout(chart), { displayModeBar: false, responsive: true });
  }
}

draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
