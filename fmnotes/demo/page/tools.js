"use strict";
// What the other three share.
//
// Everything that comes from a model, a page or a file goes into the document as text, never as HTML; the header
// `require-trusted-types-for 'script'` makes the browser refuse anything else.

const $ = (id) => document.getElementById(id);
const MOST_OBJECTS = 4, SIDE = 4;

const now = {
  state: "loading", museums: [], choices: {}, limits: { bytes: 5e6 },
  scenes: [], chosen: null, // of the way "choose"
  objects: [], seed: 0, drawn: null, // of the way "draw"
  uploaded: null,
  picture: null, // {picture, words, objects?, seed?}: what would be asked about
  asking: false, fitting: 0,
};

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function symbol(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

const random = () => Math.floor(Math.random() * 2 ** 47);

// ---------------------------------------------------------------------------------------- talking to the server

class Problem extends Error {
  constructor(message, field = "") { super(message); this.field = field; }
}

async function fetched(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Problem("The server does not answer. Is it still running? Start it with: make demo");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Problem(said.message || `The server said ${response.status}.`, said.field);
}

const get = async (address) => (await fetched(address)).json();

function post(address, value) {
  return fetched(address, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value),
  });
}

async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const whole = rest.split("\n");
    rest = whole.pop();
    for (const line of whole) if (line) yield JSON.parse(line);
  }
}
